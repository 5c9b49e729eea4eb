"""How well a predictor ranks the pipelines of a task it has not seen: leave-one-task-out, its limits and controls.

A part of `advice.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from distiller.autodistiller.experience import Experience
from distiller.autodistiller.predictor import fit_predictor
from distiller.autodistiller.probes import choose_probes
from distiller.autodistiller.vectors import Vectors
from distiller.study.trials import conform

if TYPE_CHECKING:
    import pandas as pd

GROUP = ["teacher", "student"]
SMALLEST = 20
"""Runs of one teacher and student on a task, from which a rank correlation within them is worth looking at."""

Rank = Callable[[Experience, "pd.DataFrame"], np.ndarray]
"""From experience without a task, and that task's rows, to what orders them `[n]`; higher is better."""


@dataclass(frozen=True)
class HeldOutTask:
    """One task held out."""

    task: str
    rows: "pd.DataFrame"
    """Its complete trials."""
    order: np.ndarray
    """The predicted order of `rows`."""

    @property
    def spearman(self) -> float:
        """Rank correlation of prediction and ratio over all rows; NaN where one side is constant."""
        return spearman(self.order, self.rows["ratio"].to_numpy(float))

    @property
    def within(self) -> float:
        """The same within teacher and student: the mean over groups of 20 runs or more, weighted by their runs."""
        found, sizes = [], []
        for places in self.groups.values():
            value = spearman(self.order[places], self.rows["ratio"].to_numpy(float)[places])
            if np.isfinite(value):
                found.append(value)
                sizes.append(len(places))
        return float(np.average(found, weights=sizes)) if found else float("nan")

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """Positions of the rows of each teacher and student with 20 runs or more, most runs first."""
        every: Any = self.rows.groupby(GROUP).indices
        found = {"/".join(map(str, name)): np.asarray(places) for name, places in every.items()}
        kept = {name: places for name, places in found.items() if len(places) >= SMALLEST}
        return dict(sorted(kept.items(), key=lambda item: -len(item[1])))

    def top(self, n: int = 5) -> dict[str, float]:
        """The `n` pipelines advised in the largest group, against `n` random ones.

        `advised` and `random`: mean ratio; `advised best`, `random best`: mean of the best of the `n`; `best`: the
        best there is. Regret is `best` minus any of them.
        """
        places = next(iter(self.groups.values()), np.arange(len(self.rows)))
        ratio = self.rows["ratio"].to_numpy(float)[places]
        chosen = ratio[np.argsort(-self.order[places], kind="stable")[:n]]
        ranked = np.sort(ratio)
        # The best of n drawn without replacement is the k-th smallest with probability C(k-1, n-1) / C(N, n).
        chance = np.array([float(comb(k, n - 1)) for k in range(len(ranked))])
        return {
            "advised": float(chosen.mean()),
            "random": float(ratio.mean()),
            "advised best": float(chosen.max()),
            "random best": float(ranked @ (chance / chance.sum())),
            "best": float(ratio.max()),
        }


def leave_one_task_out(experience: Experience, rank: Rank) -> list[HeldOutTask]:
    """Hold out every task in turn: `rank` gets the trials of the others, and the task's rows without outcomes."""
    found = []
    for task, own, others in held_out(experience):
        blind = own.assign(score=np.nan, ratio=np.nan)
        found.append(HeldOutTask(task, own, rank(others, blind)))
    return found


def held_out(experience: Experience) -> Iterator[tuple[str, "pd.DataFrame", Experience]]:
    """Every task in turn: its name, its complete trials, and the experience without them."""
    rows = experience.complete
    for task in map(str, rows["task"].unique()):
        yield task, rows.loc[rows["task"] == task].reset_index(drop=True), experience.without(task)


def ranker(
    predictor: str = "additive", *, vectors: Vectors | None = None, baseline: bool = True, **options: float
) -> Rank:
    """`fit_predictor` as `leave_one_task_out` wants it."""

    def rank(experience: Experience, rows: "pd.DataFrame") -> np.ndarray:
        fitted = fit_predictor(experience, vectors=vectors, predictor=predictor, baseline=baseline, options=options)
        return fitted.predict(rows).order

    return rank


def bootstrap(values: Sequence[float], *, draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """An interval of the mean over tasks: the middle 95 % of means of tasks drawn again with replacement."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return float("nan"), float("nan")
    means = known[np.random.default_rng(seed).integers(len(known), size=(draws, len(known)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def permuted(experience: Experience, *, seed: int) -> Experience:
    """The same trials with scores and ratios shuffled within each task: nothing is left to learn."""
    rng = np.random.default_rng(seed)
    frame = experience.trials.frame.copy()
    for places in frame.groupby("task").indices.values():
        drawn = rng.permutation(places)
        for column in ("score", "ratio", "status"):
            frame.iloc[places, frame.columns.get_loc(column)] = frame[column].to_numpy()[drawn]
    return replace(experience, trials=replace(experience.trials, frame=frame))


def ceiling(held: HeldOutTask, factors: Sequence[str]) -> float:
    """The rank correlation within the largest group that a predictor of the true means would reach, from repeats.

    Runs of the same pipeline differ by noise alone: with noise variance v in a variance V it is sqrt(1 - v / V), for
    ratios whose ranks are taken. NaN without repeats.
    """
    places = next(iter(held.groups.values()), np.arange(len(held.rows)))
    rows = held.rows.iloc[places].reset_index(drop=True)
    rows = rows.assign(rank=rows["ratio"].rank(pct=True))
    extra = [name for name in ("aug_p", "repeated_aug") if name in rows]
    repeats = [part["rank"] for _, part in rows.groupby([*factors, *extra]) if len(part) > 1]
    freedom = sum(len(part) - 1 for part in repeats)
    if not freedom:
        return float("nan")
    noise = sum(float(((part - part.mean()) ** 2).sum()) for part in repeats) / freedom
    return float(np.sqrt(max(0.0, 1.0 - noise / float(rows["rank"].var(ddof=1)))))


def covered(experience: Experience, *, baseline: bool = True, vectors: Vectors | None = None) -> Mapping[str, float]:
    """The share of held-out ratios of each task inside the 80 % interval."""
    found = {}
    for task, own, others in held_out(experience):
        said = fit_predictor(others, vectors=vectors, baseline=baseline).predict(own)
        ratio = own["ratio"].to_numpy(float)
        found[task] = float(np.mean((said.low <= ratio) & (ratio <= said.high)))
    return found


def spearman(left: np.ndarray, right: np.ndarray) -> float:
    """Correlation of ranks, ties sharing a mean rank; NaN where one side is constant."""
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(spearmanr(left, right).statistic)


@dataclass(frozen=True)
class Gain:
    """What probes change on one held-out task: rank correlation on the rows that were not probed."""

    task: str
    without: float
    random: float
    """After as many probes drawn at random; mean over draws."""
    chosen: float
    """After the probes of `choose_probes`."""


def with_probes(experience: Experience, probes: "pd.DataFrame") -> Experience:
    """Experience with finished trials more, e.g. on the task that advice is for."""
    import pandas as pd

    trials = experience.trials
    frame = pd.concat([trials.frame, probes], ignore_index=True)
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
