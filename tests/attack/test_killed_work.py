"""Study drivers and workers, labelling, exports and caches, killed before random file operations: nothing is lost."""

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attack.children import Child, count_changes
from attack.conftest import times
from distiller import labelling
from distiller.cache.folders import FolderCache
from distiller.files import write_text
from run.tiny import Workshop
from study.conftest import Small, small, started  # noqa: F401 - a fixture

FAST = "study.fakes:fast"
CHANGES = {"worker": 150, "driver": 40, "labelling": 40, "export": 12}
"""Changes of files that each makes at least; `count_changes` counted 214, 53, 53 and 16."""


def killed_somewhere(action: Callable[[], Any], folder: Path, number: int, log: Path, *, most: int) -> int:
    """`action` in a process that is killed before the change of a file below `folder` that `number` chooses.

    `most` is a number of changes that `action` always makes.
    """
    at = random.Random(number).randint(1, most)

    def act() -> None:
        count_changes(folder, at)
        action()

    child = Child(act, log)
    assert child.wait() == -signal.SIGKILL, f"it ended before change {at}: {child.said()}"
    return at


def outcome(action: Callable[[], Any], log: Path) -> Any:
    """What `action` gives in a process of its own, as JSON."""
    result = log.with_suffix(".json")
    child = Child(lambda: result.write_text(json.dumps(action()), encoding="utf-8"), log)
    assert child.wait() == 0, child.said()
    return json.loads(result.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("role", ["worker", "driver"])
@pytest.mark.parametrize("number", range(times(1, 30)))
def test_a_killed_study_tries_every_point(small: Small, tmp_path: Path, role: str, number: int) -> None:  # noqa: F811
    pytest.importorskip("optuna")
    from distiller.study.engine import run_study
    from distiller.study.trial_io import load_trials
    from distiller.study.worker import work

    study = small(engine={"workers": 1})
    if role == "worker":
        started(study)
    actions: dict[str, Callable[[], Any]] = {
        "worker": lambda: work(study, "one", FAST),
        "driver": lambda: run_study(study, check=False, execute=FAST),
    }
    at = killed_somewhere(actions[role], study.place, number, tmp_path / "log", most=CHANGES[role])

    def again() -> list[int]:
        now = run_study(study, resume=True, check=False, execute=FAST)
        return [now.complete, now.failed, now.total]

    assert outcome(again, tmp_path / "again") == [6, 0, 6], f"{role} killed before change {at}"
    complete = load_trials(study.place).complete
    assert len(complete) == 6
    points = {(run["training"]["epochs"], run["training"]["batch_size"]) for run in map(json.loads, complete["run"])}
    assert len(points) == 6


@pytest.mark.parametrize("number", range(times(1, 30)))
def test_a_killed_labelling_job_loses_and_doubles_no_text(shop: Workshop, tmp_path: Path, number: int) -> None:
    texts = tmp_path / "new.txt"
    texts.write_text("".join(f"the film was good {n}\n" for n in range(50)), encoding="utf-8")
    out = tmp_path / "job"

    def job() -> None:
        labelling.label(shop.tuned, [texts], out, shard_size=9, resume=True)

    at = killed_somewhere(job, out, number, tmp_path / "log", most=CHANGES["labelling"])
    assert outcome(lambda: job(), tmp_path / "again") is None
    rows = [json.loads(line) for part in sorted(out.glob("part-*.jsonl")) for line in part.read_text().splitlines()]
    assert [row["row"] for row in rows] == list(range(50)), f"killed before change {at}"
    assert json.loads((out / "summary.json").read_text())["texts"] == 50


@pytest.mark.slow
@pytest.mark.parametrize("number", range(times(1, 20)))
def test_a_killed_export_is_whole_or_not_there(shop: Workshop, tmp_path: Path, number: int) -> None:
    from distiller.deploy.export import export_student, exports_of
    from distiller.deploy.finished import open_finished

    target = tmp_path / "exports" / "folder"

    def act() -> None:
        export_student(open_finished(shop.tuned), "folder", folder=target, overwrite=True)

    at = killed_somewhere(act, tmp_path / "exports", number, tmp_path / "log", most=CHANGES["export"])
    there = exports_of(tmp_path)
    outcome(lambda: act(), tmp_path / "again")
    files = {path.name for path in target.iterdir()}
    assert {"model.safetensors", "use.py"} <= files, f"killed before change {at}"
    for folder in there.values():  # what was taken for whole before was whole
        assert {path.name for path in folder.iterdir()} == files


def test_a_cache_that_is_killed_at_every_operation_is_made_again(tmp_path: Path) -> None:
    """Three files and sums: killed before each change in turn, the next who asks gets all of them."""
    made = tmp_path / "made"

    def make(folder: Path) -> None:
        for name in "abc":
            write_text(folder / name, name * 1000)
        with made.open("a", encoding="utf-8") as file:
            file.write("x")

    for at in range(1, times(16, 40)):
        root = tmp_path / f"cache-{at}"

        def act(at: int = at, root: Path = root) -> None:
            count_changes(root, at)
            FolderCache(root).get("kind", {"number": 1}, make)

        child = Child(act, tmp_path / "log")
        assert child.wait() in (0, -signal.SIGKILL), child.said()
        folder = FolderCache(root).get("kind", {"number": 1}, make)
        assert [(folder / name).read_text() for name in "abc"] == [name * 1000 for name in "abc"], f"killed before {at}"
        again = made.read_text()
        FolderCache(root).get("kind", {"number": 1}, make)
        assert made.read_text() == again
