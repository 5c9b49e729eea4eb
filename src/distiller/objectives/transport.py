"""Optimal transport between student and teacher layers, for the `emd` mapping."""

import math
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distiller.errors import RunError, ShapeError

Array = NDArray[np.float64]

LEAST_WEIGHT = 1e-3
"""No layer's weight falls below this: the update divides by it."""
UNITS = 1e4
"""The linear programme moves so many units in all; its solver's tolerance is absolute."""


def optimal_flow(cost: Array, student_weights: Array, teacher_weights: Array) -> Array:
    """The cheapest way to move `student_weights` `[N]` onto `teacher_weights` `[M]` at `cost` `[N, M]`.

    Both weights are scaled to sum 1; the result `[N, M]` has them as row and column sums. Costs may be negative, as
    with mutual information: neither a constant added to all of them nor their unit changes the cheapest flow, so they
    are first brought between 0 and 1.
    Raises `ShapeError`, and `RunError` if a cost is not finite. Source: Rubner et al. 2000; arXiv:2010.06133, eq. 9.
    """
    if cost.shape != (len(student_weights), len(teacher_weights)):
        raise ShapeError(f"cost {list(cost.shape)} should be [{len(student_weights)}, {len(teacher_weights)}]")
    if not np.isfinite(cost).all():
        raise RunError(
            "a layer-to-layer loss is not a finite number, so layers cannot be matched",
            hint="lower `training.learning_rate`, or train with precision `fp32`",
        )
    cost = (cost - cost.min()) / (np.ptp(cost) or 1.0)
    if np.ptp(student_weights) == 0 and np.ptp(teacher_weights) == 0:
        return _uniform_flow(cost)
    rows, columns = (np.asarray(side, dtype=np.float64) for side in (student_weights, teacher_weights))
    return _general_flow(cost, rows / rows.sum(), columns / columns.sum())


def updated_weights(
    flow: Array,
    cost: Array,
    weights: Array,
    *,
    side: Literal["student", "teacher"],
    rule: Literal["reciprocal", "softmax"] = "reciprocal",
    temperature: float = 1.0,
) -> Array:
    """New weights of one side's layers: those that were cheap to match gain (cost attention).

    `flow`, `cost` `[N, M]`; `weights` `[N]` or `[M]` → the same shape, sum 1, none below about `LEAST_WEIGHT`. With r
    the total over each layer's cost per unit of weight, `reciprocal` is r / Σr (the released code) and `softmax` is
    softmax(r / `temperature`) (the paper). Raises `RunError` for a negative cost, for which the rule would reward
    the worst layers. Source: Li et al. 2020 (BERT-EMD), arXiv:2010.06133, section 3.3, and code.
    """
    if (cost < 0).any():
        raise RunError(
            "the weight update of mapping `emd` needs losses that are never negative",
            hint="set the mapping's `update_weights: false`, or use another loss than `mi_alpha`",
        )
    unit_cost = (flow * cost).sum(1 if side == "student" else 0) / weights
    ratio = np.divide(unit_cost.sum(), unit_cost, out=np.zeros_like(unit_cost), where=unit_cost > 0)
    if rule == "softmax":
        ratio = np.exp((ratio - ratio.max()) / temperature)
    elif not ratio.any():  # a perfect match everywhere says nothing about any layer
        return weights / weights.sum()
    floored = np.maximum(ratio / ratio.sum(), LEAST_WEIGHT)
    return floored / floored.sum()


class Transport(nn.Module):
    """Earth mover's distance between layers: turns a matrix of layer-to-layer losses into one number.

    `student_weights` `[N]` and `teacher_weights` `[M]` start uniform, are state rather than parameters, and are saved
    with the model. With `update_weights` they move after every training step, by `weight_update` and `temperature`
    (see `updated_weights`). `mass="n_layers"` multiplies the loss by N, so that its total weight is that of a mapping
    with one pair per student layer; `paper` leaves it at 1. Source: arXiv:2010.06133; arXiv:2109.11105, eq. 4.
    """

    student_weights: Tensor
    teacher_weights: Tensor

    def __init__(
        self,
        teacher_layers: int,
        student_layers: int,
        *,
        update_weights: bool = False,
        weight_update: Literal["reciprocal", "softmax"] = "reciprocal",
        temperature: float = 1.0,
        mass: Literal["paper", "n_layers"] = "paper",
    ) -> None:
        super().__init__()
        self.register_buffer("student_weights", torch.full((student_layers,), 1 / student_layers))
        self.register_buffer("teacher_weights", torch.full((teacher_layers,), 1 / teacher_layers))
        self.update_weights = update_weights
        self.weight_update: Literal["reciprocal", "softmax"] = weight_update
        self.temperature = temperature
        self.mass = mass

    def forward(self, cost: Tensor) -> Tensor:
        """The loss, a scalar, of `cost` `[N, M]` (row = student layer); its gradient in `cost` is the flow.

        The flow is a constant: where the optimum is unique, its change does not change the optimal value. One copy
        of N·M numbers from the device at every call. Raises as `optimal_flow` and `updated_weights`.
        """
        prices = _array(cost)
        flow = optimal_flow(prices, _array(self.student_weights), _array(self.teacher_weights))
        amounts = torch.from_numpy(flow).to(cost)
        if self.training and self.update_weights:
            self._update(flow, prices)
        loss = (amounts * cost).sum() / amounts.sum()
        return loss * len(cost) if self.mass == "n_layers" else loss

    @torch.no_grad()
    def _update(self, flow: Array, cost: Array) -> None:
        update = partial(updated_weights, flow, cost, rule=self.weight_update, temperature=self.temperature)
        student = update(_array(self.student_weights), side="student")
        teacher = update(_array(self.teacher_weights), side="teacher")
        self.student_weights.copy_(torch.from_numpy(student))
        self.teacher_weights.copy_(torch.from_numpy(teacher))


def _uniform_flow(cost: Array) -> Array:
    """Uniform weights make an assignment problem: cut both sides into lcm(N, M) equal parcels."""
    from scipy.optimize import linear_sum_assignment

    students, teachers = cost.shape
    parcels = math.lcm(students, teachers)
    copies = np.repeat(np.repeat(cost, parcels // students, axis=0), parcels // teachers, axis=1)
    rows, columns = linear_sum_assignment(copies)
    flow = np.zeros_like(cost)
    np.add.at(flow, (rows * students // parcels, columns * teachers // parcels), 1 / parcels)
    return flow


def _general_flow(cost: Array, rows: Array, columns: Array) -> Array:
    """Any weights make a linear programme whose constraints are the row sums and all but one of the column sums."""
    from scipy.optimize import linprog

    students, teachers = cost.shape
    sums = np.vstack([np.kron(np.eye(students), np.ones(teachers)), np.kron(np.ones(students), np.eye(teachers))])
    amounts = np.concatenate([rows, columns]) * UNITS
    # the tightest that HiGHS takes; it is absolute, hence the small unit of flow
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    solved = linprog(cost.ravel(), A_eq=sums[:-1], b_eq=amounts[:-1], method="highs-ds", options=tight)
    if not solved.success:
        raise RunError(f"the optimal transport between layers was not found: {solved.message}")
    return solved.x.clip(min=0).reshape(cost.shape) / UNITS


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
