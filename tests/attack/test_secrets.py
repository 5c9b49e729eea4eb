"""A password in the URL of a storage stands in no line, log, table, page or Record; only where it is needed."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.conftest import Command
from distiller.study.config import STUDY_FILE
from study.conftest import Small, small, started  # noqa: F401 - a fixture

SECRET = "hunter2"
URLS = [
    f"postgresql://bob:{SECRET}@127.0.0.1:1/x",
    f"postgresql+psycopg://bob:S:3/{SECRET}@x@127.0.0.1:1/x",
    f"mysql://127.0.0.1:1/x?user=bob&password={SECRET}",
]
COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "study run": lambda url, file: ["study", "run", file, f"storage={url}", "--no-check"],
    "study resume": lambda url, file: ["study", "resume", file, f"storage={url}"],
    "study status": lambda url, file: ["study", "status", file, f"storage={url}"],
    "study report": lambda url, _: ["study", "report", url],
    "study export": lambda url, _: ["study", "export", url, "-o", "x.csv"],
    "importance": lambda url, _: ["importance", url],
    "advise": lambda url, file: ["advise", "hinton", "--experience", url, "--no-bilstm"],
    "advise --add": lambda url, _: ["advise", "--add", url, "--experience", "own.csv"],
    "show": lambda url, _: ["show", url],
    "a wrong field": lambda url, file: ["study", "run", file, f"storage={url}", "trails=3"],
    "a wrong option": lambda url, _: ["study", "status", url, "--nonsense", url],
    "the wrong command": lambda url, _: ["run", url],
}


def told(folder: Path) -> dict[str, bytes]:
    """What a study's folder holds, but for the file that its workers read the storage from."""
    found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop(STUDY_FILE, None)
    return found


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("url", URLS)
def test_no_command_tells_a_password(
    name: str, url: str, distiller: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cannot be reached, or the driver is not here: an error of either quotes the URL."""
    monkeypatch.chdir(tmp_path)
    study = {
        "name": "s",
        "base": {"task": {"train": "a.csv"}, "teacher": {"model": "big"}},
        "space": {"training.epochs": [1, 2]},
        "folder": "s",
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    answer = distiller(*COMMANDS[name](url, "study.yaml"))
    assert answer.code in (1, 2), answer.err
    assert "Traceback" not in answer.err
    assert SECRET not in answer.out + answer.err
    for file, content in told(tmp_path).items():
        assert SECRET.encode() not in content, file
    if (tmp_path / "s" / STUDY_FILE).exists():
        assert not (tmp_path / "s" / STUDY_FILE).stat().st_mode & 0o077


def test_what_a_trial_dies_of_is_told_without_a_password(
    small: Small,  # noqa: F811
    distiller: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reasons, tracebacks, the table, the page and the database of a study whose trials quote the URL."""
    pytest.importorskip("optuna")
    from distiller.study.worker import work
    from study import fakes

    def failing(run: object, report: object) -> None:
        raise ValueError(f"could not connect to {URLS[0]} or {URLS[2]}")

    monkeypatch.setattr(fakes, "quoting", failing, raising=False)
    study = small(storage=None)
    started(study)
    work(study, "one", "study.fakes:quoting")
    place = study.place
    asked: list[list[object]] = [
        ["study", "status", place],
        ["study", "status", place, "--json"],
        ["study", "report", place],
        ["study", "export", place, "-o", tmp_path / "all.csv"],
    ]
    for words in asked:
        answer = distiller(*words)
        assert SECRET not in answer.out + answer.err, words
    with sqlite3.connect(study.place / "study.db") as database:
        assert SECRET not in json.dumps([*database.iterdump()])
    for file, content in told(tmp_path).items():
        assert SECRET.encode() not in content, file
