"""The space that trials were drawn from: factors, levels, and which factors exist only under a level of another."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MANY = 10
"""A factor of numbers with more distinct values than this is a range, not a list of levels."""
PARTS = 4
"""Levels that a range is cut into where exact arithmetic needs levels."""


@dataclass(frozen=True)
class Factor:
    """One column that was varied: `levels`, or a range between `bounds`."""

    name: str
    levels: tuple[str, ...] = ()
    """In order of first appearance; `""` stands for trials in which the factor does not exist."""
    bounds: tuple[float, float] | None = None
    log: bool = False
    """`bounds` and codes are natural logarithms."""
    parent: str | None = None
    """The factor whose level decides whether this one exists."""


@dataclass(frozen=True)
class FactorSpace:
    """Factors and the uniform measure over their possible combinations.

    The measure is uniform over the levels of every factor without a parent and, given the parent's level, uniform over
    the levels that a factor has there. Impossible combinations have no weight.
    """

    factors: tuple[Factor, ...]
    allowed: dict[str, dict[int, tuple[int, ...]]]
    """For a factor with a parent: the codes it may have, by the parent's code."""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The factors by name."""
        return tuple(factor.name for factor in self.factors)

    @property
    def conditional(self) -> bool:
        """Whether some factor has a parent."""
        return any(factor.parent for factor in self.factors)

    @property
    def ranges(self) -> bool:
        """Whether some factor is a range."""
        return any(factor.bounds for factor in self.factors)

    def size(self) -> int:
        """An upper bound of the number of cells of the grid."""
        return int(np.prod([float(len(factor.levels)) for factor in self.factors]))

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """All possible combinations: codes `[cells, factors]` and their weights `[cells]`, which sum to 1."""
        columns: dict[str, np.ndarray] = {}
        weights = np.ones(1)
        for factor in _parents_first(self.factors):
            every = tuple(range(len(factor.levels)))
            under = columns[factor.parent] if factor.parent else np.zeros(len(weights), int)
            choices = [self.allowed[factor.name][code] if factor.parent else every for code in under]
            counts = np.array([len(choice) for choice in choices])
            columns = {name: np.repeat(column, counts) for name, column in columns.items()}
            columns[factor.name] = np.concatenate([np.array(choice) for choice in choices])
            weights = np.repeat(weights / counts, counts)
        return np.stack([columns[name] for name in self.names], axis=1), weights

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """Codes `[rows, factors]` as features for a forest: a column for each level, one for each range."""
        columns = [
            codes[:, [position]] if factor.bounds else codes[:, [position]] == np.arange(len(factor.levels))
            for position, factor in enumerate(self.factors)
        ]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def features(self) -> list[tuple[int, int]]:
        """For each column of `encode`: the position of its factor, and the code of its level (-1 for a range)."""
        return [
            (position, level)
            for position, factor in enumerate(self.factors)
            for level in ([-1] if factor.bounds else range(len(factor.levels)))
        ]

    def ancestors(self, name: str) -> frozenset[str]:
        """The parents of a factor, up to the one that always exists."""
        parents = {factor.name: factor.parent for factor in self.factors}
        found: list[str] = []
        while parent := parents[found[-1] if found else name]:
            found.append(parent)
        return frozenset(found)

    def components(self, order: int) -> dict[tuple[str, ...], frozenset[str]]:
        """Sets of up to `order` factors, each with all factors that it needs to be defined, small ones first.

        A factor and its ancestor are not a pair: the effect of a factor within its parent's level is its own component.
        """
        above = {name: self.ancestors(name) for name in self.names}
        found: dict[tuple[str, ...], frozenset[str]] = {}
        for count in range(1, min(order, len(self.names)) + 1):
            for names in combinations(self.names, count):
                needed = frozenset[str]().union(*(above[name] for name in names))
                if needed.isdisjoint(names):
                    found[names] = needed.union(names)
        return dict(sorted(found.items(), key=lambda item: len(item[1])))


def factor_space_of(frame: "pd.DataFrame", names: tuple[str, ...]) -> tuple[FactorSpace, np.ndarray]:
    """The space that the rows of `frame` span, and their codes `[rows, factors]`.

    Columns hold text, `""` where a factor does not exist. Factors with only one level are left out. A column of more
    than `MANY` different numbers is a range, of logarithms if these are distributed more evenly. If a factor of the
    space is conditional, ranges are cut into `PARTS` levels with equally many trials.
    """
    notes: list[str] = []
    columns = {name: [str(cell) for cell in frame[name]] for name in names}
    columns = {name: cells for name, cells in columns.items() if len(set(cells)) > 1}
    conditional = any("" in cells for cells in columns.values())
    numeric = {name: numbers for name, cells in columns.items() if (numbers := _numbers(cells)) is not None}
    if conditional:
        for name, numbers in numeric.items():
            columns[name] = _parts(numbers)
            notes.append(f"`{name}` is cut into {len(set(columns[name]) - {''})} levels")
        numeric = {}
    parents = _parents(columns)
    factors, codes = [], []
    for name, cells in columns.items():
        if name in numeric:
            log = bool(numeric[name].min() > 0) and _unevenness(np.log(numeric[name])) < _unevenness(numeric[name])
            codes.append(np.log(numeric[name]) if log else numeric[name])
            factors.append(Factor(name, bounds=(float(codes[-1].min()), float(codes[-1].max())), log=log))
        else:
            levels = tuple(dict.fromkeys(cells))
            codes.append(np.array([levels.index(cell) for cell in cells], float))
            factors.append(Factor(name, levels=levels, parent=parents.get(name)))
    table = np.stack(codes, axis=1) if codes else np.zeros((len(frame), 0))
    allowed = {factor.name: _allowed(factor, factors, columns) for factor in factors if factor.parent}
    return FactorSpace(tuple(factors), allowed, tuple(notes)), table


def levels_of(cells: list[str]) -> list[str]:
    """`cells`, or the parts of the range that they make, `""` where they are."""
    numbers = _numbers(cells)
    return cells if numbers is None else _parts(numbers)


def _numbers(cells: list[str]) -> np.ndarray | None:
    """The numbers in a column of more than `MANY` different ones (NaN where it is empty), else `None`."""
    if len(set(cells) - {""}) <= MANY:
        return None
    try:
        numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers


def _unevenness(numbers: np.ndarray) -> float:
    """The Kolmogorov distance from the uniform distribution between their ends."""
    ordered = np.sort(numbers)
    return float(np.abs((ordered - ordered[0]) / np.ptp(ordered) - np.linspace(0, 1, len(ordered))).max())


def _parts(numbers: np.ndarray) -> list[str]:
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, PARTS + 1)))
    which = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    return [
        "" if np.isnan(number) else f"{edges[part]:.3g} to {edges[part + 1]:.3g}"
        for number, part in zip(numbers, which, strict=True)
    ]


def _parents(columns: dict[str, list[str]]) -> dict[str, str]:
    """For each column with empty cells: the column whose level decides which are empty, if one does."""
    settled = [name for name, cells in columns.items() if "" not in cells]
    parents: dict[str, str] = {}
    while True:
        found = {}
        for name in (name for name in columns if name not in settled):
            deciding = [parent for parent in settled if _decides(columns[parent], columns[name])]
            if deciding:
                found[name] = min(deciding, key=lambda parent: len(set(columns[parent])))
        if not found:
            return parents
        parents |= found
        settled += found


def _decides(parent: list[str], child: list[str]) -> bool:
    pairs = {(level, cell != "") for level, cell in zip(parent, child, strict=True)}
    return len(pairs) == len(set(parent))


def _allowed(factor: Factor, factors: list[Factor], columns: dict[str, list[str]]) -> dict[int, tuple[int, ...]]:
    parent: Any = next(one for one in factors if one.name == factor.parent)
    pairs = set(zip(columns[parent.name], columns[factor.name], strict=True))
    real = tuple(code for code, level in enumerate(factor.levels) if level)
    none = tuple(code for code, level in enumerate(factor.levels) if not level)
    return {code: none if (level, "") in pairs else real for code, level in enumerate(parent.levels)}


def _parents_first(factors: tuple[Factor, ...]) -> list[Factor]:
    ordered: list[Factor] = []
    while len(ordered) < len(factors):
        done = {factor.name for factor in ordered}
        ordered += [one for one in factors if one.name not in done and (one.parent is None or one.parent in done)]
    return ordered
