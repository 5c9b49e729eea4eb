"""The folder of things that runs share: whole things only, each built once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distiller.errors import OutputError
from distiller.training.store import FACTS, Store, default_store, fingerprint

WHAT = {"seed": 1, "rate": 5e-5, "layers": [1, 2]}


def write(folder: Path) -> None:
    (folder / "content").write_text("whole")


def test_what_was_built_is_found_and_not_built_again(tmp_path: Path) -> None:
    built = Store(tmp_path).get("thing", WHAT, write)
    assert (built / "content").read_text() == "whole"
    assert Store(tmp_path).find("thing", dict(reversed(WHAT.items()))) == built
    assert Store(tmp_path).get("thing", WHAT, lambda _: pytest.fail("built twice")) == built
    assert Store(tmp_path).find("other", WHAT) is None
    assert Store(tmp_path).find("thing", WHAT | {"seed": 2}) is None


def test_an_interrupted_build_is_never_taken(tmp_path: Path) -> None:
    store = Store(tmp_path)

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
    store = Store(tmp_path)
    path = store.path("thing", WHAT)
    path.mkdir(parents=True)
    (path / FACTS).write_text(facts)
    (path / "stale").touch()
    assert store.find("thing", WHAT) is None
    assert store.get("thing", WHAT, write) == path
    assert sorted(file.name for file in path.iterdir()) == ["content", FACTS]


def test_two_at_once_build_once(tmp_path: Path) -> None:
    together, builds = threading.Barrier(2), []

    def slow(folder: Path) -> None:
        builds.append(folder)
        time.sleep(0.3)
        write(folder)

    def get() -> Path:
        together.wait()
        return Store(tmp_path).get("thing", WHAT, slow)

    with ThreadPoolExecutor(2) as pool:
        paths = [future.result() for future in [pool.submit(get) for _ in range(2)]]
    assert len(builds) == 1
    assert paths[0] == paths[1]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the cache folder") as raised:
        Store(tmp_path / "file").get("thing", WHAT, write)
    assert "DISTILLER_CACHE" in raised.value.hint


def test_the_default_place_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path))
    assert default_store() == tmp_path
    monkeypatch.delenv("DISTILLER_CACHE")
    assert default_store() == Path.home() / ".cache" / "distiller"


def test_a_fingerprint_is_that_of_the_content() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint(None)) == 16
