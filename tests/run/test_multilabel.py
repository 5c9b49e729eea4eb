"""Whole runs on several labels at once, and with classes that count differently."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

import distiller
from distiller.config import parse_run
from distiller.errors import ConfigError
from distiller.forecast import forecast
from distiller.inference import predict
from distiller.run.jobs import class_counts, class_weights
from distiller.run.plan import make_plan
from distiller.scoring import evaluate
from run.tiny import FAST, Workshop, reviews, write


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    """What is said of a review: one or two of three labels; the first five rows are without any."""
    names: list[str] = []
    for name, rows, seed in (("train", 200, 0), ("dev", 60, 1)):
        lines: list[dict[str, Any]] = []
        for row in reviews(rows, seed=seed):
            there = ["good", "praise"] if row["label"] == "good" else ["poor"]
            lines.append({"text": row["text"], "label": there})
        for row in lines[:5] if name == "train" else []:
            row["label"] = None
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
        names.append(str(path))
    return {"train": names[0], "dev": names[1], "max_length": 16}


@pytest.mark.parametrize("prediction", ["kl", "mse"])
def test_labels_that_do_not_exclude_each_other(
    shop: Workshop, tmp_path: Path, task: dict[str, Any], prediction: str
) -> None:
    fields = {
        "task": task,
        "teacher": {"model": shop.tuned, "training": {**FAST, "epochs": 8}},
        "objective": {"prediction": prediction, "gamma1": 0.5, "intermediate": [{"loss": "mse"}]},
        "training": {**FAST, "epochs": 6, "threads": 1},
        "augmentation": ["mixup"],
    }
    record = distiller.distil(parse_run(shop.run(tmp_path, **fields)))
    assert (record.data.kind, record.data.labels) == ("multilabel", ["good", "poor", "praise"])
    assert record.data.examples["unlabelled"] > 0
    assert record.teacher is not None
    assert record.teacher.scores["micro_f1"] > 0.9  # its head was one of two classes: it was fine-tuned
    assert record.score > 0.8
    out = str(tmp_path / "out")
    shape: Any = AutoConfig.from_pretrained(f"{out}/student")
    assert shape.problem_type == "multi_label_classification"
    assert evaluate(out)["micro_f1"] == pytest.approx(record.score, abs=0.01)
    write(tmp_path / "new.csv", [{"text": "the music was good"}])
    row = predict(out, tmp_path / "new.csv")[0]
    assert [name for name in ("good", "poor", "praise") if float(row[f"p({name})"]) > 0.5] == row["labels"]


def test_classes_that_count_differently(shop: Workshop, tmp_path: Path) -> None:
    rows = reviews(160, seed=0)
    rare = [row for row in rows if row["label"] == "bad"][:16] + [row for row in rows if row["label"] == "good"]
    write(tmp_path / "rare.csv", rare)
    task = {"train": str(tmp_path / "rare.csv"), "dev": shop.dev, "max_length": 16}

    def weights(wish: Any) -> Any:
        plan = make_plan(parse_run(shop.run(tmp_path, task=task, objective={"gamma1": 1, "class_weights": wish})))
        assert class_counts(plan.data).tolist() == [16, 80]
        return class_weights(plan.run, plan.data)

    assert weights("balanced") == pytest.approx((3.0, 0.6))  # as scikit-learn: n / (classes · count)
    assert weights({"bad": 5.0}) == pytest.approx((5 / (160 / 96), 1 / (160 / 96)))
    assert weights(None) is None
    for wish, said in (({"awful": 2.0}, "no class is called `awful`"), ({"bad": 0, "good": 0}, "every class has the")):
        with pytest.raises(ConfigError, match=said):
            weights(wish)
    stages = [
        {"name": "one", "objective": {"gamma1": 1, "class_weights": {"good": 2}}},
        {"name": "two", "objective": {"gamma1": 1}},
    ]
    with pytest.raises(ConfigError, match="differ between stages"):
        make_plan(parse_run(shop.run(tmp_path, stages=stages)))
    fields: dict[str, Any] = {"task": {"train": shop.stars, "max_length": 16}, "teacher": {"model": shop.base}}
    run = parse_run(shop.run(tmp_path, **fields, objective={"class_weights": "balanced", "gamma1": 1}))
    with pytest.raises(ConfigError, match="is for classes, and"):
        forecast(run)


def test_weights_of_classes_reach_teacher_baseline_and_student(shop: Workshop, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "teacher": {"model": shop.base, "training": FAST},
        "objective": {"beta1": 0, "gamma1": 1, "class_weights": {"bad": 0}},
        "student": {"model": shop.base, "layers": 2},
        "training": {**FAST, "epochs": 3, "threads": 1},
        "baseline": True,
    }
    weighted = distiller.distil(parse_run(shop.run(tmp_path / "weighted", **fields)))
    plain = distiller.distil(
        parse_run(shop.run(tmp_path / "plain", **fields | {"objective": {"beta1": 0, "gamma1": 1}}))
    )
    for role in ("teacher", "student"):
        assert getattr(weighted, role).fingerprint != getattr(plain, role).fingerprint
    losses = [record.seeds[0].history[0]["loss/label"] for record in (weighted, plain)]
    assert losses[0] != losses[1]
    assert weighted.baseline is not None
