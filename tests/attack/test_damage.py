"""What lies in an output is damaged: it is named, and made again from what is whole, or refused."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distiller as library
from attack.conftest import NIGHTLY
from distiller.config import parse_run
from distiller.errors import DistillerError
from distiller.files import SUMS
from distiller.scoring import evaluate
from run.tiny import CRITIC, FAST, Cut, Workshop, cut_after, repeatable

FIELDS: dict[str, Any] = {
    "training": FAST | {"epochs": 1, "log_every": 2, "threads": 1, "evaluations": 2, "checkpoint_minutes": 0},
    "objective": {"intermediate": [{"loss": "mi_alpha", "critic": CRITIC}]},
    "augmentation": [{"name": "random", "options": {"ra_mode": "swap"}}],
    "seeds": [0, 1],
}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(content)


def zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


pytestmark = pytest.mark.slow

HARMS = (empty, halved, flipped, zeroed, missing)
FILES = {
    "out/seeds/0/result.json": "seeds/0/result.json",
    "out/seeds/0/student/model.safetensors": "model.safetensors",
    "out/seeds/0/student/config.json": "config.json",
    f"out/seeds/0/student/{SUMS}": "seeds/0/student/",
    "newest/model.safetensors": "model.safetensors",
    "newest/objective.safetensors": "objective.safetensors",
    "newest/optimizer.pt": "optimizer.pt",
    "newest/scheduler.pt": "scheduler.pt",
    "newest/rng_state.pth": "rng_state.pth",
    "newest/trainer_state.json": "trainer_state.json",
    "newest/augmentation.json": "augmentation.json",
    "newest/running_0.json": "running_0.json",
    f"newest/{SUMS}": "checkpoints/checkpoint-",
}
"""Files of an interrupted run, and how each is named."""


def run(shop: Workshop, folder: Path) -> library.Run:
    return parse_run(shop.run(folder, **FIELDS))


@pytest.fixture(scope="module")
def interrupted(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run cut in its second seed, with two checkpoints there, and what it comes to otherwise."""
    whole, cut = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("cut")
    library.distil(run(shop, whole))
    with pytest.MonkeyPatch.context() as patch:
        cut_after(patch, 8)
        with pytest.raises(Cut):
            library.distil(run(shop, cut))
    assert len(list(cut.glob("out/seeds/1/distil/checkpoints/*"))) == 2
    return cut, repeatable(whole / "out")


CASES = [(name, harm) for position, name in enumerate(FILES) for n, harm in enumerate(HARMS)
         if NIGHTLY or (position + 3 * n) % (2 * len(HARMS)) == 0]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_damage_to_an_interrupted_run(
    name: str, harm: Callable[[Path], None], interrupted: tuple[Path, dict[str, Any]], shop: Workshop, tmp_path: Path
) -> None:
    cut, whole = interrupted
    shutil.copytree(cut / "out", tmp_path / "out")
    newest = max(tmp_path.glob("out/seeds/1/distil/checkpoints/*"), key=lambda path: int(path.name.split("-")[1]))
    harm(newest / name.removeprefix("newest/") if name.startswith("newest/") else tmp_path / name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        library.distil(run(shop, tmp_path), resume=True)
    assert repeatable(tmp_path / "out") == whole
    if harm is not missing or not name.endswith((SUMS, "result.json")):  # then it looks like a save that was cut
        assert any(FILES[name] in str(one.message) for one in said), [str(one.message) for one in said]


@pytest.mark.parametrize("harm", HARMS if NIGHTLY else (flipped,))
def test_damage_to_a_checkpoint_and_the_one_before(
    harm: Callable[[Path], None], interrupted: tuple[Path, dict[str, Any]], shop: Workshop, tmp_path: Path
) -> None:
    cut, whole = interrupted
    shutil.copytree(cut / "out", tmp_path / "out")
    for optimizer in tmp_path.glob("out/seeds/1/distil/checkpoints/*/optimizer.pt"):
        harm(optimizer)
    with pytest.warns(UserWarning, match="goes on from what is whole before it"):
        library.distil(run(shop, tmp_path), resume=True)
    assert repeatable(tmp_path / "out") == whole


@pytest.mark.parametrize("harm", HARMS if NIGHTLY else (flipped, missing))
@pytest.mark.parametrize("name", ["record.json", "student/model.safetensors", "student/config.json", "run.yaml"])
def test_damage_to_a_finished_run(
    name: str, harm: Callable[[Path], None], interrupted: tuple[Path, dict[str, Any]], shop: Workshop, tmp_path: Path
) -> None:
    """Nothing that is damaged is shown, evaluated or taken for finished."""
    cut, _ = interrupted
    finished = cut / "finished"
    if not finished.exists():
        shutil.copytree(cut / "out", finished / "out")
        library.distil(run(shop, finished), resume=True)
    shutil.copytree(finished / "out", tmp_path / "out")
    harm(tmp_path / "out" / name)
    with pytest.raises(DistillerError) as error:  # noqa: PT012 - one of the two
        library.load_record(tmp_path / "out")
        evaluate(str(tmp_path / "out"))
    assert error.value.hint
    assert "\n" not in error.value.message
