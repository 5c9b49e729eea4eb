"""Whole runs that learn from crossed texts: who gets them by default, what is said of them, and who is refused."""

from pathlib import Path
from typing import Any

import pytest

import distiller
from distiller.cache.folders import FolderCache, cache_root
from distiller.config import load_yaml, parse_run
from distiller.errors import ConfigError
from distiller.forecast import forecast
from distiller.recipes import recipe_text
from distiller.record import load_record
from distiller.run.plan import make_plan
from distiller.run.setup import encode_splits, prepare
from distiller.tasks.crossover import MOST
from distiller.tasks.data import CROSSED
from run.tiny import BAD, FAST, GOOD, Workshop, reviews, write

PATIENT: dict[str, Any] = {**FAST, "epochs": None}
MOODS = {*GOOD, *BAD}
OPEN: dict[str, Any] = {"batch_size": 32, "learning_rate": 2e-3, "threads": 1, "min_steps": 20}


def test_a_run_that_says_nothing_gets_crossed_texts_and_says_so(shop: Workshop, tmp_path: Path) -> None:
    run = parse_run(shop.run(tmp_path, training={**OPEN, "max_steps": 30}, objective={}, crossovers=2, baseline=True))
    record = distiller.distil(run)
    count = record.data.examples[CROSSED]
    assert 160 < count <= 320
    assert record.run.crossovers == 2
    assert any(
        f"{count} more texts have the beginning of one training text and the end of another" in n for n in record.notes
    )
    # the baseline knows nothing of them, and the task is what it was
    plain = distiller.distil(
        parse_run(
            shop.run(tmp_path / "plain", training={**OPEN, "max_steps": 30}, objective={}, crossovers=0, baseline=True)
        )
    )
    assert record.baseline is not None
    assert plain.baseline is not None
    assert record.baseline.fingerprint == plain.baseline.fingerprint
    assert record.data.fingerprint == plain.data.fingerprint
    assert record.student.fingerprint != plain.student.fingerprint
    assert load_record(tmp_path / "out").run.crossovers == 2


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({}, MOST),
        ({"crossovers": 7}, 7),
        ({"training": FAST}, 0),
        ({"training": {**OPEN, "max_steps": 5}}, 0),
        ({"augmentation": ["mixup"]}, 0),
        ({"objective": {"beta1": 0.0, "gamma1": 1.0}}, 0),
        ({"objective": {"defaults": "paper"}}, 0),
        (
            {
                "stages": [
                    {"name": "one", "objective": {}},
                    {"name": "two", "objective": {}, "training": {"max_steps": 5}},
                ]
            },
            0,
        ),
    ],
)
def test_who_gets_crossed_texts(shop: Workshop, tmp_path: Path, fields: dict[str, Any], times: int) -> None:
    plan = make_plan(parse_run(shop.run(tmp_path, **({"objective": {}, "training": OPEN} | fields))))
    assert plan.run.crossovers == times
    assert (CROSSED in plan.data.splits) == (times > 0)
    assert make_plan(plan.run).run == plan.run  # as it is written and read again


def test_published_recipes_are_as_published() -> None:
    for name in ("hinton", "mi-alpha", "bert-pkd-4", "distiller-tinybert"):
        assert load_yaml(recipe_text(name))["objective"]["defaults"] == "paper"


def test_the_forecast_counts_them(shop: Workshop, tmp_path: Path) -> None:
    with_them = forecast(parse_run(shop.run(tmp_path, objective={}, training=OPEN)))
    assert any(line.startswith("crossed ") and "without labels" in line for line in with_them.lines())
    without = forecast(parse_run(shop.run(tmp_path, objective={}, training=OPEN, crossovers=0)))
    assert with_them.cache > without.cache


@pytest.mark.parametrize("kind", ["pairs", "stars", "tags"])
def test_every_kind_of_text(shop: Workshop, tmp_path: Path, kind: str) -> None:
    columns: dict[str, Any] = {"pairs": {"text": "first", "text_pair": "second", "label": "verdict"}, "stars": {}}
    if kind == "tags":
        texts = [row["text"].split() for row in reviews(60, seed=3)]
        marked = ["\n".join(f"{word} {'M' if word in MOODS else 'O'}" for word in words) for words in texts]
        (tmp_path / "tags.conll").write_text("\n\n".join(marked) + "\n", encoding="utf-8")
        task: dict[str, Any] = {"train": str(tmp_path / "tags.conll")}
    else:
        task = {"train": getattr(shop, kind), **columns[kind]}
    task["max_length"] = 24
    training = {**OPEN, "max_steps": 25}
    teacher = {"model": shop.base, "training": FAST}
    run = shop.run(tmp_path, task=task, teacher=teacher, training=training, objective={}, crossovers=1)
    assert distiller.distil(parse_run(run)).data.examples[CROSSED] > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"objective": {"beta1": 0.0, "gamma1": 1.0}}, "objective.beta1 is 0"),
        ({"teacher": None, "student": {"model": "BASE"}}, "the run has none"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(
    shop: Workshop, tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    if fields.get("teacher", 1) is None:
        write(tmp_path / "soft.csv", [{"text": f"a {n}", "bad": n % 4 / 4, "good": 1 - n % 4 / 4} for n in range(40)])
        fields["student"] = {"model": shop.base}
        fields["task"] = {"train": str(tmp_path / "soft.csv"), "probabilities": ["bad", "good"], "dev": shop.dev}
    with pytest.raises(ConfigError, match=words):
        make_plan(parse_run(shop.run(tmp_path, **fields, crossovers=2)))


def test_a_translation_has_no_such_field() -> None:
    task = {"kind": "translation", "train": {"source": "a", "target": "b"}}
    with pytest.raises(ConfigError, match="crossovers"):
        parse_run({"task": task, "crossovers": 2})


@pytest.mark.parametrize(
    ("fields", "patient"),
    [
        ({}, True),
        ({"crossovers": 1}, False),  # half of the texts have labels
        ({"crossovers": 0}, False),
        ({"training": {**PATIENT, "min_steps": 210}}, False),
        ({"training": {**PATIENT, "max_steps": 2000}, "crossovers": 4}, False),
    ],
)
def test_who_is_patient(shop: Workshop, tmp_path: Path, fields: dict[str, Any], patient: bool) -> None:
    """Two layers of four: 500 steps at least, where the usual floor is 255 at most; the baseline has it in any case."""
    run = parse_run(shop.run(tmp_path, **{"training": PATIENT, "objective": {}, "baseline": True, **fields}))
    phases = {phase.name: phase.fewest for phase in forecast(run).phases}
    assert (phases["student"] == 500) == patient
    assert phases["baseline"] <= 210
    plan = make_plan(run)
    work = prepare(plan, encode_splits(plan), FolderCache(cache_root(run.cache)))
    floors = [job.pace(run.training, run.objective)[0].floor for job in (work.job(0), work.label_job)]
    assert floors == [phases["student"], phases["baseline"]]
