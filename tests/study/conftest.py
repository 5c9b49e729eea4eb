"""Studies over a handful of points that take no time, and processes that find the functions which carry them out."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distiller import config
from distiller.study.config import STUDY_FILE, Study, parse_study
from distiller.study.queue import enqueue
from distiller.study.search_space import search_space_of
from distiller.study.storage import StoredStudy, open_study
from run.tiny import Workshop, workshop
from study.postgresql import Server, served

Small = Callable[..., Study]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A study of 3 × 2 points; worker processes find `study.fakes`."""
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")]))

    def make(**fields: Any) -> Study:
        return parse_study(
            {
                "name": "small",
                "base": {"task": {"train": "train.csv"}, "teacher": {"model": "big"}, "training": {"epochs": 3}},
                "space": {"training.epochs": [1, 2, 3], "training.batch_size": [4, 8]},
                "folder": str(tmp_path / "small"),
                "storage": str(tmp_path / "small" / "trials.journal"),  # made faster than a database
                **fields,
            }
        )

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of our own, for as long as the tests run."""
    with served() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The storage of a study: its own SQLite file, or an empty database of a server."""
    return request.getfixturevalue("postgresql").database() if request.param == "postgresql" else None


def started(study: Study) -> StoredStudy:
    """What the engine makes before any worker starts."""
    study.place.mkdir(parents=True, exist_ok=True)
    stored = open_study(search_space_of(study), make=True)
    (study.place / STUDY_FILE).write_text(config.to_yaml(study), encoding="utf-8")
    enqueue(stored)
    return stored


def logged(study: Study, word: str = "ran") -> Counter[tuple[str, str]]:
    """How often each point was carried out: (epochs, batch size)."""
    file = study.place / "log.txt"
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return Counter((epochs, batch) for said, epochs, batch, _ in lines if said == word)


EVERY_POINT_ONCE = Counter({(epochs, batch): 1 for epochs in "123" for batch in "48"})
