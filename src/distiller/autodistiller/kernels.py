"""How similar tasks and pipelines are: kernels, all between 0 and a small constant."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.autodistiller import labels

if TYPE_CHECKING:
    import pandas as pd

ALPHA_WIDTH = 0.4
SIZE_WIDTH = 0.5
"""Of log10 parameters: half a decade apart is e^-0.5 alike."""


def task_kernel(blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """`[tasks, tasks]`: exp(-distance), 1 on the diagonal; the mean distance of two different tasks is about 1.

    Columns are standardised, and the squared distance of each block `[tasks, d]` is divided by its mean over pairs.
    Blocks count equally; those unknown for a pair do not count, and a pair without any has similarity e^-1.
    """
    n = len(next(iter(blocks.values())))
    total, known = np.zeros((n, n)), np.zeros((n, n))
    upper = np.triu_indices(n, 1)
    for values in blocks.values():
        values = standardised(values)
        distance = ((values[:, None] - values[None]) ** 2).sum(-1)
        there = np.isfinite(distance)
        apart = distance[upper][there[upper]]
        if len(apart) and apart.mean() > 0:
            total += np.where(there, distance / apart.mean(), 0.0)
            known += there
    mean = np.where(known > 0, total / np.maximum(known, 1), 1.0)
    np.fill_diagonal(mean, 0.0)
    return np.exp(-mean)


def pipeline_kernels(left: "pd.DataFrame", right: "pd.DataFrame", factors: Sequence[str]) -> dict[str, np.ndarray]:
    """How similar the choices of two tables of rows are, `[left, right]`, by factor and for the student."""
    found = {factor: _by_level(FACTOR.get(factor, _same), left, right, factor) for factor in factors}
    ours, theirs = (np.log10(rows["parameters"].to_numpy(float)) for rows in (left, right))
    found["student"] = same(left, right, "student") + _near(ours, theirs, SIZE_WIDTH)
    return found


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1 over the rows that have them; constant ones become 0."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, values, 0.0).sum(0) / count
    deviation = np.sqrt((np.where(there, values - mean, 0.0) ** 2).sum(0) / count)
    return (values - mean) / np.where(deviation > 1e-12, deviation, 1.0)


def same(left: "pd.DataFrame", right: "pd.DataFrame", *columns: str) -> np.ndarray:
    """1 where the rows agree in all of `columns`, else 0, `[left, right]`."""
    found = np.ones((len(left), len(right)))
    for column in columns:
        found *= _by_level(_same, left, right, column)
    return found


def _intermediate(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """The same loss, weighted by how close the alphas are; and mutual information or not."""
    names = [[labels.names(label) for label in side] for side in (left, right)]
    ours, theirs = (np.nan_to_num([labels.alpha(label) for label in side]) for side in (left, right))
    close = _near(ours, theirs, ALPHA_WIDTH)
    informed = [[label.startswith("mi_") for label in side] for side in (left, right)]
    return _same(*names) * close + _same(*informed)


def _augmentation(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """Mixup or not, any text operator or not, and each text operator that both have."""
    sides = [[labels.names(label) for label in side] for side in (left, right)]
    mixed = _same(*([("mixup" in one) for one in side] for side in sides))
    texts = [[frozenset(one) - {"mixup"} for one in side] for side in sides]
    operators = sorted({name for side in texts for one in side for name in one})
    has = [np.array([[name in one for name in operators] for one in side], float) for side in texts]
    shared = has[0].reshape(len(left), -1) @ has[1].reshape(len(right), -1).T
    return mixed + _same(*([bool(one) for one in side] for side in texts)) + shared


FACTOR = {"intermediate": _intermediate, "augmentation": _augmentation}
"""Factors whose levels are more than equal or different."""


def _by_level(
    alike: Callable[[Sequence[str], Sequence[str]], np.ndarray],
    left: "pd.DataFrame",
    right: "pd.DataFrame",
    column: str,
) -> np.ndarray:
    """`alike` for all rows, computed once for each pair of different levels."""
    sides = [_texts(rows, column) for rows in (left, right)]
    levels = [list(dict.fromkeys(side)) for side in sides]
    numbers = [{level: number for number, level in enumerate(own)} for own in levels]
    places = [[known[text] for text in side] for known, side in zip(numbers, sides, strict=True)]
    return alike(*levels)[np.ix_(*places)]


def _same(left: Sequence[Any], right: Sequence[Any]) -> np.ndarray:
    codes: dict[Any, int] = {}
    rows = np.array([codes.setdefault(value, len(codes)) for value in left])
    columns = np.array([codes.setdefault(value, len(codes)) for value in right])
    return (rows[:, None] == columns[None]).astype(float)


def _near(left: np.ndarray, right: np.ndarray, width: float) -> np.ndarray:
    return np.nan_to_num(np.exp(-0.5 * ((left[:, None] - right[None]) / width) ** 2))


def _texts(rows: "pd.DataFrame", column: str) -> list[str]:
    return [str(value) for value in rows[column]] if column in rows else [""] * len(rows)
