"""Who tries which point: every point once, whatever happens to workers. In this process, with threads as workers."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.errors import ConfigError, OutputError, RunError
from distiller.study.config import Study, parse_study
from distiller.study.lost_workers import reclaim, unsettled
from distiller.study.progress import progress_of
from distiller.study.queue import attempts, claim, enqueue, fail, give_back, identity
from distiller.study.search_space import key_of, search_space_of
from distiller.study.storage import StoredStudy, load_optuna, open_study
from distiller.study.trial_io import load_trials
from distiller.study.worker import attempt, work
from study import fakes
from study.conftest import EVERY_POINT_ONCE, Small, logged, started

GONE = {"name": "gone", "host": "another", "pid": 1, "started": 0.0}


def states(stored: StoredStudy) -> list[str]:
    """Of every trial, wanted or not, in order."""
    return [trial.state.name for stored_cell in stored.cells for trial in stored_cell.trials.get_trials(deepcopy=False)]


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe", "nsga2", "qmc"])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_point_is_tried_once(small: Small, sampler: str, workers: int) -> None:
    study = small(sampler=sampler)
    stored = started(study)
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, study, str(n), "study.fakes:fast") for n in range(workers)]:
            done.result()
    assert logged(study) == EVERY_POINT_ONCE
    now = progress_of(stored)
    assert (now.total, now.complete, now.failed, now.running, now.waiting) == (6, 6, 0, 0, 0)
    assert now.best[0].point == {"training.epochs": "3", "training.batch_size": "8"}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_tries_the_same_points_in_the_same_order(small: Small, tmp_path: Path, sampler: str) -> None:
    def order(seed: int, name: str) -> list[Any]:
        place = {"folder": str(tmp_path / name), "storage": str(tmp_path / name / "trials.journal")}
        study = small(sampler=sampler, sampler_seed=seed, trials=5, **place)
        started(study)
        work(study, "w", "study.fakes:fast")
        return list(load_trials(study.place).frame["run"])

    first = order(0, "a")
    assert len(set(first)) == 5
    assert first == order(0, "b")
    assert first != order(1, "c")


def test_every_cell_gets_its_trials_in_turn(small: Small) -> None:
    study = small(tasks={"a": {}, "b": {"max_length": 9}}, seeds=[0, 1], trials=2)
    stored = started(study)
    taken = [claim(stored, identity("w")) for _ in range(9)]
    cells = [one.stored_cell.cell.name for one in taken if one]
    assert len(cells) == 8
    assert taken[8] is None
    assert set(cells[:4]) == set(cells[4:]) == {f"{task}/big/default/{seed}" for task in "ab" for seed in (0, 1)}


def test_more_trials_extend_a_study(small: Small) -> None:
    for count in (2, 5):
        study = small(trials=count)
        started(study)
        work(study, "w", "study.fakes:fast")
        assert logged(study).total() == count
    assert set(logged(study).values()) == {1}


def test_a_failed_trial_keeps_its_reason_and_can_be_tried_again(small: Small) -> None:
    study = small()
    stored = started(study)
    work(study, "w", "study.fakes:failing")
    failed = load_trials(study.place).frame.query("status == 'failed'")
    assert list(failed["reason"]) == ["ValueError: two epochs"] * 2
    assert set(failed["training.epochs"]) == {"2"}
    assert progress_of(stored).failed == 2
    trial = next(t for tries in attempts(stored.cells[0]).values() for t in tries if t.state.name == "FAIL")
    story = (study.place / trial.user_attrs["traceback"]).read_text(encoding="utf-8")
    assert "are too few" in story
    assert "in failing" in story
    assert not list((study.place / "trials").rglob("*/0/*/*"))  # a run starts in an empty folder

    assert enqueue(stored) == 0  # what failed is done, unless someone asks
    assert enqueue(stored, retry_failed=True) == 2
    work(study, "w", "study.fakes:fast")
    assert logged(study) == EVERY_POINT_ONCE
    assert set(load_trials(study.place).frame["status"]) == {"complete"}


def test_a_score_that_is_no_number_is_a_failure(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small(trials=1)
    started(study)
    monkeypatch.setattr(fakes, "fast", lambda run, report: fakes.record(run, float("nan")))
    work(study, "w", "study.fakes:fast")
    row = load_trials(study.place).frame.iloc[0]
    assert (row["status"], row["reason"]) == ("failed", "the development score accuracy is not a number")


def test_a_pruner_stops_poor_trials(small: Small) -> None:
    pruner = {"name": "median", "options": {"n_startup_trials": 2, "n_warmup_steps": 2}}
    study = small(pruner=pruner, sampler="grid", space={"training.epochs": [3, 2, 1]})
    stored = started(study)
    work(study, "w", "study.fakes:reporting")
    frame = load_trials(study.place).frame
    assert list(frame["status"]) == ["complete", "complete", "pruned"]
    assert frame["score"].isna().tolist() == [False, False, True]
    assert progress_of(stored).pruned == 1


def test_a_full_disk_stops_the_worker_and_loses_nothing(small: Small) -> None:
    study = small()
    stored = started(study)
    with pytest.raises(RunError, match="the disk is full"):
        work(study, "w", "study.fakes:no_room")
    assert logged(study).total() == 2
    now = progress_of(stored)
    assert (now.complete, now.failed) == (2, 0)
    enqueue(stored)
    (study.place / "room").touch()
    work(study, "w", "study.fakes:no_room")
    assert logged(study) == EVERY_POINT_ONCE


def test_a_full_disk_is_no_failure_of_a_trial_whoever_says_it(small: Small) -> None:
    study = small()
    stored = started(study)
    with pytest.raises(RunError, match="the disk is full"):
        work(study, "w", "study.fakes:no_room_for_weights")
    assert progress_of(stored).failed == 0


# --- workers that are gone --------------------------------------------------------------------------------------


def test_what_a_dead_worker_left_is_tried_once_more(small: Small) -> None:
    stored = started(small(trials=1))
    first = claim(stored, identity("w"))
    assert first is not None
    reclaim(stored, died={})  # this process lives
    assert states(stored) == ["RUNNING"]
    reclaim(stored, died={"w": "it was shot"})
    second = claim(stored, identity("x"))
    assert second is not None
    assert second.point == first.point
    reclaim(stored, died={"x": "it was shot again"})
    assert claim(stored, identity("y")) is None
    assert progress_of(stored).failed == 1
    frame = load_trials(stored.study.place).frame
    assert list(frame["reason"]) == ["it was shot again"]
    assert enqueue(stored, retry_failed=True) == 1


def test_interruptions_do_not_count(small: Small) -> None:
    stored = started(small(trials=1))
    for _ in range(4):
        claimed = claim(stored, identity("w"))
        assert claimed is not None
        give_back(claimed)
        assert enqueue(stored) == 1
    for _ in range(4):
        assert claim(stored, GONE | {"host": identity("w")["host"], "pid": 2**22 + 1}) is not None
        reclaim(stored, died={})  # nobody watched how that process ended
    assert progress_of(stored).waiting == 1


def test_another_machines_worker_is_left_alone_unless_it_is_silent_or_taken_over(small: Small) -> None:
    stored = started(small(storage=None))
    assert claim(stored, GONE) is not None
    assert reclaim(stored, died={}) == 0
    assert reclaim(stored, died={}, take_over=True) == 1
    claimed = claim(stored, GONE)
    assert claimed is not None
    trial_id = stored.trial_id(claimed.stored_cell, claimed.trial.number)
    stored.storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
    assert reclaim(stored, died={}) == 0
    silent(stored, trial_id)
    assert reclaim(stored, died={}) == 1
    assert states(stored).count("WAITING") == 6


def test_a_silent_trial_is_not_overlooked_while_another_begins(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = started(small(storage=None))
    claimed = claim(stored, GONE)
    assert claimed is not None
    trial_id = stored.trial_id(claimed.stored_cell, claimed.trial.number)
    stored.storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
    silent(stored, trial_id)
    storages = load_optuna().storages
    end_stale = storages.fail_stale_trials

    def meanwhile(study: Any) -> None:
        end_stale(study)
        assert claim(stored, identity("w")) is not None

    monkeypatch.setattr(storages, "fail_stale_trials", meanwhile)
    assert reclaim(stored, died={}) == 1
    assert sorted(states(stored)) == ["FAIL", "RUNNING"] + 5 * ["WAITING"]


def test_the_engine_waits_for_whom_it_may_have_to_replace(small: Small) -> None:
    stored = started(small(storage=None))
    assert not unsettled(stored)
    assert claim(stored, GONE) is not None
    assert not unsettled(stored)  # another machine's: its own engine, or a sign of life that fails to come, ends it
    mine = claim(stored, identity("w"))
    assert mine is not None
    assert unsettled(stored)
    give_back(mine)
    assert not unsettled(stored)


def silent(stored: StoredStudy, trial_id: int) -> None:
    """Set the last sign of life back by an hour."""
    import sqlite3

    with sqlite3.connect(stored.study.place / "study.db") as database:
        database.execute(
            "update trial_heartbeats set heartbeat = datetime('now', '-1 hour') where trial_id = ?", (trial_id,)
        )


def test_a_worker_that_was_taken_for_dead_changes_nothing(small: Small) -> None:
    """It wakes up after its point was given to another: its result is not counted, and not taken for a failure."""
    stored = started(small(trials=1))
    late = claim(stored, GONE)
    assert late is not None
    reclaim(stored, died={}, take_over=True)
    attempt(late, fakes.fast)
    assert not fail(late, "too late")
    now = progress_of(stored)
    assert (now.complete, now.failed, now.waiting) == (0, 0, 1)
    work(stored.study, "w", "study.fakes:fast")
    assert progress_of(stored).complete == 1


def test_of_two_trials_of_a_point_one_goes_on(small: Small) -> None:
    stored = started(small(trials=2))  # two engines may queue the same point at the same time
    for stored_cell in stored.cells:
        for tries in list(attempts(stored_cell).values()):
            stored_cell.trials.add_trial(tries[0])
    assert states(stored) == ["WAITING"] * 4
    study = stored.study
    together = threading.Barrier(2)

    def start(name: str) -> None:
        together.wait()
        work(study, name, "study.fakes:slow")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(start, name) for name in "ab"]:
            done.result()
    assert set(logged(study).values()) == {1}
    assert logged(study).total() == 2


def test_an_interrupted_start_is_completed(small: Small) -> None:
    study = small()
    stored = started(study)
    stored_cell = stored.cells[0]
    keys = {key_of(trial.params) for tries in attempts(stored_cell).values() for trial in tries}
    again = started(study)
    assert len(keys) == 6
    assert states(again) == ["WAITING"] * 6


@settings(deadline=None, max_examples=8)
@given(events=st.lists(st.sampled_from(["work", "die", "give back", "fail", "restart"]), max_size=12))
def test_whatever_happens_no_point_is_lost_or_tried_twice(tmp_path_factory: Any, events: list[str]) -> None:
    folder = tmp_path_factory.mktemp("study") / "s"
    study = parse_study(
        {
            "name": "s",
            "base": {"task": {"train": "t.csv"}, "teacher": {"model": "m"}},
            "space": {"training.epochs": [1, 2, 3]},
            "folder": str(folder),
            "storage": str(folder / "trials.journal"),
        }
    )
    stored = started(study)
    ended: Counter[str] = Counter()
    for number, event in enumerate(events):
        if event == "restart":
            stored = started(study)
            continue
        claimed = claim(stored, identity(str(number)))
        if claimed is None:
            continue
        if event == "work":
            attempt(claimed, fakes.fast)
            ended[claimed.point["training.epochs"]] += 1
        elif event == "die":
            reclaim(stored, died={str(number): "it died"})
        elif event == "give back":
            give_back(claimed)
            enqueue(stored)
        else:
            fail(claimed, "it failed")
            ended[claimed.point["training.epochs"]] += 1
    now = progress_of(stored)
    assert set(ended.values()) <= {1}
    assert now.total == 3
    assert now.waiting + now.finished == 3
    work(study, "last", "study.fakes:fast")
    assert set(logged(study).values()) <= {1}
    assert progress_of(stored).waiting == 0


# --- storages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["{}/trials.db", "{}/trials.journal", "sqlite:///{}/trials.db"])
def test_two_workers_share_a_storage(small: Small, tmp_path: Path, url: str) -> None:
    """Also SQLite, which itself lets two of them claim one trial."""
    study = small(storage=url.format(tmp_path))
    started(study)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, study, name, "study.fakes:fast") for name in "ab"]:
            done.result()
    assert logged(study) == EVERY_POINT_ONCE
    assert len(load_trials(url.format(tmp_path)).frame) == 6


def test_a_storage_of_another_study_is_refused(small: Small, tmp_path: Path) -> None:
    study = small()
    stored = started(study)
    kept = str(study.storage)
    other = small(space={"training.epochs": [1, 2, 4], "training.batch_size": [4, 8]})
    with pytest.raises(ConfigError, match="holds another study called `small`"):
        started(other)
    assert states(stored) == ["WAITING"] * 6
    beside = small(name="beside", space=other.model_dump()["space"], storage=kept, folder=str(tmp_path / "beside"))
    started(beside)
    work(beside, "w", "study.fakes:fast")
    assert len(load_trials(kept, name="beside").frame) == 6
    assert load_trials(study.place).frame.empty
    with pytest.raises(OutputError, match="has no study `besid`") as raised:
        load_trials(kept, name="besid")
    assert "`beside`" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"storage": "trials.txt"}, "is no storage"),
        ({"storage": "nosuch://host/x"}, "cannot be opened"),
        ({"sampler": "tpee"}, "no sampler is called `tpee`"),
        ({"sampler": {"name": "tpe", "options": {"starts": 1}}}, "no option of sampler `tpe` is called `starts`"),
        ({"sampler": {"name": "tpe", "options": {"n_startup_trials": "x"}}}, "option `n_startup_trials` of sampler"),
        ({"sampler": {"name": "grid", "options": {"x": 1}}}, "sampler `grid` has no options"),
        ({"pruner": "medium"}, "no pruner is called `medium`"),
        ({"pruner": {"name": "median", "options": {"n": 1}}}, "no option of pruner `median` is called `n`"),
    ],
)
def test_tools_that_do_not_exist_are_refused(small: Small, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        started(small(**fields))


def test_a_storage_that_cannot_be_used_is_said_in_one_line(small: Small, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is not a database, but a text of some length" * 50)
    with pytest.raises(RunError, match=r"the storage `.*broken.db` cannot be used: ") as raised:
        started(small(storage=str(tmp_path / "broken.db")))
    assert "\n" not in raised.value.message
    with pytest.raises(OutputError, match="there are no trials at"):
        open_study(search_space_of(small(folder=str(tmp_path / "nowhere"))))


def test_studies_say_who_they_are(small: Small) -> None:
    study: Study = small(name="small")
    stored = started(study)
    attributes = stored.cells[0].trials.user_attrs
    assert attributes["study"] == "small"
    assert attributes["fingerprint"] == stored.space.fingerprint
    assert attributes["cell"] == {"task": "train.csv", "teacher": "big", "student": "default", "seed": 0}
