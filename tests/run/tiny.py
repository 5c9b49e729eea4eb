"""A workshop for whole runs: tiny BERT folders, little files with an easily learnt signal, and runs over them."""

import csv
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast, Trainer

GOOD = ["good", "great", "fine", "lovely"]
BAD = ["bad", "awful", "poor", "dull"]
FILLER = ["the", "film", "was", "a", "story", "with", "actors", "and", "music", "plot"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CRITIC = {"name": "mlp", "options": {"layers": 2, "hidden": 16, "embedding": 8}}
FAST = {"epochs": 2, "batch_size": 32, "learning_rate": 2e-3, "weight_decay": 0.0, "max_grad_norm": 0.0}


@dataclass(frozen=True)
class Workshop:
    """Folder names of everything that a tiny run needs."""

    root: Path

    def __getattr__(self, name: str) -> str:
        """Models: `base` (no head), `tuned`, `swapped`, `contrary`, `stranger`.

        Files: `reviews`, `dev`, `pairs`, `stars`.
        """
        files = {"reviews": "reviews.csv", "dev": "dev.csv", "pairs": "pairs.tsv", "stars": "stars.csv"}
        path = self.root / files.get(name, name)
        if not path.exists():
            raise AttributeError(name)
        return str(path)

    def run(self, folder: Path, **fields: Any) -> dict[str, Any]:
        """A run of two layers cut from a fine-tuned teacher of four, in seconds; `fields` replace parts of it.

        Stages replace its objective.
        """
        if "stages" in fields:
            fields = {"objective": {}} | fields
        return {
            "task": {"train": self.reviews, "dev": self.dev, "max_length": 16},
            "teacher": {"model": self.tuned, "training": FAST},
            "student": {"layers": 2},
            "objective": {"intermediate": [{"loss": "mse"}]},
            "training": {**FAST, "epochs": 1, "log_every": 4, "threads": 1},
            "baseline": False,
            "output": str(folder / "out"),
            "cache": str(self.root / "cache"),
        } | fields

    def file(self, folder: Path, **fields: Any) -> str:
        """`run`, written to `folder/run.yaml`."""
        path = folder / "run.yaml"
        path.write_text(yaml.safe_dump(self.run(folder, **fields)), encoding="utf-8")
        return str(path)


def workshop(root: Path) -> Workshop:
    """Make the models and files. `tuned` gives the right answers in the order bad, good; `swapped` is its
    mirror, and `contrary` says the opposite of both."""
    words = [*SPECIAL, *FILLER, *GOOD, *BAD]
    tuned = judge(words, ["bad", "good"])
    save(root / "tuned", tuned, words)
    save(root / "base", tuned.bert, words)
    tuned.config.id2label, tuned.config.label2id = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    tuned.classifier.weight.data.copy_(tuned.classifier.weight.data.flip(0))
    tuned.classifier.bias.data.copy_(tuned.classifier.bias.data.flip(0))
    save(root / "swapped", tuned, words)
    tuned.config.id2label, tuned.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    save(root / "contrary", tuned, words)
    stranger = [*SPECIAL, *BAD[::-1], *GOOD, *FILLER[::-1], "extra"]
    save(root / "stranger", BertModel(shape(stranger, layers=2, width=16)), stranger)

    write(root / "reviews.csv", reviews(160, seed=0))
    write(root / "dev.csv", reviews(60, seed=1))
    write(root / "pairs.tsv", pairs(160))
    write(root / "stars.csv", stars(160))
    return Workshop(root)


def shape(words: list[str], *, layers: int = 4, width: int = 32, positions: int = 40, **given: Any) -> BertConfig:
    return BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
        **given,
    )


def judge(words: list[str], labels: list[str]) -> BertForSequenceClassification:
    """A classifier trained in a plain torch loop, so that nothing of Distiller decides what it knows."""
    torch.manual_seed(1)
    config = shape(words, id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)})
    model = BertForSequenceClassification(config).train()
    rows = reviews(256, seed=5)
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for start in range(0, 4 * len(rows), 32):
        chosen = rows[start % len(rows) :][:32]
        batch = tokenizer([row["text"] for row in chosen], padding=True, return_tensors="pt")
        loss = model(**batch, labels=torch.tensor([labels.index(row["label"]) for row in chosen])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def save(folder: Path, model: Any, words: list[str]) -> None:
    model.save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)


def sentence(rng: random.Random, mood: list[str]) -> str:
    words = [rng.choice(FILLER) for _ in range(rng.randint(2, 7))]
    words.insert(rng.randrange(len(words)), rng.choice(mood))
    return " ".join(words)


def reviews(rows: int, *, seed: int) -> list[dict[str, str]]:
    """A review is good or bad by its one word of mood."""
    rng = random.Random(seed)
    return [
        {"text": sentence(rng, GOOD if row % 2 else BAD), "label": "good" if row % 2 else "bad"} for row in range(rows)
    ]


def pairs(rows: int) -> list[dict[str, str]]:
    """Two sentences agree or differ in mood."""
    rng = random.Random(2)
    return [
        {
            "first": sentence(rng, GOOD),
            "second": sentence(rng, GOOD if row % 2 else BAD),
            "verdict": "agree" if row % 2 else "differ",
        }
        for row in range(rows)
    ]


def stars(rows: int) -> list[dict[str, str]]:
    """Numbers around -0.75 and 1.25."""
    rng = random.Random(3)
    return [
        {"text": sentence(rng, GOOD if row % 2 else BAD), "label": f"{(1 if row % 2 else -1) + rng.random() / 2:.2f}"}
        for row in range(rows)
    ]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def repeatable(record: Path | str) -> dict[str, Any]:
    """What must be the same when a run is repeated, of the Record in a run's output folder."""
    data = json.loads((Path(record) / "record.json").read_text(encoding="utf-8"))
    data["run"] = {name: value for name, value in data["run"].items() if name not in ("output", "cache")}
    return {
        name: value
        for name, value in data.items()
        if name not in ("cost", "created", "efficiency", "machine", "revision")
    }


class Cut(BaseException):
    """Ends a process as Ctrl-C does: nothing catches it."""


def cut_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Interrupt after so many optimisation steps, counted over all trainings."""
    taken = 0
    whole = Trainer.training_step

    def step(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > steps:
            raise Cut
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", step)
