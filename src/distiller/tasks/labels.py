"""Class names: matching names that are written in different ways."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from unicodedata import category, normalize

WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})(\.0*)?")
"""A whole number, also with a zero fraction (1.0, as programs write it beside missing values), but not 007."""

TRUTHS = ("true", "false")
"""Names that are the same class in any case."""

BETWEEN_WORDS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


def plainly(name: str) -> str:
    """`name` without what programs write in different ways: case, Unicode forms, blanks, `_` or `-` between words."""
    shown = "".join(letter for letter in normalize("NFKC", name) if category(letter) != "Cf")
    return BETWEEN_WORDS.sub(" ", normalize("NFKC", shown.casefold())).strip()


SPELLINGS = (str, str.casefold, plainly)
"""How names are compared: the first in which they are the same, one to one, decides."""


def same_names(ours: Sequence[str], theirs: Sequence[str]) -> list[int] | None:
    """The position of each of `ours` in `theirs`, or `None` if these are not the same names.

    Names are compared exactly, or else as in `SPELLINGS`, if that is unambiguous. Lists with repeated names only match
    identical lists.
    """
    if list(ours) == list(theirs):
        return list(range(len(ours)))
    for spelt in SPELLINGS:
        wanted, there = [spelt(name) for name in ours], [spelt(name) for name in theirs]
        if len(set(wanted)) == len(wanted) and sorted(wanted) == sorted(there):
            return [there.index(name) for name in wanted]
    return None


def says_nothing(names: Sequence[str]) -> bool:
    """Whether class names only number the classes: LABEL_0, LABEL_1, … or 0, 1, …, in this order."""
    return [name.casefold().removeprefix("label_") for name in names] == [str(n) for n in range(len(names))]


def label_set(written: Collection[str]) -> tuple[str, ...]:
    """The distinct names in `written`, sorted: numbers before words, and 2 before 10.

    `1.0` and `1` are one class, unless some label is a number with a fraction, like version numbers (1.0, 1.1). So are
    `TRUE` and `true`.
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
    """The `known` names in their order, spelt as in `written`, if they include all of `written`; else `written`.

    Names are compared exactly, or else as in `SPELLINGS`, if that is unambiguous.
    """
    for spelt in SPELLINGS:
        ours, theirs = {spelt(name): name for name in written}, [spelt(name) for name in known]
        if len(ours) == len(written) and len(set(theirs)) == len(theirs) and ours.keys() <= set(theirs):
            return tuple(ours.get(name, given) for name, given in zip(theirs, known, strict=True))
    return tuple(written)


def plain_number(name: str) -> str:
    """A whole number as its digits (`1.0` as `1`); any other name as it is."""
    return str(int(float(name))) if WHOLE.fullmatch(name) else name


def class_numbers(labels: Sequence[str], written: Iterable[str]) -> dict[str, int]:
    """The class id of every name in `written` that denotes one of `labels`; other names are left out.

    A name denotes the label with the same spelling, or the same whole number or truth value (True, true); if no label
    is a number, also the label with that id (0, 1, …). A name that denotes none stands for the only label that is the
    same `plainly`, if no other name stands for that.
    """
    ids = {label: number for number, label in enumerate(labels)}
    numbers = {_plain(label): number for label, number in ids.items()}
    if not any(WHOLE.fullmatch(label) for label in labels):
        numbers |= {str(number): number for number in range(len(labels))}
    found: dict[str, int] = {}
    others: list[str] = []
    for name in written:
        number = ids.get(name, numbers.get(_plain(name)))
        if number is not None:
            found[name] = number
        else:
            others.append(name)
    shown = [plainly(label) for label in labels]
    taken = Counter(plainly(name) for name in (*found, *others))
    for name in others:
        if (spelt := plainly(name)) and shown.count(spelt) == taken[spelt] == 1:
            found[name] = shown.index(spelt)
    return found


def _plain(name: str) -> str:
    """A canonical spelling of numbers and truth values."""
    return name.casefold() if name.casefold() in TRUTHS else plain_number(name)


def _has_fraction(name: str) -> bool:
    value = finite_number(name)
    return value is not None and not value.is_integer()


def _natural(name: str) -> tuple[int, float, str]:
    value = finite_number(name)
    return (1, 0, name) if value is None else (0, value, name)


def finite_number(cell: Any) -> float | None:
    """The finite number in a cell, also written as text; `None` for any other cell, including `True` and `False`."""
    try:
        value = math.nan if cell is None or isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
