"""What a model costs: parameters, bytes, operations, memory to train it, and time per example."""

import copy
import inspect
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from distiller.device import seconds_of
from distiller.registry import Count

RUN_ERRORS = (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, AssertionError, IndexError)
"""What an architecture raises that looks at values which a model without storage does not have."""


@dataclass(frozen=True)
class Latency:
    """Time of a forward pass, and under what conditions it was taken."""

    milliseconds: float
    """Median time per example."""
    batch: int
    length: int
    threads: int
    device: str
    repeats: int


def parameter_count(model: PreTrainedModel | PretrainedConfig, *, head: bool = True) -> int:
    """Number of weights; tied ones count once, and those never stored (Marian's table of fixed positions) not at all.

    Without `head`, only those of the encoder. A configuration has no head.
    """
    if isinstance(model, PretrainedConfig):
        model = _on_meta(model)
    return sum(weight.numel() for weight in _weights(model if head else model.base_model))


def times_smaller(teacher: int, student: int) -> str:
    """How many times a student of so many parameters is smaller than its teacher, or larger, in words."""
    if student > teacher:
        return f"{student / teacher:.1f} times larger"
    return f"{teacher / student:.1f} times smaller"


def megabytes(model: nn.Module) -> float:
    """Size of these weights in memory, in 10^6 bytes."""
    return sum(weight.numel() * weight.element_size() for weight in _weights(model)) / 1e6


def _weights(model: nn.Module) -> Iterator[nn.Parameter]:
    fixed = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    return (weight for name, weight in model.named_parameters() if name not in fixed)


def flops(model: PreTrainedModel | PretrainedConfig, *, length: Count, batch: Count = 1) -> int:
    """Floating-point operations of one forward pass of the encoder over `batch` texts of `length` tokens.

    A multiplication and its addition count as two. Torch counts them on a model without storage, so any size will do;
    for an architecture that cannot run without storage (Longformer looks at its mask), two for each weight and token.
    """
    config = model.config if isinstance(model, PreTrainedModel) else model
    encoder = _on_meta(config).eval()
    for inputs in _empty(encoder, length=length, batch=batch):
        try:
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                encoder(**inputs)
        except RUN_ERRORS:
            continue
        return counter.get_total_flops()
    tables = {part.weight for part in encoder.modules() if isinstance(part, nn.Embedding)}  # tied weights count once
    return 2 * (parameter_count(encoder) - sum(table.numel() for table in tables)) * batch * length


def activation_bytes(config: PretrainedConfig, *, length: Count, batch: Count, half: bool = False) -> int:
    """Bytes that a forward pass of the encoder keeps for the backward pass, attention matrices included.

    `half` is autocast to 16 bits: softmax, norms and dropout keep float32 all the same, and the copies of the weights
    are counted, so that BERT keeps 0.7 of what it keeps in float32. Measured on a model without storage; fused
    attention kernels, which keep no matrices, need less. For an architecture that cannot run without storage, the
    estimate of Korthikanti et al. 2022, arXiv:2205.05198, section 4.1.
    """
    # unlike tensors on `meta`, which autocast leaves alone, these know the device that they stand for
    with FakeTensorMode():
        encoder = _eager(config).train()
        return _kept_bytes(encoder, length=length, batch=batch, half=half) or _estimated_bytes(
            config, length=length, batch=batch, half=half
        )


def _kept_bytes(encoder: PreTrainedModel, *, length: int, batch: int, half: bool) -> int | None:
    own = {parameter.untyped_storage()._cdata for parameter in encoder.parameters()}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            saved[storage] = tensor  # kept alive, so that no other storage gets the same address
        return tensor

    for inputs in reversed([*_empty(encoder, length=length, batch=batch)]):  # batches have a mask, which takes room too
        saved.clear()
        try:
            with (
                torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
                torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            ):
                encoder(**inputs)
        except RUN_ERRORS:
            continue
        return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    return None


def _estimated_bytes(config: PretrainedConfig, *, length: int, batch: int, half: bool) -> int:
    a_token = 68 * config.hidden_size + 10 * config.num_attention_heads * length
    return config.num_hidden_layers * batch * length * a_token * 3 // (4 if half else 3)


def training_memory(
    student: PretrainedConfig,
    *,
    length: Count,
    batch: Count,
    teacher: PretrainedConfig | None = None,
    half: bool = False,
) -> int:
    """Estimate of the bytes that training takes, without the framework itself and temporary buffers.

    16 bytes for each student weight (weight, gradient, two AdamW moments, all float32), the student's activations, and
    4 bytes for each weight of a teacher that runs beside it (0 with cached outputs). `half` is mixed precision: fewer
    bytes of activations, and 2 more for each weight, for the copies that the kernels read.
    """
    total = 16 * parameter_count(student) + activation_bytes(student, length=length, batch=batch, half=half)
    return total + (0 if teacher is None else (6 if half else 4) * parameter_count(teacher))


def latency(
    model: nn.Module, inputs: Mapping[str, Any], *, repeats: Count = 20, warmup: Count = 3, threads: Count | None = None
) -> Latency:
    """Median time per example of a forward pass of `model` on `inputs`, a batch of `[B, L]` tensors on its device.

    Runs in eval mode without gradients; mode and thread count are restored afterwards. `threads` sets torch's CPU
    threads; `None` keeps their number.
    """
    ids = inputs["input_ids"]
    mode, before = model.training, torch.get_num_threads()
    model.eval()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            forward = partial(model, **inputs)
            seconds = [seconds_of(forward, ids.device.type) for _ in range(warmup + repeats)][warmup:]
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        model.train(mode)
    return Latency(
        milliseconds=1000 * statistics.median(seconds) / len(ids),
        batch=len(ids),
        length=ids.shape[1],
        threads=used,
        device=ids.device.type,
        repeats=repeats,
    )


def _empty(encoder: PreTrainedModel, *, length: int, batch: int) -> Iterator[dict[str, Any]]:
    """Inputs of `batch` texts without storage; with a mask where a decoder would otherwise look at positions."""
    tokens = torch.zeros(batch, length, dtype=torch.long, device=encoder.device)
    inputs: dict[str, Any] = {"input_ids": tokens}
    known = inspect.signature(encoder.forward).parameters
    if encoder.config.is_encoder_decoder and "decoder_input_ids" in known:
        inputs["decoder_input_ids"] = tokens
    if "use_cache" in known:
        inputs["use_cache"] = False
    yield inputs
    yield inputs | {"attention_mask": torch.ones_like(tokens)}


def _on_meta(config: PretrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return _eager(config)


def _eager(config: PretrainedConfig) -> PreTrainedModel:
    """The encoder of `config` with random weights, and with the attention whose operations torch can count."""
    return AutoModel.from_config(copy.deepcopy(config), dtype=torch.float32, attn_implementation="eager")
