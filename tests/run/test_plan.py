"""What is said of a run before anything is trained."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

import distiller
from distiller.cache.folders import FolderCache, cache_root
from distiller.config import Task, parse_run
from distiller.device import accelerator
from distiller.errors import ConfigError, Notice
from distiller.files import LEFT_OUT
from distiller.forecast import forecast
from distiller.run.label_order import better_memberships, better_order
from distiller.run.plan import RunPlan, make_plan
from distiller.run.setup import encode_splits, prepare
from distiller.run.summary import data_lines
from distiller.tasks import load_task
from run.tiny import BAD, FAST, FILLER, GOOD, SPECIAL, Workshop, reviews, save, shape, write


def planned(shop: Workshop, folder: Path, **fields: Any) -> RunPlan:
    return make_plan(parse_run(shop.run(folder, **fields)))


def test_a_head_that_does_not_fit_is_never_lost_without_a_word(shop: Workshop, tmp_path: Path) -> None:
    """`shop.tuned` has the classes bad and good; labels are numbers here, and then one more class."""
    numbered = [row | {"label": str(int(row["label"] == "good"))} for row in reviews(40, seed=3)]
    write(tmp_path / "numbered.csv", numbered)
    task = {"train": str(tmp_path / "numbered.csv"), "max_length": 16}
    with pytest.warns(
        Notice, match=r"thrown away .*`bad`, `good`.*`0`, `1`; task.labels=\[bad, good\] keeps it"
    ) as said:
        planned(shop, tmp_path, task=task)
    assert said[0].filename == __file__  # never a line of our own source
    refused = {"model": shop.tuned, "finetune": "never"}
    with pytest.raises(ConfigError, match=r"no head for this task.*its classes are `bad`, `good`") as error:
        planned(shop, tmp_path, task=task, teacher=refused)
    assert "task.labels=[bad, good]" in (error.value.hint or "")

    kept = planned(shop, tmp_path, task={**task, "labels": ["bad", "good"]}, teacher=refused)
    train = kept.data.splits["train"]
    assert train.labels == tuple(int(numbered[row]["label"]) for row in train.ids)

    write(tmp_path / "three.csv", [*reviews(40, seed=3), {"text": "the plot", "label": "so-so"}])
    with pytest.warns(Notice, match="its classes are `bad`, `good`, those of the task `bad`, `good`, `so-so`"):
        planned(shop, tmp_path, task={"train": str(tmp_path / "three.csv"), "max_length": 16})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"architectures": None}, r"thrown away .*names no architecture.*\[\"BertForSequenceClassification\"\]"),
        ({"num_hidden_layers": 3}, "weights of 4 layers, of which its config.json reads 3"),
    ],
)
def test_weights_that_the_configuration_passes_over_are_said(
    shop: Workshop, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    shutil.copytree(shop.tuned, tmp_path / "odd")
    file = tmp_path / "odd" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | fields), encoding="utf-8")
    with pytest.warns(Notice, match=said):
        planned(shop, tmp_path, teacher={"model": str(tmp_path / "odd")}, student={"layers": 1})


def test_long_texts_are_read_as_far_as_the_models_go_and_it_is_said(shop: Workshop, tmp_path: Path) -> None:
    """The models of the workshop have 40 positions; longer ones read more, and are told of."""
    rows = [{"text": f"film {number} " + "the film was good " * 20, "label": "good"} for number in range(20)]
    write(tmp_path / "long.csv", [*rows, *reviews(20, seed=2)])
    task = {"train": str(tmp_path / "long.csv")}
    assert planned(shop, tmp_path, task=task).max_length == 40
    assert planned(shop, tmp_path, task=task | {"max_length": 24}).max_length == 24

    words = [*SPECIAL, *FILLER, *GOOD, *BAD]
    torch.manual_seed(0)
    save(tmp_path / "longer", BertForSequenceClassification(shape(words, positions=600)), words)
    plan = planned(shop, tmp_path, task=task, teacher={"model": str(tmp_path / "longer")})
    assert plan.max_length == 88  # 80 words and number, 2 special tokens, in eights
    assert any("task.max_length is taken to be 88" in note for note in plan.data.notes)
    write(tmp_path / "longest.csv", [row | {"text": 5 * row["text"]} for row in rows] + reviews(20, seed=2))
    task = {"train": str(tmp_path / "longest.csv")}
    plan = planned(shop, tmp_path, task=task, teacher={"model": str(tmp_path / "longer")})
    assert plan.max_length == 256
    assert any("256, for texts as long as these; 512 reads more" in note for note in plan.data.notes)


def test_the_data_are_said_before_anything_is_trained(shop: Workshop, tmp_path: Path) -> None:
    rows = [*reviews(60, seed=4), {"text": "a  story", "label": "bad"}, {"text": "A story", "label": "bad"}]
    write(tmp_path / "train.csv", [*rows, {"text": "", "label": "good"}])
    task = {"train": str(tmp_path / "train.csv"), "max_length": 8, "skip_bad": True}
    with pytest.warns(Notice, match="left out 1 bad row"):
        said = "\n".join(forecast(parse_run(shop.run(tmp_path, task=task))).lines())
    assert f"{tmp_path.name}: classification of 2 classes, scored by accuracy, f1_macro" in said
    assert "1 more could not be used and is left out" in said
    assert "task.kind is taken to be classification, from words or whole numbers in `label`" in said
    assert "dev is held out of train, by class" in said
    assert "6 rows; bad 50.0 %, good 50.0 %;" in said
    assert " at most, " in said
    assert " cut at 8" in said


def test_shares_of_labels_that_go_together_are_shares_of_rows(tmp_path: Path) -> None:
    name = "what nobody can read to its end in one line of a summary"
    rows = [
        {"text": one["text"], "label": ["long", name] if n % 4 else ["long"]}
        for n, one in enumerate(reviews(40, seed=1))
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = load_task(Task(train=str(tmp_path / "train.jsonl"), dev=str(tmp_path / "train.jsonl")))
    (_, train, *_) = data_lines(data, {}, 8)
    assert train == f"train     40 rows; long 100.0 %, {name[:39]}… 75.0 %"


def test_what_is_left_out_is_listed_in_the_output(shop: Workshop, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [*reviews(40, seed=4), {"text": "", "label": "good"}])
    task = {"train": str(tmp_path / "train.csv"), "dev": shop.dev, "max_length": 16, "skip_bad": True}
    with pytest.warns(Notice, match="left out 1 bad row"):
        record = distiller.distil(parse_run(shop.run(tmp_path, task=task, training={"max_steps": 2})))
    listed = (tmp_path / "out" / LEFT_OUT).read_text(encoding="utf-8").splitlines()
    assert listed == [f"`{tmp_path / 'train.csv'}`, line 42: `text` is blank"]
    assert record.data.skipped == {"train": 1}


def test_a_better_order_of_classes_is_found_by_trying_all() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    outputs = np.array([2, 0, 1])[labels]  # output 2 means class 0, 0 means 1, 1 means 2
    outputs[:30] = rng.integers(0, 3, 30)
    found = better_order(outputs, labels)
    assert found is not None
    assert found.meant == [1, 2, 0]
    assert found.best == pytest.approx(np.mean(np.array(found.meant)[outputs] == labels))
    assert found.present == pytest.approx(np.mean(outputs == labels))
    assert better_order(labels, labels) is None
    assert better_order(rng.integers(0, 3, 300), labels) is None
    assert (
        better_order(np.ones(100, dtype=int), np.arange(100) % 10 // 8) is None
    )  # one class, and not the frequent one


def test_a_better_order_of_tags_is_found_though_most_words_have_none() -> None:
    rng = np.random.default_rng(5)
    labels = np.where(rng.random((40, 12)) < 0.8, 0, rng.integers(1, 4, (40, 12)))
    labels[:, 10:] = -100
    found = better_order(np.array([0, 3, 1, 2])[labels.clip(0)], labels)
    assert found is not None
    assert found.meant == [0, 2, 3, 1]
    assert found.present == pytest.approx(np.mean(labels[:, :10] == 0))
    assert better_order(rng.integers(0, 4, labels.shape), labels) is None


def test_a_better_order_of_classes_that_apply_together_is_found() -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random((200, 4)) < [0.5, 0.3, 0.4, 0.2]).astype(np.float32)
    outputs = labels[:, [3, 2, 0, 1]] > 0
    found = better_memberships(outputs, labels)
    assert found is not None
    assert (found.meant, found.best) == ([3, 2, 0, 1], pytest.approx(1))
    assert better_memberships(labels > 0, labels) is None
    assert better_memberships(rng.random((200, 4)) < 0.5, labels) is None


def test_a_teacher_of_numbers_on_another_scale_is_spoken_of(tmp_path: Path) -> None:
    words = [*SPECIAL, *FILLER, *GOOD, *BAD]
    torch.manual_seed(3)
    save(tmp_path / "scorer", BertForSequenceClassification(shape(words, layers=2, num_labels=1)), words)
    rows = reviews(40, seed=6)
    said = distiller.predict(str(tmp_path / "scorer"), [row["text"] for row in rows])
    numbers = np.array([float(row["score"]) for row in said])

    def spoken(shift: float) -> list[str]:
        labelled = [row | {"label": f"{n + shift:.9f}"} for row, n in zip(rows, numbers, strict=True)]
        write(tmp_path / "dev.csv", labelled)
        task = {"train": str(tmp_path / "dev.csv"), "dev": str(tmp_path / "dev.csv"), "kind": "regression"}
        run = parse_run(
            {
                "task": task | {"max_length": 16},
                "teacher": {"model": str(tmp_path / "scorer"), "finetune": "never"},
                "student": {"layers": 1},
                "objective": {},
                "training": {"max_steps": 1, "threads": 1, "precision": "fp32"},  # small numbers, close to each other
                "baseline": False,
                "output": str(tmp_path / f"out{shift}"),
                "cache": str(tmp_path / "cache"),
            }
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            distiller.distil(run)
        return [str(one.message) for one in caught if "another scale" in str(one.message)]

    assert not spoken(0.0)
    assert "correlation 1.00" in spoken(5.0)[0]


def test_a_teacher_with_nameless_classes_in_another_order_is_spoken_of(shop: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "nameless"
    shutil.copytree(shop.swapped, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["id2label"], config["label2id"] = {"0": "LABEL_0", "1": "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run = shop.run(tmp_path, teacher={"model": str(folder), "finetune": "never"}, training={"max_steps": 2})
    with pytest.warns(
        Notice, match=r"in another order in 100.*`LABEL_0`, `LABEL_1`; task.labels=\[good, bad\] is that"
    ):
        record = distiller.distil(parse_run(run))
    assert "in another order it is right in 100" in record.verdict[0]
    assert "train it longer" not in record.verdict[0]


@pytest.mark.skipif(accelerator() != "cpu", reason="an accelerator has one kernel for training and answering")
@pytest.mark.parametrize("model", ["base", "tuned"])
@pytest.mark.parametrize(("wish", "asked"), [("auto", "sdpa"), ("eager", "eager")])
def test_in_bf16_a_teacher_is_asked_with_sdpa_and_what_is_trained_is_eager(
    model: str, wish: str, asked: str, shop: Workshop, tmp_path: Path
) -> None:
    training = {**FAST, "precision": "bf16", "attention": wish}
    run = parse_run(
        shop.run(
            tmp_path, teacher={"model": getattr(shop, model)}, training=training, baseline=True, cache=str(tmp_path)
        )
    )
    plan = make_plan(run)
    work = prepare(plan, encode_splits(plan), FolderCache(cache_root(run.cache)))
    assert work.teacher.config._attn_implementation == asked
    for student in (work.new_student(0), work.untaught_student(0)):
        assert student.config._attn_implementation == "eager"
