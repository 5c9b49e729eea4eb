"""`run_study`: keeps workers busy until every trial is done, whatever happens to them.

The engine holds no state that matters: it starts workers, requeues what dead ones left, and watches. If it is killed,
it is started again with `resume`; two engines on two machines can share one database in the same way.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from distiller import config
from distiller.errors import ConfigError, OutputError, RunError, concealed
from distiller.files import write_text
from distiller.study.check import check_runs
from distiller.study.config import STUDY_FILE, Study, load_study
from distiller.study.lost_workers import reclaim, unsettled
from distiller.study.progress import Progress, progress_of
from distiller.study.queue import attempts, enqueue
from distiller.study.search_space import SearchSpace, search_space_of
from distiller.study.storage import StoredStudy, load_optuna, open_study, storage_of, storing
from distiller.study.worker import EXECUTE, tidy

if TYPE_CHECKING:
    from distiller.study.cluster import RayPool
    from distiller.study.local import LocalPool

POLL = 0.5
"""Seconds between two looks at the workers."""
LOOK = 5.0
"""Seconds between two looks at the storage, at least."""
SHARE = 50
"""A look at a large study takes longer; the next then waits so many times as long, and the workers have the cores."""

OnProgress = Callable[[Progress], None]


def run_study(
    study: Study,
    *,
    resume: bool = False,
    retry_failed: bool = False,
    take_over: bool = False,
    check: bool = True,
    execute: str = EXECUTE,
    on_progress: OnProgress | None = None,
) -> Progress:
    """Try every point of `study` that has not been tried yet; returns its progress at the end.

    A study that has trials is refused without `resume`. `retry_failed` tries failed points again; `take_over` also
    those that a vanished machine left running in a storage that records no heartbeats. `check` first resolves some
    runs, so that what cannot work is reported at once. `execute` names the function that carries out a trial. Raises
    `DistillerError`; finished trials are kept.
    """
    if not isinstance(study, Study):
        raise ConfigError(
            f"run_study takes a Study, not a {type(study).__name__}", hint='load_study("study.yaml") reads one'
        )
    space = search_space_of(study)
    load_optuna()
    if (study.place / STUDY_FILE).is_file() and (other := load_study(study.place).name) != study.name:
        raise OutputError(f"`{study.place}` is the folder of the study `{other}`", hint="choose another `folder`")
    with _alone(study), storing(storage_of(study)):
        if not resume:
            _refuse_second(space)
        if check:
            check_runs(space)
        stored = open_study(space, make=True, salt="engine")
        _write_study(study)
        reclaim(stored, died={}, take_over=take_over)
        enqueue(stored, retry_failed=retry_failed)
        pool = _pool(study, execute)
        try:
            _keep_busy(stored, pool, on_progress)
        finally:
            names = list(pool.running)
            pool.close()
            reclaim(stored, died={}, ended=names)
        tidy(stored)
        return progress_of(stored)


def _write_study(study: Study) -> None:
    """Write the study for its workers, readable only by its owner if its storage has a password."""
    text = config.to_yaml(study)
    file = study.place / STUDY_FILE
    write_text(file, text, private=concealed(text) != text)


def _refuse_second(space: SearchSpace) -> None:
    try:
        stored = open_study(space)
    except OutputError:
        return
    if any(attempts(stored_cell) for stored_cell in stored.cells):
        raise OutputError(
            f"the study `{space.study.name}` has trials already",
            hint=f"continue it: distiller study resume {space.study.place}, or choose another `name`",
        )


def _pool(study: Study, execute: str) -> "LocalPool | RayPool":
    if study.engine.name == "ray":
        from distiller.study.cluster import RayPool

        return RayPool(study, execute)
    from distiller.study.local import LocalPool

    return LocalPool(study, execute)


def _keep_busy(stored: StoredStudy, pool: "LocalPool | RayPool", on_progress: OnProgress | None) -> None:
    started, deaths, next_look, finished = 0, 0, 0.0, -1
    prefix = f"{int(time.time()):x}"
    while True:
        ended = pool.ended()
        died = {name: why for name, why in ended.items() if why}
        if ended or time.monotonic() > next_look:
            looked = time.monotonic()
            reclaim(stored, died=died)
            now = progress_of(stored)
            # Each worker may die of its own trial once; more deaths without any finished trial have another cause.
            deaths = 0 if now.finished > finished else deaths + len(died)
            finished = max(finished, now.finished)
            if deaths > 2 * max(1, pool.size):
                raise RunError(f"workers end before they finish a trial: {next(iter(died.values()))}", hint="see logs/")
            if on_progress:
                on_progress(now)
            idle = pool.size - len(pool.running)
            for _ in range(min(idle, now.waiting, now.open - len(pool.running))):
                pool.start(f"{prefix}-{started}")
                started += 1
            if not pool.running and now.waiting <= 0 and not unsettled(stored):
                return
            next_look = time.monotonic() + max(LOOK, SHARE * (time.monotonic() - looked))
        time.sleep(POLL)


@contextmanager
def _alone(study: Study) -> Iterator[None]:
    """One engine per folder."""
    try:
        study.place.mkdir(parents=True, exist_ok=True)
        with FileLock(study.place / ".engine.lock", timeout=0):
            yield
    except Timeout:
        raise OutputError(f"`{study.place}` is being worked on", hint="wait for it, or end the other process") from None
