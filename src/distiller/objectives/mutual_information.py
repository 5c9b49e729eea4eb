"""MI-α: a lower bound on the mutual information of student and teacher representations, and its parts."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.shapes import PerExample, Scores, at_least_float32
from distiller.registry import Probability

MAX_LOG_RATIO = 30.0
"""Log-ratios are cut here before `exp`. For alpha > 0 a log-ratio is at most log((b-1)/alpha), so that in practice
only alpha = 0 is ever cut."""


class Components(NamedTuple):
    """The parts of I_alpha, `[b]` each: I_alpha = mean(1 + joint - marginal)."""

    joint: PerExample
    marginal: PerExample
    clamped: PerExample
    """Share of log-ratios that were cut at `MAX_LOG_RATIO`."""


def leave_one_out_logmeanexp(scores: Scores) -> Tensor:
    """`[b, b]` whose entry (i, j) is the log of the mean of exp(scores[i, k]) over all k except j.

    O(b²) in memory and stable: log-sum-exp of the row less the entry, the usual trick, is NaN in float32 once one
    score dominates. Here the largest score of a row is kept apart, so that nothing of its size is ever subtracted.
    Raises `ShapeError` unless `scores` is square with b ≥ 2.
    """
    size = _square(scores, at_least=2)
    top, where = scores.max(dim=1, keepdim=True)
    is_top = torch.zeros_like(scores, dtype=torch.bool).scatter(1, where, True)
    rest = scores.masked_fill(is_top, -math.inf).logsumexp(1, keepdim=True)
    left = ((rest - top).exp() - (scores - top).exp()).clamp(min=0)
    return torch.where(is_top, rest, top + left.log1p()) - math.log(size - 1)


def mi_components(scores: Scores, log_baseline: Tensor | None, *, alpha: Probability = 0.9) -> Components:
    """The joint and marginal terms of I_alpha for each teacher example, for the loss and for logs.

    `scores` `[b, b]`, row = teacher example, column = student example, b ≥ 3; `log_baseline` `[b]` is log q of each
    teacher example, `None` means 0. `alpha` = 1 is InfoNCE, `alpha` = 0 is TUBA. Raises `ShapeError`.
    Source: Poole et al. 2019, arXiv:1905.06922, eq. 14, averaged over the left-out example.
    """
    size = _square(scores, at_least=3)
    scores = at_least_float32(scores)
    log_q = scores.new_zeros(size) if log_baseline is None else at_least_float32(log_baseline)
    if log_q.shape != (size,):
        raise ShapeError(f"log baseline {list(log_q.shape)} does not fit critic scores {list(scores.shape)}")
    log_a = _log_mixture(scores, log_q[:, None], alpha)
    own = torch.eye(size, dtype=torch.bool, device=scores.device)

    def mean_of_others(entries: Tensor) -> Tensor:
        return entries.masked_fill(own, 0.0).sum(1) / (size - 1)

    joint = scores.diagonal() - mean_of_others(log_a)
    log_ratio = scores - log_a.diagonal()[:, None]
    marginal = mean_of_others(log_ratio.masked_fill(own, 0.0).clamp(max=MAX_LOG_RATIO).exp())
    clamped = mean_of_others((log_ratio.detach() > MAX_LOG_RATIO).to(scores.dtype))
    return Components(joint, marginal, clamped)


def mi_alpha(scores: Scores, log_baseline: Tensor | None, *, alpha: Probability = 0.9) -> PerExample:
    """Minus I_alpha, a lower bound on the mutual information between two layers, in nats.

    `scores` `[b, b]` of a critic, row = teacher example, column = student example; `log_baseline` `[b]` or `None`
    for 0 → `[b]`, whose mean is -I_alpha; it may be negative. Never more than 1 + log((b-1)/alpha) nats are found.
    Raises `ShapeError` for fewer than three examples: two always give 0.
    Source: Poole et al. 2019, arXiv:1905.06922; as a distillation loss arXiv:2109.11105, section 3.2.
    """
    parts = mi_components(scores, log_baseline, alpha=alpha)
    return parts.marginal - parts.joint - 1


def _log_mixture(scores: Scores, log_q: Tensor, alpha: float) -> Tensor:
    """log(alpha · mean of exp(scores) without column j + (1 - alpha) · q), `[b, b]`."""
    if alpha == 0:
        return log_q.expand_as(scores)
    log_mean = leave_one_out_logmeanexp(scores)
    if alpha == 1:
        return log_mean
    return torch.logaddexp(log_mean + math.log(alpha), log_q + math.log1p(-alpha))


def _square(scores: Scores, *, at_least: int) -> int:
    size = len(scores) if scores.dim() else 0
    if scores.shape != (size, size):
        raise ShapeError(f"critic scores should be [batch, batch], got {list(scores.shape)}")
    if size < at_least:
        raise ShapeError(
            f"mutual information needs at least {at_least} examples in a batch, got {size}",
            hint="raise `training.batch_size`, or drop the last small batch",
        )
    return size
