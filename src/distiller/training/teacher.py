"""The frozen teacher: one forward pass, keeping only what the objective needs."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distiller.device import AUTOCAST, Precision, autocast
from distiller.models.load import pad_with
from distiller.models.masks import unread_masks
from distiller.models.signals import SignalReader, Signals, frozen_teacher
from distiller.training.mixing import embedded
from distiller.training.problem import plain_model
from distiller.training.several_teachers import OtherTeachers

Model = TypeVar("Model", bound=nn.Module)


class FrozenTeacher:
    """A teacher in eval mode without gradients, and the layers that are read from it.

    In a shorter number format, a copy with its matrices in that format is used: autocast would convert those of a
    frozen model in every step. With `compiled` it runs through `torch.compile`. The outputs of `others` are averaged
    with its own; the layers are its own. `reader` builds what reads the model, where that is not by layers. `order`
    gives, for each output of the student, the teacher's; `None` if both have the same order.
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
        compiled: bool = False,
        others: OtherTeachers | None = None,
        reader: Callable[[PreTrainedModel], Any] | None = None,
    ) -> None:
        self.original = frozen_teacher(plain_model(model))
        self.others = others
        read = (
            [FrozenTeacher(one, set(), set(), device=device, precision=precision) for one in others.models]
            if others
            else []
        )
        self._colleagues = read
        dtype = AUTOCAST.get(precision)
        self.model = self.original if dtype is None else with_matrices_in(self.original, dtype)
        nn.Module.to(self.model, device)
        self.hidden_layers = sorted(hidden_layers)
        self.attention_layers = sorted(attention_layers)
        self.device = device
        self.precision: Precision = precision
        self.order = None if order is None else torch.tensor(order, device=device)
        self.reader: Any
        with autocast(device.type, precision):  # the reader tries the model out
            if reader is not None:
                self.reader = reader(self.model)
            else:
                self.reader = SignalReader(self.model, hidden_layers=hidden_layers, attention_layers=attention_layers)
        self._ask = torch.compile(self.reader.__call__, dynamic=False) if compiled else self.reader

    def __call__(self, inputs: Mapping[str, Any]) -> Signals:
        """The teacher's signals for a batch on its device; the tensors may take part in a student's graph."""
        # not `inference_mode`, whose tensors would have to be copied before they may be saved for a backward pass
        with torch.no_grad(), autocast(self.device.type, self.precision), unread_masks(self.device):
            signals = self._ask(embedded(self.model, inputs))
        if self.others is not None:
            said = [one(inputs).logits for one in self._colleagues]
            signals = replace(signals, logits=self.others.average(signals.logits, *said, mask=signals.mask))
        if self.order is None:
            return signals
        return replace(signals, logits=signals.logits.index_select(-1, self.order))

    def pad_with(self, token: int | None) -> None:
        """Set the id with which batches are padded, if they are those of the student; `None` means unknown."""
        for one in (self, *self._colleagues):
            pad_with(one.model, token)

    def close(self) -> None:
        """Remove the hooks from the model."""
        for reader in (self.reader, *self._colleagues):
            reader.close()


def with_matrices_in(model: Model, dtype: torch.dtype) -> Model:
    """A copy of a frozen model whose matrices are in `dtype`, as autocast would make them; the rest stays as it is."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, nn.Linear | Conv1D):
            for name, parameter in [*module.named_parameters(recurse=False)]:
                if not parameter.is_floating_point():  # quantised
                    continue
                setattr(module, name, nn.Parameter(parameter.to(dtype), requires_grad=False))
    return copied
