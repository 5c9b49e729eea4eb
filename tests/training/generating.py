"""Trainers of tiny models that generate: a language model of a script, and a translation model."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM

from distiller import config
from distiller.config import translation
from distiller.models.layers import reading
from distiller.objectives.prediction import IGNORED
from distiller.training.trainer import DistillationTrainer
from distiller.translation.batches import BatchStream, collate
from distiller.translation.batches import Examples as Pairs
from distiller.translation.tokenizer import END
from distiller.translation.trainer import TranslationTrainer
from training.tiny import Examples, arguments
from translation.tiny import model as translator


class Texts:
    """Texts of 3 to 12 tokens, as a language model reads them."""

    def __init__(self, size: int) -> None:
        self.tokens = Examples(size).tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {"input_ids": self.tokens[position]}


def continued(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """What a collator for language models gives; the first two tokens are a prompt, which has no labels."""
    rows = [torch.tensor(feature["input_ids"]) for feature in features]
    ids = pad_sequence(rows, batch_first=True)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    labels = ids.masked_fill(mask == 0, IGNORED)
    labels[:, :2] = IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def language_model(layers: int, seed: int) -> Any:
    shape = LlamaConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape)


def of_language(folder: Path, objective: dict[str, Any], **given: Any) -> DistillationTrainer:
    small, large = language_model(2, 0), language_model(4, 1)
    for either in (small, large):
        reading(either)
    return DistillationTrainer(
        small, teacher=large, objective=objective, train_dataset=Texts(40), data_collator=continued,
        args=arguments(folder, **given),
    )  # fmt: skip


def of_translation(folder: Path, objective: dict[str, Any], **given: Any) -> DistillationTrainer:
    rng = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 9, (60,), generator=rng).tolist()
    text = [[*torch.randint(4, 19, (length,), generator=rng).tolist(), END] for length in lengths]
    return TranslationTrainer(
        translator(20, encoder_layers=2),
        objective=config.parse(translation.Objective, objective, where="objective"),
        score=lambda _: {},
        teacher=translator(20, seed=9, encoder_layers=2, decoder_layers=2, width=16),
        label_smoothing=0.1,
        args=arguments(folder, **{"per_device_train_batch_size": 1, "label_names": ["labels"], **given}),
        train_dataset=BatchStream(Pairs.of(text, text, gold=60), batch_tokens=60, seed=0, batches=18),
        data_collator=partial(collate, pad=19),
    )
