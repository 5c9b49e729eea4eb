"""`measure_models(outputs)`: time, memory, size and score of teacher, student and exports, side by side."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distiller.deploy.bench_translators import (
    TranslatorEntrant,
    is_translator,
    measured_translator,
    translator_entrants,
)
from distiller.deploy.entrants import Entrant, entrants, reading
from distiller.deploy.finished import Finished
from distiller.deploy.forms import batches, in_order, input_arrays, input_names
from distiller.deploy.measure import SINGLES, read_arrays, weights_megabytes, write_arrays
from distiller.deploy.table import Bench, Measured
from distiller.device import describe_machine
from distiller.errors import ConfigError, ModelError, OutputError, RunError
from distiller.models.folders import load_config
from distiller.record import now
from distiller.tasks.data import sample
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.tokens import scorer

BATCHES = (1, 8, 32)
SCORED = 32
"""Batch size in which the development set is scored."""


def measure_models(
    names: Sequence[str],
    *,
    run: Path | None = None,
    teacher: bool = True,
    threads: int | None = None,
    rows: int = 1000,
    repeats: int = 2,
    lengths: Sequence[int] | None = None,
    on_start: Callable[[str], None] | None = None,
) -> Bench:
    """Measure the student, the teacher and the exports in each run's output folder (or single models and exports).

    Everything runs on the processor with `threads` threads (`None`: torch's default), one model after the other, each
    in its own process. Scores are on at most `rows` development rows. Raises `DistillerError`.
    """
    threads = threads or torch.get_num_threads()
    notes: list[str] = []
    translates = [is_translator(name) for name in names]
    if any(translates) and not all(translates):
        raise ConfigError("translation models are measured apart from others", hint="name them alone")
    found: list[Entrant] = []
    measure: Callable[[Any, Path], Measured]
    if any(translates):
        if run is not None or lengths:
            raise ConfigError("translations are measured on the text of their run", hint="leave --run and --length out")
        for name in names:
            found += translator_entrants(name, notes=notes, teacher=teacher, rows=rows)
        process = partial(_in_a_process, threads=threads)
        measure = partial(measured_translator, process=process, threads=threads, repeats=repeats)
    else:
        for name in names:
            found += entrants(name, run=run, teacher=teacher, rows=rows, notes=notes)
        measure = partial(_measured, threads=threads, repeats=repeats, lengths=lengths)
    measured: list[Measured] = []
    for one, folder in _in_turn(found, on_start):
        try:
            measured.append(measure(one, folder))
        except ModelError as error:
            if not isinstance(one, TranslatorEntrant) or one.engine == "transformers":
                raise
            notes.append(f"left out: {one.name} in {one.engine} {one.compute}: {error.message}")
    about = found[0].source.about
    for one in found:
        notes += one.source.notes
    return Bench(
        created=now(),
        machine=describe_machine() | {"threads": threads},
        **about,
        models=measured,
        notes=list(dict.fromkeys(notes)),
    )


def _in_turn(found: Sequence[Entrant], on_start: Callable[[str], None] | None) -> Iterator[tuple[Any, Path]]:
    """Each entrant, with an empty folder for it. Raises `OutputError` where there are none."""
    if not found:
        raise OutputError("there is nothing to measure", hint="name a run's output folder")
    with tempfile.TemporaryDirectory(prefix="distiller-bench-") as temp:
        for number, one in enumerate(found):
            if on_start is not None:
                on_start(f"{one.name}, {one.engine} ({number + 1} of {len(found)})")
            folder = Path(temp) / str(number)
            folder.mkdir()
            yield one, folder


def _measured(one: Entrant, folder: Path, *, threads: int, repeats: int, lengths: Sequence[int] | None) -> Measured:
    source = reading(one)
    dev = source.tokens("dev")
    if dev is None:
        raise ConfigError(
            f"there are no development texts to measure `{one.name}` on: {'; '.join(source.notes)}",
            hint="name the task with --run run.yaml"
            if source.run is None
            else "put them back, or name where they are in a copy of its run: --run copy.yaml",
        )
    split, encoded = dev
    names = input_names(source)
    singles = [input_arrays(source, encoded, [row]) for row in sample(len(encoded), SINGLES, seed=0)]
    scored = list(batches(source, encoded, range(len(encoded)), sizes=(SCORED,)))
    job = {
        "engine": one.engine,
        "folder": str(one.folder),
        "kind": source.kind,
        "labels": source.labels,
        "inputs": names,
        "threads": threads,
        "repeats": repeats,
        "singles": str(write_arrays(folder / "singles.npz", singles)),
        "throughput": str(write_arrays(folder / "throughput.npz", _filled(source, encoded, names, lengths))),
        "scored": str(write_arrays(folder / "scored.npz", [{n: a[n] for n in names} for _, a in scored])),
        "logits": str(folder / "logits.npz"),
    }
    result = _in_a_process(job, folder, one.name, threads)
    assert source.data is not None
    assert source.run is not None
    parts = [one["logits"] for one in read_arrays(folder / "logits.npz")]
    logits = in_order(len(encoded), [rows for rows, _ in scored], parts)
    scores = scorer(source.data, source.run.task, split, encoded)(logits, encoded.gold)
    return Measured(
        name=one.name,
        role=one.role,
        engine=one.engine,
        folder=str(one.folder),
        megabytes=weights_megabytes(Path(one.folder)),
        score=scores[source.data.metric],
        **result,
    )


def _filled(
    source: Finished, encoded: EncodedSplit, names: list[str], lengths: Sequence[int] | None
) -> list[dict[str, np.ndarray]]:
    """Batches of each size and length without padding: development tokens joined end to end.

    An encoder–decoder gets one token that ends a text in each, at its end: it looks for that.
    """
    wanted = lengths or sorted({min(length, source.max_length) for length in (16, 64, source.max_length)})
    if too_long := [length for length in wanted if length > source.max_length]:
        raise ConfigError(
            f"--length {too_long[0]} is more than the longest input, {source.max_length} tokens",
            hint=f"--length {source.max_length}",
        )
    tokens = encoded.tokens.astype(np.int64)
    shape = load_config(source.folder)
    end = shape.eos_token_id if shape.is_encoder_decoder else None
    tokens = tokens[tokens != end] if end is not None else tokens
    found = []
    for batch in BATCHES:
        for length in wanted:
            ids = np.resize(tokens, (batch, length))
            if end is not None:
                ids[:, -1] = end
            arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            found.append({name: arrays[name] for name in names})
    return found


def _in_a_process(job: dict[str, Any], folder: Path, name: str, threads: int) -> dict[str, Any]:
    """What `measure` returns for a job, in a fresh process that does nothing else."""
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    result = folder / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "distiller.deploy.measure", str(folder / "job.json"), str(result)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode or not result.is_file():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(f"`{name}` could not be measured: {last:.200}", hint="does `use.py` beside it work?")
    return json.loads(result.read_text(encoding="utf-8"))
