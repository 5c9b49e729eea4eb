"""`distil(run)`: from a Run to a Record.

The order is: data, teacher (fine-tuned if need be), baseline, then one training per seed. What does not depend on
the seed is done once and shared; what is finished is kept, so an interrupted run is resumed where it stopped.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from transformers.utils import logging as transformers_logging

from distiller import processes
from distiller.cache.folders import FolderCache, cache_root
from distiller.config import Run, load_run
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError, warn
from distiller.files import LEFT_OUT, list_left_out
from distiller.record import Record, load_record
from distiller.run.changed_data import changed, changed_text, keep_to
from distiller.run.plan import RunPlan, make_plan
from distiller.run.results import Find, find, finish
from distiller.run.room import check_room
from distiller.run.seeds import train_seed
from distiller.run.setup import Setup, encode_splits, prepare
from distiller.run.summary import data_lines, folded
from distiller.run.translation import TranslationWork
from distiller.run.translation import prepare as prepare_translation
from distiller.tasks.sources import located
from distiller.training.callbacks import OnEvaluation
from distiller.training.output_folder import SEEDS, check_places, claimed, finished, holds, output_folder, writing
from distiller.translation.beginning import begin as begin_translation
from distiller.translation.corpus import located as located_text
from distiller.translation.outline import Outline, outline

__all__ = ["distil"]


def distil(
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> Record:
    """Distil as `run` describes, and write its output folder: `student/`, `run.yaml` and, last, `record.json`.

    Args:
        run: The configuration, e.g. from `load_run("run.yaml")`.
        resume: Continue an interrupted run from its newest checkpoint; finished parts are not computed again. If the
            run is already finished, its Record is returned.
        overwrite: Replace the output of an earlier run.
        console: Where progress is shown; `None` for nowhere.
        on_evaluation: Called after every evaluation of the first seed, with the number of optimisation steps and the
            development score. An exception that it raises ends the run.

    Returns the Record: scores of teacher, baseline and student, costs, and the resolved run. Under `torchrun` only the
    first process writes files, and all processes return the Record.

    Raises `DistillerError`: `ConfigError` for a run that cannot be carried out, `DataError` for unusable data,
    `ModelError` for an unusable model, `OutputError` for an output folder that is in use, `RunError` for a training
    that diverges.
    """
    if not isinstance(run, Run):
        raise ConfigError(f"distil takes a Run, not a {type(run).__name__}", hint='load_run("run.yaml") reads one')
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    started = time.perf_counter()
    if run.training.threads:
        torch.set_num_threads(run.training.threads)
    if resume and overwrite:
        raise ConfigError("a run cannot be both continued and started over", hint="leave out --resume or --overwrite")
    if processes.count() > 1:
        processes.join()
        console = console if processes.is_first() else None
    begin = _translation(run) if isinstance(run, TranslationRun) else _encoders(make_plan(run))
    folder = output_folder(run.output)
    if processes.is_first():
        check_places(folder, cache_root(run.cache))
    written = _located(begin.run)
    if resume and (record := finished(folder, written, _load_written, load_record)):
        if said := begin.changed(record):
            warn(f"`{folder}` is finished, but {said}")
        return record
    begin.read()
    first = processes.is_first()
    with (
        claimed(folder, written, _load_written, resume=resume, overwrite=overwrite) if first else nullcontext(),
        writing(folder, cache_root(run.cache)),
    ):
        setup, find, store = begin.prepare(folder, console)
        baseline = [setup.baseline(seed) for seed in run.seeds] if begin.run.baseline else []
        untaught = [setup.baseline(seed, untaught=True) for seed in run.seeds] if begin.run.baseline == "both" else []
        results = [
            train_seed(setup, seed, folder / SEEDS / str(seed), resume, on_evaluation if position == 0 else None)
            for position, seed in enumerate(run.seeds)
        ]
        record = processes.from_first(lambda: finish(setup, folder, baseline, untaught, results, started, find))
        store.close()
        return record


class _Prepared(NamedTuple):
    """What the trainings of a run share, what examines their outcome, and what is kept for other runs."""

    setup: Setup | TranslationWork
    find: Find
    store: FolderCache


class _Beginning(NamedTuple):
    """How a run of one kind begins."""

    run: Run
    """With every default filled in."""
    read: Callable[[], Any]
    """Refuses data that cannot be used, before anything is written."""
    prepare: Callable[[Path, Console | None], _Prepared]
    changed: Callable[[Record], str | None]
    """What is not as it was in the data of a finished run."""


def _encoders(plan: RunPlan) -> _Beginning:
    store = FolderCache(cache_root(plan.run.cache))
    tokens = cache(lambda: encode_splits(plan, store))

    def begin(folder: Path, console: Console | None) -> _Prepared:
        if console is not None:
            for line in data_lines(plan.data, tokens()[0], plan.max_length):
                console.print(folded(line, console.width), markup=False, soft_wrap=True)
        check_room(plan, tokens()[0])
        processes.from_first(lambda: _begun(folder, plan))  # the others wait until the folder is claimed
        setup = prepare(plan, tokens(), store, console)
        return _Prepared(setup, partial(find, setup), setup.store)

    return _Beginning(plan.run, tokens, begin, lambda record: changed(record.data, plan.data))


def _begun(folder: Path, plan: RunPlan) -> None:
    """What an output folder says of the data before anything is trained."""
    keep_to(plan.data.fingerprint, folder / SEEDS)
    list_left_out(folder / LEFT_OUT, plan.data.left_out)


def _translation(run: TranslationRun) -> _Beginning:
    beginning = cache(lambda: begin_translation(run))

    def prepared(folder: Path, console: Console | None) -> _Prepared:
        processes.from_first(lambda: keep_to(beginning().splits.fingerprint, folder / SEEDS))
        work = prepare_translation(beginning(), console)
        return _Prepared(work, work.find, beginning().store)

    return _Beginning(run, lambda: outline(beginning()), prepared, lambda record: changed_text(record.data, run.task))


def check(run: Run) -> RunPlan | Outline:
    """What `run` means in full, resolved against its data and models; trains nothing.

    Raises the `DistillerError` that the run would end with. Warns of results of an earlier run: they are in the way
    unless that run is continued or started over.
    """
    plan = outline(begin_translation(run)) if isinstance(run, TranslationRun) else make_plan(run)
    folder = output_folder(run.output)
    check_places(folder, cache_root(run.cache))
    if state := holds(folder):
        warn(f"`{folder}` holds {state}: to run this needs --resume or --overwrite")
    return plan


def _located(run: Run) -> Run:
    """`run` as its output folder keeps it: with paths that work from every other folder too."""
    task = located_text(run.task) if isinstance(run, TranslationRun) else located(run.task)
    return run.model_copy(update={"task": task})


def _load_written(path: Path) -> Run:
    return _located(load_run(path))  # a file of an earlier version has paths as they were typed
