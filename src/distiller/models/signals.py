"""What a model passes to the objectives: logits, and hidden states and attention scores of the requested layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from distiller.errors import ModelError
from distiller.models.layers import (
    attention_projections,
    first_input,
    first_tensor,
    inputs_of,
    no_scores,
    no_states,
    reading,
    reported_states,
    takes,
)

Model = TypeVar("Model", bound=nn.Module)

HALF = (torch.float16, torch.bfloat16)


class Head(NamedTuple):
    """The last linear map of a model: scores = states · weightᵀ + bias."""

    weight: Tensor
    """`[V, width]`."""
    bias: Tensor
    """`[V]`."""

    def scores(self, states: Tensor) -> Tensor:
        """`[n, width]` → float scores `[n, V]`; the product is computed in the autocast format around it."""
        logits = F.linear(states, self.weight, self.bias)
        return logits if logits.dtype == torch.float64 else logits.float()


@dataclass(frozen=True)
class Signals:
    """The outputs of one forward pass for a batch of `B` texts of padded length `L`."""

    logits: Tensor
    """Scores of the head: `[B, C]`; `[B, L, C]` for tagging; `[B, L, 2]`, start and end, for question answering. Of a
    translation what its decoder gives to `head`, `[B, L_target, d]`: all scores at once would fill the memory."""
    hidden_states: dict[int, Tensor]
    """Layer number to `[B, L, d]`: 0 is the embedding output, `l` the output of layer `l`."""
    attention_scores: dict[int, Tensor]
    """Layer number (from 1) to query·key/√(d/heads) before mask and softmax, `[B, heads, L, L]`."""
    mask: Tensor
    """`[B, L]`, 1 at real tokens and 0 at padding."""
    decoder_states: dict[int, Tensor] = field(default_factory=dict)
    """Layers of the decoder of an encoder–decoder, as `hidden_states` are those of its encoder: `[B, L_target, d]`."""
    head: Head | None = None
    """Of a translation, what makes scores of `logits`."""
    unmoved: "Signals | None" = None
    """Of what was moved to the tokens of another model: the same at its own tokens."""

    def at(self, places: Tensor, mask: Tensor) -> "Signals":
        """The teacher's signals at the tokens of its student, whose mask is `mask` `[B, L']`.

        `places` `[B, L']` are positions of the teacher's tokens in each text, from 0, whichever side is padded.
        """
        begins = (
            self.mask.argmax(1, keepdim=True)
            + self.mask.shape[1] * torch.arange(len(mask), device=mask.device)[:, None]
        )
        rows = (begins + places).flatten()

        def moved(values: Tensor) -> Tensor:
            return values.flatten(0, 1).index_select(0, rows).view(*places.shape, -1)

        logits = moved(self.logits) if self.logits.dim() == 3 else self.logits
        states = {layer: moved(state) for layer, state in self.hidden_states.items()}
        return replace(self, logits=logits, hidden_states=states, attention_scores={}, mask=mask, unmoved=self)


class SignalReader:
    """Runs a model and returns the signals of the requested layers; the outputs of other layers are not kept.

    `model` is the plain model, not a parallel or compiled wrapper around it: call the reader inside the module that is
    wrapped. `hidden_layers` are 0..N, `attention_layers` 1..N. Forward hooks keep the layers' outputs, so gradients
    flow and any attention kernel will do; where no module gives the states that `transformers` reports (ALBERT, XLNet),
    the model is asked for all of them. A deep copy of the model contains a working copy of the reader. The layers of a
    half-precision model come in float32, like projections and critics.
    Raises `ModelError` for a layer that the model does not have or that cannot be read.
    """

    def __init__(
        self, model: PreTrainedModel, hidden_layers: Iterable[int] = (), attention_layers: Iterable[int] = ()
    ) -> None:
        self.model = model
        self.hidden_layers = frozenset(hidden_layers)
        self.attention_layers = frozenset(attention_layers)
        self._accepted = inputs_of(model) - {"labels"}
        self._half = next((weight.dtype for weight in model.parameters()), torch.float32) in HALF
        self._kept: dict[tuple[str, int], Tensor] = {}
        self._reading = False
        self._reported = False
        self._hooks: list[RemovableHandle] = []
        count = model.config.num_hidden_layers if self.hidden_layers or self.attention_layers else 0
        _check_layers(self.hidden_layers, count, lowest=0)
        _check_layers(self.attention_layers, count, lowest=1)
        try:
            self._watch_hidden()
            for layer in self.attention_layers:
                for kind, projection in zip("qk", attention_projections(model, layer), strict=True):
                    self._hooks.append(projection.register_forward_hook(partial(self._keep, (kind, layer))))
        except ModelError:
            self.close()
            raise

    def __call__(self, inputs: Mapping[str, Any]) -> Signals:
        """The signals of one batch; entries of `inputs` that the model does not take, and `labels`, are ignored."""
        accepted = {name: value for name, value in inputs.items() if name in self._accepted}
        if "use_cache" in self._accepted:
            accepted["use_cache"] = False  # keys and values for a next token that is never generated
        if "return_dict" in self._accepted:
            accepted["return_dict"] = True
        if self._reported and takes(self.model, "output_hidden_states"):
            accepted["output_hidden_states"] = True
        self._reading = True
        try:
            output = self.model(**accepted)
            kept = {layer: found for (name, layer), found in self._kept.items() if name == "h"}
            hidden = self._report(output) if self._reported else kept
            return Signals(
                logits=_logits(output, self.model),
                hidden_states={layer: self._widened(hidden[layer]) for layer in sorted(self.hidden_layers)},
                attention_scores={layer: self._widened(self._scores(layer)) for layer in sorted(self.attention_layers)},
                mask=_mask(inputs),
            )
        finally:
            self._reading = False
            self._kept.clear()

    def close(self) -> None:
        """Remove the hooks from the model."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _watch_hidden(self) -> None:
        if not self.hidden_layers:
            return
        places = reading(self.model).places
        self._reported = not self.hidden_layers <= places.keys()
        if self._reported:
            return
        for layer in self.hidden_layers:
            module = self.model.get_submodule(places[layer].module)
            if places[layer].side == "input":
                hook = module.register_forward_pre_hook(partial(self._keep_input, ("h", layer)), with_kwargs=True)
            else:
                hook = module.register_forward_hook(partial(self._keep, ("h", layer)))
            self._hooks.append(hook)

    def _widened(self, signal: Tensor) -> Tensor:
        return signal.float() if self._half else signal

    def _report(self, output: Any) -> Mapping[int, Tensor]:
        states = reported_states(output)
        if not states:
            raise no_states(self.model.config, "reports none: its head does not hand on `output_hidden_states`")
        return dict(enumerate(states))

    def _keep(self, key: tuple[str, int], module: nn.Module, arguments: Any, output: Any) -> None:
        if self._reading:  # not while the layer is recomputed in the backward pass, or the model is used elsewhere
            self._kept[key] = first_tensor(output)

    def _keep_input(self, key: tuple[str, int], module: nn.Module, arguments: Any, named: Any) -> None:
        if self._reading:
            self._kept[key] = first_input(arguments, named)

    def _scores(self, layer: int) -> Tensor:
        heads = self.model.config.num_attention_heads
        query, key = (self._kept[kind, layer].unflatten(-1, (heads, -1)).transpose(1, 2) for kind in "qk")
        if query.shape != key.shape:
            raise no_scores(self.model.config, "its heads share their keys")
        return query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5


def _logits(output: Any, model: nn.Module) -> Tensor:
    """The head's scores; for question answering start and end scores side by side, `[B, L, 2]`.

    A user's own head may return a dictionary, or a tuple that begins with them.
    """
    if isinstance(output, tuple):
        return output[0]
    found = output if isinstance(output, Mapping) else {}
    if "start_logits" in found:
        return torch.stack([found["start_logits"], found["end_logits"]], dim=-1)
    if "logits" not in found:
        raise ModelError(
            f"`{type(model).__name__}` gives no `logits`",
            hint="load it with the head of its task, e.g. AutoModelForSequenceClassification.from_pretrained(…)",
        )
    return found["logits"]


def frozen_teacher(model: Model) -> Model:
    """`model` in eval mode and without gradients; the same object."""
    return model.eval().requires_grad_(False)


def _check_layers(layers: Iterable[int], count: int, *, lowest: int) -> None:
    for layer in layers:
        if not lowest <= layer <= count:
            raise ModelError(f"there is no layer {layer} in a model of {count} layers", hint=f"{lowest} to {count}")


def _mask(inputs: Mapping[str, Any]) -> Tensor:
    mask = inputs.get("attention_mask")
    if mask is not None:
        return mask
    ids = inputs.get("input_ids")
    return (
        torch.ones_like(ids) if ids is not None else inputs["inputs_embeds"].new_ones(inputs["inputs_embeds"].shape[:2])
    )
