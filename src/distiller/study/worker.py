"""One worker: claims trials, carries them out one after the other, and stores the outcome of each.

`python -m distiller.study.worker FOLDER NAME PARENT EXECUTE` is what the local engine starts; Ray calls `work`.
"""

import gc
import importlib
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from distiller.config import Run
from distiller.errors import DistillerError, RunError, concealed
from distiller.files import is_full
from distiller.study.config import TRIALS, Study, load_study
from distiller.study.memory import Turns, with_room
from distiller.study.queue import Claim, claim, complete, fail, give_back, identity, prune
from distiller.study.search_space import key_of, search_space_of
from distiller.study.storage import HEARTBEAT, StoredStudy, load_optuna, open_study, storage_of, storing

if TYPE_CHECKING:
    from distiller.record import Record

Report = Callable[[int, float], None]
"""Hears of (optimisation step, development score)."""
EXECUTE = "distiller.study.worker:carry_out"
"""The function (run, Report or `None`) → Record that carries out a trial, as `module:name`."""
NO_ROOM = 74
"""Exit code of a worker that cannot store what it computes; EX_IOERR of sysexits.h."""
ERRORS = ".error.txt"
ROOM = ".room"
"""Folder of a study in which running trials hold locks, in a folder for each machine: memory is of one machine."""


def work(study: Study, name: str, execute: str = EXECUTE) -> None:
    """Carry out trials of `study` until none is left. Raises `RunError` if results cannot be stored."""
    module, _, function = execute.partition(":")
    carry_out = getattr(importlib.import_module(module), function)
    space = search_space_of(study)
    with storing(storage_of(study)):
        stored = open_study(space, salt=name)
        while claimed := claim(stored, identity(name)):
            with alive(claimed):
                attempt(claimed, carry_out)
            tidy(stored)


def carry_out(run: Run, report: Report | None) -> "Record":
    """Distil; what an earlier attempt at the same point finished is reused."""
    from distiller.run import distil

    return distil(run, resume=True, on_evaluation=report)


def attempt(claimed: Claim, execute: Callable[[Run, Report | None], "Record"]) -> None:
    """Carry out one trial and store its end, whatever it is. Raises `RunError` if the disk is full."""
    folder = Path(claimed.run.output)
    try:
        with _own(folder):
            record = with_room(
                turns_of(claimed.stored.study),
                lambda: execute(claimed.run, _reporter(claimed)),
                again=lambda: _make_room(folder),
            )
    except load_optuna().TrialPruned:
        prune(claimed)
        clear(folder)
    except Exception as error:
        if is_full(error):
            give_back(claimed)
            raise RunError(f"the disk is full: {folder}", hint="make room, then: distiller study resume") from error
        _store_failure(claimed, folder, error)
    except BaseException:
        give_back(claimed)
        raise
    else:
        if record.score != record.score:  # the score is not a number, so it cannot be compared
            fail(claimed, f"the development score {record.metric} is not a number")
        else:
            complete(claimed, record)


def turns_of(study: Study) -> Turns:
    """The turns of this process among those on its machine."""
    return Turns(study.place / ROOM / socket.gethostname(), f"{os.getpid()}")


def _make_room(folder: Path) -> None:
    """After a trial ran out of memory: release what it held, and start it over."""
    print(f"{folder.name}: out of memory beside other trials; tried again alone", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _store_failure(claimed: Claim, folder: Path, error: Exception) -> None:
    lines = (error.message if isinstance(error, DistillerError) else str(error)).splitlines()
    reason = lines[0] if lines else ""
    if not isinstance(error, DistillerError):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    clear(folder)
    file = folder.with_name(folder.name + ERRORS)  # elsewhere: a run starts in an empty folder
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(concealed("".join(traceback.format_exception(error))), encoding="utf-8")
    fail(claimed, concealed(reason)[:500], file.relative_to(claimed.stored.study.place).as_posix())


def _reporter(claimed: Claim) -> Report | None:
    """Reports scores to the pruner; `None` if there is no pruning."""
    if claimed.stored.study.pruner.name == "none":
        return None

    def report(step: int, score: float) -> None:
        claimed.trial.report(score, step)
        if claimed.trial.should_prune():
            raise load_optuna().TrialPruned

    return report


@contextmanager
def _own(folder: Path) -> Iterator[None]:
    """No other process writes to `folder` meanwhile, not even a worker that was taken for dead."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=5):
            yield
    except Timeout:
        raise RunError(f"another process writes into `{folder}`", hint="end it, then: --retry-failed") from None


@contextmanager
def alive(claimed: Claim) -> Iterator[None]:
    """Send heartbeats, where the storage records them."""
    storage = claimed.stored.storage
    record = getattr(storage, "record_heartbeat", None)
    if record is None:
        yield
        return
    trial_id = claimed.stored.trial_id(claimed.stored_cell, claimed.trial.number)
    ended = threading.Event()

    def beat() -> None:
        while True:
            with suppress(Exception):  # the storage is briefly busy or unreachable; the next heartbeat may get through
                record(trial_id)
            if ended.wait(HEARTBEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def tidy(stored: StoredStudy) -> None:
    """Remove the weights that `keep` does not ask for; Records and runs stay."""
    keep = stored.study.keep
    best: dict[tuple[str, str, str], tuple[float, Path]] = {}
    finished: list[Path] = []
    states = load_optuna().trial.TrialState
    for stored_cell in stored.cells:
        group = (stored_cell.cell.task, stored_cell.cell.teacher, stored_cell.cell.student)
        for trial in stored_cell.trials.get_trials(deepcopy=False, states=(states.COMPLETE,)):
            folder = stored.study.place / TRIALS / stored_cell.cell.name / key_of(trial.params)
            finished.append(folder)
            if trial.value is not None and trial.value > best.get(group, (float("-inf"), folder))[0]:
                best[group] = (trial.value, folder)
    kept = {folder for _, folder in best.values()} if keep == "best" else set()
    for folder in finished:
        shutil.rmtree(folder / "seeds", ignore_errors=True)  # the best seed's student is beside it
        if keep != "all" and folder not in kept:
            shutil.rmtree(folder / "student", ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove the weights of a trial without a result."""
    for name in ("seeds", "student"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: str, name: str, parent: str, execute: str) -> int:
    """What the local engine starts; the exit code is `NO_ROOM` if results cannot be stored."""
    _end_with(int(parent))
    try:
        work(load_study(folder), name, execute)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_ROOM
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
