"""Losses between one student layer and one teacher layer; each returns one number per example."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.mutual_information import mi_alpha
from distiller.objectives.shapes import (
    AttentionScores,
    HiddenStates,
    Mask,
    PerExample,
    at_least_float32,
    same_shape,
    valid_tokens,
)
from distiller.registry import Entry, Family


def hidden_mse(
    student: HiddenStates, teacher: HiddenStates, mask: Mask, *, reduce: Literal["mean_dim", "sum_dim"] = "mean_dim"
) -> PerExample:
    """Squared distance of hidden states, averaged over an example's valid tokens.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → `[b]`; `sum_dim` leaves out the division by d (theorem 3.1 of
    arXiv:2109.11105). Raises `ShapeError`. Source: Jiao et al. 2020 (TinyBERT), arXiv:1909.10351, eq. 8.
    """
    distance, valid = _distance(student, teacher, mask)
    squared = distance**2
    return _token_mean(squared / student.shape[-1] if reduce == "mean_dim" else squared, valid)


def l2(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> PerExample:
    """Euclidean distance of hidden states, averaged over an example's valid tokens.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → `[b]`; at equality 1e-6, the root of the constant that keeps
    the gradient finite. Raises `ShapeError`. Source: arXiv:2109.11105, appendix H.
    """
    distance, valid = _distance(student, teacher, mask)
    return _token_mean((distance**2 + 1e-12).sqrt(), valid)


def cos(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> PerExample:
    """One minus the cosine of hidden states, averaged over an example's valid tokens.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → `[b]` between 0 and 2. Raises `ShapeError`.
    Source: Sanh et al. 2019 (DistilBERT), arXiv:1910.01108, section 3.
    """
    student, teacher, valid = _both(student, teacher, mask)
    lengths = (torch.linalg.vector_norm(side, dim=-1).clamp(min=1e-8) for side in (student, teacher))
    return _token_mean(1 - (student * teacher).sum(-1) / math.prod(lengths), valid)


def hidden_ce(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> PerExample:
    """Cross-entropy of hidden states read as if their dimensions were classes, averaged over valid tokens.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → nats `[b]`. Raises `ShapeError`.
    Source: arXiv:2109.11105, table 9 and the authors' code (`hid_ce`).
    """
    student, teacher, valid = _both(student, teacher, mask)
    return _token_mean(-(teacher.softmax(-1) * student.log_softmax(-1)).sum(-1), valid)


def pkd(
    student: HiddenStates,
    teacher: HiddenStates,
    mask: Mask,
    *,
    tokens: Literal["cls", "all"] = "cls",
    normalise: bool = True,
    mean_dim: bool = False,
) -> PerExample:
    """Squared distance of unit hidden states: 2 - 2·cosine, of the first token or of all.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → `[b]`. With `tokens="cls"` the teacher may have another length:
    only position 0, which must not be padding, is read. BERT-PKD's own code has `mean_dim` (divides by d) and a
    switch for `normalise`. Raises `ShapeError`. Source: Sun et al. 2019, arXiv:1908.09355, eq. 7.
    """
    if tokens == "cls":
        student, teacher, mask = student[:, :1], teacher[:, :1], mask[:, :1]
    student, teacher, valid = _both(student, teacher, mask)
    if normalise:
        student, teacher = _unit(student), _unit(teacher)
    squared = (student - teacher) ** 2
    return _token_mean(squared.mean(-1) if mean_dim else squared.sum(-1), valid)


def attention_mse(
    student: AttentionScores, teacher: AttentionScores, mask: Mask, *, count_padding: bool = False
) -> PerExample:
    """Squared difference of attention scores before the softmax, averaged over heads and pairs of valid tokens.

    `student`, `teacher` `[b, heads, L, L]`, `mask` `[b, L]` → `[b]`. `count_padding` is the original code's average:
    over all L² entries, in which padded keys count as 0 and the rows of padded queries count as they are, so that
    the value depends on how far the batch is padded. Raises `ShapeError`, also where the numbers of heads differ.
    Source: Jiao et al. 2020 (TinyBERT), arXiv:1909.10351, eq. 7.
    """
    if student.dim() != 4 or mask.shape != (len(student), student.shape[-1]):
        raise ShapeError(
            f"attention scores {list(student.shape)} and mask {list(mask.shape)} should be "
            "[batch, heads, length, length] and [batch, length]"
        )
    if student.shape[1] != teacher.shape[1]:
        raise ShapeError(
            f"the student has {student.shape[1]} attention heads and the teacher {teacher.shape[1]}",
            hint="choose a student with the teacher's number of heads, or a loss on hidden states",
        )
    same_shape(student, teacher)
    keys, queries = mask.bool()[:, None, None, :], mask.bool()[:, None, :, None]
    # models write -inf, or the lowest float, where a key is padding: even the NaN of -inf - -inf is filled
    difference = at_least_float32(student) - at_least_float32(teacher).detach()
    difference = difference.masked_fill_(~(keys if count_padding else keys & queries), 0.0)
    entries = _counted_entries(student, mask, count_padding)
    return (torch.linalg.vector_norm(difference, dim=-1) ** 2).sum((1, 2)) / entries


def mse_grid(
    students: Tensor, teachers: Tensor, mask: Mask, *, reduce: Literal["mean_dim", "sum_dim"] = "mean_dim"
) -> Tensor:
    """`hidden_mse` of every student layer `[N, b, L, d]` with every teacher layer `[M, b, L, d]` → `[N, M, b]`."""
    valid = mask.bool()
    squared = _distances(*_filled(students, teachers, valid[..., None])) ** 2
    return _token_mean(squared / students.shape[-1] if reduce == "mean_dim" else squared, valid)


def l2_grid(students: Tensor, teachers: Tensor, mask: Mask) -> Tensor:
    """`l2` of every student layer `[N, b, L, d]` with every teacher layer `[M, b, L, d]` → `[N, M, b]`."""
    valid = mask.bool()
    distances = _distances(*_filled(students, teachers, valid[..., None]))
    return _token_mean((distances**2 + 1e-12).sqrt(), valid)


def pkd_grid(
    students: Tensor,
    teachers: Tensor,
    mask: Mask,
    *,
    tokens: Literal["cls", "all"] = "cls",
    normalise: bool = True,
    mean_dim: bool = False,
) -> Tensor:
    """`pkd` of every student layer `[N, b, L, d]` with every teacher layer `[M, b, L, d]` → `[N, M, b]`."""
    if tokens == "cls":
        students, teachers, mask = students[:, :, :1], teachers[:, :, :1], mask[:, :1]
    valid = mask.bool()
    students, teachers = _filled(students, teachers, valid[..., None])
    if normalise:
        students, teachers = _unit(students), _unit(teachers)
    squared = _distances(students, teachers) ** 2
    return _token_mean(squared / students.shape[-1] if mean_dim else squared, valid)


def cos_grid(students: Tensor, teachers: Tensor, mask: Mask) -> Tensor:
    """`cos` of every student layer `[N, b, L, d]` with every teacher layer `[M, b, L, d]` → `[N, M, b]`.

    Each layer is brought to length 1 once, not once per pair, and all pairs are one matrix product: 3 times as fast.
    """
    valid = mask.bool()
    students, teachers = _filled(students, teachers, valid[..., None])
    return _token_mean(1 - torch.einsum("nbld,mbld->nmbl", _unit(students), _unit(teachers)), valid)


def ce_grid(students: Tensor, teachers: Tensor, mask: Mask) -> Tensor:
    """`hidden_ce` of every student layer `[N, b, L, d]` with every teacher layer `[M, b, L, d]` → `[N, M, b]`."""
    valid = mask.bool()
    students, teachers = _filled(students, teachers, valid[..., None])
    return _token_mean(-torch.einsum("nbld,mbld->nmbl", students.log_softmax(-1), teachers.softmax(-1)), valid)


def attention_mse_grid(students: Tensor, teachers: Tensor, mask: Mask, *, count_padding: bool = False) -> Tensor:
    """`attention_mse` of layers `[N, b, heads, L, L]` with `[M, b, heads, L, L]` → `[N, M, b]`.

    |s - t|² = |s|² + |t|² - 2·s·t reads each layer once, where the pairs read memory N·M times. In float32 the value
    is exact to about 1e-7 of |s|² + |t|², and so is good for layers that differ by more than a thousandth.
    """
    if students.shape[1:] != teachers.shape[1:]:
        attention_mse(students[0], teachers[0], mask)  # raises the error that says what is wrong
    keys, queries = mask.bool()[:, None, None, :], mask.bool()[:, None, :, None]
    students, teachers = _filled(students, teachers, keys if count_padding else keys & queries)
    entries = _counted_entries(students[0], mask, count_padding)
    students, teachers = students.flatten(2), teachers.flatten(2)
    squares = students.square().sum(-1)[:, None] + teachers.square().sum(-1)
    distances = (squares - 2 * torch.einsum("nbk,mbk->nmb", students, teachers)).clamp(min=0)
    return distances / entries


def _counted_entries(scores: AttentionScores, mask: Mask, count_padding: bool) -> Tensor | int:
    """Which entries of one example's attention scores enter its mean."""
    return scores[0].numel() if count_padding else scores.shape[1] * mask.bool().sum(1).clamp(min=1) ** 2


def _filled(students: Tensor, teachers: Tensor, counted: Mask) -> tuple[Tensor, Tensor]:
    """Stacked layers of both sides with zeros where nothing is `counted`, the teacher's without gradient."""
    same_shape(students[0], teachers[0])
    students, teachers = at_least_float32(students), at_least_float32(teachers.detach())
    return students.masked_fill(~counted, 0.0), teachers.masked_fill(~counted, 0.0)


def _both(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> tuple[HiddenStates, HiddenStates, Mask]:
    """Both sides with padding zeroed, the teacher without gradient, and the mask as booleans."""
    same_shape(student, teacher)
    student, valid = valid_tokens(student, mask)
    return student, valid_tokens(teacher.detach(), mask)[0], valid


def _distance(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> tuple[Tensor, Mask]:
    """Euclidean distance of each token, 0 at padding, `[b, L]`, and the mask as booleans.

    Padding is filled once, after the subtraction, whose gradient does not depend on what stands there; and the norm
    reads its input once. Both count: with many layer pairs these passes over memory are the whole cost.
    """
    same_shape(student, teacher)
    if student.dim() != 3 or mask.shape != student.shape[:2]:
        raise ShapeError(
            f"hidden states {list(student.shape)} and mask {list(mask.shape)} should be [batch, length, width] "
            "and [batch, length]"
        )
    valid = mask.bool()
    difference = at_least_float32(student) - at_least_float32(teacher.detach())
    return torch.linalg.vector_norm(difference.masked_fill_(~valid[..., None], 0.0), dim=-1), valid


def _distances(students: Tensor, teachers: Tensor) -> Tensor:
    """Euclidean distances of layers `[N, b, L, d]` and `[M, b, L, d]`, token by token: `[N, M, b, L]`.

    The differences themselves are summed, not |s|² + |t|² - 2·s·t, so that layers that are nearly equal, as a student
    copied from its teacher has them, are as exact as a single pair; no difference is kept for the backward pass.
    """
    ours, theirs = students.permute(1, 2, 0, 3), teachers.permute(1, 2, 0, 3)
    return torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist").permute(2, 3, 0, 1)


def _token_mean(per_token: Tensor, valid: Mask) -> PerExample:
    """Mean over valid tokens, `[..., b, L]` → `[..., b]`; 0 without gradient for an example that has none."""
    return per_token.masked_fill(~valid, 0.0).sum(-1) / valid.sum(-1).clamp(min=1)


def _unit(hidden: HiddenStates) -> HiddenStates:
    return F.normalize(hidden, dim=-1, eps=1e-8)


def _traits(reads: str = "hidden_states", head: str | None = "projection", per: str = "token", **more: Any) -> dict:
    """Facts that the training objective reads off a row.

    `reads`: which output of a model; `head`: what is trained between the two sides; `per`: whether the caller weights
    an example by its valid tokens (which gives the mean over all tokens of the batch) or counts each example once;
    `pooled`: legal with a teacher of another tokenizer; `signed`: the value may be negative; `grid`: the same loss of
    all layer pairs at once.
    """
    return {"reads": reads, "head": head, "per": per, "pooled": False, "signed": False, "grid": None, **more}


INTERMEDIATE: Family[Callable[..., PerExample]] = Family(
    "intermediate objective",
    {
        "ce": Entry(hidden_ce, source="arXiv:2109.11105", traits=_traits(grid=ce_grid)),
        "mse": Entry(hidden_mse, source="arXiv:1909.10351", traits=_traits(grid=mse_grid)),
        "l2": Entry(l2, source="arXiv:2109.11105", traits=_traits(grid=l2_grid)),
        "cos": Entry(cos, source="arXiv:1910.01108", traits=_traits(grid=cos_grid)),
        # pooled with tokens="cls" only; `all` then fails on the lengths
        "pkd": Entry(pkd, source="arXiv:1908.09355", traits=_traits(per="example", pooled=True, grid=pkd_grid)),
        "attention_mse": Entry(
            attention_mse,
            source="arXiv:1909.10351",
            traits=_traits("attention_scores", head=None, per="example", grid=attention_mse_grid),
        ),
        "mi_alpha": Entry(
            mi_alpha,
            source="arXiv:1905.06922, arXiv:2109.11105",
            traits=_traits(head="critic", per="example", pooled=True, signed=True),
        ),
    },
)
