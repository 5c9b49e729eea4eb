"""A disk that is full or may not be written ends a run in words, and with room it goes on."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import distiller as library
from attack.conftest import times
from cli.conftest import Answer, Command
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


# --- every command that writes ----------------------------------------------------------------------------------------


def texts(folder: Path) -> Path:
    file = folder / "new.txt"
    file.write_text("".join(f"the film was good {n}\n" for n in range(400)), encoding="utf-8")
    return file


Arguments = Callable[[Workshop, Path, Path], list[str]]


def label(shop: Workshop, place: Path, out: Path) -> list[str]:
    return ["label", shop.tuned, str(texts(place)), "-o", f"{out}/job", "--shard-size", "50"]


WRITERS: dict[str, Arguments] = {
    "label": label,
    "label as parquet": lambda shop, place, out: [*label(shop, place, out), "--format", "parquet"],
    "export": lambda shop, place, out: ["export", shop.tuned, "--to", "folder", "-o", f"{out}/job"],
    "mlm": lambda shop, place, out: ["mlm", shop.file(place), "-o", f"{out}/job", "--steps", "1"],
    "predict": lambda shop, place, out: ["predict", shop.tuned, str(texts(place)), "-o", f"{out}/job"],
    "init": lambda shop, place, out: ["init", "hinton", "-o", f"{out}/job"],
    "study": lambda shop, place, out: ["study", "run", study(shop, place, out), "-q"],
}
NEEDED = {"label": 60, "label as parquet": 80, "export": 100, "mlm": 150, "predict": 4}
"""Kilobytes that each writes at least; a study that fills its disk is in `tests/study`."""


def study(shop: Workshop, place: Path, out: Path) -> str:
    base = shop.run(place, training=FAST | {"max_steps": 1, "threads": 1})
    fields = {"name": "s", "base": base, "space": {"training.batch_size": [8, 16]}, "folder": f"{out}/job"}
    (place / "study.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    return str(place / "study.yaml")


def in_words(answer: Answer) -> None:
    assert answer.code in (1, 2), answer.err
    assert "Traceback" not in answer.err
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, answer.err
    assert answer.err.rstrip().splitlines()[-1].startswith("hint: ")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(times(1, 8)))
@pytest.mark.parametrize("name", NEEDED)
def test_a_disk_that_fills_up_under_a_command(
    name: str, number: int, shop: Workshop, disk: Path, distiller: Command, tmp_path: Path
) -> None:
    """It says so, leaves nothing that is taken for whole, and with room it does what it was asked for."""
    size = 4 * random.Random(f"{name} {number}").randint(1, max(1, NEEDED[name] // 4))
    mount(disk, f"size={size}k")
    arguments = WRITERS[name](shop, tmp_path, disk)
    answer = distiller(*arguments)
    in_words(answer)
    assert "space" in answer.err or "full" in answer.err or "room" in answer.err, answer.err
    left = [path.name for path in disk.rglob("*") if path.is_file()]
    assert not {"summary.json", "record.json", "export.json"} & set(left), left
    mount(disk, "remount,size=100m")
    again = ["--resume"] if name.startswith("label") else []
    assert distiller(*arguments, *again).code == 0
    assert not list(disk.rglob("*.part"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_disk_under_a_command(
    name: str, shop: Workshop, disk: Path, distiller: Command, tmp_path: Path
) -> None:
    mount(disk, "ro")
    in_words(distiller(*WRITERS[name](shop, tmp_path, disk)))
