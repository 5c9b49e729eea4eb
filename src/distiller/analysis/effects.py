"""What a choice changes: differences between levels of one factor, with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from distiller.analysis.factor_space import levels_of

if TYPE_CHECKING:
    import pandas as pd

    from distiller.study.trials import Trials

ENOUGH = 6
"""Pairs, or trials on either side, below which there is no interval."""
CONTEXT = ("task", "teacher", "student", "seed")


@dataclass(frozen=True)
class Effect:
    """The score of one level of a factor minus that of the reference level."""

    factor: str
    level: str
    reference: str
    difference: float
    low: float | None
    """Ends of the 95 % bootstrap interval; `None` where there is too little for one."""
    high: float | None
    how: Literal["paired", "within"]
    """`paired`: over pairs of trials that differ in nothing else. `within`: of means within each context."""
    n: int
    """Pairs, or trials with this level in contexts that have both."""


def level_effects(
    trials: "Trials", *, factors: Sequence[str] | None = None, resamples: int = 2000, seed: int = 0
) -> list[Effect]:
    """Each level of each factor against a reference: `none` if it was tried, else the most frequent level.

    If at least `ENOUGH` pairs of trials agree in task, teacher, student, seed and all other factors, the effect is
    their mean difference, resampled by pairs. Otherwise it is the difference of the means within each context (task,
    teacher, student, seed), averaged with the weights n·m / (n + m) that minimise its variance, and trials are
    resampled within level and context. Percentile intervals (Efron and Tibshirani 1993, chapter 13); they hold for
    these tasks, not for others. Trials in which a factor does not exist are left out of its effects.
    """
    rng = np.random.default_rng(seed)

    def draw(values: np.ndarray) -> np.ndarray:
        return values[rng.integers(0, len(values), (resamples, len(values)))].mean(1)

    frame = trials.complete
    chosen = trials.factors if factors is None else tuple(factors)
    context = [name for name in CONTEXT if name not in chosen]
    keyed = frame.assign(**{name: frame[name].astype(str) for name in (*chosen, *trials.factors, *context)})
    found: list[Effect] = []
    for factor in chosen:
        rows = keyed.assign(**{factor: levels_of(list(keyed[factor]))})
        rows = rows.loc[rows[factor] != ""]
        counts = rows[factor].value_counts()
        if len(counts) < 2:
            continue
        reference = "none" if "none" in counts.index else min(counts.index, key=lambda level: (-counts[level], level))
        others = [name for name in trials.factors if name != factor]
        for level in sorted(level for level in counts.index if level != reference):
            ours, theirs = (rows.loc[rows[factor] == one] for one in (level, reference))
            effect = _paired(ours, theirs, [*context, *others], draw) or _within(ours, theirs, context, draw)
            found += [Effect(factor, level, reference, *effect)] if effect else []
    return found


Draw = Callable[[np.ndarray], np.ndarray]
"""Means of samples of some values with replacement, `[resamples]`."""
Found = tuple[float, float | None, float | None, Literal["paired", "within"], int]
"""The fields of an `Effect` behind its levels."""


def _paired(ours: "pd.DataFrame", theirs: "pd.DataFrame", keys: list[str], draw: Draw) -> Found | None:
    """The effect over pairs of trials of both sides that agree in `keys`."""
    sides = [side.groupby(keys)["score"].mean() for side in (ours, theirs)]
    joined = sides[0].to_frame("one").join(sides[1].to_frame("other"), how="inner")
    pairs = joined["one"].to_numpy() - joined["other"].to_numpy()
    if len(pairs) < ENOUGH:
        return None
    low, high = np.quantile(draw(pairs), [0.025, 0.975])
    return float(pairs.mean()), float(low), float(high), "paired", len(pairs)


def _within(ours: "pd.DataFrame", theirs: "pd.DataFrame", keys: list[str], draw: Draw) -> Found | None:
    """The effect from the means of both sides within each context that has both."""
    first, second = ({key: block.to_numpy() for key, block in side.groupby(keys)["score"]} for side in (ours, theirs))
    blocks = [(first[key], second[key]) for key in first if key in second]
    if not blocks:
        return None
    weights = np.array([len(one) * len(other) / (len(one) + len(other)) for one, other in blocks])
    weights /= weights.sum()
    difference = float(sum(w * (one.mean() - other.mean()) for w, (one, other) in zip(weights, blocks, strict=True)))
    sizes = [sum(len(side) for side in sides) for sides in zip(*blocks, strict=True)]
    low = high = None
    if min(sizes) >= ENOUGH:
        drawn = sum(w * (draw(one) - draw(other)) for w, (one, other) in zip(weights, blocks, strict=True))
        low, high = map(float, np.quantile(drawn, [0.025, 0.975]))
    return difference, low, high, "within", sizes[0]
