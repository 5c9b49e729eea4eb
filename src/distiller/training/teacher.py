"""The frozen teacher: one forward pass, keeping only what the objective asks for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from distiller.device import Precision, autocast
from distiller.models.signals import SignalReader, Signals, frozen_teacher
from distiller.training.mixing import embedded


class FrozenTeacher:
    """A teacher in eval mode without gradients, and the layers that are read from it.

    `order` names, for each output of the student, the teacher's own; `None` where both have one order.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        hidden_layers: set[int],
        attention_layers: set[int],
        *,
        device: torch.device,
        precision: Precision = "fp32",
        order: list[int] | None = None,
    ) -> None:
        self.model = frozen_teacher(model)
        nn.Module.to(self.model, device)
        self.hidden_layers = sorted(hidden_layers)
        self.attention_layers = sorted(attention_layers)
        self.device = device
        self.precision: Precision = precision
        self.order = None if order is None else torch.tensor(order, device=device)
        self._reader = SignalReader(self.model, hidden_layers=hidden_layers, attention_layers=attention_layers)

    def __call__(self, inputs: Mapping[str, Any]) -> Signals:
        """What the teacher makes of a batch on its device; the tensors may take part in a student's graph."""
        with torch.inference_mode(), autocast(self.device.type, self.precision):
            signals = self._reader(embedded(self.model, inputs))
        # A clone made outside inference mode may be saved for the student's backward pass.
        return Signals(
            signals.logits.clone() if self.order is None else signals.logits.index_select(-1, self.order),
            {layer: state.clone() for layer, state in signals.hidden_states.items()},
            {layer: scores.clone() for layer, scores in signals.attention_scores.items()},
            signals.mask.clone(),
        )

    def close(self) -> None:
        """Take the hooks off the model."""
        self._reader.close()
