"""Mixup as an operator of a policy: its options. The mixing itself happens in training, at the embeddings."""

from dataclasses import dataclass
from typing import Literal

from distiller.registry import Positive

Per = Literal["pair", "batch"]
MaskRule = Literal["union", "first"]


@dataclass(frozen=True)
class Mixup:
    """How word embeddings of two examples are mixed."""

    alpha: float
    """λ is drawn from Beta(alpha, alpha)."""
    per: Per
    """Whether each pair has a λ of its own, or a batch has one."""
    mask: MaskRule
    """Which positions count: those of either example, or those of the first."""
    align_segments: bool = False
    """Whether the second texts of pairs are mixed from their first words on."""


def mixup(*, alpha: Positive = 0.4, per: Per = "pair", mask: MaskRule = "union", align_segments: bool = False) -> Mixup:
    """Mixes the word embeddings of two examples, λ · one + (1 − λ) · other, and their labels accordingly.

    λ follows Beta(`alpha`, `alpha`), drawn for each pair of examples or for each batch; teacher and student share it.
    Attention sees the tokens of either example (`union`) or only as many as the first one has. Pairs of texts are mixed
    position by position as they are; with `align_segments`, first texts are padded to one length beforehand, so that
    first texts are mixed with first ones and second with second.
    Source: Liang et al. 2021 (MixKD), arXiv:2011.00593; arXiv:2109.11105, section 3.1.
    """
    return Mixup(alpha, per, mask, align_segments)
