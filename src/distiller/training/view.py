"""One view of a batch as the objective sees it."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from distiller.models.signals import Signals
from distiller.training.mixing import Mix


class Totals(NamedTuple):
    """What sums of losses are divided by, counted over one whole optimisation step (all its micro-batches)."""

    examples: Tensor
    tokens: Tensor
    outputs: Tensor
    """Token outputs that the teacher is asked about: the sum of `output_mask`."""
    labels: Tensor
    """Labels that are there, i.e. not -100."""


@dataclass(frozen=True)
class View:
    """What both models made of one view of a batch, and its gold labels, where it has any."""

    student: Signals
    teacher: Signals | None
    labels: Tensor | None
    """`[b]`; tagging `[b, l]` and question answering `[b, 2]` with -100 where there is none."""
    totals: Totals
    output_mask: Tensor | None = None
    """`[b, l]`, 1 at tokens whose outputs count: real words for tagging, possible answers for question answering."""
    mix: Mix | None = None
    """How the examples of this view were mixed, if they were."""
