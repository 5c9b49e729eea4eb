"""`distil(run)`: from a Run to a Record.

The order is: data, teacher (fine-tuned if need be), baseline, then one training per seed. What does not depend on
the seed is done once and shared; what is finished is kept, so an interrupted run is resumed where it stopped.
"""

import time
from pathlib import Path

import torch
from rich.console import Console
from transformers.utils import logging as transformers_logging

from distiller.config import Run
from distiller.errors import ConfigError
from distiller.record import Record
from distiller.run.output import claim, finish, finished, writing
from distiller.run.plan import blueprint
from distiller.run.seeds import SEEDS, baseline_scores, train_seed
from distiller.run.setup import encode_splits, prepare


def distil(run: Run, *, resume: bool = False, overwrite: bool = False, console: Console | None = None) -> Record:
    """Carry out `run` and write its output folder: `student/`, `run.yaml` and, last of all, `record.json`.

    With `resume`, what an interrupted run finished is kept and its newest checkpoint continued; a finished run
    returns its Record. `overwrite` replaces an earlier output. `console` shows progress. Raises `DistillerError`.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    started = time.perf_counter()
    if run.training.threads:
        torch.set_num_threads(run.training.threads)
    if resume and overwrite:
        raise ConfigError("a run cannot be both continued and started over", hint="leave out --resume or --overwrite")
    plan = blueprint(run)
    folder = Path(run.output)
    if resume and (record := finished(folder, plan.run)):
        return record
    tokens = encode_splits(plan)
    claim(folder, plan.run, resume=resume, overwrite=overwrite)
    with writing(folder):
        setup = prepare(plan, tokens, console)
        baseline = baseline_scores(setup) if run.baseline else None
        results = [train_seed(setup, seed, folder / SEEDS / str(seed), resume) for seed in run.seeds]
        return finish(setup, folder, baseline, results, started)
