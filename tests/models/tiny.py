"""Tiny random models of every family that the reader and the student builder promise to work with."""

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizerFast,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 100}
OTHER_NAMES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "num_hidden_layers": "n_layers",
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox", "film", "was", "good", "##s"]
FAMILIES = ("bert", "roberta", "electra", "distilbert", "mpnet", "modernbert")


def tiny_config(family: str, *, layers: int = 4, **given) -> PretrainedConfig:
    fields = SIZES | {"num_hidden_layers": layers} | given
    match family:
        case "bert":
            return BertConfig(**fields)
        case "roberta":
            return RobertaConfig(**{"max_position_embeddings": 40} | fields)
        case "electra":
            return ElectraConfig(**fields, embedding_size=16)
        case "distilbert":
            return DistilBertConfig(**{OTHER_NAMES.get(name, name): value for name, value in fields.items()})
        case "mpnet":
            return MPNetConfig(**{"max_position_embeddings": 40} | fields)
        case _:
            return ModernBertConfig(**SPECIAL, **fields)


def tiny_model(family: str, *, layers: int = 4, attention: str = "eager", seed: int = 0, **fields) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = tiny_config(family, layers=layers, **fields)
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
        for parameter in model.parameters():  # fresh biases and norms are constants: a wrong copy would go unseen
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def tiny_inputs(*, batch: int = 3, length: int = 7, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length - 2 :] = 0
    return {
        "input_ids": torch.randint(3, 100, (batch, length), generator=rng),
        "attention_mask": mask,
        "token_type_ids": torch.zeros(batch, length, dtype=torch.long),
        "labels": torch.zeros(batch, dtype=torch.long),
        "example_id": torch.arange(batch),
    }


def tiny_tokenizer(words: list[str] | None = None, **options: object) -> BertTokenizerFast:
    return BertTokenizerFast(vocab={word: index for index, word in enumerate(words or WORDS)}, **options)
