"""Finished models of every kind of task, on the little files of the workshop; nothing here trains but one run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cli.conftest import Command, distiller, shop  # noqa: F401
from distiller.config import parse_run, to_yaml
from distiller.files import write_json
from distiller.models.folders import load_tokenizer
from distiller.models.load import load_model
from distiller.record import FILE
from distiller.training.output_folder import RUN_FILE, STUDENT
from run.tiny import BAD, FILLER, GOOD, Workshop, reviews, write
from study.fakes import record
from translation.tiny import tiny_run

KINDS = ("classification", "pairs", "regression", "tagging", "qa")


@dataclass(frozen=True)
class Models:
    """Fine-tuned model folders and run files by kind of task."""

    root: Path

    def model(self, kind: str) -> str:
        return str(self.root / kind / "model")

    def run(self, kind: str) -> Path:
        return self.root / kind / "run.yaml"


@pytest.fixture(scope="session")
def models(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Models:  # noqa: F811
    root = tmp_path_factory.mktemp("models")
    write(root / "pairs.csv", [{"a": one["text"], "b": two["text"], "label": one["label"]}
                               for one, two in zip(reviews(30, seed=3), reviews(30, seed=4), strict=True)])  # fmt: skip
    words = [row["text"].split() for row in reviews(30, seed=5)]
    moods = dict.fromkeys(GOOD, "GOOD") | dict.fromkeys(BAD, "BAD")
    lines = ["\n".join(f"{word} {moods.get(word, 'O')}" for word in row) for row in words]
    (root / "tags.conll").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    (root / "questions.json").write_text(json.dumps(questions()), encoding="utf-8")
    tasks: dict[str, dict[str, Any]] = {
        "classification": {"train": shop.reviews, "dev": shop.dev},
        "pairs": {"train": str(root / "pairs.csv"), "dev": str(root / "pairs.csv"), "text": "a", "text_pair": "b"},
        "regression": {"train": shop.stars},
        "tagging": {"train": str(root / "tags.conll"), "dev": str(root / "tags.conll"), "kind": "tagging"},
        "qa": {
            "train": str(root / "questions.json"),
            "dev": str(root / "questions.json"),
            "kind": "qa",
            "max_length": 14,
            "stride": 3,
        },
    }
    labels = {"classification": ["bad", "good"], "pairs": ["bad", "good"], "tagging": ["BAD", "GOOD", "O"]}
    for kind, task in tasks.items():
        folder = root / kind
        folder.mkdir()
        run = shop.run(folder, task={"max_length": 16} | task)
        (folder / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
        source = shop.tuned if kind == "classification" else shop.base
        model = load_model(source, kind="classification" if kind == "pairs" else kind, labels=labels.get(kind))
        if kind != "classification":
            torch.manual_seed(0)
            for parameter in model.parameters():  # outputs that differ clearly, so that rounding breaks no tie
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder / "model")
        load_tokenizer(source).save_pretrained(folder / "model")
    return Models(root)


def questions() -> dict[str, Any]:
    paragraphs = []
    for number, row in enumerate(reviews(12, seed=6)):
        answer = next(word for word in row["text"].split() if word in {*GOOD, *BAD})
        context = " ".join([*FILLER, row["text"], *FILLER[:4]])
        asked = {
            "id": str(number),
            "question": "the mood was",
            "answers": [{"text": answer, "answer_start": context.index(answer)}],
        }
        paragraphs.append({"context": context, "qas": [asked]})
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


@pytest.fixture(scope="session")
def output(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A finished run of classification, with its teacher and its baseline."""
    from distiller.run import distil

    folder = tmp_path_factory.mktemp("finished")
    distil(parse_run(shop.run(folder, baseline=True)))
    return folder / "out"


def translated(folder: Path, **fields: Any) -> Path:
    """What a finished translation run leaves, but for the weights."""
    run = tiny_run(folder, **fields)
    out = folder / "out"
    (out / STUDENT).mkdir(parents=True)
    (out / RUN_FILE).write_text(to_yaml(run), encoding="utf-8")
    told = record(parse_run({"task": {"train": "train.csv"}, "teacher": {"model": "big"}}), 0.5)
    facts = told.data.model_copy(update={"kind": "translation", "labels": []})
    write_json(out / FILE, told.model_copy(update={"data": facts, "run": run}).model_dump(mode="json"))
    return out
