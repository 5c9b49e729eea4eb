"""`torchrun … -m distiller run` of a translation: two processes are one that joins two batches in each step."""

from pathlib import Path

import pytest

from distiller.config import to_yaml
from distiller.config.translation import TranslationRun
from distiller.run import distil
from run.test_processes import in_two, losses
from translation.tiny import pace, tiny_run, translator

pytestmark = pytest.mark.slow


def hybrid(folder: Path, teacher: Path, accumulate: int) -> TranslationRun:
    """Gold and pseudo-labels, the distribution of a teacher that is there, and a baseline."""
    steps = {**pace(1), "accumulate": accumulate, "log_every": 1, "threads": 1, "precision": "fp32"}
    return tiny_run(
        folder,
        teacher={"model": str(teacher)},
        sequence={"gold_ratio": 0.5, "decoding": {"beam": 1, "max_length": 8}},
        training=steps,
        efficiency=False,
    )


def test_two_processes_are_one_that_accumulates(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    translator(tmp_path / "teacher", seed=1)
    file = tmp_path / "two" / "run.yaml"
    file.write_text(to_yaml(hybrid(tmp_path / "two", tmp_path / "teacher", 1)), encoding="utf-8")
    done = in_two(str(file))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("✓ distil, seed 0") == 1
    distil(hybrid(tmp_path / "one", tmp_path / "teacher", 2))
    two, one = losses(tmp_path / "two" / "out"), losses(tmp_path / "one" / "out")
    assert len(two) == len(one) > 3
    for found, expected in zip(two, one, strict=True):
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)
