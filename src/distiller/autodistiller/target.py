"""The target of prediction: what is left to explain of a distillation ratio after removing the known parts.

The ratio is score / teacher's score, and the teacher's score is known before the run: it is subtracted exactly, not
learnt. So is the score of the same student without a teacher, if known. The rest is put on one scale for all tasks:
tasks differ in how much any choice matters, and a robust spread within task, teacher and student measures that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

FLOOR = 0.05
"""Ratios below count as this: a failed training is bad, how bad says nothing."""
CLIP = 4.0
"""Spreads from the median of its group at which a trial stops counting for more."""
SMALLEST = 1e-3
"""Smallest spread of log ratios within a task."""
USUAL = 0.01
"""Spread of log ratios where no task has enough trials to tell."""
PRIOR = 10
"""Trials that what is usual counts for in a task's spread; matters where a task has few of its own."""


@dataclass(frozen=True)
class Scale:
    """The centre of a task's log ratios, and how far apart the choices are there."""

    level: float
    spread: float
    trials: int = 0
    """Of the task itself."""


@dataclass(frozen=True)
class Target:
    """Rows `[n]` on the common scale, and the scale of every task."""

    values: np.ndarray
    scales: Mapping[str, Scale]
    teacher: bool
    baseline: bool


def offsets(rows: "pd.DataFrame", *, teacher: bool, baseline: bool) -> np.ndarray:
    """The part of the log ratio that is known before a run, `[n]`: log(baseline's score / teacher's score).

    An unknown baseline is replaced by the teachers' median on that task, an unknown teacher's score by 1.
    """
    known = np.zeros(len(rows))
    scores = rows["teacher_score"].where(rows["teacher_score"] > 0)
    scores = scores.fillna(scores.groupby(rows["task"]).transform("median"))
    if teacher:
        known -= np.log(scores.fillna(1.0).to_numpy(float))
    if baseline:
        own = rows["baseline_score"].where(rows["baseline_score"] > 0)
        known += np.log(own.fillna(scores.groupby(rows["task"]).transform("median")).fillna(1.0).to_numpy(float))
    return known


def make_target(rows: "pd.DataFrame", *, teacher: bool, baseline: bool) -> Target:
    """The target of finished trials: (log ratio - offset - median of the task) / spread of the task, clipped."""
    left: Any = np.log(rows["ratio"].clip(lower=FLOOR)) - offsets(rows, teacher=teacher, baseline=baseline)
    tasks: Any = rows["task"]
    groups: Any = [rows["task"], rows["teacher"], rows["student"]]
    spreads = _spreads(left, tasks, groups)
    levels = left.groupby(tasks).median()
    counts = tasks.value_counts()
    scales = {str(task): Scale(float(levels[task]), spreads[str(task)], int(counts[task])) for task in levels.index}
    values = (left - tasks.map(levels)) / tasks.map(spreads).to_numpy(float)
    middle = values.groupby(groups).transform("median")
    values = middle + (values - middle).clip(-CLIP, CLIP)
    return Target(values.to_numpy(float), scales, teacher, baseline)


def _spreads(left: Any, tasks: Any, groups: Any) -> dict[str, float]:
    """1.4826 times the median absolute deviation within groups of at least three trials, by task.

    A task's own spread has the weight of its number of such trials, the median over all tasks the weight `PRIOR`.
    """
    rest = left - left.groupby(groups).transform("median")
    rest = rest[left.groupby(groups).transform("size") >= 3]
    own: dict[str, tuple[float, int]] = {}
    for task in tasks.unique():
        some = rest[tasks[rest.index] == task]
        if len(some) >= 3:
            own[str(task)] = max(1.4826 * float((some - some.median()).abs().median()), SMALLEST), len(some)
    usual = float(np.log(np.median([spread for spread, _ in own.values()]))) if own else float(np.log(USUAL))
    found = {}
    for task in map(str, tasks.unique()):
        spread, n = own.get(task, (1.0, 0))
        found[task] = float(np.exp((n * np.log(spread) + PRIOR * usual) / (n + PRIOR)))
    return found
