"""Probabilities that come with examples, where a prediction objective expects the outputs of a teacher."""

from dataclasses import replace

import torch
from torch import Tensor

from distiller.models.signals import Signals
from distiller.training.batching import Batch
from distiller.training.mixing import mix_of

FLOOR = 1e-6
"""The least probability that has a logarithm here."""


def logits_of(probabilities: Tensor, *, several: bool = False) -> Tensor:
    """Logits `[*b, c]` whose softmax, or sigmoid with `several`, is `probabilities`, as closely as `FLOOR` allows."""
    shares = probabilities.float()
    return shares.clamp(FLOOR, 1 - FLOOR).logit() if several else shares.clamp(min=FLOOR).log()


def signals_of(view: Batch, *, several: bool = False) -> Signals:
    """Signals of a teacher that predicts a view's own probabilities; those of a mixed view are mixed."""
    mix, soft = mix_of(view), view["soft_labels"]
    return Signals(logits_of(soft if mix is None else mix.blend(soft), several=several), {}, {}, view["attention_mask"])


def with_soft_labels(signals: Signals, view: Batch, *, several: bool = False) -> Signals:
    """`signals` in which examples with their own probabilities have these."""
    if "soft_labels" not in view:
        return signals
    soft = view["soft_labels"]
    there = ~soft.isnan().any(-1, keepdim=True)
    return replace(signals, logits=torch.where(there, logits_of(soft, several=several), signals.logits.float()))
