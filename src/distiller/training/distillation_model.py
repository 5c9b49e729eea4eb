"""Student and every trained part of the objective in one module."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from distiller.models.signals import Signals
from distiller.training.batching import Batch
from distiller.training.mixing import embedded, mix_of
from distiller.training.objective import DistillationObjective
from distiller.training.output_places import PLACES
from distiller.training.problem import plain_model
from distiller.training.readout import Kind
from distiller.training.script_batch import with_decoder_inputs
from distiller.training.view import Totals, View


class DistillationModel(nn.Module):
    """Student and every trained part of the objective in one module.

    Multi-process training, checkpointing and compiling therefore see every trained weight.
    """

    def __init__(
        self, student: PreTrainedModel, objective: DistillationObjective, kind: Kind = "classification"
    ) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.kind: Kind = kind
        self.reader = objective.reader(plain_model(student))
        self.compiled_reader: Callable[[Mapping[str, Any]], Signals] | None = None

    def __getattr__(self, name: str) -> Any:
        """The student's, where this module has none: a script's own `compute_loss` reads `model.device`, say."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("student"), name)

    def compile_parts(self) -> None:
        """Compile the student and each intermediate term with `torch.compile`.

        The weights of the terms change with the step, and a compiled function must not depend on it.
        """
        self.compiled_reader = torch.compile(self.reader.__call__, dynamic=False)
        for term in self.objective.terms:
            nn.Module.compile(term, dynamic=False)

    def forward(
        self,
        views: Mapping[str, Batch] | None = None,
        teacher: Mapping[str, Signals] | None = None,
        totals: Mapping[str, Totals] | None = None,
        measure: bool = False,
        outputs: bool = False,
        **inputs: Any,
    ) -> Any:
        """Loss and components of `views`; without views, the student's outputs for `inputs`.

        With `outputs`, the student's logits for the original view come third. With `measure`, the share of every term
        in the student's gradient is recorded in `objective.balance`.
        """
        if views is None or totals is None:
            return self.student(**inputs)
        read = self.compiled_reader or self.reader
        compared = {
            name: View(
                student=read(embedded(self.student, self._readable(view))),
                teacher=teacher[name] if teacher else None,
                labels=view.get("labels"),
                totals=totals[name],
                output_mask=view.get("output_mask"),
                mix=mix_of(view),
                class_weights=getattr(self.objective, "class_weights", None),
                output_places=view.get(PLACES),
            )
            for name, view in views.items()
        }
        measured = [weight for weight in self.student.parameters() if weight.requires_grad] if measure else ()
        loss, components = self.objective(compared, measured)
        return (loss, components, compared["original"].student.logits) if outputs else (loss, components)

    def _readable(self, view: Batch) -> Batch:
        return with_decoder_inputs(self.student, view) if self.kind == "generation" else view
