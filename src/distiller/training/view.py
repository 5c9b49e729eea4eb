"""One view of a batch as the objective sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from distiller.models.layouts import Summary
from distiller.models.signals import Signals
from distiller.training.mixing import Mix


class Totals(NamedTuple):
    """What sums of losses are divided by, counted over one whole optimisation step (all its micro-batches)."""

    examples: Tensor
    tokens: Tensor
    outputs: Tensor
    """Token outputs that the teacher is asked about: the sum of `output_mask`."""
    labels: Tensor
    """Labels that are there, i.e. neither -100 nor NaN; those of mixed examples by their share."""


@dataclass(frozen=True)
class View:
    """The outputs of both models for one view of a batch, and its gold labels, where it has any."""

    student: Signals
    teacher: Signals | None
    labels: Tensor | None
    """`[b]`; tagging `[b, l]` and question answering `[b, 2]` with -100 where there is none."""
    totals: Totals
    output_mask: Tensor | None = None
    """`[b, l]`, 1 at tokens whose outputs count: real words for tagging, possible answers for question answering."""
    mix: Mix | None = None
    """How the examples of this view were mixed, if they were."""
    class_weights: Tensor | None = None
    """How much each class counts where it is the label, `[c]`."""
    output_places: Tensor | None = None
    """Where `output_mask` is 1, as places `[n]` in the flattened `[b · l]`. Found by the loader: a device that is asked
    for them is waited for."""

    def at_outputs(self, values: Tensor) -> Tensor:
        """The entries of `values` `[b, l, …]` at outputs that count, `[n, …]`."""
        places = self.output_places
        if places is None:
            mask = self.output_mask if self.output_mask is not None else self.student.mask
            places = places_of(mask)
        return values.flatten(0, 1).index_select(0, places)

    def without_gradient(self) -> "View":
        """The same, but no gradient reaches the student through it."""
        student = Signals(
            self.student.logits.detach(),
            {layer: state.detach() for layer, state in self.student.hidden_states.items()},
            {layer: scores.detach() for layer, scores in self.student.attention_scores.items()},
            self.student.mask,
        )
        return replace(self, student=student)


def places_of(mask: Tensor) -> Tensor:
    """Positions `[n]` in the flattened `mask` at which it is not 0."""
    return mask.flatten().nonzero().squeeze(1)


def of_decoder(view: View) -> View:
    """The view as a loss on decoder layers reads it: its tokens are those of the target."""
    assert view.teacher is not None
    assert view.output_mask is not None
    sides = [
        replace(signals, hidden_states=signals.decoder_states, mask=view.output_mask)
        for signals in (view.student, view.teacher)
    ]
    totals = view.totals._replace(tokens=view.totals.outputs)
    return replace(view, student=sides[0], teacher=sides[1], totals=totals)


def concatenated(views: Sequence[View]) -> View:
    """The examples of several views one after the other, as an objective on hidden states reads them."""
    if len(views) == 1:
        return views[0]
    student, teacher = (_stacked([getattr(view, side) for view in views]) for side in ("student", "teacher"))
    totals = Totals(*(torch.stack(part).sum(0) for part in zip(*(view.totals for view in views), strict=True)))
    return View(student=student, teacher=teacher, labels=None, totals=totals)


def summarised(view: View, student: Summary, teacher: Summary) -> View:
    """The view as a loss on one token of each text reads it: hidden states `[b, 1, d]` and mask `[b, 1]`.

    `student` and `teacher` say which real token that is on each side, whichever side is padded.
    """
    assert view.teacher is not None
    whole = view.teacher.unmoved or view.teacher
    return replace(view, student=_at(view.student, student), teacher=_at(whole, teacher))


def _at(signals: Signals, token: Summary) -> Signals:
    mask = signals.mask
    numbers = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    if token == "first":
        numbers = numbers.flip(0)
    place = (mask.to(torch.long) * numbers).argmax(1)
    rows = torch.arange(len(mask), device=mask.device)
    states = {layer: state[rows, place][:, None] for layer, state in signals.hidden_states.items()}
    return replace(signals, hidden_states=states, mask=mask[rows, place][:, None])


def _stacked(signals: Sequence[Signals]) -> Signals:
    layers = signals[0].hidden_states
    unmoved = [one.unmoved for one in signals if one.unmoved is not None]
    return Signals(
        logits=_padded([one.logits for one in signals]),
        hidden_states={layer: _padded([one.hidden_states[layer] for one in signals]) for layer in layers},
        attention_scores={},
        mask=_padded([one.mask for one in signals]),
        unmoved=_stacked(unmoved) if unmoved else None,
    )


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors `[b, l, …]` of any lengths, stacked; zeros at the end of the shorter ones."""
    length = max(one.shape[1] for one in tensors)
    return torch.cat([pad(one, (0, 0) * (one.dim() - 2) + (0, length - one.shape[1])) for one in tensors])
