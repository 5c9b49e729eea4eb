"""Losses over the whole vocabulary, without ever holding all of its scores: chunks of tokens, recomputed backwards.

Student and teacher scores of n tokens are two tensors `[n, V]`, and their softmaxes several more; at V = 32,000 they
are most of the memory of a training step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from distiller.errors import ShapeError
from distiller.models.signals import Head
from distiller.objectives.prediction import PREDICTION
from distiller.registry import Positive


class TokenStates(NamedTuple):
    """What a model says at each target token, before its head."""

    states: Tensor
    """`[n, width]`."""
    head: Head


class VocabularyLosses(NamedTuple):
    """Sums over target tokens; the caller weights and divides."""

    nll: Tensor
    """-log p(y_t | y_<t, x), smoothed on request."""
    word: Tensor
    """The prediction objective between both distributions; 0 without a teacher."""


def vocabulary_losses(
    student: TokenStates,
    labels: Tensor,
    teacher: TokenStates | None = None,
    *,
    prediction: str = "kl",
    options: dict[str, Any] | None = None,
    label_smoothing: float = 0.0,
    chunk_megabytes: Positive = 256.0,
) -> VocabularyLosses:
    """Sums of both losses over the n target tokens `labels` `[n]`, none of them padding.

    A chunk has as many tokens as fit one float32 tensor `[·, V]` into `chunk_megabytes`; one chunk is enough for most
    batches and is then not recomputed. Value and gradient do not depend on the chunks. The teacher gets no gradient.
    Raises `ShapeError` where both vocabularies differ. Source: Hinton et al. 2015, arXiv:1503.02531; Kim and Rush
    2016, arXiv:1606.07947, section 3.1.
    """
    size = len(student.head.weight)
    if teacher is not None and len(teacher.head.weight) != size:
        raise ShapeError(f"the student has {size} pieces, the teacher {len(teacher.head.weight)}")
    word: Callable[..., Tensor] = PREDICTION[prediction].function
    chosen = PREDICTION.options(prediction, options or {})

    def chunk(states: Tensor, wanted: Tensor, theirs: Tensor | None, weight: Tensor, bias: Tensor) -> Any:
        logits = Head(weight, bias).scores(states)
        with torch.autocast(logits.device.type, enabled=False):
            nll = F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=label_smoothing)
        if teacher is None or theirs is None:
            return nll, nll.new_zeros(())
        with torch.no_grad():
            said = teacher.head.scores(theirs)
        with torch.autocast(logits.device.type, enabled=False):
            return nll, word(logits, said, **chosen).sum()

    tokens = max(1, int(chunk_megabytes * 1e6 / (4 * size)))
    states, wanted = student.states.split(tokens), labels.split(tokens)
    theirs = teacher.states.split(tokens) if teacher is not None else (None,) * len(states)
    if len(states) == 1:
        return VocabularyLosses(*chunk(states[0], wanted[0], theirs[0], *student.head))
    parts = [
        checkpoint(chunk, *one, *student.head, use_reentrant=False, preserve_rng_state=False)
        for one in zip(states, wanted, theirs, strict=True)
    ]
    return VocabularyLosses(*(torch.stack(sums).sum() for sums in zip(*parts, strict=True)))
