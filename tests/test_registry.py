"""Families: a function's keyword-only arguments are its options, checked before it is called."""

from typing import Literal

import pytest

from distiller.errors import ConfigError
from distiller.registry import Count, Entry, Family, Positive, Probability


def scaled(student: float, teacher: float, *, by: Positive = 2.0, mode: Literal["up", "down"] = "up") -> float:
    """Scale a difference.

    More than one line.
    """
    return (student - teacher) * by * (1 if mode == "up" else -1)


def cut(student: float, *, at: Count, share: Probability | None = None) -> float:
    """Cut it off."""
    return min(student, at)


def plain(student: float) -> float:
    """No options."""
    return student


FAMILY = Family(
    "test loss",
    {"scaled": Entry(scaled, "here", {"per": "token"}), "cut": Entry(cut, "here"), "plain": Entry(plain, "")},
)


def test_options_are_the_keyword_only_arguments() -> None:
    assert FAMILY.options("scaled", {}) == {"by": 2.0, "mode": "up"}
    assert FAMILY.options("scaled", {"by": 3}) == {"by": 3.0, "mode": "up"}
    assert FAMILY.options("cut", {"at": 4}) == {"at": 4, "share": None}
    assert FAMILY.options("plain", {}) == {}
    assert FAMILY["scaled"].function(3.0, 1.0, **FAMILY.options("scaled", {"mode": "down"})) == -4.0


def test_rows_are_found_by_name() -> None:
    assert list(FAMILY) == ["scaled", "cut", "plain"]
    assert FAMILY["scaled"].summary == "Scale a difference."
    assert FAMILY["scaled"].traits["per"] == "token"


@pytest.mark.parametrize(
    ("row", "given", "message", "hint"),
    [
        ("scaled", {"bye": 1}, "no option of test loss `scaled` is called `bye`", "did you mean `by`?"),
        ("plain", {"by": 1}, "no option of test loss `plain` is called `by`", "test loss `plain` has no options"),
        ("scaled", {"by": 0}, "option `by` of test loss `scaled`: input should be greater than 0, got 0", "2.0"),
        ("scaled", {"mode": "upp"}, "option `mode` of test loss `scaled`: input should be 'up' or 'down'", "'up'"),
        ("cut", {}, "test loss `cut` needs the option `at`", "at"),
        ("cut", {"at": 1, "share": 2}, "option `share` of test loss `cut`", "the default is null"),
        ("skaled", {}, "no test loss is called `skaled`", "did you mean `scaled`?"),
        ("xyz", {}, "no test loss is called `xyz`", "one of `scaled`, `cut`, `plain`"),
    ],
)
def test_what_cannot_be_is_said(row: str, given: dict, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        FAMILY.options(row, given)
    assert message in error.value.message
    assert "\n" not in error.value.message
    assert hint in (error.value.hint or "")
