"""How the outputs of each kind of task enter prediction objectives and label losses.

Classification and regression have one output per example, tagging one per token, extractive question answering two
distributions over the positions of a window. The losses themselves know nothing of this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distiller.models.signals import Signals
from distiller.objectives.prediction import LABEL, mask_positions
from distiller.training.view import View

Kind = Literal["classification", "regression", "tagging", "qa"]
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Readout:
    """One kind of task: its soft term, its label term, and what the teacher's label for an example is."""

    soft: Callable[[Loss, View], Tensor]
    """A prediction objective, averaged over what counts in the optimisation step."""
    hard: Callable[[View, Tensor], Tensor]
    """The label loss for class ids, probabilities or numbers, averaged likewise."""
    teacher_label: Callable[[View, bool], Tensor]
    """The teacher's own label, soft or (if the flag says so) hard."""


def _example_soft(loss: Loss, view: View) -> Tensor:
    return loss(view.student.logits, _teacher(view).logits).sum() / view.totals.examples


def _class_hard(view: View, labels: Tensor) -> Tensor:
    return LABEL["cross_entropy"].function(view.student.logits, labels).sum() / view.totals.examples


def _number_hard(view: View, labels: Tensor) -> Tensor:
    return LABEL["squared_error"].function(view.student.logits, labels).sum() / view.totals.examples


def _class_label(view: View, hard: bool) -> Tensor:
    scores = _teacher(view).logits.float()
    return scores.argmax(-1) if hard else scores.softmax(-1)


def _number_label(view: View, hard: bool) -> Tensor:
    return _teacher(view).logits.float().squeeze(-1)


def _token_soft(loss: Loss, view: View) -> Tensor:
    return (loss(view.student.logits, _teacher(view).logits) * _mask(view)).sum() / view.totals.outputs


def _token_hard(view: View, labels: Tensor) -> Tensor:
    values = LABEL["cross_entropy"].function(view.student.logits, labels)
    if labels.is_floating_point():
        return (values * _mask(view)).sum() / view.totals.outputs
    return values.sum() / view.totals.labels


def _token_label(view: View, hard: bool) -> Tensor:
    found = _class_label(view, hard)
    return found.masked_fill(_mask(view) == 0, -100) if hard else found


def _span_soft(loss: Loss, view: View) -> Tensor:
    valid = _mask(view).bool()[:, None, :].expand(-1, 2, -1)
    values = loss(_positions(view.student), _positions(_teacher(view)), valid)
    return (values * valid.any(-1)).mean(1).sum() / view.totals.examples


def _span_hard(view: View, labels: Tensor) -> Tensor:
    valid = _mask(view).bool()[:, None, :].expand(-1, 2, -1)
    values = LABEL["cross_entropy"].function(mask_positions(_positions(view.student), valid), labels)
    if labels.is_floating_point():
        return (values * valid.any(-1)).mean(1).sum() / view.totals.examples
    return values.sum() / view.totals.labels


def _span_label(view: View, hard: bool) -> Tensor:
    valid = _mask(view).bool()[:, None, :].expand(-1, 2, -1)
    scores = mask_positions(_positions(_teacher(view)).float(), valid)
    return scores.argmax(-1).masked_fill(~valid.any(-1), -100) if hard else scores.softmax(-1)


def _positions(signals: Signals) -> Tensor:
    """Start and end scores as two distributions over positions, `[b, 2, l]`."""
    return signals.logits.transpose(1, 2)


def _teacher(view: View) -> Signals:
    assert view.teacher is not None
    return view.teacher


def _mask(view: View) -> Tensor:
    """`output_mask`, or every real token where a batch has none (a plain script's own collator)."""
    return view.output_mask if view.output_mask is not None else view.student.mask.to(torch.long)


READOUTS: dict[Kind, Readout] = {
    "classification": Readout(_example_soft, _class_hard, _class_label),
    "regression": Readout(_example_soft, _number_hard, _number_label),
    "tagging": Readout(_token_soft, _token_hard, _token_label),
    "qa": Readout(_span_soft, _span_hard, _span_label),
}
