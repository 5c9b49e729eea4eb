"""Edits on disk."""

import multiprocessing
import pickle
import sqlite3
from pathlib import Path

import pytest

from distiller.augment.edit_cache import EditCache, cache_key
from distiller.augment.passage import Edit, split_words
from distiller.errors import OutputError

EDITS: dict[bytes, Edit] = {b"a": (("x", "y"), ("z",)), b"b": "über \ud83d text", b"c": None, b"d": ()}


def test_what_is_put_is_got(tmp_path: Path) -> None:
    cache = EditCache(tmp_path / "new" / "edits.sqlite", 10**6)
    assert cache.get([b"a"]) == {}
    cache.put(EDITS)
    assert cache.get([*EDITS, b"e"]) == EDITS
    cache.put({b"a": "another"})
    assert cache.get([b"a"]) == {b"a": EDITS[b"a"]}  # what a key means does not change
    assert pickle.loads(pickle.dumps(cache)).get([b"c"]) == {b"c": None}
    many = {str(n).encode(): str(n) for n in range(2000)}
    cache.put(many)
    assert cache.get(list(many)) == many


def test_the_file_is_bounded_and_the_oldest_go_first(tmp_path: Path) -> None:
    limit = 200_000
    cache = EditCache(tmp_path / "edits.sqlite", limit)
    for n in range(100):
        cache.put({f"{n}/{m}".encode(): "x" * 500 for m in range(20)})
        assert cache.file.bytes <= limit
    kept = [n for n in range(100) if cache.get([f"{n}/19".encode()])]
    assert kept == list(range(kept[0], 100))
    assert 5 <= len(kept) < 30
    del cache
    assert (tmp_path / "edits.sqlite").stat().st_size < 2 * limit


def _write(path: Path, number: int) -> None:
    cache = EditCache(path, 10**7)
    for n in range(30):
        cache.put({f"{number}/{n}".encode(): str(n), f"shared/{n}".encode(): "same"})
        assert cache.get([f"{number}/{n}".encode()])


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "edits.sqlite"
    opened = EditCache(path, 10**7)
    opened.put({b"before": None})
    started = [multiprocessing.get_context("fork").Process(target=_write, args=(path, n)) for n in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert len(opened.get([f"{number}/{n}".encode() for number in range(4) for n in range(30)])) == 120


def test_a_file_in_use_costs_nothing_but_what_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "edits.sqlite"
    cache = EditCache(path, 10**6)
    cache.put({b"a": "b"})
    monkeypatch.setattr(cache.file, "_connection", sqlite3.connect(path, timeout=0))
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    cache.put({b"c": "d"})
    other.rollback()
    assert cache.get([b"a", b"c"]) == {b"a": "b"}


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edits.sqlite"
    path.write_text("not a database, but long enough to be looked at " * 50)
    with pytest.raises(OutputError, match=r"edits\.sqlite"):
        EditCache(path, 10).open()
    with pytest.raises(OutputError, match="cannot be used"):
        EditCache(path / "below", 10).open()


def test_a_key_tells_apart_what_decides_an_edit() -> None:
    passage = split_words("a b")
    keys = {
        cache_key({"operator": "x"}, passage, None),
        cache_key({"operator": "y"}, passage, None),
        cache_key({"operator": "x"}, passage, "0/0"),
        cache_key({"operator": "x"}, split_words("a  b"), None),
        cache_key({"operator": "x"}, split_words("a \ud800"), None),
    }
    assert len(keys) == 5
    assert cache_key({"operator": "x"}, split_words("a b"), None) in keys
