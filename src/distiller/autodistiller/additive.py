"""An additive model of pipelines over tasks: the effect of a choice is shared by all tasks or by similar ones.

A Gaussian process whose covariance is a sum over factors, i.e. a mixed-effects model: effects seen on few trials or few
tasks shrink towards 0, a task similar to the new one counts for more, and trials on the new task itself (probes)
correct what the others say. The sum makes each prediction a sum of contributions that can be printed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distiller.autodistiller.fit_data import FitData
from distiller.autodistiller.kernels import pipeline_kernels, same

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Effects:
    """What a predictor expects for `n` rows, on the common scale of the target."""

    values: np.ndarray
    """`[n]`."""
    deviation: np.ndarray
    """Standard deviation of `values` `[n]`, the noise of a single run included."""
    parts: Mapping[str, np.ndarray]
    """Contribution of each factor to `values`, `[n]` each; empty where a predictor has none."""


@dataclass(frozen=True)
class Variances:
    """Variances of the parts of the target, in units of the noise of a run."""

    choice: float = 0.2
    """Of each factor."""
    student: float = 1.0
    similar: float = 1.0
    """Of what only like tasks share of an effect, for each unit of what all tasks share; half of it is a task's own."""
    task: float = 3.0
    teacher: float = 0.5
    """Of a teacher on one task, after its score has been taken off."""
    group: float = 1.0
    """Of a teacher and student on one task."""


@dataclass(frozen=True)
class Additive:
    """The fitted model: `predict` is a sum over the trials it has seen, weighted by similarity."""

    fit_data: FitData
    shares: Variances
    inverse: np.ndarray
    """Of the covariance of the trials, `[trials, trials]`."""
    weights: np.ndarray
    mean: float

    def predict(self, rows: "pd.DataFrame") -> Effects:
        """Predict rows of any task that was known when fitting."""
        parts, rest = covariance(self.fit_data, rows, self.fit_data.rows, self.shares)
        across = np.sum([*parts.values(), rest], axis=0)
        variance = self.variance(rows) - np.einsum("ij,ij->i", across @ self.inverse, across)
        return Effects(
            across @ self.weights + self.mean,
            np.sqrt(np.maximum(variance, 0.0) + 1.0),
            {name: part @ self.weights for name, part in parts.items()},
        )

    def variance(self, rows: "pd.DataFrame") -> np.ndarray:
        """The variance of rows before any trial is seen, `[n]`."""
        total = np.full(len(rows), self.shares.task + self.shares.teacher + self.shares.group)
        for start in range(0, len(rows), 128):
            some = rows.iloc[start : start + 128]
            parts, _ = covariance(self.fit_data, some, some, self.shares)
            total[start : start + 128] += np.diag(np.sum([*parts.values()], axis=0))
        return total


def fit_additive(fit_data: FitData, shares: Variances | None = None) -> Additive:
    """The posterior of the effects, given the trials of `fit_data`; cost grows with the cube of their number."""
    shares = shares or Variances()
    parts, rest = covariance(fit_data, fit_data.rows, fit_data.rows, shares)
    noisy = np.sum([*parts.values(), rest, np.eye(len(fit_data.rows))], axis=0)
    inverse = np.linalg.inv(noisy)
    mean = float(fit_data.target.values.mean())
    return Additive(fit_data, shares, inverse, inverse @ (fit_data.target.values - mean), mean)


def covariance(
    fit_data: FitData, left: "pd.DataFrame", right: "pd.DataFrame", shares: Variances
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The covariance `[left, right]` that each factor makes, and that of task, teacher and student together."""
    own = same(left, right, "task")
    shared = 1.0 + shares.similar * 0.5 * (fit_data.alike(left, right) + own)
    parts = {
        name: (shares.student if name == "student" else shares.choice) * likeness * shared
        for name, likeness in pipeline_kernels(left, right, fit_data.factors).items()
    }
    groups = shares.teacher * same(left, right, "teacher") + shares.group * same(left, right, "teacher", "student")
    return parts, own * (shares.task + groups)
