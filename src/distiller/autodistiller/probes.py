"""Probe runs: a few trials on the new task itself, which ones to spend, and what they change."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distiller.autodistiller.additive import covariance, fit_additive
from distiller.autodistiller.evaluate import held_out, spearman
from distiller.autodistiller.experience import Experience
from distiller.autodistiller.features import before
from distiller.autodistiller.fit_data import FitData, impossible
from distiller.autodistiller.predictor import fit_predictor
from distiller.autodistiller.vectors import Vectors
from distiller.study.table_files import load_pandas
from distiller.study.trials import conform

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Gain:
    """What probes change on one held-out task: rank correlation on the rows that were not probed."""

    task: str
    without: float
    random: float
    """After as many probes drawn at random; mean over draws."""
    chosen: float
    """After the probes of `choose_probes`."""


def choose_probes(fit_data: FitData, rows: "pd.DataFrame", k: int) -> list[int]:
    """Positions of the `k` rows that would teach most about all `rows`, one after the other.

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


def with_probes(experience: Experience, probes: "pd.DataFrame") -> Experience:
    """Experience with finished trials more, e.g. on the task that advice is for."""
    trials = experience.trials
    frame = load_pandas().concat([trials.frame, probes], ignore_index=True)
    frame = frame.assign(trial=range(len(frame)))
    return replace(experience, trials=conform(frame, trials.factors, where="probes"))


def probe_gain(
    experience: Experience,
    *,
    k: int,
    draws: int = 5,
    baseline: bool = True,
    vectors: Vectors | None = None,
    seed: int = 0,
) -> list[Gain]:
    """Simulate probes: on each task in turn, `k` of its trials become known, and the others are ranked again."""
    rng = np.random.default_rng(seed)
    found = []
    for task, own, others in held_out(experience):
        first = fit_predictor(others, vectors=vectors, baseline=baseline)
        after = partial(_after, others, own, vectors=vectors, baseline=baseline)
        chosen = choose_probes(first.fit_data, own, k)
        rest = np.setdiff1d(np.arange(len(own)), chosen)
        without = spearman(first.predict(own).order[rest], own["ratio"].to_numpy(float)[rest])
        drawn = [after(rng.choice(len(own), min(k, len(own) - 2), replace=False).tolist()) for _ in range(draws)]
        found.append(Gain(task, without, float(np.mean(drawn)), after(chosen)))
    return found


def _after(
    others: Experience, own: "pd.DataFrame", probes: list[int], *, vectors: Vectors | None, baseline: bool
) -> float:
    """How well the rows of a task that were not probed are ranked by who knows the probes."""
    fitted = fit_predictor(with_probes(others, own.iloc[probes]), vectors=vectors, baseline=baseline)
    rest = own.drop(index=probes)
    return spearman(fitted.predict(rest).order, rest["ratio"].to_numpy(float))
