"""A model's outputs on a split, in the split's order."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from distiller.device import Precision, accelerator, autocast
from distiller.models.masks import unread_masks
from distiller.models.signals import SignalReader


def scored_in(model: PreTrainedModel, precision: Precision) -> Precision:
    """The number format in which `model` is scored: float32 if its output is a number, else `precision`.

    bf16 has three digits. Texts whose outputs differ by less would tie, and a rank correlation rises where uncertain
    ones tie.
    """
    return "fp32" if getattr(model.config, "num_labels", None) == 1 else precision


def predict_logits(
    model: PreTrainedModel,
    split: Any,
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]],
    *,
    precision: Precision = "fp32",
    batch_size: int = 64,
) -> Tensor:
    """Logits of every row of `split` in its order, float32 on the CPU; long texts are computed first.

    They are computed in `precision`, or as `scored_in` says. `[rows, classes]`; for tagging and question answering
    `[rows, length, ·]`, with zeros past the end of a row.
    """
    device = torch.device(accelerator())
    nn.Module.to(model, device).eval()
    order = torch.as_tensor(split.lengths).argsort(descending=True)
    found: list[Tensor] = []
    reader = SignalReader(model)
    with torch.inference_mode(), autocast(device.type, scored_in(model, precision)), unread_masks(device):
        for chosen in order.split(batch_size):
            batch = collate([split[int(i)] for i in chosen])
            inputs = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
            found.append(reader(inputs).logits.float().cpu())
    reader.close()
    if found[0].dim() == 3:
        longest = max(logits.shape[1] for logits in found)
        found = [F.pad(logits, (0, 0, 0, longest - logits.shape[1])) for logits in found]
    logits = torch.cat(found)
    restored = torch.empty_like(logits)
    restored[order] = logits
    return restored
