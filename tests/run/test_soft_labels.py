"""Whole runs on probabilities that rows bring along: with a teacher, and with none."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import distiller
from distiller.config import parse_run
from distiller.errors import ConfigError
from distiller.forecast import forecast
from distiller.models.signals import Signals
from distiller.run.changed_data import changed
from distiller.scoring import evaluate
from distiller.tasks import load_task
from distiller.training.soft_labels import logits_of, signals_of, with_soft_labels
from run.tiny import FAST, Workshop, reviews


@pytest.fixture
def task(shop: Workshop, tmp_path: Path) -> dict[str, Any]:
    """Reviews of which somebody says the opposite of what is true: whoever learns from the labels is told so."""
    rows = [
        {
            "text": row["text"],
            "label": {"good": 0.1, "bad": 0.9} if row["label"] == "good" else {"good": 0.95, "bad": 0.05},
        }
        for row in reviews(160, seed=0)
    ]
    path = tmp_path / "llm.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"train": str(path), "dev": shop.dev, "max_length": 16}


def test_without_a_teacher_the_probabilities_teach(shop: Workshop, tmp_path: Path, task: dict[str, Any]) -> None:
    fields = {
        "task": task,
        "teacher": None,
        "student": {"model": shop.base, "layers": 2},
        "objective": {"prediction": {"name": "kl", "options": {"temperature": 2.0}}},
        "training": {**FAST, "epochs": 3, "threads": 1},
        "augmentation": ["mixup"],
    }
    run = parse_run(shop.run(tmp_path, **fields))
    assert "teacher   " not in "\n".join(forecast(run).lines())
    record = distiller.distil(run)
    assert (record.teacher, record.distillation_ratio, record.data.soft) == (None, None, 160)
    assert record.score < 0.05  # it has learnt what it was told
    assert any("160 training rows bring probabilities of bad, good along, in this order" in one for one in record.notes)
    assert evaluate(str(tmp_path / "out"))["accuracy"] == pytest.approx(record.score)
    assert list(record.cost.milliseconds_per_example) == ["student"]


def test_labelled_rows_beside_labelled_texts_are_taught_as_certain_and_counted_as_labels(
    shop: Workshop, tmp_path: Path, task: dict[str, Any]
) -> None:
    run = parse_run(
        shop.run(
            tmp_path,
            task={**task, "train": shop.reviews, "unlabelled": task["train"], "probabilities": "p(*)"},
            teacher=None,
            student={"model": shop.base, "layers": 2},
            objective={"prediction": "kl"},
            training={**FAST, "max_steps": 4},
            baseline=False,
        )
    )
    rows = [json.loads(line) for line in Path(task["train"]).read_text("utf-8").splitlines()]
    shares = [
        {"text": row["text"] + "!", "p(bad)": row["label"]["bad"], "p(good)": row["label"]["good"]} for row in rows
    ]
    Path(task["train"]).write_text("".join(json.dumps(row) + "\n" for row in shares), encoding="utf-8")
    record = distiller.distil(run)
    assert record.data.soft == record.data.examples["unlabelled"] == 160
    assert not any("teacher" in note for note in record.notes), record.notes
    assert changed(record.data, load_task(run.task)) is None


def test_with_a_teacher_they_come_before_what_it_says(shop: Workshop, tmp_path: Path, task: dict[str, Any]) -> None:
    training = {**FAST, "epochs": 4, "threads": 1, "cache_teacher": "always"}
    wish = {"prediction": "ce", "gamma1": 0.0, "intermediate": []}
    record = distiller.distil(parse_run(shop.run(tmp_path, task=task, training=training, objective=wish)))
    assert record.teacher is not None
    assert record.teacher.scores["accuracy"] > 0.95
    assert (
        record.seeds[0].history[-1]["eval_accuracy"] < 0.6
    )  # what the rows say is the opposite of what the teacher says


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"objective": {"intermediate": [{"loss": "mse"}]}}, "`mse` compares layers, and the run has no teacher"),
        ({"objective": {"prediction": "mse"}}, "`mse` compares logits, and rows bring probabilities along"),
        ({"objective": {}, "student": {"layers": 2}}, "needs weights and a tokenizer of its own"),
        ({"objective": {}, "task": "reviews"}, "the run has no teacher, and no training row has probabilities"),
        ({"objective": {}, "task": "numbers"}, "rows of a regression task cannot carry its answers"),
    ],
)
def test_what_needs_a_teacher_is_refused_without_one(
    shop: Workshop, tmp_path: Path, task: dict[str, Any], fields: dict[str, Any], said: str
) -> None:
    if fields.get("task") == "numbers":
        rows = "".join(f"a film of {n} hours,{n}.5\n" for n in range(20))
        (tmp_path / "numbers.csv").write_text("text,label\n" + rows, encoding="utf-8")
        fields = {**fields, "task": {"train": str(tmp_path / "numbers.csv")}}
    if fields.get("task") == "reviews":
        fields = {**fields, "task": {**task, "train": shop.reviews}}
    fields = {"task": task, "teacher": None, "student": {"model": shop.base, "layers": 2}} | fields
    with pytest.raises(ConfigError, match=said) as caught:
        forecast(parse_run(shop.run(tmp_path, **fields)))
    assert caught.value.hint


def test_softmax_gives_the_probabilities_back() -> None:
    soft = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(F.softmax(logits_of(soft), -1), soft, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        F.softmax(logits_of(soft)[:1] / 2, -1), soft[:1].sqrt() / soft[:1].sqrt().sum(), atol=1e-6, rtol=0
    )
    mask = torch.ones(2, 1)
    said = Signals(torch.randn(2, 3), {}, {}, mask)
    view = {"soft_labels": torch.stack([soft[0], torch.full((3,), torch.nan)]), "attention_mask": mask}
    found = with_soft_labels(said, view)
    torch.testing.assert_close(found.logits.softmax(-1)[0], soft[0])
    assert torch.equal(found.logits[1], said.logits[1])
    mixed = {"soft_labels": soft, "attention_mask": mask}
    mixed |= {"mixup_partner": torch.tensor([1, 0]), "mixup_weight": torch.tensor([0.5, 1.0])}
    torch.testing.assert_close(
        signals_of(mixed).logits.softmax(-1)[0], torch.tensor([0.6, 0.15, 0.25]), atol=1e-5, rtol=0
    )


def test_sigmoid_gives_the_probabilities_of_several_classes_back() -> None:
    soft = torch.tensor([[0.1, 0.9, 0.5], [0.0, 1.0, 1.0]])
    logits = logits_of(soft, several=True)
    torch.testing.assert_close(logits.sigmoid(), soft, atol=1e-5, rtol=0)
    view: dict[str, Any] = {"soft_labels": torch.tensor([[0.1, 0.9, 0.5], [math.nan] * 3])}
    teacher = Signals(torch.zeros(2, 3), {}, {}, torch.ones(2, 4))
    said = with_soft_labels(teacher, view, several=True).logits.sigmoid()
    torch.testing.assert_close(said, torch.tensor([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5]]))


def test_probabilities_of_several_classes_teach_without_a_teacher(shop: Workshop, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for row in reviews(160, seed=0):  # they say the opposite of what is true, and that every text is short
        good = row["label"] == "good"
        rows.append(
            {"text": row["text"], "label": {"good": 0.1 if good else 0.9, "bad": 0.9 if good else 0.1, "short": 0.95}}
        )
    path = tmp_path / "llm.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = {
        "task": {"train": str(path), "kind": "multilabel", "max_length": 16},
        "teacher": None,
        "student": {"model": shop.base, "layers": 2},
        "objective": {"prediction": "kl", "gamma1": 0.0},
        "training": {**FAST, "epochs": 12, "threads": 1},
    }
    record = distiller.distil(parse_run(shop.run(tmp_path, **fields)))
    assert record.score > 0.9
    [said] = distiller.predict(str(tmp_path / "out"), ["the film was lovely"])
    assert set(said["labels"]) == {"bad", "short"}
    losses = [entry["loss/prediction"] for entry in record.seeds[0].history if "loss/prediction" in entry]
    assert losses[-1] < losses[0] / 2  # what is imitated are the probabilities, and not that they are more than a half
