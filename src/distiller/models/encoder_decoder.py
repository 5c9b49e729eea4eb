"""Encoder–decoders of any architecture in `transformers`: loads them, finds their layers, reads their states.

Nothing here depends on an architecture's name. What is assumed about a model is checked once against its own forward
pass (`check_reading`), so that a model which is built differently is refused in one line rather than misread.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PretrainedConfig, PreTrainedModel

from distiller.errors import ModelError
from distiller.models.folders import check_weights, explained, load_config, resolve
from distiller.models.signals import Head, Signals

Side = Literal["encoder", "decoder"]
SIDES: tuple[Side, Side] = ("encoder", "decoder")
STACKS = ("layers", "block", "layer")
"""What architectures call the list of their layers."""


class Seq2SeqStates(NamedTuple):
    """The states from one forward pass, teacher-forced."""

    last: Tensor
    """What the head multiplies, `[B, L_target, width]`."""
    encoder: tuple[Tensor, ...]
    """Layers of the encoder, 0 the embeddings, each `[B, L_source, width]`; empty unless asked for."""
    decoder: tuple[Tensor, ...]


def encoder_decoder_config(name: str | Path) -> PretrainedConfig:
    """The configuration of an encoder–decoder. Raises `ModelError` for a model of another kind."""
    config = load_config(name)
    if not config.is_encoder_decoder:
        raise ModelError(
            f"`{name}` holds a `{config.model_type}` model, which is no encoder–decoder",
            hint="name a Marian, mBART, M2M100, NLLB, T5, BART or Pegasus model; a causal one needs teacher.prompt",
        )
    return config


def load_encoder_decoder(name: str | Path) -> PreTrainedModel:
    """The encoder–decoder in a folder, package or hub id, in float32 and eval mode. Raises `ModelError`."""
    config = encoder_decoder_config(name)
    place = resolve(name)
    if isinstance(place, Path):
        check_weights(place, name)
    with explained(name):
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            place, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"`{name}` lacks {len(missing)} weights, the first is `{missing[0]}`",
            hint="the weights belong to another architecture, or to a model without a head for text",
        )
    return model.eval()


def layers_of(model: PreTrainedModel, side: Side) -> nn.ModuleList:
    """The layers of the encoder or decoder. Raises `ModelError` where they are not found."""
    stack = stack_of(model, side)
    for name in STACKS:
        if isinstance(found := getattr(stack, name, None), nn.ModuleList):
            return found
    raise ModelError(
        f"the layers of the {side} of `{model.config.model_type}` are not found",
        hint="this architecture can teach by its translations: set beta1, cosine and intermediate objectives to 0",
    )


def stack_of(model: PreTrainedModel, side: Side) -> nn.Module:
    """The encoder or decoder itself."""
    whole: Any = model
    return whole.get_encoder() if side == "encoder" else whole.get_decoder()


def width_of(model: PreTrainedModel) -> int:
    """Size of a hidden state."""
    return int(model.config.hidden_size)


def head_of(model: PreTrainedModel) -> Head:
    """The function from `Seq2SeqStates.last` to the scores of all tokens."""
    linear: Any = model.get_output_embeddings()
    bias: Any = getattr(model, "final_logits_bias", None)
    if bias is None:
        bias = getattr(linear, "bias", None)
    if bias is None:
        bias = linear.weight.new_zeros(len(linear.weight))
    return Head(linear.weight, bias.reshape(-1))


def decoder_inputs(model: PreTrainedModel, labels: Tensor) -> Tensor:
    """Decoder inputs for `labels` `[B, L]`, padded with -100: the labels, shifted as the architecture does."""
    whole: Any = model
    if hasattr(whole, "prepare_decoder_input_ids_from_labels"):
        return whole.prepare_decoder_input_ids_from_labels(labels)
    return shift_right(labels, start=whole.config.decoder_start_token_id, pad=whole.config.pad_token_id)


def shift_right(labels: Tensor, *, start: int, pad: int) -> Tensor:
    """Decoder inputs `[B, L]` for `labels` `[B, L]`: the start token, then all labels but the last.

    -100 becomes padding. The first label is thus predicted from the start token, and counts like any other.
    """
    shifted = torch.cat([labels.new_full((len(labels), 1), start), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == -100, pad)


def read(model: PreTrainedModel, batch: Mapping[str, Tensor], *, hidden: bool = False) -> Seq2SeqStates:
    """What `model` computes for a batch before its head: `hidden` layers too, where they are wanted."""
    encoder: Any = stack_of(model, "encoder")
    decoder: Any = stack_of(model, "decoder")
    encoded = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=hidden)
    decoded = decoder(
        input_ids=decoder_inputs(model, batch["labels"]),
        attention_mask=(batch["labels"] != -100).long(),
        encoder_hidden_states=encoded.last_hidden_state,
        encoder_attention_mask=batch["attention_mask"],
        output_hidden_states=hidden,
        use_cache=False,
    )
    last = decoded.last_hidden_state
    if getattr(model.config, "scale_decoder_outputs", False):  # T5 with tied embeddings
        last = last * model.config.d_model**-0.5
    if not hidden:
        return Seq2SeqStates(last, (), ())
    return Seq2SeqStates(last, tuple(encoded.hidden_states), tuple(decoded.hidden_states))


class Seq2SeqReader:
    """Runs an encoder–decoder teacher-forced on a batch, without computing scores of the whole vocabulary.

    `rows` are the ids of this model that a student with a cut vocabulary keeps: the batch is in the student's ids, and
    the scores are those of the tokens that both know.
    """

    def __init__(self, model: PreTrainedModel, *, hidden: bool, rows: Tensor | None = None) -> None:
        self.model = model
        self.hidden = hidden
        self.rows = rows
        self._kept: Head | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Signals:
        """The states of the model for a batch, with the layers of both sides where they are wanted."""
        mine = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
        if self.rows is not None:
            rows = self.rows.to(batch["input_ids"].device)
            labels = batch["labels"]
            mine["input_ids"] = rows[batch["input_ids"]]
            mine["labels"] = torch.where(labels == -100, labels, rows[labels.clamp(min=0)])
        found = read(self.model, mine, hidden=self.hidden)
        encoder, decoder = dict(enumerate(found.encoder)), dict(enumerate(found.decoder))
        return Signals(found.last, encoder, {}, batch["attention_mask"], decoder_states=decoder, head=self.head())

    def head(self) -> Head:
        """The map from the last decoder states to scores; for a frozen model its kept rows are selected once."""
        if self.rows is None:
            return head_of(self.model)
        if self._kept is None:
            weight, bias = (part.detach() for part in head_of(self.model))
            rows = self.rows.to(weight.device)
            self._kept = Head(weight[rows], bias[rows])
        return self._kept

    def close(self) -> None:
        """Does nothing: there are no hooks to remove."""


@torch.no_grad()
def check_reading(model: PreTrainedModel, name: str) -> None:
    """Raises `ModelError` unless the states, head and shift found here give the same scores as the model itself."""
    device = next(model.parameters()).device
    ids = torch.tensor([[5, 6, model.config.eos_token_id]], device=device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    mode = model.training
    model.eval()
    try:
        whole: Any = model
        wanted = whole(
            input_ids=ids, attention_mask=batch["attention_mask"], decoder_input_ids=decoder_inputs(model, ids)
        ).logits
        found = head_of(model).scores(read(model, batch).last)
        same = found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-3, rtol=1e-3)
    except (AttributeError, TypeError, RuntimeError):
        same = False
    finally:
        model.train(mode)
    if not same:
        raise ModelError(
            f"the inner layers of `{name}`, a `{model.config.model_type}` model, are built in a way not known here",
            hint="it can teach by its translations: `distiller pseudo-label`, then sequence.pseudo_labels",
        )


def longest_text(model: PreTrainedModel) -> int | None:
    """The number of positions in the model's tables; `None` where there is no limit (T5)."""
    held: int | None = getattr(model.config, "max_position_embeddings", None)
    if model.config.model_type in ("t5", "mt5", "umt5"):  # positions are relative, whatever the field says
        return None
    return held
