"""Several teachers as one: what they say is averaged, and one of them, the first, is the one whose layers are read.

What is averaged are probabilities (numbers for a regression), before any temperature: a class that one teacher rules
out keeps the others' share. Layers of different models cannot be averaged, so those of the first are compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import PreTrainedModel

from distiller.models.folders import weights_fingerprint
from distiller.objectives.prediction import MASKED_LOGIT
from distiller.training.readout import Kind


@dataclass(frozen=True, eq=False)
class OtherTeachers:
    """The teachers beside the first, and how much each counts."""

    models: Sequence[PreTrainedModel]
    weights: Sequence[float]
    """Of the first teacher and of these, in this order."""
    kind: Kind

    @cached_property
    def facts(self) -> list[tuple[str, float]]:
        """What decides, beside the first teacher, what all say together."""
        prints = ["", *map(weights_fingerprint, self.models)]
        return [*zip(prints, self.shares, strict=True)]

    @property
    def shares(self) -> list[float]:
        """The weights, so that they sum to one."""
        return [weight / sum(self.weights) for weight in self.weights]

    def average(self, first: Tensor, *others: Tensor, mask: Tensor | None = None) -> Tensor:
        """`average_logits` of what every teacher says."""
        return average_logits([first, *others], self.shares, self.kind, mask=mask)


def average_logits(
    logits: Sequence[Tensor], shares: Sequence[float], kind: Kind, *, mask: Tensor | None = None
) -> Tensor:
    """Logits that mean the average of what `logits` mean, float32, of the same shape; `shares` sum to one.

    `[b, c]` for texts, `[b, L, c]` for tagging, `[b, L, 2]` for question answering, where `mask` `[b, L]` says which
    positions are tokens. Of classes probabilities are averaged, of several classes at once each for itself, of start
    and end of an answer over the positions; of a regression numbers.
    """
    weights = torch.tensor(shares, dtype=torch.float32, device=logits[0].device).view(-1, *[1] * logits[0].dim())
    said = torch.stack([one.float() for one in logits])
    if kind == "regression":
        return (weights * said).sum(0)
    if kind == "multilabel":
        there = (weights.log() + logsigmoid(said)).logsumexp(0)
        return there - (weights.log() + logsigmoid(-said)).logsumexp(0)
    if kind == "qa":
        if mask is not None:
            said = said.masked_fill(~mask.bool()[None, ..., None], MASKED_LOGIT)
        return (weights.log() + said.log_softmax(-2)).logsumexp(0).clamp(min=MASKED_LOGIT)
    return (weights.log() + said.log_softmax(-1)).logsumexp(0)
