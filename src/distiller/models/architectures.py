"""The encoders in Table 6 of arXiv:2109.11105 by name: sizes, exact parameter counts, published weights."""

from dataclasses import dataclass
from typing import Any, Literal

from transformers import BertConfig, DistilBertConfig, ElectraConfig, PretrainedConfig, RobertaConfig

from distiller.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Architecture:
    """One row of Table 6 of arXiv:2109.11105, with the weights that its authors start from."""

    name: str
    hub_id: str
    family: Literal["bert", "roberta", "electra", "distilbert"]
    layers: int
    hidden: int
    ffn: int
    heads: int
    parameters: int
    """Exact number of weights without the task head (with the pooler, where the family has one)."""
    embedding: int | None = None
    """Width of the embeddings where it is not `hidden` (ELECTRA)."""
    vocab: int = 30522
    positions: int = 512

    def config(self) -> PretrainedConfig:
        """The `transformers` configuration of this row."""
        if self.family == "distilbert":
            return DistilBertConfig(
                vocab_size=self.vocab,
                max_position_embeddings=self.positions,
                n_layers=self.layers,
                dim=self.hidden,
                hidden_dim=self.ffn,
                n_heads=self.heads,
            )
        sizes: dict[str, Any] = {
            "vocab_size": self.vocab,
            "max_position_embeddings": self.positions,
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_attention_heads": self.heads,
        }
        if self.family == "roberta":
            return RobertaConfig(**sizes, type_vocab_size=1, layer_norm_eps=1e-5)
        if self.family == "electra":
            return ElectraConfig(**sizes, embedding_size=self.embedding or self.hidden)
        return BertConfig(**sizes)


ARCHITECTURES: dict[str, Architecture] = {
    row.name: row
    for row in (
        Architecture("bert-base", "google/bert_uncased_L-12_H-768_A-12", "bert", 12, 768, 3072, 12, 109_482_240),
        Architecture(
            "roberta-large", "FacebookAI/roberta-large", "roberta", 24, 1024, 4096, 16, 355_359_744,
            vocab=50265, positions=514,
        ),
        Architecture(
            "electra-large", "google/electra-large-discriminator", "electra", 24, 1024, 4096, 16, 334_092_288,
            embedding=1024,
        ),
        Architecture("tinybert-6", "huawei-noah/TinyBERT_General_6L_768D", "bert", 6, 768, 3072, 12, 66_955_008),
        Architecture("bert-pkd-4", "google-bert/bert-base-uncased", "bert", 4, 768, 3072, 12, 52_779_264),
        Architecture("bert-medium", "google/bert_uncased_L-8_H-512_A-8", "bert", 8, 512, 2048, 8, 41_373_184),
        Architecture("bert-small", "google/bert_uncased_L-4_H-512_A-8", "bert", 4, 512, 2048, 8, 28_763_648),
        Architecture("tinybert-4", "huawei-noah/TinyBERT_General_4L_312D", "bert", 4, 312, 1200, 12, 14_350_248),
        Architecture(
            "electra-small", "google/electra-small-discriminator", "electra", 12, 256, 1024, 4, 13_483_008,
            embedding=128,
        ),
        Architecture("bert-mini", "google/bert_uncased_L-4_H-256_A-4", "bert", 4, 256, 1024, 4, 11_170_560),
        Architecture("bert-tiny", "google/bert_uncased_L-2_H-128_A-2", "bert", 2, 128, 512, 2, 4_385_920),
        Architecture("distilbert", "distilbert/distilbert-base-uncased", "distilbert", 6, 768, 3072, 12, 66_362_880),
    )
}  # fmt: skip


def architecture(name: str) -> Architecture:
    """The architecture called `name`. Raises `ConfigError` that suggests the closest name."""
    if name not in ARCHITECTURES:
        raise ConfigError(f"no architecture is called `{name}`", hint=did_you_mean(name, list(ARCHITECTURES)))
    return ARCHITECTURES[name]
