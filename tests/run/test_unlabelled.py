"""Whole runs on more text than labels: who learns from what, and that it pays to have the text."""

from pathlib import Path
from typing import Any

import pytest

import distiller
from distiller.config import parse_run, to_yaml
from distiller.errors import ConfigError
from distiller.forecast import forecast
from distiller.record import Record
from distiller.scoring import evaluate
from run.tiny import FAST, Workshop, repeatable, reviews, write


def distil(shop: Workshop, folder: Path, **fields: Any) -> Record:
    return distiller.distil(parse_run(shop.run(folder, **fields)))


@pytest.fixture
def task(shop: Workshop, tmp_path: Path) -> dict[str, Any]:
    """40 labelled reviews, and 120 more of which the half has an empty label and the half is in another file."""
    rows = reviews(160, seed=0)
    partly = [row | {"label": row["label"] if number < 40 else ""} for number, row in enumerate(rows[:100])]
    write(tmp_path / "partly.csv", partly)
    write(tmp_path / "more.csv", [{"text": row["text"]} for row in rows[100:]])
    return {
        "train": str(tmp_path / "partly.csv"),
        "unlabelled": str(tmp_path / "more.csv"),
        "dev": shop.dev,
        "max_length": 16,
    }


def test_labelled_rows_teach_the_teacher_and_all_rows_the_student(
    shop: Workshop, tmp_path: Path, task: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {
        "teacher": {"model": shop.base, "training": FAST},
        "objective": {"intermediate": [{"loss": "mse"}], "gamma1": 0.5},
        "baseline": True,
        "cache": str(tmp_path / "cache"),
    }
    plan = forecast(parse_run(shop.run(tmp_path, task=task, **fields)))
    record = distil(shop, tmp_path, task=task, **fields)
    examples = record.data.examples
    assert examples["train"] == 40
    assert 100 < examples["train"] + examples["unlabelled"] <= 160
    assert plan.steps == record.seeds[0].steps == -(-sum(examples[name] for name in ("train", "unlabelled")) // 32)
    assert "what is fine-tuned, teacher or baseline, has seen the 40 labelled rows alone" in record.notes

    # the same 40 rows alone: neither teacher nor baseline is trained anew
    write(tmp_path / "few.csv", reviews(160, seed=0)[:40])
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*/scores.json")}
    assert len(kept) == 2
    other = distil(
        shop, tmp_path / "few", task={**task, "train": str(tmp_path / "few.csv"), "unlabelled": None}, **fields
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*/*/scores.json")} == kept
    assert record.teacher is not None
    assert other.teacher is not None
    assert other.teacher.fingerprint == record.teacher.fingerprint


def test_text_alone_is_enough_where_the_teacher_knows_the_task(shop: Workshop, tmp_path: Path) -> None:
    write(tmp_path / "texts.csv", [{"text": row["text"]} for row in reviews(320, seed=7)])
    task = {"train": str(tmp_path / "texts.csv"), "dev": shop.dev, "max_length": 16}
    training = {**FAST, "epochs": 3, "threads": 1}
    record = distil(shop, tmp_path, task=task, training=training, baseline=True)
    assert record.score > 0.95
    assert record.data.examples == {"train": 0, "unlabelled": 320 - _repeated(shop, tmp_path), "dev": 60}
    assert (record.baseline, record.run.baseline) == (None, False)
    assert evaluate(str(tmp_path / "out"))["accuracy"] == pytest.approx(record.score)
    assert record.run.task.labels == ["bad", "good"]


def _repeated(shop: Workshop, tmp_path: Path) -> int:
    dev = {row["text"] for row in reviews(60, seed=1)}
    return sum(row["text"] in dev for row in reviews(320, seed=7))


def test_classes_that_only_the_teacher_knows_are_kept_in_its_order(shop: Workshop, tmp_path: Path) -> None:
    write(tmp_path / "texts.csv", [{"text": row["text"]} for row in reviews(64, seed=7)])
    task = {"train": str(tmp_path / "texts.csv"), "dev": shop.dev, "max_length": 16}
    record = distil(shop, tmp_path, task=task, teacher={"model": shop.swapped}, objective={})
    assert record.data.labels == ["good", "bad"]
    assert record.teacher is not None
    assert record.teacher.scores["accuracy"] > 0.95


@pytest.mark.parametrize(
    "fields",
    [
        {"augmentation": ["mixup"]},
        {"training": {**FAST, "epochs": 2, "threads": 1, "cache_teacher": "always"}, "objective": {"gamma1": 1.0}},
        {"task": {"train": "stars.csv", "label_limit": 40, "max_length": 16}, "objective": {"gamma1": 1.0}},
        {
            "task": {"train": "stars.csv", "label_limit": 40, "max_length": 16},
            "augmentation": ["mixup"],
            "objective": {"augmented_label": "gold"},
        },
    ],
    ids=["mixup", "cache", "regression", "numbers mixed"],
)
def test_losses_are_numbers_with_everything_else(
    shop: Workshop, tmp_path: Path, task: dict[str, Any], fields: dict[str, Any]
) -> None:
    if "task" in fields:
        fields = {
            **fields,
            "task": {**fields["task"], "train": shop.stars},
            "teacher": {"model": shop.base, "training": FAST},
        }
    record = distil(shop, tmp_path, **({"task": task} | fields))
    assert record.data.examples["unlabelled"] > 50
    for entry in record.seeds[0].history:
        assert all(value == value for value in entry.values())


def test_resuming_gives_what_an_uninterrupted_run_gives(shop: Workshop, tmp_path: Path, task: dict[str, Any]) -> None:
    class Stop(Exception):
        pass

    def stop(step: int, score: float) -> None:
        if step >= 3:
            raise Stop

    training = {**FAST, "epochs": 2, "threads": 1, "evaluations": 2}
    wish = {"task": task, "objective": {"gamma1": 0.5}, "training": training}
    distil(shop, tmp_path / "whole", **wish)
    run = parse_run(shop.run(tmp_path / "cut", **wish))
    with pytest.raises(Stop):
        distiller.distil(run, on_evaluation=stop)
    distiller.distil(run, resume=True)
    assert repeatable(tmp_path / "cut" / "out") == repeatable(tmp_path / "whole" / "out")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"objective": {"gamma1": 0.5}}, r"objective\.gamma1 weighs gold labels, and no training row has one"),
        ({"teacher": {"model": "base"}}, "has no head for this task, and no training row has a label"),
        ({"teacher": {"model": "tuned", "finetune": "always"}}, r"teacher\.finetune is `always`, and no training row"),
        ({"objective": {"beta1": 0, "gamma1": 1}}, "weighs gold labels"),
    ],
)
def test_what_needs_labels_is_refused_without_any(
    shop: Workshop, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    write(tmp_path / "texts.csv", [{"text": row["text"]} for row in reviews(40, seed=7)])
    task = {"train": str(tmp_path / "texts.csv"), "dev": shop.dev, "max_length": 16}
    if "teacher" in fields:
        fields = {"teacher": {**fields["teacher"], "model": getattr(shop, fields["teacher"]["model"])}}
    with pytest.raises(ConfigError, match=said) as caught:
        forecast(parse_run(shop.run(tmp_path, **({"task": task} | fields))))
    assert caught.value.hint


def test_texts_without_labels_need_a_teacher_to_learn_from(
    shop: Workshop, tmp_path: Path, task: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="training rows have no label, and this objective learns nothing"):
        forecast(parse_run(shop.run(tmp_path, task=task, objective={"beta1": 0, "gamma1": 1})))


def test_check_counts_them(shop: Workshop, tmp_path: Path, task: dict[str, Any]) -> None:
    plan = forecast(parse_run(shop.run(tmp_path, task=task)))
    assert any(line.startswith("unlabelled") and "without labels" in line for line in plan.lines())
    assert "labels:\n  - bad\n  - good" in to_yaml(plan.run)
