"""Attention masks that the host does not read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

CHECKS = ("_ignore_bidirectional_mask_sdpa", "_ignore_causal_mask_sdpa")
"""Functions of `transformers.masking_utils` that look whether a mask hides anything, so as to leave it out."""


@contextmanager
def unread_masks(device: torch.device) -> Iterator[None]:
    """Masks on `device` are applied without checking whether they mask anything.

    That check makes the host wait for the accelerator in every forward pass and changes no result: a mask that masks
    nothing adds zeros. On a CPU it costs nothing and stays.
    """
    from transformers import masking_utils

    checks = {name: getattr(masking_utils, name) for name in CHECKS if hasattr(masking_utils, name)}
    if device.type == "cpu" or torch.compiler.is_compiling():
        yield
        return
    for name, check in checks.items():
        setattr(masking_utils, name, partial(_without_reading, check))
    try:
        yield
    finally:
        for name, check in checks.items():
            setattr(masking_utils, name, check)


def _without_reading(check: Callable[..., bool], padding_mask: Any, *others: Any, **named: Any) -> bool:
    return padding_mask is None and check(padding_mask, *others, **named)
