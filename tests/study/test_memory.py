"""Trials that do not fit beside others are named and tried again alone; workers by free memory."""

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from distiller.errors import RunError
from distiller.processes import SHARERS
from distiller.study import local, memory
from distiller.study.local import LocalPool
from distiller.study.memory import Turns, out_of_memory, with_room, workers_that_fit
from distiller.study.worker import turns_of, work
from study.conftest import EVERY_POINT_ONCE, Small, logged, started


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


def test_what_is_behind_an_error_is_found() -> None:
    error = RunError("the memory of the accelerator is too small")
    error.__cause__ = OutOfMemoryError("CUDA out of memory")
    assert out_of_memory(error)
    assert not out_of_memory(RunError("the loss is not a number"))
    assert not out_of_memory(None)


def test_a_trial_without_room_is_tried_once_more_when_the_others_have_ended(tmp_path: Path) -> None:
    inside, leave, events = threading.Event(), threading.Event(), []

    def other() -> None:
        with Turns(tmp_path, "other").beside_others():
            inside.set()
            leave.wait(30)
            events.append("other ends")

    def attempt() -> str:
        events.append("tried")
        if events.count("tried") == 1:
            leave_soon.start()
            raise OutOfMemoryError
        return "done"

    thread, leave_soon = threading.Thread(target=other), threading.Timer(0.5, leave.set)
    thread.start()
    inside.wait(30)
    assert with_room(Turns(tmp_path, "own"), attempt, again=lambda: events.append("cleared")) == "done"
    thread.join()
    assert events == ["tried", "cleared", "other ends", "tried"]


def test_a_trial_that_does_not_fit_alone_fails_and_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    tries: list[type[Exception]] = []

    def attempt(error: type[Exception]) -> None:
        tries.append(error)
        raise error

    for error in (OutOfMemoryError, ValueError):
        with pytest.raises(error):
            with_room(Turns(tmp_path, "own"), lambda error=error: attempt(error), again=lambda: None)
    assert tries == [OutOfMemoryError, OutOfMemoryError, ValueError]


def test_two_without_room_do_not_wait_for_each_other(tmp_path: Path) -> None:
    together = threading.Barrier(2)
    done: list[str] = []

    def trial(name: str) -> None:
        tries: list[int] = []

        def attempt() -> None:
            tries.append(1)
            if len(tries) == 1:
                together.wait(30)
                raise OutOfMemoryError

        with_room(Turns(tmp_path, name), attempt, again=lambda: None)
        done.append(name)

    threads = [threading.Thread(target=trial, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == ["a", "b"]


def test_locks_of_other_machines_are_not_waited_for(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that share the folder of a study share no memory."""
    study = small()
    started(study)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    elsewhere = turns_of(study)
    monkeypatch.undo()
    with elsewhere.beside_others():
        work(study, "w", "study.fakes:crowded_once")
    assert logged(study) == EVERY_POINT_ONCE


@pytest.mark.parametrize(
    ("free", "devices", "fitting"),
    [({"0": 79.0}, ["0"], 7), ({"0": 79.0, "1": 25.0}, ["0", "1"], 4), ({"0": 5.0}, ["0"], 1), ({}, [], 3)],
)
def test_workers_by_free_memory(
    free: dict[str, float], devices: list[str], fitting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_on_device", free.__getitem__)
    monkeypatch.setattr(memory, "free_here", lambda: 33.0)
    assert workers_that_fit(11.0, devices) == fitting


def test_the_drivers_tool_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--id=GPU-1" in command
        return subprocess.CompletedProcess(command, 0, stdout="81000\n")

    monkeypatch.setattr(subprocess, "run", answer)
    assert memory.free_on_device("GPU-1") == pytest.approx(84.9, abs=0.1)


def test_where_there_is_no_such_tool_nothing_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory.free_on_device("0") == 0.0


@pytest.mark.parametrize(("devices", "sharers"), [(["0", "1"], "2"), ([], "3")])
def test_workers_are_told_how_many_have_their_device(
    devices: list[str], sharers: str, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setattr(local.subprocess, "Popen", lambda *_, env, **__: told.append(env))
    pool = LocalPool(small(engine={"workers": 3, "devices": devices}), "study.fakes:measured")
    for name in "abc":
        pool.start(name)
    assert [one[SHARERS] for one in told] == [sharers] * 3
    if devices:
        assert [one["CUDA_VISIBLE_DEVICES"] for one in told] == ["0", "1", "0"]
