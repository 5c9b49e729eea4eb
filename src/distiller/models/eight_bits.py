"""Trains a model with 8-bit arithmetic simulated, so that its weights adapt to it.

Quantisation-aware training (Jacob et al. 2018, arXiv:1712.05877): where a layer multiplies, its weights and inputs are
rounded as an engine rounds them, and the gradient passes as if they had not been. The weights themselves stay float32,
and the model is an ordinary one once the rounding is switched off.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LEVELS = {8: 127, 7: 63}
"""The largest whole number of so many bits, sign included."""


def rounded(values: Tensor, levels: int = LEVELS[8]) -> Tensor:
    """`values` `[…, n]` rounded to 2·levels + 1 multiples of max|·| / levels along the last dimension.

    The gradient passes unchanged (the straight-through estimator of Bengio et al. 2013, arXiv:1308.3432).
    """
    with torch.no_grad():
        scale = values.abs().amax(-1, keepdim=True) / levels
        steps = torch.where(scale > 0, values / scale, values).round()
        difference = steps * scale - values
    return values + difference


class EightBits:
    """Switches the rounding of a model's products and embedding tables on and off; its `state_dict` never changes.

    Weights have a scale for each output; token embeddings and layer inputs have one for each row. `weight_bits`: ONNX
    Runtime has 7 for weights, so that processors without VNNI do not overflow; CTranslate2 has 8. Code that uses a
    layer's weight without calling the layer sees no rounding: so do the translation losses, which compute the scores of
    the vocabulary themselves, in chunks.
    """

    def __init__(self, model: nn.Module, *, weight_bits: int = 8) -> None:
        self.model = model
        self.levels = LEVELS[weight_bits]
        self.on = False

    def start(self) -> None:
        """Compute in simulated 8 bits from now on."""
        if self.on:
            return
        self.on = True
        for module in self.model.modules():
            if isinstance(module, nn.Linear):
                module.forward = MethodType(_product(self.levels), module)
            elif isinstance(module, Conv1D):
                module.forward = MethodType(_product(self.levels, transposed=True), module)
            elif isinstance(module, nn.Embedding):
                module.forward = MethodType(_embedding(type(module)), module)

    def stop(self) -> None:
        """Restore the model as it was, with the weights it has learnt."""
        self.on = False
        for module in self.model.modules():
            if isinstance(module, nn.Linear | Conv1D | nn.Embedding):
                module.__dict__.pop("forward", None)


def _product(levels: int, *, transposed: bool = False) -> Any:
    """The product with a weight `[outputs, inputs]`, or `transposed`, as GPT-2 has it."""

    def forward(self: Any, input: Tensor) -> Tensor:
        weight = self.weight.T if transposed else self.weight
        return nn.functional.linear(rounded(input), rounded(weight, levels), self.bias)

    return forward


def _embedding(kind: type[nn.Embedding]) -> Any:
    def forward(self: nn.Embedding, *given: Any, **named: Any) -> Tensor:  # each row is rounded by itself
        return rounded(kind.forward(self, *given, **named))

    return forward
