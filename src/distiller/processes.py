"""Processes that train together (`torchrun`): the first one locks, writes and prints; the others wait for it."""

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from distiller.errors import DistillerError, RunError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long processes wait for the first, which may ask a teacher about a large data set meanwhile."""
SHARERS = "DISTILLER_DEVICE_SHARERS"
"""The environment variable in which a study says how many of its workers have one device."""


def rank() -> int:
    """This process's number among those that `torchrun` started; 0 if it is alone."""
    return int(os.environ.get("RANK", 0))


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


@cache
def join() -> Any:
    """Meet the other processes, as `transformers.Trainer` does.

    Returns their group on the host, which has no timeout while the first process works; every process must call this.
    """
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.accelerator.is_available())
    atexit.register(_leave)
    return torch.distributed.new_group(backend="gloo", timeout=PATIENCE)


def _leave() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in every process; the others wait. If it fails, all of them fail.

    Every process must call this, in the same order. The result must be picklable.
    """
    if count() == 1:
        return make()
    if not is_first():
        made, value = _told(None)
        if made:
            return value
        raise value
    try:
        value = make()
    except BaseException as error:
        known = isinstance(error, DistillerError)
        _told((False, error if known else RunError(f"the first of {count()} processes failed: {error}")))
        raise
    _told((True, value))
    return value


def _told(answer: Any) -> Any:
    """What the first process reports."""
    group = join()
    import torch

    box = [answer]
    torch.distributed.broadcast_object_list(box, src=0, group=group)
    return box[0]
