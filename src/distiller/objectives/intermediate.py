"""Losses between one student layer and one teacher layer; each returns one number per example."""

import math
from collections.abc import Callable
from typing import Literal

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
    full_precision,
    same_shape,
    valid_tokens,
)
from distiller.registry import Entry, Family


def mse(
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


def ce(student: HiddenStates, teacher: HiddenStates, mask: Mask) -> PerExample:
    """Cross-entropy of hidden states read as if their dimensions were classes, averaged over valid tokens.

    `student`, `teacher` `[b, L, d]`, `mask` `[b, L]` → nats `[b]`. Raises `ShapeError`.
    Source: arXiv:2109.11105, table 9 and the authors' code (`hid_ce`).
    """
    same_shape(student, teacher)
    student, valid = valid_tokens(student, mask)
    # the teacher has no gradient, so its padding may be filled in place once the softmax has made a new tensor
    target = full_precision(teacher.detach()).softmax(-1).masked_fill_(~valid[..., None], 0.0)
    return _token_mean(-(target * student.log_softmax(-1)).sum(-1), valid)


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
    difference = full_precision(student) - full_precision(teacher).detach()
    difference = difference.masked_fill_(~(keys if count_padding else keys & queries), 0.0)
    entries = student[0].numel() if count_padding else student.shape[1] * mask.bool().sum(1).clamp(min=1) ** 2
    return (torch.linalg.vector_norm(difference, dim=-1) ** 2).sum((1, 2)) / entries


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
    difference = full_precision(student) - full_precision(teacher.detach())
    return torch.linalg.vector_norm(difference.masked_fill_(~valid[..., None], 0.0), dim=-1), valid


def _token_mean(per_token: Tensor, valid: Mask) -> PerExample:
    """Mean over valid tokens, `[b, L]` → `[b]`; 0 without gradient for an example that has none."""
    return per_token.masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp(min=1)


def _unit(hidden: HiddenStates) -> HiddenStates:
    return F.normalize(hidden, dim=-1, eps=1e-8)


def _traits(reads: str = "hidden_states", head: str | None = "projection", per: str = "token", **more: bool) -> dict:
    """Facts that the training objective reads off a row.

    `reads`: which output of a model; `head`: what is trained between the two sides; `per`: whether the caller weights
    an example by its valid tokens (which gives the mean over all tokens of the batch) or counts each example once;
    `pooled`: legal with a teacher of another tokenizer; `signed`: the value may be negative.
    """
    return {"reads": reads, "head": head, "per": per, "pooled": False, "signed": False, **more}


INTERMEDIATE: Family[Callable[..., PerExample]] = Family(
    "intermediate objective",
    {
        "ce": Entry(ce, source="arXiv:2109.11105", traits=_traits()),
        "mse": Entry(mse, source="arXiv:1909.10351", traits=_traits()),
        "l2": Entry(l2, source="arXiv:2109.11105", traits=_traits()),
        "cos": Entry(cos, source="arXiv:1910.01108", traits=_traits()),
        # pooled with tokens="cls" only; `all` then fails on the lengths
        "pkd": Entry(pkd, source="arXiv:1908.09355", traits=_traits(per="example", pooled=True)),
        "attention_mse": Entry(
            attention_mse, source="arXiv:1909.10351", traits=_traits("attention_scores", head=None, per="example")
        ),
        "mi_alpha": Entry(
            mi_alpha,
            source="arXiv:1905.06922, arXiv:2109.11105",
            traits=_traits(head="critic", per="example", pooled=True, signed=True),
        ),
    },
)
