"""Exchanges between the processes of one training in the middle of a step, with gradients."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad


class BatchSlice(NamedTuple):
    """Where this process's examples are among those of all processes, in the order of ranks."""

    start: int
    size: int
    total: int

    @property
    def around(self) -> tuple[int, int]:
        """How many examples come before and after."""
        return self.start, self.total - self.start - self.size

    @property
    def own(self) -> slice:
        """This process's examples."""
        return slice(self.start, self.start + self.size)


def batch_slice(size: int, device: torch.device) -> BatchSlice:
    """The place of `size` examples, however many each process has. One copy from the device if there are several."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return BatchSlice(0, size, size)
    sizes = torch.zeros(distributed.get_world_size(), dtype=torch.long, device=device)
    sizes[distributed.get_rank()] = size
    distributed.all_reduce(sizes)
    before, every = sizes[: distributed.get_rank()].sum(), sizes.sum()
    start, total = torch.stack([before, every]).tolist()
    return BatchSlice(start, size, total)


def gathered(own: Tensor, place: BatchSlice) -> Tensor:
    """`own` `[*, b, d]` together with those of the other processes, `[*, total, d]`.

    The gradient that a process computes for the others' examples reaches the process that owns them.
    """
    return own if place.total == place.size else _Sum.apply(pad(own, (0, 0, *place.around)))  # type: ignore[return-value]


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is summed too, since each process has its share of the loss."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return summed(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return summed(*gradients)


def summed(own: Tensor) -> Tensor:
    """The sum of `own` over all processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    own = own.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(own)
    return own
