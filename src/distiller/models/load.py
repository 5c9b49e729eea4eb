"""Loads a model with the head for a task, as it is trained and asked here, and says how long its inputs may be."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.device import seeded
from distiller.errors import ConfigError, ModelError, warn
from distiller.files import check_sums
from distiller.models.cutting import on_meta
from distiller.models.folders import check_weights, explained, load_config, resolve
from distiller.models.folders import load_tokenizer as load_tokenizer  # re-exported beside `load_model`
from distiller.models.heads import HEADS, NAMED, fits_kind, label_permutation, supported_attention, with_labels

NO_LIMIT = 1_000_000
"""Tokens that a model takes which names no limit."""
LAYER = re.compile(r"\.(\d+)\.")
"""The number of a layer in the name of a weight."""


def load_model(
    name: str | Path,
    *,
    kind: str,
    labels: Sequence[str] | None,
    attention: str | None = None,
    trust_remote_code: bool = False,
    seed: int = 0,
) -> PreTrainedModel:
    """The model with a head for `kind`, in float32, whose outputs are in the order of `labels`.

    `labels` is `None` for regression (one output) and question answering (start and end). A fitting head is kept, its
    outputs reordered if needed; otherwise a new one is initialised from `seed`, without touching the global random
    state. `attention` names the kernel (`eager`, `sdpa`; `None`: the model's default). Raises `ModelError` for weights
    that are missing, truncated, not safetensors, or not those of the configuration.
    """
    config = load_config(name, trust_remote_code=trust_remote_code)
    order = label_permutation(config, labels) if fits_kind(config, kind) and kind in NAMED else None
    if isinstance(place := resolve(name), Path):
        check_sums(place)
    with seeded(seed):
        model, _ = _loaded(name, config, kind, labels, attention, trust_remote_code=trust_remote_code)
    if order is not None and order != list(range(len(order))):
        _reorder_outputs(model, order)
    return model


def check_loads(name: str | Path, *, kind: str, labels: Sequence[str] | None, trust_remote_code: bool = False) -> None:
    """Raises `ModelError` where `load_model` would; weights in a folder are checked by name and shape, not read.

    Warns of layers among the weights that the configuration leaves out.
    """
    if not isinstance(resolve(name), Path):
        return
    config = load_config(name, trust_remote_code=trust_remote_code)
    _, unread = _loaded(name, config, kind, labels, trust_remote_code=trust_remote_code, device_map="meta")
    numbers = {int(found[1]) for key in unread if (found := LAYER.search(key))}
    behind = [number for number in numbers if number >= config.num_hidden_layers]
    if behind and not config.is_encoder_decoder:
        warn(
            f"`{name}` has weights of {max(behind) + 1} layers, of which its config.json reads "
            f"{config.num_hidden_layers}: is its num_hidden_layers right?"
        )


def longest_input(model: PreTrainedModel | PretrainedConfig) -> int:
    """How many tokens the model takes; less than its number of positions where some of these are reserved.

    RoBERTa's positions start after that of padding; the tables of BART and OPT have two more than their config says. A
    model with relative positions that names no limit takes any number.
    """
    config = model if isinstance(model, PretrainedConfig) else model.config
    if isinstance(model, PretrainedConfig):
        model = on_meta(AutoModel, model)
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - reserved)
    return min((limit for limit in limits if limit and limit > 0), default=NO_LIMIT)


def check_length(length: int, model: PreTrainedModel | PretrainedConfig, role: str) -> None:
    """Raise `ConfigError` if `length` is more tokens than the model in this role takes."""
    limit = longest_input(model)
    if length > limit:
        raise ConfigError(
            f"task.max_length is {length}, but {role} takes {limit} tokens", hint=f"task.max_length={limit}"
        )


def usual_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input in tokens where no run says: what `tokenizer` and `model` were trained to take, at most 512."""
    return min(tokenizer.model_max_length, 512, longest_input(model))


def token_count(tokenizer: PreTrainedTokenizerBase) -> int:
    """Rows that embeddings need for this tokenizer: its highest id plus one."""
    return max(tokenizer.get_vocab().values()) + 1


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, role: str) -> None:
    """Raises `ModelError` for a tokenizer with tokens for which the model has no embedding."""
    tokens, rows = token_count(tokenizer), getattr(config, "vocab_size", None)
    if rows is not None and tokens > rows:
        raise ModelError(
            f"the tokenizer of the {role} has {tokens} tokens, its embeddings {rows}",
            hint=f"model.resize_token_embeddings({tokens}), or the tokenizer that the model was trained with",
        )


def follow_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """`model` with the padding token of `tokenizer`: GPT-2 and similar models look for the last real token.

    Where positions are counted from the padding token, as in RoBERTa, the model keeps its own.
    """
    pad_with(model, tokenizer.pad_token_id)
    return model


def pad_with(model: PreTrainedModel, token: Any) -> None:
    """Let `model` treat `token`, an id, as padding, as in `follow_tokenizer`; `None` changes nothing."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    counted = any(getattr(table, "padding_idx", None) is not None for table in tables)
    if token is not None and not counted:
        model.config.get_text_config().pad_token_id = token


def _loaded(
    name: str | Path,
    config: PretrainedConfig,
    kind: str,
    labels: Sequence[str] | None,
    attention: str | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, Collection[str]]:
    """The model with the head for `kind`, its other weights those of the folder, and names of those that it leaves."""
    place = resolve(name)
    if isinstance(place, Path):
        check_weights(place, name)
    with explained(name):
        model, report = HEADS[kind].from_pretrained(
            place,
            config=with_labels(config, kind=kind, labels=labels),
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=supported_attention(config, kind, attention),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # a head for other labels is replaced; the encoder is checked below
            **options,
        )
    _check_encoder(model, report, name)
    return model, report["unexpected_keys"]


def _check_encoder(model: PreTrainedModel, report: dict[str, Any], name: str | Path) -> None:
    """Only the head and a pooler may be new; anything else means that weights and configuration do not match."""
    inside = f"{model.base_model_prefix}."
    for key, stored, expected in sorted(report["mismatched_keys"]):
        if key.startswith(inside):
            raise ModelError(
                f"`{key}` of `{name}` has shape {list(stored)}, its config.json says {list(expected)}",
                hint="the weights belong to another configuration",
            )
    missing = sorted(key for key in report["missing_keys"] if key.startswith(inside) and ".pooler." not in key)
    if missing:
        half = all(".decoder." in key for key in missing)
        raise ModelError(
            f"`{name}` lacks {len(missing)} weights, the first is `{missing[0]}`",
            hint="only its encoder was saved, and a head reads the decoder: name the folder of the whole model"
            if half
            else "the weights belong to another architecture",
        )


def _reorder_outputs(model: PreTrainedModel, order: list[int]) -> None:
    """Permute the rows of the last linear map of the head so that output `i` is for label `i`."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outputs = [module for module in linear if module.out_features == len(order)][-1]
    with torch.no_grad():
        outputs.weight.copy_(outputs.weight[order])
        if outputs.bias is not None:
            outputs.bias.copy_(outputs.bias[order])
