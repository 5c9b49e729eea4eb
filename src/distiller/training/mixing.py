"""Mixup of a batch: each example is blended with a partner, in the word embeddings of whichever model reads it.

Teacher and student share partners and weights, and each mixes its own embeddings. Two more tensors in a batch describe
the pairing; labels are blended where the loss uses them. Sources: Liang et al. 2021, arXiv:2011.00593 (MixKD);
arXiv:2109.11105, section 3.1.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from distiller.augment.mixup import Mixup

PARTNER, WEIGHT = "mixup_partner", "mixup_weight"


class Mix(NamedTuple):
    """Which examples are mixed, and with which weights."""

    partner: Tensor
    """Row of each example's partner in its batch, `[b]`."""
    weight: Tensor
    """Share of the example itself, `[b]`; the rest is the partner's."""

    def blend(self, own: Tensor) -> Tensor:
        """`own` `[b, …]` mixed with its permutation."""
        weight = self.weight.view(-1, *[1] * (own.dim() - 1))
        return weight * own + (1 - weight) * own[self.partner]


def draw(size: int, options: Mixup, seed: tuple[int, ...]) -> Mix:
    """A random pairing of `size` examples; the same for the same seed."""
    random = np.random.default_rng(seed)
    weight = random.beta(options.alpha, options.alpha, size=size if options.per == "pair" else 1)
    return Mix(
        torch.from_numpy(random.permutation(size)), torch.from_numpy(np.broadcast_to(weight, size).astype(np.float32))
    )


def mixed(batch: Mapping[str, Any], mix: Mix, *, mask: str) -> dict[str, Any]:
    """`batch` with the pairing, and with masks that include the tokens of both texts (`union`).

    `input_ids` stay as they are; positions that only the partner has are padding of the example itself, whose embedding
    is mixed like any other.
    """
    found = {**batch, PARTNER: mix.partner, WEIGHT: mix.weight}
    if mask == "union":
        for name in ("attention_mask", "output_mask"):
            if name in batch:
                found[name] = batch[name] | batch[name][mix.partner]
    return found


def mix_of(batch: Mapping[str, Any]) -> Mix | None:
    """The pairing of a mixed batch."""
    return Mix(batch[PARTNER], batch[WEIGHT]) if PARTNER in batch else None


def embedded(model: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """`batch` as `model` reads it: a mixed one as blended word embeddings `[b, l, e]` instead of token ids."""
    mix = mix_of(batch)
    if mix is None:
        return batch
    table: Callable[[Tensor], Tensor] = model.get_input_embeddings()  # type: ignore[operator]
    words = {name: value for name, value in batch.items() if name != "input_ids"}
    own = table(batch["input_ids"])
    return {**words, "inputs_embeds": mix.blend(own).to(own.dtype)}


def known(labels: Tensor) -> Tensor:
    """Which labels exist: numbers that are not NaN, classes and memberships `[b, c]` that are not -100."""
    if not labels.is_floating_point():
        return labels != -100
    there = ~labels.isnan()
    return there if labels.dim() == 1 else there & (labels != -100)


def label_weights(batch: Mapping[str, Any]) -> Tensor:
    """How much each label `[b]` or `[b, k]` counts: 1, or 0 where there is none.

    In a mixed batch a class counts λ if the example has a label plus 1 - λ if its partner has one; numbers count 1 if
    both have one.
    """
    labels, mix = batch["labels"], mix_of(batch)
    valid = known(labels)
    if mix is None:
        return valid.float()
    numbers = labels.is_floating_point() and labels.dim() == 1
    return (valid & valid[mix.partner]).float() if numbers else mix.blend(valid.float())
