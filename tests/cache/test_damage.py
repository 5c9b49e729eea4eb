"""Damaged, full and read-only caches: what is wrong is named and made again, never silently used."""

import os
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from cache.test_teacher_outputs import EXAMPLES, LAYERS, frozen
from distiller import config
from distiller.cache import checksums, folders
from distiller.cache.checksums import BLOCK, BlockChecks, CheckedWriter, DamagedFileError, damaged_file, write_checksums
from distiller.cache.folders import BUILDING, FACTS, FolderCache
from distiller.cache.rows import RowCache
from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.errors import OutputError, RunError
from training.tiny import pad, term, trainer

FACTS_OF = {"kind": "outputs"}


def build(folder: Path) -> None:
    batches = (pad([EXAMPLES[i] for i in rows]) for rows in torch.arange(len(EXAMPLES)).split(16))
    build_teacher_cache(folder, frozen(), batches, len(EXAMPLES), sorted(LAYERS))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "it"
    folder.mkdir()
    build(folder)
    return folder


def everything(folder: Path) -> dict[str, torch.Tensor]:
    batch = pad([EXAMPLES[i] for i in range(len(EXAMPLES))])
    found = TeacherCache(folder).read(batch["example_ids"], batch["attention_mask"])
    return {"logits": found.logits} | {str(layer): state for layer, state in found.hidden_states.items()}


def fill_from(pristine: Path) -> Callable[[Path], None]:
    return lambda folder: shutil.copytree(pristine, folder, dirs_exist_ok=True) and None


def flip(path: Path, place: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ bits]))


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_one_byte_changed_anywhere_is_never_a_silently_different_result(
    tmp_path: Path, pristine: Path, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "SMALL", small)
    expected = everything(pristine)
    rng = np.random.default_rng(0)
    built = FolderCache(tmp_path).get("outputs", FACTS_OF, fill_from(pristine))
    files = sorted(path.name for path in built.iterdir())
    assert {"meta.json", "index.npy", "logits.bin", "checksums.json", FACTS} < set(files)
    noticed: dict[str, int] = dict.fromkeys(files, 0)
    for name in files * 4:
        size = (built / name).stat().st_size
        flip(built / name, int(rng.integers(size)), int(rng.integers(1, 256)))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            again = FolderCache(tmp_path).get("outputs", FACTS_OF, fill_from(pristine))
        assert again == built
        try:
            found = everything(again)
        except DamagedFileError as error:  # a large file, whose blocks are checked when they are read
            noticed[name] += error.path.name == name
            shutil.copy(pristine / name, again / name)
            continue
        noticed[name] += any(name in str(one.message) for one in said)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    named = set(files) - {FACTS, "checksums.json"}  # a change in these may leave what they say as it was
    assert {name for name, times in noticed.items() if times == 4} >= named


@pytest.mark.parametrize("name", ["meta.json", "index.npy", "hidden-2.bin", "checksums.json"])
@pytest.mark.parametrize("how", ["gone", "short", "empty"])
def test_files_that_are_cut_or_gone_are_made_again(tmp_path: Path, pristine: Path, name: str, how: str) -> None:
    built = FolderCache(tmp_path).get("outputs", FACTS_OF, fill_from(pristine))
    if how == "gone":
        (built / name).unlink()
    else:
        with (built / name).open("r+b") as file:
            file.truncate((built / name).stat().st_size // 2 if how == "short" else 0)
    assert damaged_file(built) is not None
    with pytest.raises(DamagedFileError, match="is damaged"):
        TeacherCache(built)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FolderCache(tmp_path).get("outputs", FACTS_OF, fill_from(pristine))
    torch.testing.assert_close(everything(built), everything(pristine), rtol=0, atol=0)


@pytest.mark.parametrize("place", ["file", "ahead", "device"])
def test_a_training_that_meets_damage_names_it_and_asks_the_teacher(
    tmp_path: Path, pristine: Path, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "SMALL", 0)
    built = FolderCache(tmp_path / "cache").get("outputs", FACTS_OF, fill_from(pristine))
    size = (built / "hidden-4.bin").stat().st_size
    flip(built / "hidden-4.bin", size // 2, 1)
    losses = []
    for cache in (None, TeacherCache(built, {0, 2, 4}, place=place)):
        wish = config.Objective(gamma1=0.5, intermediate=[term("mse")])
        made = trainer(tmp_path / "out", wish, data=EXAMPLES, cache=cache, max_steps=3)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made.train()
        losses.append([line["loss"] for line in made.state.log_history if "loss" in line])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert any("hidden-4.bin` is damaged" in str(one.message) for one in said)
    assert not (built / FACTS).exists()  # the next run makes it again


def test_blocks_are_checked_when_they_are_first_read(tmp_path: Path) -> None:
    path, data = tmp_path / "large.bin", np.random.default_rng(0).bytes(5 * BLOCK + 100)
    with CheckedWriter(path) as writer:
        for start in range(0, len(data), 70_001):
            writer.write(data[start : start + 70_001])
    write_checksums(tmp_path, {path.name: writer.entry})
    assert damaged_file(tmp_path, whole=True) is None
    flip(path, 3 * BLOCK + 5, 128)
    assert damaged_file(tmp_path) is None  # left to who reads it
    assert damaged_file(tmp_path, whole=True) == path
    checks = BlockChecks(path, len(data))

    def read(start: int, stop: int) -> None:
        checks.check(np.array([start, 0]), np.array([stop, 1]))

    read(0, 3 * BLOCK)
    read(4 * BLOCK, len(data))
    assert checks.left == 1
    for start, stop in ((3 * BLOCK - 1, 3 * BLOCK + 1), (0, len(data)), (4 * BLOCK - 1, 4 * BLOCK)):
        with pytest.raises(DamagedFileError):
            read(start, stop)


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_said_of_the_cache_and_leaves_nothing(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "part").write_bytes(bytes(1000))
        with CheckedWriter(Path("/dev/full")) as writer:
            writer.write(bytes(100_000))

    with pytest.raises(RunError, match=f"the disk of the cache folder `{tmp_path}` is full"):
        FolderCache(tmp_path).get("outputs", FACTS_OF, make)
    assert not list((tmp_path / "outputs").glob(".*"))


def test_what_killed_builds_left_is_removed(tmp_path: Path) -> None:
    kind = tmp_path / "outputs"
    dead, alive, resumable, gone = (
        kind / f"{name}" for name in (f"{BUILDING}dead", f"{BUILDING}alive", f"{folders.RESUMABLE}old", ".gone-1")
    )
    for folder in (dead, alive, resumable, gone):
        folder.mkdir(parents=True)
    old = time.time() - folders.KEPT_SECONDS - 10
    os.utime(resumable, (old, old))
    with FileLock(kind / "alive.lock"):
        FolderCache(tmp_path).get("outputs", FACTS_OF, lambda _: None)
    assert [folder.exists() for folder in (dead, alive, resumable, gone)] == [False, True, False, False]


def test_an_interrupted_build_that_can_be_continued_is(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FolderCache(tmp_path).get("teachers", FACTS_OF, interrupted, resumes=True)
    found: list[bool] = []
    path = FolderCache(tmp_path).get(
        "teachers", FACTS_OF, lambda folder: found.append((folder / "half").exists()), resumes=True
    )
    assert found == [True]
    assert sorted(file.name for file in (tmp_path / "teachers").iterdir() if file.is_dir()) == [
        path.name,
        path.name + folders.USERS,
    ]


def test_sums_of_a_build_that_was_killed_at_its_end_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the sums and the renaming: what the build that goes on writes is not held against old sums."""
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append("made")
        (folder / "it").write_text("x" * len(made), encoding="utf-8")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            FolderCache(tmp_path).get("teachers", FACTS_OF, make, resumes=True)
    path = FolderCache(tmp_path).get("teachers", FACTS_OF, make, resumes=True)
    assert damaged_file(path) is None
    assert FolderCache(tmp_path).get("teachers", FACTS_OF, make, resumes=True) == path
    assert len(made) == 2


def test_a_read_only_cache_gives_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = FolderCache(tmp_path).get("outputs", FACTS_OF, lambda folder: (folder / "it").touch())
    kept = RowCache(tmp_path / "rows.sqlite", 10**6)
    kept.put({b"a": b"1"})
    kept._connected().close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted(tmp_path.rglob("*"))
    cache = FolderCache(tmp_path)
    assert cache.get("outputs", FACTS_OF, lambda _: pytest.fail("built")) == built
    assert cache.get("outputs", {"other": 1}, lambda _: pytest.fail("built"), serves=lambda _: True) == built
    with pytest.raises(OutputError, match="may only be read"):
        cache.get("outputs", {"other": 1}, lambda _: None)
    rows = RowCache(tmp_path / "rows.sqlite", 10**6)
    rows.put({b"b": b"2"})
    assert rows.get([b"a", b"b"]) == {b"a": b"1"}
    fresh = RowCache(tmp_path / "none.sqlite", 10**6)
    fresh.put({b"b": b"2"})
    assert fresh.get([b"b"]) == {b"b": b"2"}
    assert sorted(tmp_path.rglob("*")) == before


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_that_was_changed_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    cache = RowCache(path, 10**6)
    cache.put({b"a": b"one", b"b": b"two"})
    with sqlite3.connect(path) as other:
        (value,) = other.execute("SELECT value FROM kept WHERE key = ?", (b"a",)).fetchone()
        other.execute("UPDATE kept SET value = ? WHERE key = ?", (value[:-1] + b"!", b"a"))
    assert cache.get([b"a", b"b"]) == {b"b": b"two"}
    cache.put({b"a": b"one"})
    assert cache.get([b"a", b"b"]) == {b"a": b"one", b"b": b"two"}


def test_a_file_of_rows_with_damaged_pages_is_named_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    cache = RowCache(path, 10**8)
    cache.put({bytes([n]) * 8: bytes(2000) for n in range(100)})
    cache._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cache._connected().close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 30_000)
    again = RowCache(path, 10**8)
    with pytest.warns(UserWarning, match=r"rows\.sqlite` is damaged"):
        again.get([bytes([n]) * 8 for n in range(100)])
    again.put({b"a": b"1"})
    assert again.get([b"a"]) == {b"a": b"1"}
