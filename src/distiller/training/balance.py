"""The share of the student's gradient that comes from each term of Eq. (1), and weights given as such a share.

The value of a loss does not tell how much it moves the student: mutual information is a sum over layer pairs and may be
negative, a squared distance depends on the width. What is compared here is the norm of the gradient that each weighted
term sends to the student's parameters. It costs one more backward pass for each term, so it is measured only now and
then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm

from distiller.training.table_rows import dense_part

EVERY = {True: 50, False: 100}
"""Steps between two measurements, where a weight follows from them and where they are only shown."""
EARLY = (0, 10, 20)
"""The student changes fastest at first."""
MEMORY = 0.7
"""Share of the old logarithm in a new weight: a single batch is noisy."""
LOUDER = 2.0**10
"""What is measured is multiplied by this, which changes no share: in fp16 small gradients would be zeros."""


@dataclass(frozen=True)
class TermValue:
    """One term of one view."""

    name: str
    value: Tensor
    """A scalar, before its weight."""
    weight: float = 1.0
    """Its own number; with `share`, a factor on what follows from that."""
    term: int | None = None
    """Which of the terms by share it belongs to."""


class Balance(nn.Module):
    """The measured shares, and the weights of the terms whose share is `wanted`; checkpoints keep both.

    Raises `ValueError` unless the wanted shares leave something for the other terms.
    """

    weights: Tensor
    known: Tensor

    def __init__(self, wanted: Sequence[float]) -> None:
        super().__init__()
        if sum(wanted) >= 1:
            raise ValueError(f"the shares of all terms add up to {sum(wanted):g}, and must leave some to the others")
        self.wanted = tuple(wanted)
        self.latest: dict[str, Tensor] = {}
        """The shares of the last measurement, by the name of the part."""
        if wanted:
            self.register_buffer("weights", torch.ones(len(wanted)))
            self.register_buffer("known", torch.zeros(len(wanted)))

    def due(self, step: int) -> bool:
        """Whether shares are measured in this optimisation step."""
        return step in EARLY or step % EVERY[bool(self.wanted)] == 0

    def weight_of(self, part: TermValue) -> float | Tensor:
        """The number that multiplies the part."""
        return part.weight if part.term is None else part.weight * self.weights[part.term]

    def measure(self, parts: Sequence[TermValue], parameters: Sequence[nn.Parameter]) -> None:
        """Record the shares of `parts`, and correct the weights of those that are given by share."""
        norms = torch.stack([_gradient_norm(part.value, parameters) for part in parts])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(norms)  # all processes must agree on the weights
        heard: list[Tensor] = []
        for norm, part in zip(norms, parts, strict=True):
            # the factor of a term by share is its warm-up or fading, which must not be compensated
            heard.append(norm * part.weight if part.term is None else norm)
        if self.wanted:
            self._correct(heard, [part.term for part in parts])
        # Python numbers multiply the tensors one by one: a tensor made of them would be a copy that blocks
        weighted = torch.stack([norm * self.weight_of(part) for norm, part in zip(norms, parts, strict=True)])
        shares = weighted / weighted.sum().clamp_min(1e-30)
        self.latest = {part.name: share for part, share in zip(parts, shares, strict=True)}

    def _correct(self, norms: Sequence[Tensor], terms: Sequence[int | None]) -> None:
        zero = torch.zeros_like(norms[0])
        others = sum((norm for norm, term in zip(norms, terms, strict=True) if term is None), zero)
        rest = 1 - sum(self.wanted)
        for place, share in enumerate(self.wanted):
            own = sum((norm for norm, term in zip(norms, terms, strict=True) if term == place), zero)
            fitting = (share / rest * others / own.clamp_min(1e-30)).clamp(1e-6, 1e6)
            mixed = torch.exp(MEMORY * self.weights[place].log() + (1 - MEMORY) * fitting.log())
            # not while a term is inactive, without anything to compare with, or after an overflow in half precision
            there = (own > 0) & (others > 0) & torch.isfinite(own + others)
            self.weights[place] = torch.where(
                there, torch.where(self.known[place] > 0, mixed, fitting), self.weights[place]
            )
            self.known[place] = torch.maximum(self.known[place], there.float())


def _gradient_norm(value: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of the gradient of `value`; 0 if it depends on none of the `parameters`."""
    if not value.requires_grad:
        return torch.zeros((), device=value.device)
    gradients = torch.autograd.grad(LOUDER * value, parameters, retain_graph=True, allow_unused=True)
    found = [dense_part(gradient).float() for gradient in gradients if gradient is not None]
    return get_total_norm(found) if found else torch.zeros((), device=value.device)
