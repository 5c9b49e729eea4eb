"""Runs with several teachers: how they are written, what the student learns, caches, words, refusals, and `label`."""

import json
from pathlib import Path
from typing import Any

import pytest

import distiller
from distiller import config, labelling
from distiller.config import parse_run
from distiller.errors import ConfigError, ModelError
from distiller.run.plan import make_plan
from distiller.run.results import told_apart
from run.tiny import FAST, Workshop


@pytest.mark.parametrize(
    "written",
    [
        [{"model": "a", "weight": 2}, {"model": "b", "seed": 3}],
        {"models": ["a", "b"], "weights": [2, 1], "seed": 3},
        {"model": "a", "weight": 2, "others": [{"model": "b", "seed": 3}]},
    ],
)
def test_every_form_says_the_same(written: Any) -> None:
    made = parse_run({"task": {"train": "x.csv"}, "teacher": written})
    assert made.teacher is not None
    assert (made.teacher.names, made.teacher.weight) == (["a", "b"], 2)
    assert (made.teacher.others[0].weight, made.teacher.others[0].seed) == (1, 3)
    assert parse_run(config.load_yaml(config.to_yaml(made))) == made
    assert parse_run({"task": {"train": "x.csv"}, "teacher": ["a"]}).teacher == config.Teacher(model="a")


@pytest.mark.parametrize(
    "written",
    [
        [],
        {"models": ["a", "b"], "weights": [1]},
        {"models": ["a", "b"], "weights": 2},
        {"models": ["a", "b"], "others": [{"model": "c"}]},
        [{"model": "a", "others": [{"model": "c"}]}, {"model": "b"}],
        {"models": "a"},
        [3],
        [["a"]],
    ],
)
def test_what_is_no_list_of_teachers_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match="teacher"):
        parse_run({"task": {"train": "x.csv"}, "teacher": written})


def test_what_several_teachers_said_is_not_taken_for_what_one_says(shop: Workshop, tmp_path: Path) -> None:
    """Nor the other way round, in one cache."""
    training = {**FAST, "epochs": 2, "threads": 1, "cache_teacher": "always"}
    both = {"models": [shop.tuned, shop.contrary], "finetune": "never"}
    found = {}
    for name, teacher in (("both", both), ("one", {"model": shop.tuned}), ("both again", both)):
        fields = {"teacher": teacher, "training": training, "output": str(tmp_path / name)}
        record = distiller.distil(parse_run(shop.run(tmp_path, **fields, cache=str(tmp_path / "cache"))))
        found[name] = record.seeds[0].fingerprint
    assert len([*(tmp_path / "cache" / "teacher-outputs").glob("*/facts.json")]) == 2
    assert found["both"] == found["both again"] != found["one"]


def test_a_student_learns_what_its_teachers_say_on_average(shop: Workshop, tmp_path: Path) -> None:
    """`contrary` says the opposite of `tuned`, so whoever counts more is learnt from, cached or not."""
    records = {}
    for name, weights, cache in (("first", [3, 1], "always"), ("again", [3, 1], "never"), ("second", [1, 3], "always")):
        fields = {
            "teacher": {"models": [shop.tuned, shop.contrary], "weights": weights, "finetune": "never"},
            "student": {"model": shop.base, "layers": 2},
            "objective": {"prediction": "ce", "gamma1": 0.0, "intermediate": [{"loss": "mse", "weight": 0.01}]},
            "training": {**FAST, "epochs": 5, "threads": 1, "precision": "fp32", "cache_teacher": cache},
            "output": str(tmp_path / name),
        }
        records[name] = distiller.distil(parse_run(shop.run(tmp_path, **fields)))
    first, again, second = (records[name] for name in ("first", "again", "second"))
    assert first.teacher is not None
    assert second.teacher is not None
    assert first.teacher.scores["accuracy"] > 0.95
    assert second.teacher.scores["accuracy"] < 0.05
    assert first.score > 0.9
    ends = [one.seeds[0].history[-1]["eval_accuracy"] for one in (first, second)]
    assert ends[0] - ends[1] > 0.5  # the best checkpoint of the second is an early one
    assert first.cost.teacher_cache_megabytes > 0
    assert first.score == pytest.approx(again.score)
    assert first.teacher.name == f"{shop.tuned} + {shop.contrary}"
    assert any(
        "2 teachers are averaged with the shares 0.75, 0.25; alone they have tuned 100.0" in n for n in first.notes
    )


def test_students_of_runs_are_told_apart() -> None:
    assert told_apart(["a/base", "b/small"]) == {"a/base": "base", "b/small": "small"}
    assert told_apart(["a/student", "b/student"]) == {"a/student": "a/student", "b/student": "b/student"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"teacher": ["tuned", "stranger"]}, "read different tokens, so a step cannot ask both"),
        ({"teacher": ["tuned", "tuned"], "objective": {"prediction": "mse"}}, "several teachers are averaged"),
    ],
)
def test_what_cannot_be_averaged_is_refused(shop: Workshop, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    models = [getattr(shop, name) for name in fields["teacher"]]
    with pytest.raises(ConfigError, match=said) as told:
        make_plan(parse_run(shop.run(tmp_path, **{**fields, "teacher": models})))
    assert told.value.hint


def test_the_entry_of_the_teacher_that_has_no_head_is_named(shop: Workshop, tmp_path: Path) -> None:
    teachers = [shop.tuned, {"model": shop.base, "finetune": "never"}]
    with pytest.raises(ConfigError, match="has no head for this task, and its finetune is `never`") as told:
        make_plan(parse_run(shop.run(tmp_path, teacher=teachers)))
    assert told.value.hint is not None
    assert f"`finetune: auto` in the entry of `{shop.base}`" in told.value.hint


def test_labels_of_several_models_are_their_average_by_name(shop: Workshop, tmp_path: Path) -> None:
    texts = tmp_path / "new.txt"
    texts.write_text("the film was good\nan awful plot\n", encoding="utf-8")
    models = {"one": [shop.tuned], "two": [shop.contrary], "both": [shop.tuned, shop.contrary]}
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, (model, *also) in models.items():
        weights = [3.0, 1.0] if also else None
        assert labelling.label(model, [texts], tmp_path / name, also=also, weights=weights) is not None
        rows[name] = [json.loads(line) for line in (tmp_path / name / "part-000000.jsonl").read_text().splitlines()]
    for one, two, both in zip(rows["one"], rows["two"], rows["both"], strict=True):
        for column in ("p(good)", "p(bad)"):
            assert both[column] == pytest.approx(0.75 * one[column] + 0.25 * two[column], abs=1e-5)
        assert both["label"] == one["label"]
    with pytest.raises(ModelError, match=r"do not know the same classes|no head"):
        labelling.label(shop.tuned, [texts], tmp_path / "x", also=[shop.stranger])
    with pytest.raises(ConfigError, match="2 models have 1 weights"):
        labelling.label(shop.tuned, [texts], tmp_path / "x", also=[shop.contrary], weights=[1.0])
