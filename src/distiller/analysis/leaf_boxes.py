"""The leaves of a regression tree as boxes: exact marginals without a grid, also for ranges of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distiller.analysis.factor_space import FactorSpace


@dataclass(frozen=True)
class Leaves:
    """A tree as disjoint boxes over a product of factors; each factor is cut into cells that no box divides."""

    values: np.ndarray
    """`[leaves]`: the prediction in each box."""
    members: tuple[np.ndarray, ...]
    """For each factor `[leaves, cells]`: 1 where the box covers the cell, else 0."""
    sizes: tuple[np.ndarray, ...]
    """For each factor `[cells]`: the measure of the cells, which sums to 1."""


def leaf_boxes(tree: Any, space: FactorSpace) -> Leaves:
    """The boxes of a scikit-learn `tree_` that was fitted on `space.encode`; the factors of `space` are independent.

    Each level is a cell: a leaf covers those that reach it, so that combinations of columns that are not a level weigh
    nothing. A range is cut at every threshold of the tree.
    """
    features = space.features()
    cuts = [_cuts(tree, features, position, space) for position in range(len(space.factors))]
    whole = [
        np.ones(len(cuts[position]) - 1 if factor.bounds else len(factor.levels), bool)
        for position, factor in enumerate(space.factors)
    ]
    values, boxes = [], []
    stack = [(0, whole)]
    while stack:
        node, box = stack.pop()
        if tree.children_left[node] < 0:
            values.append(float(tree.value[node].reshape(-1)[0]))
            boxes.append(box)
            continue
        position, level = features[tree.feature[node]]
        edges = cuts[position]
        left = edges[1:] <= tree.threshold[node] if level < 0 else np.arange(len(box[position])) != level
        for child, side in ((tree.children_left[node], left), (tree.children_right[node], ~left)):
            stack.append((child, [*box[:position], box[position] & side, *box[position + 1 :]]))
    sizes = [
        np.diff(cuts[position]) / (factor.bounds[1] - factor.bounds[0])
        if factor.bounds
        else np.full(len(factor.levels), 1 / len(factor.levels))
        for position, factor in enumerate(space.factors)
    ]
    members = tuple(np.stack(list(column)).astype(float) for column in zip(*boxes, strict=True))
    return Leaves(np.array(values), members, tuple(sizes))


def marginal_variance(leaves: Leaves, factors: Sequence[int]) -> float:
    """Var E[f | x_U] for the factors at these positions: V_U and the parts of all subsets of U together."""
    chosen = set(factors)
    weight = leaves.values.copy()
    for position, (member, size) in enumerate(zip(leaves.members, leaves.sizes, strict=True)):
        if position not in chosen:
            weight = weight * (member @ size)
    *rest, last = factors
    covered, mass = weight[:, None], np.ones(1)
    for position in rest:
        member, size = leaves.members[position], leaves.sizes[position]
        covered = (covered[:, :, None] * member[:, None, :]).reshape(len(weight), -1)
        mass = np.outer(mass, size).reshape(-1)
    marginal = covered.T @ leaves.members[last]
    mass = np.outer(mass, leaves.sizes[last])
    return float(np.sum(mass * (marginal - np.sum(mass * marginal)) ** 2))


def _cuts(tree: Any, features: list[tuple[int, int]], position: int, space: FactorSpace) -> np.ndarray:
    """The ends of a range and all thresholds between them, ascending; nothing for a factor with levels."""
    bounds = space.factors[position].bounds
    if not bounds:
        return np.zeros(0)
    column = features.index((position, -1))
    thresholds = tree.threshold[tree.feature == column]
    inside = thresholds[(thresholds > bounds[0]) & (thresholds < bounds[1])]
    return np.unique(np.concatenate([[bounds[0]], inside, [bounds[1]]]))
