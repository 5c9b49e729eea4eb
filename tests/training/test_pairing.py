"""Which teachers fit a student: the order of their classes, and the tokens they read."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast

from distiller.errors import ConfigError
from distiller.training.batching import Batch
from distiller.training.pairing import check_vocabularies, class_order
from training.tiny import Examples, batch, student, teacher, trainer


def named(names: list[str], vocabulary: int = 100) -> BertConfig:
    return BertConfig(vocab_size=vocabulary, id2label=dict(enumerate(names)))


def words(names: str) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names.split())}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")


def test_classes_are_matched_by_name() -> None:
    ours = named(["bad", "good", "so"])
    assert class_order(ours, named(["so", "bad", "good"]), "classification") == [1, 2, 0]
    assert class_order(ours, named(["Bad", "Good", "So"]), "tagging") is None
    assert class_order(ours, named(["LABEL_0", "LABEL_1", "LABEL_2"]), "classification") is None
    assert class_order(named(["LABEL_0", "LABEL_1"]), named(["yes", "no"]), "multilabel") is None
    assert class_order(ours, named(["a"]), "qa") is None
    with pytest.raises(ConfigError, match="3 classes and the teacher 2"):
        class_order(ours, named(["bad", "good"]), "classification")
    with pytest.raises(ConfigError, match="`so` is none of the teacher's"):
        class_order(ours, named(["bad", "good", "fine"]), "classification")


def test_the_teachers_outputs_come_in_the_students_order(tmp_path: Path) -> None:
    small, large = student(labels=3), teacher(labels=3)
    small.config.id2label = {0: "a", 1: "b", 2: "c"}
    large.config.id2label = {0: "c", 1: "a", 2: "b"}
    made = trainer(tmp_path, {}, small=small, large=large)
    inputs = {name: value for name, value in batch().items() if name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        own = large(**inputs).logits
    torch.testing.assert_close(made.teacher_signals(inputs).logits, own[:, [1, 2, 0]])


def test_a_teacher_of_hidden_states_alone_may_have_other_classes(tmp_path: Path) -> None:
    wish = {"beta1": 0, "gamma1": 1, "intermediate": [{"loss": "mse"}]}
    trainer(tmp_path, wish, large=teacher(labels=5), max_steps=1).train()


def test_another_vocabulary_is_refused_unless_the_teachers_tokens_are_there(tmp_path: Path) -> None:
    large = teacher()
    large.resize_token_embeddings(300)
    made = trainer(tmp_path, {}, large=large)
    with pytest.raises(ConfigError, match="300 and 100 tokens"):
        made.train()

    class Both(Examples):
        def __getitem__(self, position: int) -> dict[str, Any]:
            own = super().__getitem__(position)
            return {**own, "teacher": {"input_ids": [token + 150 for token in own["input_ids"]], "labels": 0}}

    def collate(features: list[Any]) -> Batch:
        tokens = torch.nn.utils.rnn.pad_sequence
        sides = [
            [torch.tensor(side["input_ids"]) for side in rows] for rows in (features, [f["teacher"] for f in features])
        ]
        own, theirs = (tokens(side, batch_first=True) for side in sides)
        labels = torch.tensor([feature["labels"] for feature in features])
        return {
            "input_ids": own, "attention_mask": (own > 0).long(), "labels": labels,
            "teacher": {"input_ids": theirs, "attention_mask": (theirs > 0).long()},
        }  # fmt: skip

    made = trainer(tmp_path, {}, large=large, data=Both(16))
    made.data_collator = collate
    made.train()


def test_vocabularies_are_compared_where_the_teachers_lies_beside_it(tmp_path: Path) -> None:
    shape, ours = named(["a", "b"], 3), words("[PAD] [UNK] film")
    shape._name_or_path = str(tmp_path)
    words("[PAD] [UNK] soup").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="different vocabularies"):
        check_vocabularies(named(["a", "b"], 3), shape, ours)
    ours.save_pretrained(tmp_path)
    check_vocabularies(named(["a", "b"], 8), shape, ours)  # padded


def test_a_padded_table_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_vocabularies(named(["a"], 30522), named(["a"], 30528), None)
    assert "30528 and 30522" in caplog.text
