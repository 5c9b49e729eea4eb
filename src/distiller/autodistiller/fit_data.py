"""The basis of every predictor: the trials that count, their target, and how similar the tasks are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distiller.autodistiller.experience import Experience
from distiller.autodistiller.facts import TaskFacts
from distiller.autodistiller.features import task_blocks
from distiller.autodistiller.kernels import task_kernel
from distiller.autodistiller.labels import names
from distiller.autodistiller.target import Scale, Target, make_target
from distiller.autodistiller.vectors import Vectors
from distiller.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FitData:
    """Complete trials that were able to learn, with their target, over tasks whose facts are known."""

    rows: "pd.DataFrame"
    factors: tuple[str, ...]
    target: Target
    tasks: tuple[TaskFacts, ...]
    likeness: np.ndarray
    """`[tasks, tasks]`, 1 on the diagonal."""
    vectors: Vectors

    @property
    def places(self) -> dict[str, int]:
        """The row of each task in `likeness`."""
        return {task.name: number for number, task in enumerate(self.tasks)}

    def alike(self, left: "pd.DataFrame", right: "pd.DataFrame") -> np.ndarray:
        """How similar the tasks of two tables of rows are, `[left, right]`."""
        place = self.places
        return self.likeness[np.ix_([place[task] for task in left["task"]], [place[task] for task in right["task"]])]

    def neighbours(self, task: str) -> dict[str, float]:
        """How similar the tasks with trials are to `task`, the most similar first; 1 for itself if it has trials."""
        place = self.places
        found = {name: float(self.likeness[place[task], place[name]]) for name in self.target.scales}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def scale(self, task: str) -> tuple[Scale, float]:
        """Where the log ratios of `task` are expected, from similar tasks, and the standard deviation of that level."""
        near = self.neighbours(task)
        scales = [self.target.scales[name] for name in near]
        own = [scale.trials if name == task else 1 for name, scale in zip(near, scales, strict=True)]
        weights = np.array(list(near.values())) ** 2 * own
        weights /= weights.sum()
        levels = np.array([scale.level for scale in scales])
        ascending = (
            levels.argsort()
        )  # the median: a task on which all students are poor should not drag the others down
        level = float(levels[ascending][np.searchsorted(weights[ascending].cumsum(), 0.5 - 1e-12)])
        spread = float(np.exp(weights @ np.log([scale.spread for scale in scales])))
        correction = len(levels) / max(len(levels) - 1, 1)
        return Scale(level, spread), float(np.sqrt(correction * (weights @ (levels - level) ** 2)))


def prepare(experience: Experience, *, vectors: Vectors, teacher: bool, baseline: bool) -> FitData:
    """What the predictors are fitted to, from `experience`. Raises `DataError` if no trial can be learnt from."""
    rows = experience.complete
    kinds = {str(task): experience.facts(task).kind for task in rows["task"].unique()}
    rows = rows.loc[~impossible(rows, kinds)].reset_index(drop=True)
    if rows.empty:
        raise DataError("the experience has no finished trial", hint="`distiller study run` makes some")
    known = dict.fromkeys([*map(str, rows["task"]), *experience.tasks])
    tasks = tuple(experience.facts(name) for name in known)
    return FitData(
        rows,
        experience.trials.factors,
        make_target(rows, teacher=teacher, baseline=baseline),
        tasks,
        task_kernel(task_blocks(tasks, vectors)),
        vectors,
    )


def impossible(rows: "pd.DataFrame", kinds: Mapping[str, str]) -> np.ndarray:
    """Rows that cannot learn, `[n]`: cross-entropy of the single output of a regression is always 0."""
    regression = np.array([kinds.get(str(task)) == "regression" for task in rows["task"]], dtype=bool)
    if "prediction" not in rows:
        return np.zeros(len(rows), dtype=bool)
    return regression & np.array([names(str(level)) == ("ce",) for level in rows["prediction"]], dtype=bool)
