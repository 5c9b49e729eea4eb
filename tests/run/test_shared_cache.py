"""Runs that share a cache give what they give alone, whatever the others left there."""

import random
from pathlib import Path
from typing import Any

import pytest

import distiller
from distiller.config import parse_run
from run.tiny import FAST, Workshop

TRAINING = {**FAST, "epochs": 1, "threads": 1, "cache_teacher": "always"}
SWAP = [{"name": "random", "options": {"ra_mode": "swap"}}]


def runs(shop: Workshop) -> dict[str, dict[str, Any]]:
    """Runs that differ in one thing each, which decides what is read from the cache."""
    task = {"train": shop.reviews, "dev": shop.dev, "max_length": 16}
    several = {"models": [shop.tuned, shop.contrary], "finetune": "never"}
    untuned = {"model": shop.base, "training": FAST}
    return {
        "plain": {},
        "several teachers": {"teacher": several},
        "other weights of them": {"teacher": several | {"weights": [3, 1]}},
        "a tuned teacher": {"teacher": untuned},
        "another seed of it": {"teacher": untuned | {"seed": 1}},
        "a rate of it": {"teacher": untuned | {"training": FAST | {"learning_rate": 1e-3}}},
        "bf16": {"training": TRAINING | {"precision": "bf16"}},
        "shorter texts": {"task": task | {"max_length": 8}},
        "fewer labels": {"task": task | {"label_limit": 60}},
        "the order of classes": {"task": task | {"labels": ["good", "bad"]}},
        "fewer layers": {"student": {"layers": 1}},
        "a cut vocabulary": {"student": {"layers": 2, "vocabulary": 9}},
        "another vocabulary": {"student": {"model": shop.stranger}},
        "crossed texts": {"crossovers": 1},
        "few steps": {"training": TRAINING | {"epochs": None, "max_steps": 3}},
        "smaller batches": {"training": TRAINING | {"batch_size": 16}},
        "rewritten texts": {"augmentation": SWAP},
        "rewritten texts, several teachers": {"augmentation": SWAP, "teacher": several},
    }


@pytest.mark.slow
def test_what_a_run_gives_does_not_depend_on_the_runs_before_it(shop: Workshop, tmp_path: Path) -> None:
    wishes = runs(shop)

    def gives(name: str, folder: Path, cache: Path) -> list[Any]:
        fields = {
            "training": TRAINING,
            "baseline": True,
            "objective": {"gamma1": 0.5, "intermediate": [{"loss": "mse"}]},
        }
        record = distiller.distil(parse_run(shop.run(folder / name, **fields | wishes[name] | {"cache": str(cache)})))
        assert record.teacher is not None
        assert record.baseline is not None
        return [record.seeds[0].fingerprint, record.seeds[0].scores, record.teacher.scores, record.baseline.scores]

    alone = {name: gives(name, tmp_path / "alone", tmp_path / "alone" / name / "cache") for name in wishes}
    names = [*wishes]
    random.Random(0).shuffle(names)
    for turn, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(turn)
        for name in order:
            assert gives(name, folder, folder / "cache") == alone[name], f"{name}, after {order[: order.index(name)]}"
