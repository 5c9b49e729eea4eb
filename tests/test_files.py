"""Files that are whole or not there, that are checked, and that one process writes."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from distiller import files
from distiller.errors import DamagedError, OutputError, concealed
from distiller.files import (
    check_sums,
    damage,
    held,
    is_full,
    read_sealed,
    write_json,
    write_sealed,
    write_sums,
    write_text,
)


def folder_of(place: Path) -> Path:
    (place / "deep").mkdir(parents=True)
    (place / "weights").write_bytes(bytes(range(256)) * 40)
    (place / "deep" / "words.txt").write_text("one\ntwo\n", encoding="utf-8")
    write_sums(place)
    return place


def test_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    folder_of(tmp_path / "it")
    assert damage(tmp_path / "it") is None
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--status", files.SUMS], cwd=tmp_path / "it", check=True)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_one_byte_anywhere_is_noticed(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = folder_of(tmp_path_factory.mktemp("sums") / "it")
    file = place / data.draw(st.sampled_from(["weights", "deep/words.txt", files.SUMS]))
    content = bytearray(file.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=file.name if file.name != files.SUMS else "is (not|missing)"):
        check_sums(place)


def test_who_may_read_the_sums_may_read_the_files(tmp_path: Path) -> None:
    for name, mode in (("ours", 0o600), ("theirs", 0o640)):
        folder = tmp_path / name
        folder.mkdir()
        save_file({"x": np.zeros(3)}, folder / "model.safetensors")
        (folder / "model.safetensors").chmod(mode)  # as safetensors 0.8 leaves it, or as somebody wished
        write_sums(folder)
    usual = (tmp_path / "ours" / "distiller.sha256").stat().st_mode
    assert (tmp_path / "ours" / "model.safetensors").stat().st_mode == usual
    assert (tmp_path / "theirs" / "model.safetensors").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["weights", "deep/words.txt"])
def test_a_missing_or_shortened_file_is_named(name: str, tmp_path: Path) -> None:
    place = folder_of(tmp_path / "it")
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) // 2])
    assert name in (damage(place) or "")
    (place / name).unlink()
    assert f"{name}` is missing" in (damage(place) or "")


def test_a_folder_without_sums_is_taken_as_it_is(tmp_path: Path) -> None:
    check_sums(tmp_path)
    (tmp_path / files.SUMS).touch()
    with pytest.raises(DamagedError, match="is empty"):
        check_sums(tmp_path)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_sealed_json_comes_back_or_is_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sealed") / "it.json"
    content = {"score": 0.1 + 0.2, "names": ["naïve", "ü"], "steps": 12}
    write_sealed(path, content)
    assert read_sealed(path) == content
    text = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(text) - 1))
    text[where] ^= data.draw(st.integers(1, 255))
    path.write_bytes(text)
    with suppress(DamagedError):
        assert read_sealed(path) == content  # a space between two values says nothing


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"content": 1}', b"[" * 100_000])
def test_what_is_not_sealed_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.json").write_bytes(content)
    with pytest.raises(DamagedError, match="is damaged"):
        read_sealed(tmp_path / "it.json")


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_device_is_written_through(tmp_path: Path) -> None:
    for device in ("/dev/null", "/dev/full"):
        if not Path(device).exists():
            pytest.skip(f"there is no {device}")
    write_text(Path("/dev/null"), "x")
    with pytest.raises(OSError, match="No space") as error:
        write_json(Path("/dev/full"), {"a": 1})
    assert error.value.filename == "/dev/full"
    assert not Path("/dev/null").is_file()
    assert not Path("/dev/full").is_file()
    os.mkfifo(tmp_path / "pipe")
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text(encoding="utf-8")))
    listener.start()
    write_text(tmp_path / "pipe", "through")
    listener.join(10)
    assert heard == ["through"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "new"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    write_text(tmp_path / "it", "old")
    with pytest.raises(TypeError), files.writing(tmp_path / "it") as file:
        file.write(b"no text")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it").read_text(encoding="utf-8") == "old"


# --- one writer -------------------------------------------------------------------------------------------------------


def _hold(folder: str, ready: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with held(Path(folder)):
        ready.set()
        done.wait(30)


def test_the_second_process_hears_who_has_the_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    other.start()
    assert ready.wait(30)
    with pytest.raises(OutputError, match=rf"being written by process {other.pid} on .* since 20"), held(tmp_path):
        pass
    done.set()
    other.join(30)
    with held(tmp_path):
        assert files.strangers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_is_no_holder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready, context.Event()))
    other.start()
    assert ready.wait(30)
    other.kill()
    other.join(30)
    assert files.strangers(tmp_path) == []  # what it left is not taken for somebody's files
    with held(tmp_path):
        pass


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql://bob:S3C:R/E@T@host/db", "S3C:R/E@T"),
        ("postgresql+psycopg://bob:hunter2@host:5432/db", "hunter2"),
        ("redis://:hunter2@host", "hunter2"),
        ("mysql://host/db?user=bob&password=hunter2&ssl=1", "hunter2"),
        ("postgresql://host/db?sslmode=x;PASSWORD=hunter2", "hunter2"),
    ],
)
def test_no_error_shows_a_password(url: str, secret: str) -> None:
    error = OutputError(f"the storage `{url}` cannot be used", hint=f"try {url}")
    for text in (str(error), repr(error), error.message, error.hint or ""):
        assert secret not in text
        assert "host" in text or "redis" in text


def test_other_texts_stay_as_they_are() -> None:
    for text in ("`a: b@c` is no number", "see https://example.org/x?page=2", "mail me@example.org", "a://b"):
        assert concealed(text) == text


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "no room"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (OSError(errno.EACCES, "forbidden"), False),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),  # safetensors
        (RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0"), True),  # torch.save
        (RuntimeError("shapes differ"), False),
    ],
)
def test_a_full_disk_is_known_however_it_is_said(error: Exception, full: bool) -> None:
    outer = OutputError("the run stopped")
    outer.__cause__ = error
    assert is_full(error) == is_full(outer) == full
    assert not is_full(None)
