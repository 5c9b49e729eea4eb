"""Functional analysis of variance of a regression forest: how much of what it learnt is owed to which choices.

Hutter et al. 2014 (ICML), "An Efficient Approach for Assessing Hyperparameter Importance". For a set U of factors
f_U(x_U) = E[f | x_U] - Σ_{W ⊂ U} f_W(x_W) under the uniform measure of `FactorSpace`; the variances V_U of all sets
sum to the variance V of the tree, and the importance of U is V_U / V.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.analysis.factor_space import FactorSpace, factor_space_of
from distiller.analysis.leaf_boxes import leaf_boxes, marginal_variance

if TYPE_CHECKING:
    import pandas as pd

LARGEST_GRID = 1_000_000
"""Cells up to which a tree is evaluated on every combination."""
FEWEST = 10
"""Trials below which a forest says nothing worth reading."""

Sets = dict[tuple[str, ...], frozenset[str]]
"""Components by name, each with all factors it needs to be defined (`FactorSpace.components`)."""


@dataclass(frozen=True)
class Component:
    """What a set of factors explains together, beyond what its subsets explain."""

    factors: tuple[str, ...]
    mean: float
    """Share of the variance, 0 to 1; mean over trees."""
    sd: float
    """Standard deviation over trees."""


@dataclass(frozen=True)
class Fanova:
    """The decomposition of one forest, or why there is none."""

    rows: int
    factors: tuple[str, ...]
    """Those with more than one level here."""
    components: tuple[Component, ...] = ()
    """Largest first."""
    r2: float | None = None
    """Out-of-bag R² of the forest: 1 is perfect, at or below 0 it predicts no better than the mean."""
    trees: int = 0
    """Trees that had any variance to explain."""
    refusal: str | None = None
    """Why there are no components, in words."""
    notes: tuple[str, ...] = ()

    def share(self, *factors: str) -> float:
        """The mean share of one component; 0 where a factor had a single level."""
        return next((one.mean for one in self.components if set(one.factors) == set(factors)), 0.0)


def variance_shares(
    frame: "pd.DataFrame",
    factors: Sequence[str],
    *,
    target: str = "score",
    order: int = 2,
    trees: int = 64,
    seed: int = 0,
) -> Fanova:
    """Importance of every set of up to `order` of `factors` for the column `target`.

    `frame` has a row per trial; factors are columns of text, `""` where one does not exist for a trial. A factor that
    exists only under some levels of another is nested in it: the share of the parent is that of the mean over the
    nested levels, the child's share is what it changes within the parent's levels. Grids of levels are evaluated
    completely; ranges of numbers, and grids too large for that, from the boxes of the leaves, which is as exact. Only
    combinations that can occur have weight.

    Forest: fully grown bootstrap trees on one column per level, seeded, so equal rows give equal numbers. Where rows
    repeat a configuration, `r2` says how well it does on the repeats, too. Refuses in `refusal` and not by raising.
    """
    space, codes = factor_space_of(frame, tuple(factors))
    scores = frame[target].to_numpy(dtype=float)
    rows = len(frame)
    if reason := _too_little(space, scores):
        return Fanova(rows, space.names, refusal=reason, notes=space.notes)
    model, r2 = _forest(space.encode(codes), scores, trees, seed)
    if r2 <= 0:
        reason = f"the forest explains nothing: out-of-bag R² is {r2:.2f}, so shares of its variance would mean nothing"
        return Fanova(rows, space.names, r2=r2, refusal=reason, notes=space.notes)
    sets = space.components(order)
    found = [shares for shares in decompose(model, space, sets) if shares is not None]
    if not found:
        reason = "every tree of the forest is constant on the grid"
        return Fanova(rows, space.names, r2=r2, refusal=reason, notes=space.notes)
    table = np.array(found)
    components = [
        Component(names, float(mean), float(sd))
        for names, mean, sd in zip(sets, table.mean(0), table.std(0), strict=True)
    ]
    ranked = tuple(sorted(components, key=lambda one: -one.mean))
    return Fanova(rows, space.names, ranked, r2=r2, trees=len(found), notes=space.notes)


def decompose(model: Any, space: FactorSpace, sets: Sets) -> list[np.ndarray | None]:
    """For each tree of a fitted scikit-learn forest the shares of `sets`; `None` for a tree without variance."""
    raw = _from_grid(space) if not space.ranges and space.size() <= LARGEST_GRID else _from_boxes(space)
    found: list[np.ndarray | None] = []
    for estimator in model.estimators_:
        variance = raw(estimator.tree_)
        total = variance(frozenset(space.names))
        # Below this, rounding of the leaves is all there is.
        if total <= 1e-12 * max(1.0, float(np.abs(estimator.tree_.value).max()) ** 2):
            found.append(None)
            continue
        own: dict[frozenset[str], float] = {}
        for needed in sets.values():
            lower = sum(share for smaller, share in own.items() if smaller < needed)
            own[needed] = max(variance(needed) - lower, 0.0)
        found.append(np.array([own[needed] for needed in sets.values()]) / total)
    return found


def _from_grid(space: FactorSpace) -> Callable[[Any], Callable[[frozenset[str]], float]]:
    """Var E[f | x_U] of a tree from its value in every cell of the grid."""
    codes, weights = space.grid()
    features = space.encode(codes)
    levels = [len(factor.levels) for factor in space.factors]
    groups: dict[frozenset[str], tuple[np.ndarray, np.ndarray]] = {}

    def grouping(needed: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        if needed not in groups:
            columns = [position for position, name in enumerate(space.names) if name in needed]
            number = np.ravel_multi_index(tuple(codes[:, columns].T), [levels[column] for column in columns])
            which = np.unique(number, return_inverse=True)[1]
            groups[needed] = which, np.bincount(which, weights=weights)
        return groups[needed]

    def of_tree(tree: Any) -> Callable[[frozenset[str]], float]:
        values = tree.predict(features).reshape(-1)
        centred = weights * (values - weights @ values)

        def variance(needed: frozenset[str]) -> float:
            which, mass = grouping(needed)
            return float(np.sum(np.bincount(which, weights=centred) ** 2 / mass))

        return variance

    return of_tree


def _from_boxes(space: FactorSpace) -> Callable[[Any], Callable[[frozenset[str]], float]]:
    """Var E[f | x_U] of a tree from the boxes of its leaves."""

    def of_tree(tree: Any) -> Callable[[frozenset[str]], float]:
        leaves = leaf_boxes(tree, space)
        everything = frozenset(space.names)

        def variance(needed: frozenset[str]) -> float:
            if needed == everything:  # the leaves are disjoint: no need to cut them
                mass = np.prod([member @ size for member, size in zip(leaves.members, leaves.sizes, strict=True)], 0)
                return float(mass @ (leaves.values - mass @ leaves.values) ** 2)
            return marginal_variance(leaves, [space.names.index(name) for name in sorted(needed)])

        return variance

    return of_tree


def _forest(features: np.ndarray, scores: np.ndarray, trees: int, seed: int) -> tuple[Any, float]:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(
        n_estimators=trees, max_depth=64, min_samples_split=2, min_samples_leaf=1, bootstrap=True, oob_score=True,
        random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rows that are in every tree's sample
        model.fit(features, scores)
    return model, float(model.oob_score_)


def _too_little(space: FactorSpace, scores: np.ndarray) -> str | None:
    if len(scores) < FEWEST:
        return f"{len(scores)} finished trials are too few; {FEWEST} are the least, 50 or more are better"
    if not space.names:
        return "no factor has more than one level among these trials"
    if np.ptp(scores) == 0:
        return f"all {len(scores)} scores are equal ({scores[0]:g})"
    if space.conditional and space.size() > LARGEST_GRID:
        return f"the grid of {len(space.names)} factors has more than {LARGEST_GRID:,} cells: analyse fewer factors"
    return None
