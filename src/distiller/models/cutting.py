"""Cutting layers out of a model: which weights belong to a layer, and where each weight of a student comes from.

A list of layers is a list that is shorter in a model with one layer less. Two models without storage are compared.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN

from distiller.errors import ModelError, did_you_mean
from distiller.models.layers import check_rotation, check_states, no_scores, projections
from distiller.models.layouts import PickedLayers, cut_config, decoder_field, layout

BUILD_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, ImportError, RuntimeError,
    AssertionError,
)  # fmt: skip
"""What `transformers` raises for a configuration that it makes no model of."""

MISFIT = re.compile(r"(?i)shapes? cannot|must match|reduction dim|mat1 and mat2|invalid for input of size")
"""What torch says of tensors whose sizes do not fit together."""

KINDS = "student.pick with layers in the same order of kinds, or student.init=random"
RANDOM = "student.init=random, or keep the sizes of the source"


def on_meta(model_class: Any, config: PretrainedConfig) -> PreTrainedModel:
    """A model of `model_class` (an Auto class) without storage. Raises `ModelError` for one that cannot be built."""
    try:
        with torch.device("meta"):
            return model_class.from_config(config)
    except BUILD_ERRORS as error:
        raise unbuildable(config, error) from None


def check_sizes(model_class: Any, config: PretrainedConfig) -> None:
    """Raises `ModelError` for a student whose sizes are inconsistent: it reads a few tokens, without storage."""
    model = on_meta(model_class, config).eval()
    ids = torch.ones(1, 4, dtype=torch.long, device="meta")
    for masks in ({}, {"attention_mask": ids}):  # some read values of tensors without storage, with a mask or without
        try:
            model(input_ids=ids, **masks)
        except BUILD_ERRORS as error:
            if MISFIT.search(str(error)):
                raise _misshapen(config, error) from None


def takes_embeddings(model_class: Any, config: PretrainedConfig) -> bool:
    """Whether a model takes embeddings in place of the ids of tokens; needs no weights."""
    model = on_meta(model_class, config).eval()
    try:
        words = model.get_input_embeddings()
    except NotImplementedError:
        return False
    assert isinstance(words.weight, Tensor)
    try:
        model(inputs_embeds=torch.empty(1, 4, words.weight.shape[1], device="meta"))
    except BUILD_ERRORS as error:  # others read values of tensors without storage
        return not isinstance(error, TypeError)
    return True


def _misshapen(config: PretrainedConfig, error: Exception) -> ModelError:
    first = str(error).partition("\n")[0]
    sizes = [name for name in config.to_dict() if name.endswith("_hidden_size")]
    return ModelError(
        f"a `{config.model_type}` student of this configuration fails on 4 tokens: {first}",
        hint=" ".join(f"student.config.{name}={config.hidden_size}" for name in sizes) or _what_builds(config, error),
    )


def unbuildable(config: PretrainedConfig, error: Exception) -> ModelError:
    """The error for a configuration from which `transformers` cannot build a model."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, KeyError):
        lines = [f"{lines[0]} is not known"]
    if "Unrecognized configuration class" in lines[0]:
        return ModelError(
            f"a `{config.model_type}` model has no head for this task",
            hint="name a model that `transformers` has for it",
        )
    return ModelError(
        f"a `{config.model_type}` model of this configuration cannot be built: {lines[0]}",
        hint=_what_builds(config, error),
    )


def _what_builds(config: PretrainedConfig, error: Exception) -> str:
    """A value that would work in place of a wrong one, for the fields that are wrong most often."""
    names = ("hidden_size", "num_attention_heads", "num_key_value_heads")
    for name, divisor in pairwise(names):
        whole, part = getattr(config, name, None), getattr(config, divisor, None)
        if isinstance(whole, int) and isinstance(part, int) and part > 0 and whole % part:
            return f"student.config.{divisor}={max(one for one in range(1, part + 1) if whole % one == 0)}"
    if isinstance(error, KeyError) and error.args[0] in [*config.to_dict().values()]:
        return did_you_mean(str(error.args[0]), [*ACT2FN])
    return "see student.config"


def layer_lists(model_class: Any, config: PretrainedConfig) -> dict[str, int]:
    """Dotted names of the lists with one part for each layer, in a model of `model_class`, and their lengths.

    A decoder beside the encoder has its own lists; FlauBERT has four. Empty where all layers share their weights.
    """
    count, rest = config.num_hidden_layers, list(range(config.num_hidden_layers - 1))
    if count < 2 or layout(config).no_cut:
        return {}
    behind = decoder_layers(config)
    fewer = cut_config(config, PickedLayers(rest, list(range(max(behind - 1, min(behind, 1))))))
    whole, short = _lists(on_meta(model_class, config)), _lists(on_meta(model_class, fewer))
    return {name: length for name, length in whole.items() if short.get(name, length) < length}


def origins(
    model: PreTrainedModel, source: PreTrainedModel, picked: PickedLayers, lists: Mapping[str, int]
) -> dict[str, str | None]:
    """Where in `source` each weight of `model` comes from: its own name, or that in the picked layer; `None`: nowhere.

    Only a head or a pooler may come from nowhere. The models may have no storage. Raises `ModelError` where a layer
    would gain or lose weights: layers of two kinds, other sizes, or a configuration that was not cut accordingly.
    """
    particular = layout(source.config)
    stored, wanted = source.state_dict(), model.state_dict()
    found: dict[str, str | None] = {}
    for name, weight in wanted.items():
        origin = _origin(name, picked, lists, source.config)
        if origin not in stored and _part(name, lists)[1] == 0 and _word_in(name, particular.of_model):
            origin = name
        found[name] = origin if origin in stored and stored[origin].shape == weight.shape else None
        if found[name] is None and not _is_head(name, model, particular.unread):
            raise _misfit(origin, stored.get(origin), weight, lists)
    _check_complete(found, stored, wanted, picked, lists, source)
    return found


def copy_weights(
    model: PreTrainedModel, source: PreTrainedModel, picked: PickedLayers, lists: Mapping[str, int]
) -> None:
    """Copy embeddings, the `picked` layers, pooler and (where its shape fits) the head of `source` into `model`.

    Raises `ModelError` as `origins` does.
    """
    stored, wanted = source.state_dict(), model.state_dict()
    for name, origin in origins(model, source, picked, lists).items():
        if origin is not None:
            wanted[name].copy_(stored[origin])


def check_scores(model_class: Any, config: PretrainedConfig) -> None:
    """Raises `ModelError` for a model whose attention scores cannot be read; needs no weights."""
    if reason := layout(config).no_scores:
        raise no_scores(config, f"it {reason}")
    check_states(config)
    check_rotation(config)
    model = on_meta(model_class, config)
    blocks = [model.get_submodule(f"{name}.0") for name in layer_lists(model_class, config)]
    if config.num_hidden_layers == 1:  # no layer could be left out, which tells the list of them
        blocks = [model]
    if not any(map(projections, blocks)):
        raise no_scores(config, "its layers have no separate query and key projections")


def check_order(config: PretrainedConfig, picked: PickedLayers) -> None:
    """Raises `ModelError` for layers that cannot be moved in a model of this configuration."""
    particular, kind = layout(config), config.model_type
    moved = picked.layers != list(range(len(picked.layers)))
    if (particular.no_cut and len(picked.layers) != config.num_hidden_layers) or (particular.no_cut and moved):
        raise ModelError(
            f"no student can be cut from a `{kind}` model: it {particular.no_cut}",
            hint="student.layers=null keeps all of its layers; or student.init=random",
        )
    reason = particular.numbered
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        reason = "divides attention scores by the number of the layer"
    if reason and moved:
        raise ModelError(
            f"a layer of a `{kind}` model computes something else in another place: it {reason}",
            hint="student.pick=first",
        )
    groups = getattr(config, "num_hidden_groups", 1) if particular.shared else 1
    if groups > 1 and moved | (len(picked.layers) != config.num_hidden_layers):
        raise ModelError(
            f"no student can be cut from a `{kind}` model whose layers share {groups} sets of weights",
            hint="student.layers=null keeps all of its layers; or student.init=random",
        )


def decoder_layers(config: PretrainedConfig) -> int:
    """Layers of the decoder beside an encoder; 0 where there is none."""
    field = decoder_field(config)
    return 0 if field is None else getattr(config, field)


def _lists(model: nn.Module) -> dict[str, int]:
    return {name: len(part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList)}


def _part(name: str, lists: Mapping[str, int]) -> tuple[str, int, str]:
    """The list of layers that a weight belongs to, its layer there, and its name within it; -1 if it is in no layer."""
    for prefix in lists:
        if name.startswith(prefix + "."):
            number, _, rest = name.removeprefix(prefix + ".").partition(".")
            return prefix, int(number), rest
    return "", -1, name


def _origin(name: str, picked: PickedLayers, lists: Mapping[str, int], source: PretrainedConfig) -> str:
    prefix, layer, rest = _part(name, lists)
    return name if layer < 0 else f"{prefix}.{picked.of(lists[prefix], source)[layer]}.{rest}"


def _misfit(origin: str, stored: Tensor | None, wanted: Tensor, lists: Mapping[str, int]) -> ModelError:
    layer = _part(origin, lists)[1]
    if stored is None and layer >= 0:
        return ModelError(f"layer {layer} of the source has no `{origin}`: its layers are of several kinds", hint=KINDS)
    shape = "is missing" if stored is None else f"has shape {list(stored.shape)}"
    return ModelError(f"`{origin}` {shape} in the source; the student needs {list(wanted.shape)}", hint=RANDOM)


def _is_head(name: str, model: PreTrainedModel, unread: Sequence[str]) -> bool:
    """Whether a weight belongs to the parts that a student may initialise anew."""
    inside = name.startswith(f"{model.base_model_prefix}.")
    return not inside or "pooler." in name or _word_in(name, unread)


def _check_complete(
    found: Mapping[str, str | None],
    stored: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    picked: PickedLayers,
    lists: Mapping[str, int],
    source: PreTrainedModel,
) -> None:
    """Raises `ModelError` where a picked layer has weights that the student's layer has no place for."""
    particular = layout(source.config)
    used, kept = set(found.values()), set()
    for prefix, length in lists.items():
        kept |= {f"{prefix}.{layer}" for layer in picked.of(length, source.config)}
    for name in stored.keys() - used:
        prefix, layer, rest = _part(name, lists)
        lost = layer < 0 or f"{prefix}.{layer}" in kept
        if not lost or _is_head(name, source, particular.unread) or (name in wanted and layer < 0):
            continue
        first = layer >= 0 and picked.of(lists[prefix], source.config)[0] == layer
        if (first and _word_in(rest, particular.not_first)) or _word_in(rest, particular.of_model):
            continue
        raise ModelError(
            f"`{name}` of the source has no place in the student: its layers are of several kinds", hint=KINDS
        )


def _word_in(name: str, words: Sequence[str]) -> bool:
    return any(word in name for word in words)
