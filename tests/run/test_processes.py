"""`torchrun … -m distiller run`: two processes are one run, which learns what one learns from the joined batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distiller.config import parse_run
from distiller.run import distil
from run.tiny import CRITIC, Workshop

pytestmark = pytest.mark.slow

WISH = {
    "objective": {
        "gamma1": 0.5,
        "intermediate": [
            {"loss": "mse"},
            {"loss": "cos", "mapping": "emd"},
            {"loss": "mi_alpha", "critic": CRITIC},
        ],
    },
    "student": {"layers": 2, "config": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}},
    "seeds": [0, 1],
}
STEPS = {"epochs": 1, "learning_rate": 2e-3, "weight_decay": 0.0, "log_every": 1, "threads": 1, "precision": "fp32"}


def in_two(file: str) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port, "-m", "distiller"]
    return subprocess.run(
        [sys.executable, *command, "run", file],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=400,
    )


def losses(folder: Path) -> list[dict[str, Any]]:
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return [{name: value for name, value in line.items() if "loss" in name} for line in record["seeds"][0]["history"]]


def test_two_processes_are_one_run_with_a_joined_batch(shop: Workshop, tmp_path: Path) -> None:
    """160 examples in batches of 48: the last, of 16, is shared unevenly with none left out or counted twice."""
    (tmp_path / "two").mkdir()
    file = shop.file(
        tmp_path / "two", **WISH, training=STEPS | {"batch_size": 24}, cache=str(tmp_path / "cache"), baseline=True
    )
    done = in_two(file)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("✓ distil, seed 0") == 1
    shown = [sys.executable, "-m", "distiller", "show", str(tmp_path / "two" / "out")]
    assert done.stdout == subprocess.run(shown, capture_output=True, text=True, timeout=200).stdout  # one table
    run = parse_run(shop.run(tmp_path / "one", **WISH, training=STEPS | {"batch_size": 48}))
    distil(run)
    two, one = losses(tmp_path / "two" / "out"), losses(tmp_path / "one" / "out")
    assert len(two) == len(one)
    for found, expected in zip(two, one, strict=True):
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)
