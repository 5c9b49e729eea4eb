"""Optimal transport between student and teacher layers, for the `emd` mapping."""

import math
from functools import partial
from typing import Any, Literal

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
SWEEPS, CLOSE = 200, 1e-9
"""Sinkhorn's iterations at each width, at most, and the error of the row sums at which they end."""


def optimal_flow(cost: Array, student_weights: Array, teacher_weights: Array) -> Array:
    """The cheapest way to move `student_weights` `[N]` onto `teacher_weights` `[M]` at `cost` `[N, M]`.

    Both weights are scaled to sum 1; the result `[N, M]` has them as row and column sums. Costs may be negative, as
    with mutual information: neither a constant added to all of them nor their unit changes the cheapest flow, so they
    are first brought between 0 and 1.
    Raises `ShapeError`, and `RunError` if a cost is not finite. Source: Rubner et al. 2000; arXiv:2010.06133, eq. 9.
    """
    _check(cost, student_weights, teacher_weights)
    cost = _scaled(cost)
    if np.ptp(student_weights) == 0 and np.ptp(teacher_weights) == 0:
        return _uniform_flow(cost)
    return _general_flow(cost, _shares(student_weights), _shares(teacher_weights))


def sinkhorn_flow(cost: Array, student_weights: Array, teacher_weights: Array, *, epsilon: float) -> Array:
    """As `optimal_flow`, but smooth: the flow W that minimises Σ W · cost + ε · range(cost) · Σ W log W.

    The larger `epsilon`, the more evenly every layer meets every other; towards 0 the flow becomes the cheapest one.
    Row and column sums are exact: what the iterations leave over is moved at the end (Altschuler et al. 2017,
    arXiv:1705.09634, algorithm 2). Raises as `optimal_flow`. Source: Cuturi 2013, arXiv:1306.0895.
    """
    _check(cost, student_weights, teacher_weights)
    scaled, rows, columns = _scaled(cost), _shares(student_weights), _shares(teacher_weights)
    column_price, flow = np.zeros_like(columns), np.outer(rows, columns)
    for width in _annealed(epsilon):
        for _ in range(SWEEPS):
            row_price = width * (np.log(rows) - _logsumexp((column_price - scaled) / width, axis=1))
            column_price = width * (np.log(columns) - _logsumexp((row_price[:, None] - scaled) / width, axis=0))
            flow = np.exp((row_price[:, None] + column_price - scaled) / width)
            if np.abs(flow.sum(1) - rows).max() < CLOSE:
                break
    flow *= np.minimum(1, rows / flow.sum(1))[:, None]
    flow *= np.minimum(1, columns / flow.sum(0))
    row_rest, column_rest = ((side - flow.sum(axis)).clip(min=0) for axis, side in ((1, rows), (0, columns)))
    return flow + np.outer(row_rest, column_rest) / (row_rest.sum() or 1.0)


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
    with one pair per student layer; `paper` leaves it at 1. `solver="sinkhorn"` takes the smooth flow of
    `sinkhorn_flow` in place of the cheapest. Source: arXiv:2010.06133; arXiv:2109.11105, eq. 4.
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
        solver: Literal["exact", "sinkhorn"] = "exact",
        epsilon: float = 0.05,
    ) -> None:
        super().__init__()
        self.register_buffer("student_weights", torch.full((student_layers,), 1 / student_layers))
        self.register_buffer("teacher_weights", torch.full((teacher_layers,), 1 / teacher_layers))
        self.update_weights = update_weights
        self.weight_update: Literal["reciprocal", "softmax"] = weight_update
        self.temperature = temperature
        self.mass = mass
        self.solve = optimal_flow if solver == "exact" else partial(sinkhorn_flow, epsilon=epsilon)

    def forward(self, cost: Tensor, prices: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of `cost` `[N, M]` (row = student layer); its gradient in `cost` is the flow.

        The flow is that of `prices` `[N, M]`, by default `cost` itself: where several processes each have a share of
        the cost, their sum.

        The flow is a constant: where the optimum is unique, its change does not change the optimal value (with
        Sinkhorn, the value with its entropy). One copy of N·M + N + M numbers from the device at every call: the only
        time that a training step waits for it. Raises as `optimal_flow` and `updated_weights`.
        """
        on_host: Any = torch.compiler.disable(self._amounts)
        amounts = on_host(cost if prices is None else prices)
        loss = (amounts * cost).sum() / amounts.sum()
        return loss * len(cost) if self.mass == "n_layers" else loss

    @torch.no_grad()
    def _amounts(self, prices: Tensor) -> Tensor:
        """The flow at these prices, found on the host and brought to their device; the weights move."""
        known, students, teachers = self._on_host(prices)
        flow = self.solve(known, students, teachers)
        if self.training and self.update_weights:
            self._update(flow, known, students, teachers)
        return _on_device(flow, prices)

    def _on_host(self, cost: Tensor) -> tuple[Array, Array, Array]:
        """Costs and both weights, copied at once."""
        together = torch.cat([cost.detach().flatten(), self.student_weights, self.teacher_weights])
        numbers = _array(together)
        prices, students, teachers = np.split(numbers, np.cumsum([cost.numel(), len(self.student_weights)]))
        return prices.reshape(cost.shape), students, teachers

    def _update(self, flow: Array, cost: Array, students: Array, teachers: Array) -> None:
        update = partial(updated_weights, flow, cost, rule=self.weight_update, temperature=self.temperature)
        self.student_weights.copy_(_on_device(update(students, side="student"), self.student_weights))
        self.teacher_weights.copy_(_on_device(update(teachers, side="teacher"), self.teacher_weights))


def _check(cost: Array, student_weights: Array, teacher_weights: Array) -> None:
    if cost.shape != (len(student_weights), len(teacher_weights)):
        raise ShapeError(f"cost {list(cost.shape)} should be [{len(student_weights)}, {len(teacher_weights)}]")
    if not np.isfinite(cost).all():
        raise RunError(
            "a layer-to-layer loss is not a finite number, so layers cannot be matched",
            hint="lower `training.learning_rate`, or train with precision `fp32`",
        )


def _scaled(cost: Array) -> Array:
    return (cost - cost.min()) / (np.ptp(cost) or 1.0)


def _shares(weights: Array) -> Array:
    shares = np.asarray(weights, dtype=np.float64)
    return shares / shares.sum()


def _annealed(epsilon: float) -> list[float]:
    """From 1, or `epsilon` if that is more, by halves down to `epsilon`: small ones converge only from near by."""
    halvings = max(0, math.ceil(-math.log2(epsilon)))
    return [max(epsilon, 2.0**-n) for n in range(halvings)] + [epsilon]


def _logsumexp(exponents: Array, axis: int) -> Array:
    top = exponents.max(axis, keepdims=True)
    return np.log(np.exp(exponents - top).sum(axis)) + top.squeeze(axis)


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


def _on_device(numbers: Array, like: Tensor) -> Tensor:
    """A tensor of the type and on the device of `like`; the host does not wait until it is there."""
    return torch.from_numpy(numbers).to(like.dtype).to(like.device, non_blocking=True)


def _array(tensor: Tensor) -> Array:
    """The one copy for which the host waits."""
    return tensor.cpu().double().numpy()
