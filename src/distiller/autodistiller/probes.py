"""Probe runs: a few trials on the new task itself, and which ones to spend."""

from typing import TYPE_CHECKING

import numpy as np

from distiller.autodistiller.additive import covariance, fit_additive
from distiller.autodistiller.features import before
from distiller.autodistiller.fit_data import FitData, impossible

if TYPE_CHECKING:
    import pandas as pd


def choose_probes(fit_data: FitData, rows: "pd.DataFrame", k: int) -> list[int]:
    """Positions of the `k` rows that would teach most about all `rows`, chosen one after the other.

    Each leaves the smallest sum of variances under the additive model (A-optimal design); no outcome is needed.
    """
    known = before(rows, fit_data.factors)
    model = fit_additive(fit_data)
    parts, rest = covariance(fit_data, known, fit_data.rows, model.shares)
    across = np.sum([*parts.values(), rest], axis=0)
    parts, rest = covariance(fit_data, known, known, model.shares)
    left = np.sum([*parts.values(), rest], axis=0) - across @ model.inverse @ across.T
    possible = ~impossible(known, {task.name: task.kind for task in fit_data.tasks})
    chosen: list[int] = []
    for _ in range(min(k, int(possible.sum()))):
        gain = (left[:, possible] ** 2).sum(1) / (np.diag(left) + 1.0)
        gain[[*chosen, *np.flatnonzero(~possible)]] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        left = left - np.outer(left[:, best], left[best]) / (left[best, best] + 1.0)
    return chosen
