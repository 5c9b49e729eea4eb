"""Models that are odd, through whole runs: what is refused is refused by `check` too, before anything is trained."""

import json
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
)

from distiller.config import Run
from distiller.errors import ConfigError, DistillerError, ModelError
from distiller.forecast import forecast
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
