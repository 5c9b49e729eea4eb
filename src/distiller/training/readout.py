"""How the outputs of each kind of task enter prediction objectives and label losses.

Classification and regression have one output per example, tagging one per token, extractive question answering two
distributions over the positions of a window. The losses themselves are independent of this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distiller.models.signals import Signals
from distiller.objectives.prediction import LABEL, mask_positions
from distiller.training.mixing import known
from distiller.training.view import View

Kind = Literal["classification", "multilabel", "regression", "tagging", "qa", "generation"]
"""`multilabel`: every class is there or not, on its own. `generation`: a token of the vocabulary at each place that has
a label (language models)."""
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Readout:
    """One kind of task: three ways to compare the student's outputs, each a scalar mean over the optimisation step."""

    soft: Callable[[Loss, View], Tensor]
    """A prediction objective against the teacher's outputs."""
    gold: Callable[[View], Tensor]
    """The label loss against the view's own labels; those of mixed examples are mixed."""
    imitated: Callable[[View, bool], Tensor]
    """The label loss against what the teacher says: its probabilities or, with the flag, its best class."""


# --- one output per example ------------------------------------------------------------------------------------------


def _example_soft(loss: Loss, view: View) -> Tensor:
    return loss(view.student.logits, _teacher(view).logits).sum() / view.totals.examples


def _class_gold(view: View) -> Tensor:
    return _mixed_loss(view, view.student.logits).sum() / view.totals.labels


def _class_imitated(view: View, hard: bool) -> Tensor:
    labels = _teacher_classes(_teacher(view).logits, hard)
    return LABEL["cross_entropy"].function(view.student.logits, labels).sum() / view.totals.examples


def _number_gold(view: View) -> Tensor:
    labels = _labels(view) if view.mix is None else view.mix.blend(_labels(view))
    there = known(labels)  # of two mixed numbers both must be known
    values = LABEL["squared_error"].function(view.student.logits, labels.nan_to_num())
    return (values * there).sum() / view.totals.labels


def _number_imitated(view: View, hard: bool) -> Tensor:
    labels = _teacher(view).logits.float().squeeze(-1)
    return LABEL["squared_error"].function(view.student.logits, labels).sum() / view.totals.examples


# --- a yes or no for every class -------------------------------------------------------------------------------------


def _labels_soft(loss: Loss, view: View) -> Tensor:
    values = loss(_yes_and_no(view.student.logits), _yes_and_no(_teacher(view).logits))
    return values.mean(-1).sum() / view.totals.examples


def _labels_gold(view: View) -> Tensor:
    return _mixed_loss(view, view.student.logits, "binary_cross_entropy").sum() / view.totals.labels


def _labels_imitated(view: View, hard: bool) -> Tensor:
    scores = _teacher(view).logits.float()
    labels = (scores > 0).float() if hard else scores.sigmoid()
    values = LABEL["binary_cross_entropy"].function(view.student.logits, labels)
    return values.mean(-1).sum() / view.totals.examples


def _yes_and_no(logits: Tensor) -> Tensor:
    """Scores `[b, c]` as those of two classes, `[b, c, 2]`: their softmax is the sigmoid of the score."""
    return torch.stack([logits, torch.zeros_like(logits)], dim=-1)


# --- one output per token --------------------------------------------------------------------------------------------


def _token_soft(loss: Loss, view: View) -> Tensor:
    return (loss(view.student.logits, _teacher(view).logits) * _mask(view)).sum() / view.totals.outputs


def _token_imitated(view: View, hard: bool) -> Tensor:
    labels = _teacher_classes(_teacher(view).logits, hard)
    values = LABEL["cross_entropy"].function(view.student.logits, labels)
    return (values * _mask(view)).sum() / view.totals.outputs


# --- a token of the vocabulary at each output ------------------------------------------------------------------------


def _piece_soft(loss: Loss, view: View) -> Tensor:
    student, teacher = view.at_outputs(view.student.logits), view.at_outputs(_teacher(view).logits)
    size = min(student.shape[-1], teacher.shape[-1])  # beyond it is what pads the larger table
    return loss(student[:, :size], teacher[:, :size]).sum() / view.totals.outputs


def _piece_gold(view: View) -> Tensor:
    scores, labels = view.at_outputs(view.student.logits), view.at_outputs(_labels(view))
    losses = LABEL["cross_entropy"].function(scores, labels)
    return losses.sum() / view.totals.labels


# --- two distributions over positions --------------------------------------------------------------------------------


def _span_soft(loss: Loss, view: View) -> Tensor:
    valid = _answers(view)
    values = loss(_positions(view.student), _positions(_teacher(view)), valid)
    return (values * valid.any(-1)).mean(1).sum() / view.totals.examples


def _span_gold(view: View) -> Tensor:
    scores = _positions(view.student)
    if view.output_mask is not None:  # a script's batch has none: as in `transformers`, padding must not be the answer
        scores = mask_positions(scores, _answers(view))
    return _mixed_loss(view, scores).sum() / view.totals.labels


def _span_imitated(view: View, hard: bool) -> Tensor:
    valid = _answers(view)
    labels = _teacher_classes(mask_positions(_positions(_teacher(view)).float(), valid), hard)
    values = LABEL["cross_entropy"].function(mask_positions(_positions(view.student), valid), labels)
    return (values * valid.any(-1)).mean(1).sum() / view.totals.examples


# ----------------------------------------------------------------------------------------------------------------------


def _mixed_loss(view: View, scores: Tensor, name: str = "cross_entropy") -> Tensor:
    """The label loss `name` with gold classes; if mixed, λ times its own plus (1 - λ) times its partner's."""
    labels = _labels(view)
    own = _weighted_loss(view, scores, labels, name)
    if view.mix is None:
        return own
    weight = view.mix.weight.view(-1, *[1] * (own.dim() - 1))
    return weight * own + (1 - weight) * _weighted_loss(view, scores, labels[view.mix.partner], name)


def _weighted_loss(view: View, scores: Tensor, labels: Tensor, name: str) -> Tensor:
    loss = LABEL[name].function(scores, labels)
    return loss if view.class_weights is None else loss * view.class_weights[labels.clamp(min=0)]


def _teacher_classes(scores: Tensor, hard: bool) -> Tensor:
    return scores.argmax(-1) if hard else scores.float().softmax(-1)


def _positions(signals: Signals) -> Tensor:
    """Start and end scores as two distributions over positions, `[b, 2, l]`."""
    return signals.logits.transpose(1, 2)


def _answers(view: View) -> Tensor:
    """Where an answer may start or end, `[b, 2, l]`."""
    return _mask(view).bool()[:, None, :].expand(-1, 2, -1)


def _teacher(view: View) -> Signals:
    assert view.teacher is not None
    return view.teacher


def _labels(view: View) -> Tensor:
    assert view.labels is not None
    return view.labels


def _mask(view: View) -> Tensor:
    """`output_mask`, or every real token where a batch has none (from a script's own collator)."""
    return view.output_mask if view.output_mask is not None else view.student.mask.to(torch.long)


READOUTS: dict[Kind, Readout] = {
    "classification": Readout(_example_soft, _class_gold, _class_imitated),
    "multilabel": Readout(_labels_soft, _labels_gold, _labels_imitated),
    "regression": Readout(_example_soft, _number_gold, _number_imitated),
    "tagging": Readout(_token_soft, _class_gold, _token_imitated),
    "qa": Readout(_span_soft, _span_gold, _span_imitated),
    "generation": Readout(_piece_soft, _piece_gold, _token_imitated),
}
