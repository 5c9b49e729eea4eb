"""Class names: which of two sets of names are the same, whoever wrote them down."""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})(\.0*)?")
"""A whole number, also as a program writes one that once stood beside a missing value: 1.0. Not a code like 007."""

TRUTHS = ("true", "false")
"""Names that programs spell in any case: one class each."""


def same_names(ours: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """For each of `ours` its position in `theirs`, or `None` if these are not two orders of the same names.

    Exact names first; without case only where each name of one side is exactly one of the other. Names that occur
    twice fit nothing but the very same list.
    """
    if list(ours) == list(theirs):
        return list(range(len(ours)))
    for spelt in (str, str.casefold):
        wanted, there = [spelt(name) for name in ours], [spelt(name) for name in theirs]
        if len(set(wanted)) == len(wanted) and sorted(wanted) == sorted(there):
            return [there.index(name) for name in wanted]
    return None


def says_nothing(names: Sequence[str]) -> bool:
    """Whether class names only count the classes: LABEL_0, LABEL_1, … or 0, 1, …, in this order."""
    return [name.casefold().removeprefix("label_") for name in names] == [str(n) for n in range(len(names))]


def label_set(written: Collection[str]) -> tuple[str, ...]:
    """The different names among `written`, numbers before words, and 2 before 10.

    `1.0` and `1` are one class, unless some label is a number with a fraction, as versions are (1.0, 1.1); so are
    `TRUE` and `true`, which programs spell as they like.
    """
    truths: dict[str, str] = {}
    for name in sorted(written, reverse=True):
        if name.casefold() in TRUTHS:
            truths.setdefault(name.casefold(), name)
    names = {truths.get(name.casefold(), name) for name in written}
    if not any(_has_fraction(name) for name in names):
        names = {plain_number(name) for name in names}
    return tuple(sorted(names, key=_natural))


def among(written: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """`known` in their order, spelt as they are `written`, if all that are written are among them; else `written`.

    What a name stands for is what `same_names` says: exact names first, without case only where that is clear.
    """
    for spelt in (str, str.casefold):
        ours, theirs = {spelt(name): name for name in written}, [spelt(name) for name in known]
        if len(ours) == len(written) and len(set(theirs)) == len(theirs) and ours.keys() <= set(theirs):
            return tuple(ours.get(name, given) for name, given in zip(theirs, known, strict=True))
    return tuple(written)


def plain_number(name: str) -> str:
    """A whole number as its digits (`1.0` as `1`); any other name as it is."""
    return str(int(float(name))) if WHOLE.fullmatch(name) else name


def class_numbers(labels: Sequence[str], written: Iterable[str]) -> dict[str, int]:
    """The class id of every name in `written` that stands for one of `labels`; the others are not there.

    A name stands for the label that is spelt like it, or is the same whole number or truth value (True, true); where
    no label is a number, also for the one whose id it is (0, 1, …).
    """
    ids = {label: number for number, label in enumerate(labels)}
    numbers = {_plain(label): number for label, number in ids.items()}
    if not any(WHOLE.fullmatch(label) for label in labels):
        numbers |= {str(number): number for number in range(len(labels))}
    found: dict[str, int] = {}
    for name in written:
        number = ids.get(name, numbers.get(_plain(name)))
        if number is not None:
            found[name] = number
    return found


def _plain(name: str) -> str:
    """One spelling of what programs spell in several ways."""
    return name.casefold() if name.casefold() in TRUTHS else plain_number(name)


def _has_fraction(name: str) -> bool:
    value = finite_number(name)
    return value is not None and not value.is_integer()


def _natural(name: str) -> tuple[int, float, str]:
    value = finite_number(name)
    return (1, 0, name) if value is None else (0, value, name)


def finite_number(cell: Any) -> float | None:
    """The finite number that a cell is or spells; `None` for any other cell, also for `True` and `False`."""
    try:
        value = math.nan if cell is None or isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
