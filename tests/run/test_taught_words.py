"""Whole runs whose students learn from the teacher's word vectors: who does by default, and what comes of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

import distiller
from distiller.config import parse_run
from distiller.errors import ConfigError
from distiller.models.taught_words import TaughtEmbedding
from distiller.run.plan import make_plan
from run.test_resume import cut_and_resumed
from run.tiny import FAST, Workshop, repeatable

SMALL: dict[str, Any] = {
    "config": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2},
    "init": "random",
}
LONG = FAST | {"epochs": 2, "log_every": 2, "threads": 1, "evaluations": 2, "checkpoint_minutes": 0}


def run(shop: Workshop, folder: Path, **fields: Any) -> distiller.Run:
    return parse_run(shop.run(folder, **{"student": SMALL, "objective": {}, "training": LONG} | fields))


@pytest.mark.parametrize(
    ("fields", "taught"),
    [
        ({}, True),
        ({"taught_words": False}, False),
        ({"student": {"layers": 2}}, False),
        ({"student": {"layers": 2}, "taught_words": True}, True),
        ({"student": {"layers": 2, "model": "TUNED"}}, False),
        ({"student": SMALL | {"vocabulary": "task"}}, True),
        ({"student": {"model": "STRANGER"}}, True),
        ({"student": {"model": "STRANGER"}, "augmentation": ["mixup"]}, False),
        ({"student": {"model": "STRANGER"}, "taught_words": True}, True),
        ({"objective": {"defaults": "paper"}}, False),
        ({"objective": {"beta1": 0.0, "gamma1": 1.0}}, False),
    ],
)
def test_who_is_taught_words(shop: Workshop, tmp_path: Path, fields: dict[str, Any], taught: bool) -> None:
    if name := fields.get("student", {}).get("model"):
        fields = fields | {"student": {**fields["student"], "model": getattr(shop, name.lower())}}
    plan = make_plan(run(shop, tmp_path, **fields))
    assert plan.run.taught_words is taught
    assert make_plan(plan.run).run == plan.run  # as it is written and read again


@pytest.mark.parametrize("student", [SMALL, SMALL | {"vocabulary": "task"}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_student_is_an_ordinary_model(
    shop: Workshop, tmp_path: Path, student: dict[str, Any], precision: str
) -> None:
    fields: dict[str, Any] = {"student": student, "training": LONG | {"precision": precision}, "baseline": True}
    with_words = distiller.distil(run(shop, tmp_path / "with", **fields))
    without = distiller.distil(run(shop, tmp_path / "without", **fields, taught_words=False))
    assert any("taught_words" in note for note in with_words.notes)
    assert not any("taught_words" in note for note in without.notes)
    assert with_words.student.parameters == without.student.parameters
    assert with_words.student.fingerprint != without.student.fingerprint
    assert with_words.baseline is not None
    assert without.baseline is not None
    assert with_words.baseline.fingerprint == without.baseline.fingerprint  # which hears of no teacher
    found, info = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "with" / "out" / "student", output_loading_info=True
    )
    assert type(found.get_input_embeddings()) is nn.Embedding
    assert not info["unexpected_keys"]
    assert not info["missing_keys"]
    again = distiller.evaluate(str(tmp_path / "with" / "out"))
    assert again[with_words.metric] == pytest.approx(with_words.student.scores[with_words.metric])


@pytest.mark.parametrize("stages", [[], ["states", "answers"]])
def test_a_resumed_training_goes_on_with_the_same_map(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[str]
) -> None:
    fields: dict[str, Any] = {"stages": [{"name": name, "objective": {}} for name in stages]}
    distiller.distil(run(shop, tmp_path / "whole", **fields))
    cut_and_resumed(run(shop, tmp_path / "cut", **fields), monkeypatch, *((7, 5) if stages else (7,)))
    assert repeatable(tmp_path / "cut" / "out") == repeatable(tmp_path / "whole" / "out")


def test_the_map_is_learnt(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps: list[torch.Tensor] = []
    settled = TaughtEmbedding.settled

    def seen(self: TaughtEmbedding) -> nn.Embedding:
        maps.append(self.map.detach().clone())
        return settled(self)

    monkeypatch.setattr(TaughtEmbedding, "settled", seen)
    distiller.distil(run(shop, tmp_path))
    assert len(maps) == 1
    assert maps[0].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"teacher": None, "student": {"model": "BASE"}, "objective": {"beta1": 0, "gamma1": 1}}, "no teacher"),
    ],
)
def test_wishes_that_cannot_be_are_refused(shop: Workshop, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    fields = fields | {"student": {"model": getattr(shop, fields["student"]["model"].lower())}}
    with pytest.raises(ConfigError, match=words):
        make_plan(run(shop, tmp_path, **fields, taught_words=True))


def test_a_translation_has_no_such_field() -> None:
    task = {"kind": "translation", "train": {"source": "a", "target": "b"}}
    with pytest.raises(ConfigError, match="taught_words"):
        parse_run({"task": task, "taught_words": True})
