"""Networks that turn the hidden states of a batch into one vector per example, for critics."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from distiller.objectives.shapes import HiddenStates, Mask, valid_tokens

Pool = Literal["cls", "mean"]


class TransformerTower(nn.Module):
    """A small Transformer encoder, masked mean, and one linear layer `output`: `[b, L, width]` → `[b, outputs]`.

    Layers normalise first (they train without warm-up), hence the final LayerNorm. Where `heads` does not divide
    the width, the largest smaller number that does is taken. Padding is neither attended to nor averaged.
    """

    def __init__(self, width: int, outputs: int, *, layers: int, feedforward: int, heads: int, dropout: float) -> None:
        super().__init__()
        heads = max(divisor for divisor in range(1, heads + 1) if width % divisor == 0)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        for parameter in self.encoder.parameters():  # torch starts all layers as copies of the first
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.output = nn.Linear(width, outputs)

    def forward(self, hidden: HiddenStates, mask: Mask) -> Tensor:
        """One vector `[b, outputs]` per example; `mask` is `[b, L]`."""
        return self.encode(hidden + sinusoids(hidden), mask)

    def encode(self, hidden: HiddenStates, mask: Mask) -> Tensor:
        """As `forward`, for hidden states that already hold their positions."""
        hidden, valid = valid_tokens(hidden, mask)
        encoded = self.encoder(hidden, src_key_padding_mask=~valid)
        return self.output(masked_mean(encoded, valid))


class MlpTower(nn.Module):
    """A perceptron on the first token or the mean token: `[b, L, width]` → `[b, outputs]`, last layer `output`."""

    def __init__(self, width: int, outputs: int, *, layers: int, hidden: int, pool: Pool) -> None:
        super().__init__()
        self.body = perceptron([width] + [hidden] * (layers - 1))
        self.output = nn.Linear(hidden if layers > 1 else width, outputs)
        self.pool: Pool = pool

    def forward(self, hidden: HiddenStates, mask: Mask) -> Tensor:
        """One vector `[b, outputs]` per example; `mask` is `[b, L]`."""
        return self.output(self.body(pooled(hidden, mask, self.pool)))


def perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers between `widths`, each followed by a ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


def pooled(hidden: HiddenStates, mask: Mask, pool: Pool) -> Tensor:
    """The first token (`cls`) or the mean of valid tokens, `[b, L, d]` → `[b, d]`."""
    if pool == "cls":
        return valid_tokens(hidden[:, :1], mask[:, :1])[0][:, 0]
    return masked_mean(*valid_tokens(hidden, mask))


def masked_mean(hidden: HiddenStates, valid: Mask) -> Tensor:
    """Mean over valid tokens, `[b, L, d]` → `[b, d]`; zeros for an example without any."""
    return hidden.masked_fill(~valid[..., None], 0.0).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)


def position_angles(positions: Tensor, width: int) -> Tensor:
    """Angles `[L, ⌈width / 2⌉]` of sinusoidal `positions` `[L]`, in float32. Source: arXiv:1706.03762, section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    return positions.float()[:, None] * rates


def sinusoids(hidden: HiddenStates) -> Tensor:
    """Sinusoidal positions `[L, d]` for hidden states `[b, L, d]`: sines and cosines in turn."""
    length, width = hidden.shape[1:]
    angles = position_angles(torch.arange(length, device=hidden.device), width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width].to(hidden.dtype)
