"""The encoder–decoders that are built here: a Marian model, or the network of the slides.

Marian's is an ordinary model of `transformers`: post-norm, sinusoidal positions, one table for both sides and the
softmax. The slides' network is no class of `transformers`: Marian normalises after each sublayer and has no norms on
embeddings and outputs and no trained bias of the softmax (8·width + V weights fewer, and V·width with one table);
MBart has the norms, but one table for both sides and learnt positions. So it is MBart with sinusoidal positions, a
table for each side, and a trained bias of the softmax; everything that computes is inherited.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.mbart.modeling_mbart import MBartScaledWordEmbedding

from distiller.config.translation import Shape
from distiller.device import seeded
from distiller.models.encoder_decoder import shift_right
from distiller.objectives.towers import position_angles

POSITIONS = 512
"""Number of positions of the models that are built here."""


class TokenIds(NamedTuple):
    """Size and special ids of a tokenizer, as a model's configuration needs them."""

    size: int
    """Rows of the embedding tables."""
    pad: int
    end: int
    start: int
    """The first token that the decoder reads."""
    forced: int | None = None
    """The token with which every translation begins, e.g. the target language of NLLB."""

    @classmethod
    def own(cls, size: int) -> "TokenIds":
        """Those of tokenizers trained here: end first, padding last; padding also starts the decoder."""
        return cls(size, pad=size - 1, end=0, start=size - 1)


class TranslationConfig(MBartConfig):
    """Sizes of a `TranslationModel`."""

    model_type = "distiller-translation"
    normalize_before: bool = True
    """Norms come before each sublayer; read by CTranslate2."""


class Sinusoids(nn.Module):
    """Sinusoidal position embeddings: sines in the first half of the width, cosines in the second; no weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, like: Tensor, past_key_values_length: int = 0, position_ids: Tensor | None = None) -> Tensor:
        """Positions `[L, width]` of the tokens `like` `[B, L]`, or those of `position_ids` `[L]`."""
        if position_ids is None:
            position_ids = torch.arange(like.shape[1], device=like.device) + past_key_values_length
        return sinusoids(position_ids, self.width)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """`[L, width]` for `positions` `[L]`: all sines, then all cosines."""
    angles = position_angles(positions, width)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TranslationModel(MBartForConditionalGeneration):
    """A pre-norm encoder–decoder with sinusoidal positions and a table per side; the decoder's is tied to the softmax.

    Weights: 2Vh + V + 8h + enc·(4(h²+h) + 2hf + f + h + 4h) + dec·(8(h²+h) + 2hf + f + h + 6h), as on the slides.
    """

    config_class = TranslationConfig  # type: ignore[assignment]
    _keys_to_ignore_on_load_missing = []  # the bias of the softmax is trained here
    _tied_weights_keys = {
        "lm_head.weight": "model.decoder.embed_tokens.weight",
        "model.shared.weight": "model.encoder.embed_tokens.weight",
    }

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        body: Any = self.model
        body._tied_weights_keys, body.all_tied_weights_keys = None, {}  # MBart ties both tables to one
        body.decoder.embed_tokens = MBartScaledWordEmbedding(
            config.vocab_size, config.d_model, config.pad_token_id, body.encoder.embed_tokens.embed_scale
        )
        body.encoder.embed_positions = Sinusoids(config.d_model)
        body.decoder.embed_positions = Sinusoids(config.d_model)
        del self.final_logits_bias
        self.final_logits_bias = nn.Parameter(torch.zeros(1, config.vocab_size))
        self.post_init()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels `[B, L]` shifted right behind the start token; -100 becomes padding."""
        ids: Any = self.config
        return shift_right(labels, start=ids.decoder_start_token_id, pad=ids.pad_token_id)


AutoConfig.register(TranslationConfig.model_type, TranslationConfig)
AutoModelForSeq2SeqLM.register(TranslationConfig, TranslationModel)


def translation_config(shape: Shape, tokens: TokenIds) -> PretrainedConfig:
    """The configuration of a model of this shape for a tokenizer."""
    sizes = shape.sizes()
    common: dict[str, Any] = {
        "vocab_size": tokens.size,
        "d_model": sizes["width"],
        "encoder_layers": sizes["encoder_layers"],
        "decoder_layers": sizes["decoder_layers"],
        "encoder_ffn_dim": sizes["ffn"],
        "decoder_ffn_dim": sizes["ffn"],
        "encoder_attention_heads": sizes["heads"],
        "decoder_attention_heads": sizes["heads"],
        "dropout": shape.dropout,
        "activation_function": "relu",
        "scale_embedding": True,  # NeMo divides positions by √width instead; the norm that follows makes them equal
        "max_position_embeddings": POSITIONS,
        "pad_token_id": tokens.pad,
        "eos_token_id": tokens.end,
        "decoder_start_token_id": tokens.start,
        "forced_eos_token_id": None,
    }
    if shape.form() == "slides":
        return TranslationConfig(**common, bos_token_id=tokens.start)
    return MarianConfig(
        **common,
        bos_token_id=None,
        decoder_vocab_size=tokens.size,
        share_encoder_decoder_embeddings=shape.embeddings == "shared",
        tie_word_embeddings=True,
    )


def build_model(shape: Shape, *, tokens: TokenIds, seed: int) -> PreTrainedModel:
    """A model with weights drawn from `seed`; the global random state stays as it was."""
    with seeded(seed):
        return without_seed(shape, tokens)


def without_seed(shape: Shape, tokens: TokenIds) -> PreTrainedModel:
    """A model whose weights are drawn from the current random state, on the current device."""
    config: Any = translation_config(shape, tokens)
    model = TranslationModel(config) if isinstance(config, TranslationConfig) else MarianMTModel(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
        bad_words_ids=[[tokens.pad]],
        forced_bos_token_id=tokens.forced,
        num_beams=4,
        length_penalty=0.6,
        max_length=POSITIONS,
    )
    return model


def keep_padding_silent(model: PreTrainedModel) -> None:
    """Keep the embedding of the padding token at zero while `model` is trained.

    Marian's decoder starts from padding, and converters assume that this embedding is zero; with a tied softmax it
    would get gradients.
    """
    if model.config.model_type != "marian":
        return
    pad = model.config.pad_token_id
    rows = {id(table.weight): table.weight for table in model.modules() if isinstance(table, nn.Embedding)}
    for weight in rows.values():
        if len(weight) == model.config.vocab_size and not weight[pad].any():
            weight.register_post_accumulate_grad_hook(_without_row(pad))


def _without_row(row: int) -> Any:
    def silence(weight: Tensor) -> None:
        assert weight.grad is not None
        weight.grad[row] = 0.0

    return silence
