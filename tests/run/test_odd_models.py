"""Models that are odd, through whole runs: what is refused is refused by `check` too, before anything is trained."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizerFast,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForSequenceClassification,
)

from distiller.config import Run
from distiller.errors import ConfigError, DataError, DistillerError, ModelError
from distiller.forecast import forecast
from distiller.inference import Predictor
from distiller.run import distil
from distiller.run.plan import make_plan
from run.tiny import BAD, FILLER, GOOD, SPECIAL, Workshop

WORDS = [*SPECIAL, *FILLER, *GOOD, *BAD]


def decoder(folder: Path, *, rows: int = len(WORDS), padding: str | None = "[PAD]") -> str:
    """A GPT-2 that knows no token to pad with, with a tokenizer that does."""
    torch.manual_seed(0)
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 4, "n_positions": 19}
    config = GPT2Config(vocab_size=rows, bos_token_id=2, eos_token_id=3, **sizes, **labels)
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    words = BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)})
    special = {"unk_token": "[UNK]"} | ({"pad_token": padding} if padding else {})
    PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, **special).save_pretrained(folder)
    return str(folder)


def run(shop: Workshop, folder: Path, **fields: Any) -> Run:
    return Run.model_validate(shop.run(folder, **fields))


def test_a_decoder_teaches_a_decoder_by_its_last_token(shop: Workshop, tmp_path: Path) -> None:
    wish = run(
        shop,
        tmp_path,
        task={"train": shop.reviews, "dev": shop.dev, "max_length": 19},
        teacher={"model": decoder(tmp_path / "gpt2"), "finetune": "never"},
        objective={"intermediate": [{"loss": "mse"}, {"loss": "pkd"}]},
        training={"max_steps": 2, "batch_size": 16, "threads": 1},
        cache=str(tmp_path / "cache"),
    )
    assert forecast(wish).student.parameters < forecast(wish).teacher.parameters
    distil(wish)
    place = tmp_path / "out" / "student"
    student, report = AutoModelForSequenceClassification.from_pretrained(place, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert student.config.pad_token_id == 0
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert tokenizer.model_max_length == 19
    texts = ["the film was good " * 20, "bad"]
    assert student(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits.shape == (2, 2)


@pytest.mark.parametrize(
    ("made", "fields", "words"),
    [
        ({"rows": len(WORDS) - 1}, {}, "has 23 tokens, its embeddings 22"),
        ({"padding": None}, {}, "no padding token"),
        ({}, {"task": {"max_length": 24}}, "the teacher takes 19 tokens"),
        ({}, {"objective": {"intermediate": [{"loss": "attention_mse"}]}}, "no separate query and key"),
        ({}, {"student": {"layers": 5}}, "a student of 5 layers cannot start from a source of 4"),
        ({}, {"student": {"layers": 2, "config": {"n_inner": 24}, "init": "teacher"}}, "has shape"),
    ],
    ids=["tokens", "padding", "length", "scores", "layers", "sizes"],
)
def test_check_refuses_what_run_refuses(shop: Workshop, tmp_path: Path, made: dict, fields: dict, words: str) -> None:
    task = {"train": shop.reviews, "dev": shop.dev, "max_length": 16} | fields.pop("task", {})
    given = {"teacher": {"model": decoder(tmp_path / "gpt2", **made)}, "task": task} | fields
    with pytest.raises(DistillerError, match=words):
        make_plan(run(shop, tmp_path, **given))


def test_mixed_examples_have_no_ids_to_find_the_last_token_by(shop: Workshop, tmp_path: Path) -> None:
    given = {"teacher": {"model": decoder(tmp_path / "gpt2")}, "augmentation": [{"name": "mixup"}]}
    with pytest.raises(ConfigError, match="by which a `gpt2` teacher finds its last token"):
        make_plan(run(shop, tmp_path, **given))


def test_truncated_weights_are_seen_by_check(shop: Workshop, tmp_path: Path) -> None:
    place = Path(decoder(tmp_path / "gpt2"))
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="truncated"):
        make_plan(run(shop, tmp_path, teacher={"model": str(place)}))


@pytest.mark.parametrize("template", ["[CLS] $A $B", "$A $B [SEP]"])
def test_a_decoder_says_that_there_is_no_answer_behind_the_text(shop: Workshop, tmp_path: Path, template: str) -> None:
    """Before it, a model that reads from left to right has seen nothing."""
    folder = decoder(tmp_path / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [("[CLS]", WORDS.index("[CLS]")), ("[SEP]", WORDS.index("[SEP]"))]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template.replace(" $B", ""), pair=template, special_tokens=special
    )
    tokenizer.add_special_tokens({"bos_token": "[CLS]", "eos_token": "[SEP]"})
    tokenizer.save_pretrained(folder)
    rows = [{"question": "a", "context": "b c d", "answers": {"text": text, "answer_start": start}}
            for text, start in ((["c"], [2]), ([], []))]  # fmt: skip
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 6), encoding="utf-8")
    file = str(tmp_path / "qa.jsonl")
    task = {"train": file, "dev": file, "max_length": 19, "stride": 2}
    wish = run(shop, tmp_path, task=task, teacher={"model": folder}, student={"layers": 2}, cache=str(tmp_path / "c"))
    if template.endswith("[SEP]"):
        assert make_plan(wish).data.kind == "qa"
        return
    with pytest.raises(ModelError, match="reads from left to right") as error:
        forecast(wish)
    assert "task.null_answers=false with task.skip_bad=true" in str(error.value.hint)
    answered = {**task, "null_answers": False, "skip_bad": True}
    assert forecast(wish.model_copy(update={"task": wish.task.model_copy(update=answered)}))


@pytest.mark.parametrize("ends", [True, False])
def test_texts_whose_end_an_encoder_decoder_would_not_find_are_refused(
    shop: Workshop, tmp_path: Path, ends: bool
) -> None:
    """Its head reads the last token that ends a text, and wants as many of them in every text of a batch."""
    end = WORDS.index("[SEP]")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
    special = {"pad_token_id": 0, "eos_token_id": end, "decoder_start_token_id": 0}
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    folder = tmp_path / "t5"
    T5ForSequenceClassification(T5Config(vocab_size=len(WORDS), **sizes, **special, **labels)).save_pretrained(folder)
    words = BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)}).backend_tokenizer
    if not ends:
        words.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    train = tmp_path / "train.csv"
    held = [line.replace("the", "the [SEP]", 1) for line in Path(shop.reviews).read_text().splitlines()]
    train.write_text("\n".join(held), encoding="utf-8")
    teacher = {"model": str(folder), "finetune": "never"}
    said = "a text holds `[SEP]`" if ends else "does not end texts with `[SEP]`"
    task = {"train": str(train), "dev": shop.dev, "max_length": 16}
    with pytest.raises(DistillerError, match=re.escape(said)):
        make_plan(run(shop, tmp_path, task=task, teacher=teacher))
    if not ends:
        return
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        Predictor(str(folder))(["a good [SEP] film"])
    assert "--skip-bad" in str(caught.value.hint)
    mixed = ["a good film", "a good [SEP] film", "the bad film"]
    assert len(Predictor(str(folder))(mixed, skip_bad=True)) == 2
