"""Two processes train, log and score as one does on the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training.two_processes import CONTRAST, GATHERED, SUMS, measure, share

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes with batches of four measured."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    common = os.environ | {
        "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "training.two_processes", str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)[-3000:]
    return torch.load(folder / "two.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The joined batch of eight; for contrasts two micro-batches of four, whose negatives are those of a process, where
    they are not gathered."""
    folder, size = tmp_path_factory.mktemp("one"), {"per_device_eval_batch_size": 4}
    return {
        "sums": measure(folder, SUMS, per_device_train_batch_size=8, **size),
        "contrast": measure(folder, CONTRAST, per_device_train_batch_size=4, gradient_accumulation_steps=2, **size),
        "gathered": measure(folder, GATHERED, per_device_train_batch_size=8, **size),
        "uneven": share(slice(None)),
    }


@pytest.mark.parametrize("kind", ["sums", "contrast", "gathered"])
def test_gradients_of_every_trained_part(one: dict[str, Any], two: dict[str, Any], kind: str) -> None:
    expected, found = (side[kind]["gradients"] for side in (one, two))
    assert {name.partition(".")[0] for name in found} == {"student", "objective"}
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        moved_by_none = kind == "gathered" and ".terms.1." in name  # the transport leaves out some pairs of layers
        assert gradient.any() or name.endswith("key.bias") or moved_by_none, name


@pytest.mark.parametrize("kind", ["sums", "contrast", "gathered"])
def test_logged_losses(one: dict[str, Any], two: dict[str, Any], kind: str) -> None:
    assert two[kind]["logs"] == pytest.approx(one[kind]["logs"], rel=1e-4)
    assert "loss/prediction" in two[kind]["logs"]


def test_gathered_negatives_of_batches_of_two_and_six(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert "loss" in one["uneven"]
    assert any(name.startswith("mi_alpha") for name in one["uneven"])
    torch.testing.assert_close(two["uneven"], one["uneven"], rtol=1e-4, atol=1e-5)


def test_development_scores_count_each_example_once(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert two["sums"]["scores"] == pytest.approx(one["sums"]["scores"], rel=1e-5)
    assert two["sums"]["scores"]["size"] == 13


def test_a_training_goes_on_from_a_checkpoint_and_ends_with_its_best_weights(two: dict[str, Any]) -> None:
    torch.testing.assert_close(two["resumed"], two["straight"])
