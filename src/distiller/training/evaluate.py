"""A model's outputs on a split, in the split's order."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.models.signals import SignalReader
from distiller.training.device import Precision, accelerator
from distiller.training.teacher import AUTOCAST


def predict_logits(
    model: PreTrainedModel,
    split: Any,
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]],
    *,
    precision: Precision = "fp32",
    batch_size: int = 64,
) -> Tensor:
    """Logits `[examples, classes]` of every example of `split`, float32 on the CPU; long texts go first."""
    device = torch.device(accelerator())
    nn.Module.to(model, device).eval()
    order = torch.as_tensor(split.lengths).argsort(descending=True)
    found: list[Tensor] = []
    reader = SignalReader(model)
    dtype = AUTOCAST.get(precision)
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        for chosen in order.split(batch_size):
            batch = collate([split[int(i)] for i in chosen])
            inputs = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
            found.append(reader(inputs).logits.float().cpu())
    reader.close()
    logits = torch.cat(found)
    restored = torch.empty_like(logits)
    restored[order] = logits
    return restored
