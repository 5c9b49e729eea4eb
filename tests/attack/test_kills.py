"""SIGKILL at file operations and at random times: resumed, a run ends as if nothing had happened."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distiller as library
from attack.children import Child, count_changes
from attack.conftest import times
from distiller.config import parse_run
from run.tiny import FAST, Workshop, repeatable

OFTEN = {"epochs": 1, "log_every": 3, "threads": 1, "evaluations": 2, "checkpoint_minutes": 0}


def plain(shop: Workshop, folder: Path) -> dict[str, Any]:
    """Two seeds in two stages."""
    stages = [
        {"name": "states", "objective": {"beta1": 0, "intermediate": [{"loss": "mse"}]}, "training": {"max_steps": 2}},
        {"name": "answers", "objective": {}},
    ]
    return shop.run(folder, training=FAST | OFTEN, stages=stages, seeds=[0, 1])


def from_scratch(shop: Workshop, folder: Path) -> dict[str, Any]:
    """A teacher and a baseline to fine-tune, in a cache of its own."""
    short = FAST | {"epochs": 1, "checkpoint_minutes": 0}
    return shop.run(
        folder, training=FAST | OFTEN, teacher={"model": shop.base, "training": short}, baseline=True,
        cache=str(folder / "cache"),
    )  # fmt: skip


RUNS: dict[str, Callable[[Workshop, Path], dict[str, Any]]] = {"plain": plain, "from scratch": from_scratch}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=RUNS)
def case(request: pytest.FixtureRequest, shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """How to make a run, its outcome without a kill, how many file operations and seconds it takes."""
    make = RUNS[request.param]
    folder = tmp_path_factory.mktemp("whole")
    counted = folder / "count"

    def act() -> None:
        count = count_changes(folder)
        library.distil(parse_run(make(shop, folder)))
        counted.write_text(str(count()), encoding="utf-8")

    started = time.monotonic()
    child = Child(act, folder / "log")
    assert child.wait() == 0, child.said()
    seconds = time.monotonic() - started
    return make, repeatable(folder / "out"), int(counted.read_text(encoding="utf-8")), seconds


def resumed(shop: Workshop, make: Any, folder: Path) -> dict[str, Any]:
    child = Child(lambda: library.distil(parse_run(make(shop, folder)), resume=True), folder / "log")
    assert child.wait() == 0, child.said()
    return repeatable(folder / "out")


@pytest.mark.parametrize("number", range(times(2, 60)))
def test_a_kill_at_a_file_operation(number: int, case: Any, shop: Workshop, tmp_path: Path) -> None:
    make, whole, changes, _ = case
    at = random.Random(f"{make.__name__} {number}").randint(1, changes - 1)

    def act() -> None:
        count_changes(tmp_path, at)
        library.distil(parse_run(make(shop, tmp_path)))

    child = Child(act, tmp_path / "log")
    assert child.wait() == -signal.SIGKILL, f"{at} of {changes}: {child.said()}"
    assert resumed(shop, make, tmp_path) == whole, f"killed before change {at} of {changes}"


@pytest.mark.parametrize("number", range(times(1, 20)))
def test_kills_at_random_times(number: int, case: Any, shop: Workshop, tmp_path: Path) -> None:
    """Twice in one run, the second while it resumes."""
    make, whole, _, seconds = case
    rng = random.Random(f"{make.__name__} {number} {os.environ.get('DISTILLER_ATTACK_SEED', '0')}")
    for _ in range(2):
        child = Child(lambda: library.distil(parse_run(make(shop, tmp_path)), resume=True), tmp_path / "log")
        time.sleep(rng.uniform(0, 0.7 * seconds))
        child.kill()
        assert child.wait() in (-signal.SIGKILL, 0), child.said()
    assert resumed(shop, make, tmp_path) == whole
