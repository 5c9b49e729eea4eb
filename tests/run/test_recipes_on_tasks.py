"""Every recipe on every kind of task: its plan is made, whatever the paper that it is from was about."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import BertModel

from distiller import config
from distiller.errors import ConfigError
from distiller.objectives.prediction import PREDICTION
from distiller.recipes import texts
from distiller.run.plan import make_plan, stages_of
from run.tiny import BAD, FILLER, GOOD, SPECIAL, Workshop, save, shape

SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("multilabel", "tagging", "qa")]
SWAP = {"name": "random", "options": {"ra_mode": "swap"}}
ROWS = [[*FILLER[n % 5 : n % 5 + 4], (GOOD if n % 2 else BAD)[n % 4], str(n)] for n in range(40)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As deep as the models that the recipes were published with."""
    folder = tmp_path_factory.mktemp("deep")
    words = [*SPECIAL, *FILLER, *GOOD, *BAD]
    save(folder, BertModel(shape(words, layers=12, width=16)), words)
    return str(folder)


def task_of(kind: str, folder: Path) -> dict[str, Any]:
    """Rows of one kind of task, which it is told by."""
    rows: list[dict[str, Any]] = []
    for number, words in enumerate(ROWS):
        good, text = words[4] in GOOD, " ".join(words)
        rows.append(
            {
                "classification": {"text": text, "label": "good" if good else "bad"},
                "multilabel": {"text": text, "label": ["good", "odd"] if good else []},
                "regression": {"text": text, "label": number + 0.5},
                "tagging": {"text": words, "label": ["MOOD" if word in GOOD + BAD else "O" for word in words]},
                "qa": {
                    "id": str(number),
                    "question": "was it ?",
                    "context": text,
                    "answers": {"text": [words[1]], "answer_start": [len(words[0]) + 1]},
                },
            }[kind]
        )
    path = folder / f"{kind}.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    windows = {"stride": 4, "max_question_length": 8} if kind == "qa" else {}
    return {"train": str(path), "max_length": 32, **windows}


@pytest.mark.parametrize("kind", ["classification", "regression", *SLOW])
def test_every_recipe_fits_every_kind_of_task(teacher: str, tmp_path: Path, kind: str) -> None:
    task = task_of(kind, tmp_path)
    for name, text in texts().items():
        data = yaml.safe_load(text)
        if (data.get("task") or {}).get("kind") == "translation":
            continue
        published = [config.Objective(**one).prediction for one in objectives(data)]
        data |= {"task": task, "output": str(tmp_path / "out"), "cache": str(tmp_path / "cache")}
        data["teacher"] = {**(data.get("teacher") or {}), "model": teacher}
        operators = data.get("augmentation") or []
        mixed = [one for one in operators if _name(one) == "mixup"]
        if len(mixed) < len(operators):  # others need files that the recipe's user has made or installed
            data["augmentation"] = [SWAP, *mixed]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            plan = make_plan(config.parse_run(data))
        assert plan.data.kind == kind
        replaced = [str(one.message) for one in said if "`mse` compares the numbers instead" in str(one.message)]
        wanted = {one.name for one in published if one and not PREDICTION[one.name].traits["regression"]}
        assert bool(replaced) == (kind == "regression" and bool(wanted)), name
        for stage in stages_of(plan.run):
            prediction = stage.objective.prediction
            assert prediction is not None
            assert kind != "regression" or prediction.name == "mse", name


def _name(operator: Any) -> str:
    return operator if isinstance(operator, str) else operator["name"]


def objectives(data: dict[str, Any]) -> list[dict[str, Any]]:
    """What a recipe says of its objectives."""
    return [stage["objective"] for stage in data.get("stages", [])] or [data.get("objective", {})]


def test_who_asks_for_class_probabilities_of_a_number_is_refused(shop: Workshop, tmp_path: Path) -> None:
    run = shop.run(tmp_path, task=task_of("regression", tmp_path), objective={"prediction": "kl"})
    with pytest.raises(ConfigError, match="`kl` cannot be used for regression"):
        make_plan(config.parse_run(run))
