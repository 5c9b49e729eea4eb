"""The encoder–decoder of the slides as a `transformers` model.

No class of `transformers` is this model: Marian normalises after each sublayer and has no norms on embeddings and
outputs (8·width + V weights fewer); MBart has the norms, but one table for both sides and learnt positions. So this
is MBart with sinusoidal positions, a table for each side, and a trained bias of the softmax; everything that computes
is inherited.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, MBartConfig, MBartForConditionalGeneration
from transformers.models.mbart.modeling_mbart import MBartScaledWordEmbedding

from distiller.translation.config import Shape

PAD, UNKNOWN, START, END = 0, 1, 2, 3
"""Token ids that every vocabulary of this library has; the decoder starts with `START`, which is no padding."""


POSITIONS = 512
"""Positions that an exported model knows; inside `transformers` there is no longest input."""


class TranslationConfig(MBartConfig):
    """Sizes of a `TranslationModel`."""

    model_type = "distiller-translation"
    normalize_before: bool = True
    """Norms come before each sublayer; read by CTranslate2."""


class Sinusoids(nn.Module):
    """Fixed positions: sines in the first half of the width, cosines in the second; no weights and no longest input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, like: Tensor, past_key_values_length: int = 0, position_ids: Tensor | None = None) -> Tensor:
        """Positions `[L, width]` of the tokens `like` `[B, L]`, or those of `position_ids` `[L]`."""
        if position_ids is None:
            position_ids = torch.arange(like.shape[1], device=like.device) + past_key_values_length
        return sinusoids(position_ids, self.width)


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """`[L, width]` for `positions` `[L]`. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TranslationModel(MBartForConditionalGeneration):
    """A pre-norm encoder–decoder with fixed positions, a table for each side, and the decoder's tied to the softmax.

    Weights: 2Vh + V + 8h + enc·(4(h²+h) + 2hf + f + h + 4h) + dec·(8(h²+h) + 2hf + f + h + 6h), as on the slides.
    """

    config_class = TranslationConfig  # type: ignore[assignment]
    _keys_to_ignore_on_load_missing = []  # the bias of the softmax is trained here
    _tied_weights_keys = {
        "lm_head.weight": "model.decoder.embed_tokens.weight",
        "model.shared.weight": "model.encoder.embed_tokens.weight",
    }

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__(config)
        body: Any = self.model
        body._tied_weights_keys, body.all_tied_weights_keys = None, {}  # MBart ties both tables to one
        body.decoder.embed_tokens = MBartScaledWordEmbedding(
            config.vocab_size, config.d_model, PAD, body.encoder.embed_tokens.embed_scale
        )
        body.encoder.embed_positions = Sinusoids(config.d_model)
        body.decoder.embed_positions = Sinusoids(config.d_model)
        del self.final_logits_bias
        self.final_logits_bias = nn.Parameter(torch.zeros(1, config.vocab_size))
        self.post_init()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels `[B, L]` shifted right behind the start token; -100 becomes padding."""
        return shift_right(labels)


AutoConfig.register(TranslationConfig.model_type, TranslationConfig)
AutoModelForSeq2SeqLM.register(TranslationConfig, TranslationModel)


def shift_right(labels: Tensor) -> Tensor:
    """Decoder inputs `[B, L]` for `labels` `[B, L]`: the start token, then all labels but the last.

    -100 becomes padding. The first label is thus predicted from the start token, and counts like any other.
    """
    shifted = torch.cat([labels.new_full((len(labels), 1), START), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == -100, PAD)


def translation_config(shape: Shape, *, vocabulary: int) -> TranslationConfig:
    """The configuration of a model of this shape for a vocabulary of so many pieces."""
    sizes = shape.sizes()
    return TranslationConfig(
        vocab_size=vocabulary,
        d_model=sizes["width"],
        encoder_layers=sizes["encoder_layers"],
        decoder_layers=sizes["decoder_layers"],
        encoder_ffn_dim=sizes["ffn"],
        decoder_ffn_dim=sizes["ffn"],
        encoder_attention_heads=sizes["heads"],
        decoder_attention_heads=sizes["heads"],
        dropout=shape.dropout,
        activation_function="relu",
        scale_embedding=True,  # NeMo divides positions by √width instead; the norm that follows makes them equal
        max_position_embeddings=POSITIONS,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
    )


def build_model(shape: Shape, *, vocabulary: int, seed: int) -> TranslationModel:
    """A model with weights drawn from `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return TranslationModel(translation_config(shape, vocabulary=vocabulary))


def parameter_count(model: nn.Module) -> int:
    """Number of weights; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
