"""The folder of things that runs share: whole things only, each built once."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.cache.checksums import FILE as CHECKSUMS
from distiller.cache.folders import FACTS, LIMIT, FolderCache, default_folder, fingerprint
from distiller.errors import ConfigError, OutputError

WHAT = {"seed": 1, "rate": 5e-5, "layers": [1, 2]}


def write(folder: Path) -> None:
    (folder / "content").write_text("whole")


def test_what_was_built_is_found_and_not_built_again(tmp_path: Path) -> None:
    built = FolderCache(tmp_path).get("thing", WHAT, write)
    assert (built / "content").read_text() == "whole"
    assert FolderCache(tmp_path).find("thing", dict(reversed(WHAT.items()))) == built
    assert FolderCache(tmp_path).get("thing", WHAT, lambda _: pytest.fail("built twice")) == built
    assert FolderCache(tmp_path).find("other", WHAT) is None
    assert FolderCache(tmp_path).find("thing", WHAT | {"seed": 2}) is None


def test_an_interrupted_build_is_never_taken(tmp_path: Path) -> None:
    store = FolderCache(tmp_path)

    def interrupted(folder: Path) -> None:
        write(folder)
        assert store.find("thing", WHAT) is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get("thing", WHAT, interrupted)
    assert store.find("thing", WHAT) is None
    assert (store.get("thing", WHAT, write) / "content").read_text() == "whole"
    assert not list((tmp_path / "thing").glob(".building-*"))


@pytest.mark.parametrize("facts", ["", "{", '{"seed": 2}'])
def test_a_folder_with_other_facts_is_not_taken_but_replaced(tmp_path: Path, facts: str) -> None:
    store = FolderCache(tmp_path)
    path = store.path("thing", WHAT)
    path.mkdir(parents=True)
    (path / FACTS).write_text(facts)
    (path / "stale").touch()
    assert store.find("thing", WHAT) is None
    assert store.get("thing", WHAT, write) == path
    assert sorted(file.name for file in path.iterdir()) == [CHECKSUMS, "content", FACTS]


def test_two_at_once_build_once(tmp_path: Path) -> None:
    together, builds = threading.Barrier(2), []

    def slow(folder: Path) -> None:
        builds.append(folder)
        time.sleep(0.3)
        write(folder)

    def get() -> Path:
        together.wait()
        return FolderCache(tmp_path).get("thing", WHAT, slow)

    with ThreadPoolExecutor(2) as pool:
        paths = [future.result() for future in [pool.submit(get) for _ in range(2)]]
    assert len(builds) == 1
    assert paths[0] == paths[1]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write") as raised:
        FolderCache(tmp_path / "file").get("thing", WHAT, write)
    assert "DISTILLER_CACHE" in raised.value.hint


def test_the_default_place_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("DISTILLER_CACHE")
    assert default_folder() == Path.home() / ".cache" / "distiller"


def test_a_fingerprint_is_that_of_the_content() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint(None)) == 16


# --- a limit ----------------------------------------------------------------------------------------------------


def fill(size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / "content").write_bytes(bytes(size)) and None


def aged(store: FolderCache, kind: str, facts: dict[str, int], seconds: int) -> None:
    os.utime(store.path(kind, facts) / FACTS, (seconds, seconds))


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    asked=st.lists(st.integers(0, 7), max_size=12),
    limit=st.integers(20, 100),
)
def test_a_limited_store_forgets_what_was_not_used_for_longest(sizes: list[int], asked: list[int], limit: int) -> None:
    """Against a list that does the same: newest last; from the front, what is too much goes, but never what is held."""
    with tempfile.TemporaryDirectory() as root:
        order: list[int] = []
        for time_of_use, which in enumerate([*range(len(sizes)), *(one % len(sizes) for one in asked)]):
            store = FolderCache(Path(root), gigabytes=limit * 1e4 / 1e9)
            new = store.find("thing", {"n": which}) is None
            store.get("thing", {"n": which}, fill(10_000 * sizes[which] - 400))
            assert new == (which not in order)
            aged(store, "thing", {"n": which}, 1000 + time_of_use)
            store.close()
            order = [*(other for other in order if other != which), which]
            while sum(sizes[n] for n in order) > limit and len(order) > 1:
                order.pop(0)
            assert {n for n in range(len(sizes)) if store.find("thing", {"n": n})} == set(order)
        assert not list(Path(root).glob("thing/.*"))


def test_what_a_living_process_uses_is_never_removed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from distiller.cache.folders import FolderCache\n"
        "store = FolderCache(Path(sys.argv[1])); store.get('thing', {'n': 0}, lambda folder: None)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    limited = FolderCache(tmp_path, gigabytes=1e-12)
    FolderCache(tmp_path).get("thing", {"n": 0}, fill(5000))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        limited.get("thing", {"n": 1}, fill(5000))
        assert limited.find("thing", {"n": 0})
        os.kill(other.pid, signal.SIGKILL)  # nothing is left that could let go
        other.wait()
    gone = limited.make_room()
    assert gone == [limited.path("thing", {"n": 0})]
    assert limited.find("thing", {"n": 1})  # this process still uses it
    limited.close()
    assert limited.make_room() == [limited.path("thing", {"n": 1})]


def test_what_is_being_built_is_not_removed_and_a_store_without_limit_keeps_all(tmp_path: Path) -> None:
    limited, free = FolderCache(tmp_path, gigabytes=1e-12), FolderCache(tmp_path)

    def make(folder: Path) -> None:
        fill(5000)(folder)
        assert limited.make_room() == []

    assert (free.get("thing", WHAT, make) / "content").stat().st_size == 5000
    free.close()
    assert free.make_room() == []
    assert free.find("thing", WHAT)


def test_the_limit_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "0.5")
    assert FolderCache(tmp_path).gigabytes == 0.5
    assert FolderCache(tmp_path, gigabytes=2).gigabytes == 2
    monkeypatch.delenv(LIMIT)
    assert FolderCache(tmp_path).gigabytes is None
    for wrong in ("many", "-1", "nan"):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(ConfigError, match=f"{LIMIT}.*`{wrong}`"):
            FolderCache(tmp_path)


def test_another_thing_that_will_do_is_taken(tmp_path: Path) -> None:
    """More layers than were asked for serve as well, but not those of another teacher."""
    store = FolderCache(tmp_path)
    wide = store.get("outputs", {"teacher": "a", "layers": [1, 2, 3]}, write)

    def serving(wanted: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
        return lambda has: has["teacher"] == wanted["teacher"] and set(has["layers"]) >= set(wanted["layers"])

    for wanted, served in (
        ({"teacher": "a", "layers": [2]}, True),
        ({"teacher": "b", "layers": [2]}, False),
        ({"teacher": "a", "layers": [2, 4]}, False),
    ):
        made: list[Path] = []
        got = store.get("outputs", wanted, made.append, serves=serving(wanted))
        assert (got == wide, not made) == (served, served)
