"""Readable names for tensors, and the shape checks that several objectives share."""

import torch
from torch import Tensor

from distiller.errors import ShapeError

Logits = Tensor
"""Scores before the softmax, `[*b, c]`: c classes, or positions for extractive QA."""
HiddenStates = Tensor
"""What one layer returns, `[b, L, d]`."""
AttentionScores = Tensor
"""Attention before the softmax, `[b, heads, L, L]`: query, then key."""
Mask = Tensor
"""`[b, L]`, true or 1 for a real token, false or 0 for padding."""
Scores = Tensor
"""What a critic returns, `[b, b]`: row = teacher example, column = student example."""
PerExample = Tensor
"""One number per example, `[b]` or `[*b]`; the caller weights and reduces."""


def same_shape(a: Tensor, b: Tensor) -> None:
    """Raise `ShapeError` unless the two tensors have one shape."""
    if a.shape != b.shape:
        raise ShapeError(f"student {list(a.shape)} and teacher {list(b.shape)} should have the same shape")


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, whatever the autocast; float64 stays as it is, so that tests can be exact."""
    return x if x.dtype == torch.float64 else x.float()


def valid_tokens(hidden: HiddenStates, mask: Mask) -> tuple[HiddenStates, Mask]:
    """`hidden` in full precision with zeros at padding, and the mask as booleans.

    Zeros in place of whatever stood there: not even an infinity in padding can reach a value or a gradient.
    Raises `ShapeError` unless `hidden` is `[b, L, d]` and `mask` `[b, L]`.
    """
    if hidden.dim() != 3 or mask.shape != hidden.shape[:2]:
        raise ShapeError(
            f"hidden states {list(hidden.shape)} and mask {list(mask.shape)} should be [batch, length, width] "
            "and [batch, length]"
        )
    valid = mask.bool()
    return at_least_float32(hidden).masked_fill(~valid[..., None], 0.0), valid
