"""What is particular to an architecture: what is cut along with its layers, and which token stands for a text.

Whatever is not in the table is found by a rule and checked: `reading` runs a model on a few tokens, and `cutting`
compares two models that differ by one layer. The table holds what no rule can find.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig

from distiller.errors import ConfigError, ModelError, did_you_mean

Summary = Literal["first", "last"]
"""The token whose state stands for a whole text: BERT's first one, or the last one where a token sees only those
before it."""

LISTS = (
    "layer_types",
    "layers_block_type",
    "mlp_layer_types",
    "attention_window",
    "attn_layers",
    "attention_layers",
    "no_rope_layers",
)
"""Fields of a configuration that hold one entry for each layer, in order."""

NUMBERS = ("mlp_only_layers", "hybrid_layer_ids")
"""Fields of a configuration that hold numbers of layers."""

DECODER_LAYERS = ("decoder_layers", "num_decoder_layers")
"""How an encoder-decoder names the number of layers of its second half."""


@dataclass(frozen=True)
class Layout:
    """What is particular to one architecture; each reason completes a sentence that begins with its name."""

    summary: Summary = "first"
    shared: bool = False
    """Every layer is one more pass through the same weights."""
    of_model: tuple[str, ...] = ()
    """Weights that only the first layer has and all layers use; they stay with the first layer."""
    not_first: tuple[str, ...] = ()
    """Weights that every layer but the first has."""
    unread: tuple[str, ...] = ()
    """Weights beside the layers that no classifier reads."""
    numbered: str = ""
    """Why a layer computes something else in another place."""
    no_states: str = ""
    """Why its layers cannot be compared with those of another model."""
    no_scores: str = ""
    """Why its attention scores cannot be read."""
    no_cut: str = ""
    """Why no student can be cut from it."""
    no_training: str = ""
    """Why it can be neither student nor a teacher that is yet to be fine-tuned."""
    no_use: str = ""
    """Why it can be neither teacher nor student."""


LAST = Layout(summary="last")
"""A decoder: what is said of a text is said at its last token."""


def rows(layout: Layout, *names: str) -> dict[str, Layout]:
    """One layout under several names."""
    return dict.fromkeys(names, layout)


ATTENTION_NORM = ("attn_norm",)  # ModernBERT: the input of its first layer is already normalised
T5 = Layout(of_model=("relative_attention_bias",))
PICTURES = Layout(no_use="reads pictures beside texts")

LAYOUTS: Mapping[str, Layout] = {
    **rows(
        Layout(),
        *("bart", "bert", "big_bird", "bigbird_pegasus", "camembert", "convbert", "data2vec-text", "deberta"),
        *("deberta-v2", "distilbert", "electra", "ernie", "eurobert", "fnet", "gte", "ibert"),
        *("jina_embeddings_v3", "layoutlm", "layoutlmv3", "lilt", "luke", "markuplm", "mbart"),
        *("megatron-bert", "mobilebert", "mpnet", "mvp", "nomic_bert", "nystromformer", "plbart", "rembert"),
        *("roberta", "roberta-prelayernorm", "roc_bert", "roformer", "tapas", "ultrabert", "umt5"),
        *("xlm-roberta", "xlm-roberta-xl", "xmod", "yoso"),
    ),
    **rows(
        LAST,
        *("arcee", "axk1", "axk2", "biogpt", "bloom", "cohere_compass_text", "ctrl", "deepseek_v2", "deepseek_v3"),
        *("doge", "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt-sw3", "gpt2"),
        *("gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe"),
        *("jamba", "jetmoe", "llama", "minicpm3", "minimax", "ministral", "ministral3", "mistral", "mistral4"),
        *("mixtral", "mpt", "nemotron", "olmo", "olmo2", "olmo3", "openai-gpt", "opt", "persimmon", "phi", "phi3"),
        *("phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe", "qwen3_next", "seed_oss", "smollm3"),
        *("stablelm", "starcoder2"),
    ),
    **rows(PICTURES, "gemma3", "layoutlmv2", "modernvbert", "qwen3_5", "t5gemma2", "ultravbert"),
    **rows(T5, "t5", "mt5"),
    **rows(Layout(no_scores="keeps the attention of a layer apart from the rest of it"), "flaubert", "xlm"),
    "albert": Layout(shared=True),
    "canine": Layout(no_states="reads characters and joins four of them before its layers"),
    "diffllama": Layout(summary="last", numbered="weighs its two attentions by the number of the layer"),
    "esmc": Layout(no_cut="divides what a layer adds by a number that follows from how many there are"),
    "esm": Layout(unread=("contact_head.",)),
    "funnel": Layout(
        no_states="has fewer tokens in later layers", no_cut="has blocks of layers, each with fewer tokens"
    ),
    "longformer": Layout(no_scores="attends within windows that are longer than the text"),
    "modernbert": Layout(not_first=ATTENTION_NORM),
    "modernbert-decoder": Layout(summary="last", not_first=ATTENTION_NORM),
    "mra": Layout(no_use="attends to nothing without a kernel that would have to be downloaded"),
    "perceiver": Layout(no_use="reads texts into latent vectors, and has no states of tokens"),
    "reformer": Layout(
        no_training="trains on texts of one length alone, that of its table of positions",
        numbered="hashes by the number of the layer",
    ),
    "t5gemma": Layout(no_use="describes its halves in configurations of their own"),
    "squeezebert": Layout(no_scores="has its channels before its tokens"),
    "xlnet": LAST,  # bidirectional, but its <cls> is the last token
    "zamba": Layout(summary="last", no_cut="shares the weights of some of its layers"),
    "zamba2": Layout(summary="last", no_cut="shares the weights of some of its layers"),
}  # fmt: skip


def layout(config: PretrainedConfig) -> Layout:
    """What is known about the architecture of `config`; an architecture without a row has nothing particular."""
    return LAYOUTS.get(config.model_type, Layout())


def incomparable(config: PretrainedConfig) -> str:
    """Why a model's layers cannot be compared with another's, as the end of a sentence; empty if they can.

    An OPT (that with 350 M parameters) may have another width between its layers than after the last one.
    """
    if getattr(config, "word_embed_proj_dim", config.hidden_size) != config.hidden_size:
        return f"is {config.hidden_size} wide and ends in states of {config.word_embed_proj_dim} numbers"
    return layout(config).no_states


def finds_end(config: PretrainedConfig) -> bool:
    """Whether a classifier of this architecture finds the last token by its id, or by the padding after it."""
    return config.is_encoder_decoder or (layout(config).summary == "last" and config.model_type != "xlnet")


def check_known(config: PretrainedConfig) -> None:
    """Raises `ModelError` for a model that can be neither teacher nor student."""
    reason = layout(config).no_use
    if not reason and not all(hasattr(config, name) for name in ("num_hidden_layers", "hidden_size")):
        reason = "has a configuration that names no number of layers, or no width"
    if reason:
        raise ModelError(f"a `{config.model_type}` model {reason}", hint="name a model that reads texts alone")


def check_trainable(config: PretrainedConfig, role: str) -> None:
    """Raises `ModelError` for a model that cannot be trained here."""
    if reason := layout(config).no_training:
        raise ModelError(
            f"a `{config.model_type}` model cannot be the {role}: it {reason}",
            hint="as a teacher that is fine-tuned already it can be used: teacher.finetune=never",
        )


def with_fields(config: PretrainedConfig, fields: Mapping[str, Any]) -> PretrainedConfig:
    """A copy of `config` with `fields` set. Raises `ConfigError` for an unknown field or a value that it refuses."""
    aliases = config.attribute_map
    known = config.to_dict()
    for name in fields:
        if name not in known and name not in aliases:
            raise ConfigError(
                f"student.config: `{config.model_type}` has no field `{name}`",
                hint=did_you_mean(name, [*known, *aliases]),
            )
    values = {aliases.get(name, name): value for name, value in fields.items()}
    for name, value in values.items():  # transformers 5.0 accepts any value, and fails where it is used
        if isinstance(known.get(name), int | float) and isinstance(value, str):
            raise ConfigError(
                f"student.config: `{name}` is {value!r}, not a number such as {known[name]!r}",
                hint="as in the model's config.json",
            )
    depth = {"num_hidden_layers", "encoder_layers"}  # two names of one field, but two fields of transformers 5.0
    if depth <= known.keys() and depth & values.keys():
        values |= dict.fromkeys(depth, next(values[name] for name in depth if name in values))
    try:
        return type(config).from_dict(known | values)
    except (TypeError, ValueError, NotImplementedError, StrictDataclassError) as error:
        reason = str(error).strip().rpartition("\n")[2].strip()
        reason = reason.removeprefix("TypeError: ").removeprefix("ValueError: ")
        raise ConfigError(
            f"student.config: {reason}", hint="as in the model's config.json, e.g. 1.0 for a number with a fraction"
        ) from None


class PickedLayers(NamedTuple):
    """The layers of a source that a student starts from, 0-based: of an encoder, and of a decoder beside it."""

    layers: list[int]
    decoder: list[int]

    def of(self, count: int, config: PretrainedConfig) -> list[int]:
        """The layers in a list of `count` layers of a source with this configuration."""
        return self.layers if count == config.num_hidden_layers else self.decoder


def decoder_field(config: PretrainedConfig) -> str | None:
    """The field with the number of layers of a decoder beside the encoder."""
    if not config.is_encoder_decoder:
        return None
    return next((name for name in DECODER_LAYERS if getattr(config, name, None) is not None), None)


def cut_config(config: PretrainedConfig, picked: PickedLayers) -> PretrainedConfig:
    """`config` of a model with only the `picked` layers; every field with an entry for each layer is cut accordingly.

    Raises `ConfigError` for what `transformers` refuses.
    """
    known, count = config.to_dict(), config.num_hidden_layers
    fields: dict[str, Any] = {"num_hidden_layers": len(picked.layers)} if len(picked.layers) != count else {}
    if decoder := decoder_field(config):
        fields[decoder] = len(picked.decoder)
    for name in {config.attribute_map.get(name, name) for name in LISTS} & known.keys():
        entries = known[name]
        if isinstance(entries, list | tuple) and len(entries) == count:
            fields[name] = [entries[layer] for layer in picked.layers]
    for name in NUMBERS:
        if known.get(name):
            fields[name] = [place for place, layer in enumerate(picked.layers) if layer in known[name]]
    if known.get("first_k_dense_replace"):
        fields["first_k_dense_replace"] = sum(layer < known["first_k_dense_replace"] for layer in picked.layers)
    if known.get("scale_depth"):  # MiniCPM3 divides it by the root of the number of layers
        fields["scale_depth"] = known["scale_depth"] * math.sqrt(len(picked.layers) / count)
    if "attention_types" in known and "attention_layers" in fields:  # GPT-Neo stores the same twice
        fields["attention_types"] = [[[kind], 1] for kind in fields["attention_layers"]]
    return with_fields(config, fields)
