"""A disk that is full or may not be written ends a run in words, and with room it goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import distiller as library
from attack.conftest import times
from distiller.config import parse_run
from distiller.errors import DistillerError, OutputError, RunError
from run.tiny import FAST, Workshop, repeatable

FIELDS = {"training": FAST | {"epochs": 1, "log_every": 3, "threads": 1, "checkpoint_minutes": 0}}


def mount(folder: Path, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder on which a test mounts a small disk."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", "--lazy", folder], capture_output=True)


@pytest.fixture(scope="module")
def whole(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    library.distil(parse_run(shop.run(folder, **FIELDS)))
    return repeatable(folder / "out")


@pytest.mark.parametrize("kilobytes", [4, 150, 400][: times(2, 3)])
def test_a_full_disk(kilobytes: int, whole: dict, shop: Workshop, disk: Path) -> None:
    mount(disk, f"size={kilobytes}k")
    wish = parse_run(shop.run(disk, **FIELDS))
    with pytest.raises((RunError, OutputError)) as error:
        library.distil(wish)
    assert "disk" in error.value.message
    assert error.value.hint
    assert not (disk / "out" / "record.json").exists()
    mount(disk, "remount,size=100m")
    library.distil(wish, resume=True)
    assert repeatable(disk / "out") == whole


def test_a_disk_that_may_not_be_written(shop: Workshop, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(disk, "ro")
    monkeypatch.setattr("distiller.run.prepare", None)  # no teacher is loaded
    with pytest.raises(DistillerError, match="cannot write"):
        library.distil(parse_run(shop.run(disk, **FIELDS)))
