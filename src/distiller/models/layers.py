"""Finds the parts of a `transformers` model: the states of its layers and a layer's attention projections.

Nothing is guessed. A model is run on a few tokens, and the outputs of its modules are compared with the states that
`output_hidden_states` reports. Where no module gives these, the reported states are read.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from distiller.errors import ModelError
from distiller.models.layouts import LAYOUTS, Summary, incomparable, layout

OF_TOKENIZERS = ("input_ids", "attention_mask", "token_type_ids")
"""What tokenizers make for models."""
PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"), ("q", "k"), ("q_proj", "k_proj"))
"""Names of a layer's query and key maps: BERT, RoBERTa, ELECTRA; DistilBERT; MPNet; BART-like encoders."""

PROBE = 6
"""Tokens that a model is run on to see what it does."""

SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "decoder_start_token_id")

CAPTURING = "_output_capturing_hooks_installed"
"""How `transformers` marks a module on which it has put hooks that report hidden states."""


@dataclass(frozen=True)
class ModuleSide:
    """A module, and whether its input or its output is meant."""

    module: str
    side: Literal["input", "output"] = "output"


@dataclass(frozen=True)
class LayerAccess:
    """How a model's layers are read."""

    places: Mapping[int, ModuleSide]
    """Layer number (0: the embeddings) to the module that gives its states; without those that only the model's own
    report holds."""
    blocks: str | None
    """The list of modules that are its layers, if there is one."""
    causal: bool
    """Whether a token sees nothing behind it."""


_known_access: WeakKeyDictionary[nn.Module, LayerAccess] = WeakKeyDictionary()


def reading(model: PreTrainedModel) -> LayerAccess:
    """How the layers of `model` are read: found once, by running it on a few tokens without gradient or dropout.

    Raises `ModelError` for a model that does not report one state of its width for every token and layer.
    """
    known = _known_access.get(model)
    if known is None:
        known = _known_access[model] = _found(model)
    return known


def reported_states(output: Any) -> Sequence[Tensor]:
    """The hidden states that a model reports; for an encoder–decoder those of its encoder."""
    if not isinstance(output, Mapping):
        return ()
    found = output.get("encoder_hidden_states")
    return found if found is not None else output.get("hidden_states") or ()


def summary_token(model: PreTrainedModel | PretrainedConfig) -> Summary:
    """The token whose state stands for a whole text; for an unknown architecture found by running the model."""
    if isinstance(model, PretrainedConfig):
        return layout(model).summary
    if model.config.model_type in LAYOUTS:
        return layout(model.config).summary
    return "last" if reading(model).causal else "first"


def attention_projections(model: PreTrainedModel, layer: int) -> tuple[nn.Module, nn.Module]:
    """The query and key projections of layer `layer` (1-based).

    Raises `ModelError` if the layer has none that are known, or if the model rotates their outputs, so that their
    product is not the attention score.
    """
    check_rotation(model.config)
    blocks = reading(model).blocks
    found = None if blocks is None else projections(model.get_submodule(f"{blocks}.{layer - 1}"))
    if found is None:
        raise no_scores(model.config, "its layers have no separate query and key projections")
    return found


def projections(block: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """The query and key projections of one layer, if it has separate ones."""
    modules = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
    for query, key in PROJECTIONS:
        if query in modules and key in modules:
            return modules[query], modules[key]
    return None


def check_rotation(config: PretrainedConfig) -> None:
    """Raises `ModelError` for a model whose attention scores are not just a product of two projections."""
    if getattr(config, "rope_parameters", None):
        raise no_scores(config, "it rotates queries and keys after their projection")


def no_scores(config: PretrainedConfig, reason: str) -> ModelError:
    """The error for attention scores that cannot be read."""
    return ModelError(
        f"attention scores of `{config.model_type}` cannot be read: {reason}",
        hint="choose an objective on hidden states",
    )


def no_states(config: PretrainedConfig, reason: str) -> ModelError:
    """The error for hidden states that cannot be compared."""
    return ModelError(
        f"hidden states of a `{config.model_type or type(config).__name__}` model cannot be compared: it {reason}",
        hint="objective.intermediate=[] compares outputs alone",
    )


def check_states(config: PretrainedConfig) -> None:
    """Raises `ModelError` for a model that is known to have no states to compare."""
    if reason := incomparable(config):
        raise no_states(config, reason)


def _found(model: PreTrainedModel) -> LayerAccess:
    check_states(model.config)
    if not isinstance(model, PreTrainedModel):
        raise no_states(model.config, "is no `PreTrainedModel`")
    with _untouched(model):
        try:
            return _probed(model, model.config.num_hidden_layers, model.config.hidden_size)
        except ModelError:
            raise
        except Exception as error:  # an unusual architecture may raise anything: it cannot be read
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise no_states(model.config, f"fails on {PROBE} tokens: {lines[0]}") from error


def _probed(model: PreTrainedModel, count: int, width: int) -> LayerAccess:
    ids = _ids(model)
    changed = ids.clone()
    changed[0, -2] = ids[0, 0]
    padded = torch.ones_like(ids)
    padded[0, -1] = 0
    states, met, blocks = _run(model, ids, torch.ones_like(ids), count)
    if len(states) != count + 1 or any(state.shape != (1, PROBE, width) for state in states):
        reason = f"reports {len(states)} states, not {count + 1} of {width} numbers for each token"
        raise no_states(model.config, reason)
    others, again, _ = _run(model, ids, padded, count)
    places: dict[int, ModuleSide] = {}
    for layer in range(count + 1):
        for place, found in met.items():
            if _same(found, states[layer]) and _same(again.get(place), others[layer]) and _belongs(place, layer, count):
                places.setdefault(layer, place)
    after, _, _ = _run(model, changed, torch.ones_like(ids), count)
    return LayerAccess(places, _blocks(places, blocks, count), causal=_ignores_later_tokens(states, after))


def _run(
    model: PreTrainedModel, ids: Tensor, mask: Tensor, count: int
) -> tuple[Sequence[Tensor], dict[ModuleSide, Any], list[str]]:
    """The reported states, the outputs of modules that may be layers, and the lists of such modules."""
    met: dict[ModuleSide, Any] = {}
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    lists = [name for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    names = [f"{name}.{layer}" for name in lists for layer in range(count)]
    names += [name for name, part in model.named_modules() if part is encoder]
    hooks = []
    for name in names:
        module = model.get_submodule(name)
        hooks.append(module.register_forward_hook(partial(_keep_output, met, ModuleSide(name))))
        if name.endswith(".0"):
            keep = partial(_keep_input, met, ModuleSide(name, "input"))
            hooks.append(module.register_forward_pre_hook(keep, with_kwargs=True))
    try:
        states = _asked(model, ids, mask)
        if not states:  # a user's own head may not pass the option on: its encoder has the states
            states = _asked(encoder, ids, mask)
    finally:
        for hook in hooks:
            hook.remove()
    return states, met, lists


def _asked(model: Any, ids: Tensor, mask: Tensor) -> Sequence[Tensor]:
    """The hidden states that `model` reports for some tokens; none if it has no option for that."""
    if not takes(model, "output_hidden_states"):
        return ()
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
    if model.config.is_encoder_decoder and model.can_generate():
        options["decoder_input_ids"] = ids[:, :1]  # a generating model needs decoder inputs
    return reported_states(
        model(input_ids=ids, attention_mask=mask, output_hidden_states=True, return_dict=True, **options)
    )


def _belongs(place: ModuleSide, layer: int, count: int) -> bool:
    """Whether a module is that of `layer` by its number, or belongs to the whole model, which gives the last layer."""
    number = place.module.rpartition(".")[2]
    if not number.isdecimal():
        return layer == count
    return int(number) == (layer if place.side == "input" else layer - 1)


def _blocks(places: Mapping[int, ModuleSide], lists: Sequence[str], count: int) -> str | None:
    """The list whose modules give the states of every layer but the last, which may be normalised afterwards."""
    inner = range(1, count) if count > 1 else range(1, 2)
    for name in lists:
        if all(layer in places and places[layer].module == f"{name}.{layer - 1}" for layer in inner):
            return name
    # with one layer and a normalised last state, the layer's input tells which list it is
    return next((name for name in lists if 0 in places and places[0].module == f"{name}.0"), None)


def takes(model: nn.Module, name: str) -> bool:
    """Whether a model's forward pass has an argument of this name, or accepts any."""
    known = inspect.signature(model.forward).parameters
    return name in known or any(one.kind is one.VAR_KEYWORD for one in known.values())


def inputs_of(model: nn.Module) -> frozenset[str]:
    """The names of the inputs of a model's forward pass.

    A user's own class may accept any name (`**kwargs`); the classes of `transformers` name all that they read.
    """
    named = frozenset(inspect.signature(model.forward).parameters)
    if type(model).__module__.startswith("transformers."):
        return named
    return named | {name for name in OF_TOKENIZERS if takes(model, name)}


def first_tensor(output: Any) -> Any:
    """A module's output, or the first part of it."""
    return output if isinstance(output, Tensor) else output[0]


def first_input(arguments: Any, named: Mapping[str, Any]) -> Any:
    """The hidden states that a layer is given."""
    return arguments[0] if arguments else named.get("hidden_states")


def _keep_output(met: dict[ModuleSide, Any], place: ModuleSide, module: nn.Module, arguments: Any, output: Any) -> None:
    met[place] = first_tensor(output)


def _keep_input(met: dict[ModuleSide, Any], place: ModuleSide, module: nn.Module, arguments: Any, named: Any) -> None:
    met[place] = first_input(arguments, named)


def _ignores_later_tokens(states: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Whether the first token keeps its states, up to rounding, when a later token is changed."""
    pairs = [(one[0, 0], other[0, 0]) for one, other in zip(states, after, strict=True)]
    return all((one - other).norm() <= 1e-5 * one.norm() for one, other in pairs)


def _same(found: Any, state: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == state.shape and torch.equal(found, state)


def _ids(model: PreTrainedModel) -> Tensor:
    """`[1, 6]` ordinary tokens and, where the configuration names one, the token that ends a text."""
    config: Any = model.config
    special = {getattr(config, name, None) for name in SPECIAL}
    embeddings = model.get_input_embeddings()
    known = getattr(embeddings, "num_embeddings", None) or getattr(config, "vocab_size", 100)
    plain = [token for token in range(min(known, 64)) if token not in special] or [0]
    ids = [plain[(7 * place + 3) % len(plain)] for place in range(PROBE)]
    end = getattr(config, "eos_token_id", None)
    if config.is_encoder_decoder and isinstance(end, int):
        ids[-1] = end  # BART and T5 classify at the end of the text
    return torch.tensor([ids], device=model.device)


@contextmanager
def _untouched(model: PreTrainedModel) -> Iterator[None]:
    """Without gradient or dropout, and leaving no trace of the run in the model."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [set(module._forward_hooks) for module in modules]
    installed = [CAPTURING in vars(module) for module in modules]
    sparse: list[tuple[Any, str]] = [
        (module, str(module.attention_type)) for module in modules if hasattr(module, "set_attention_type")
    ]
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # warnings about this short text are not about the user's texts
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            try:
                yield
            finally:
                for module, kind in sparse:  # BigBird turns its sparse attention off at the first short text
                    if module.attention_type != kind:
                        module.set_attention_type(kind)  # new modules, which get the old weights
    finally:
        logging.set_verbosity(verbosity)
        model.train(modes[0])
        for module, mode, before, was in zip(modules, modes, hooks, installed, strict=True):
            module.training = mode
            for left in module._forward_hooks.keys() - before:  # `transformers` lets its own lie, which no copy takes
                del module._forward_hooks[left]
            if not was:
                vars(module).pop(CAPTURING, None)
