"""Finished runs and studies below some folders, and what the page says about each. Imports no torch."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distiller.config import to_yaml
from distiller.errors import DistillerError, OutputError
from distiller.record import FILE, Record, load_record
from distiller.study.config import STUDY_FILE, TRIALS
from distiller.training.output_folder import EXPORTS, SEEDS, STUDENT

DEEPEST = 4
INSIDE = {SEEDS, STUDENT, EXPORTS}
"""Parts of an output folder, in which nothing is looked for."""
SHOWN = 5
"""Configurations of a study that are offered for each task."""


def find_outputs(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Output folders of finished runs and folders of studies, each sorted by name.

    Raises `OutputError` for a folder that does not exist.
    """
    runs: list[Path] = []
    studies: list[Path] = []
    for root in folders:
        if not root.is_dir():
            raise OutputError(f"there is no folder `{root}`", hint="name a folder with runs or studies in it")
        for place, inner, files in os.walk(root):
            folder = Path(place)
            study = STUDY_FILE in files and TRIALS in inner  # without trials it is one that somebody is writing
            if study:
                studies.append(folder)
            elif FILE in files:
                runs.append(folder)
            if study or FILE in files or len(folder.relative_to(root).parts) >= DEEPEST:
                inner.clear()
            inner[:] = sorted(name for name in inner if name not in INSIDE and not name.startswith("."))
    return list(dict.fromkeys(runs)), list(dict.fromkeys(studies))


def run_entry(folder: Path) -> dict[str, Any]:
    """One line in the list of runs; `error` says why a Record cannot be read."""
    try:
        record = load_record(folder)
    except DistillerError as error:
        return {"folder": str(folder), "error": error.message}
    return {
        "folder": str(folder),
        "task": record.data.task,
        "kind": record.data.kind,
        "metric": record.metric,
        "score": record.score,
        "teacher": record.teacher.scores.get(record.metric) if record.teacher else None,
        "parameters": record.student.parameters_with_head,
        "created": record.created,
    }


def run_details(folder: Path) -> dict[str, Any]:
    """A run in full: its models, words and the YAML that repeats it. Raises `DistillerError`."""
    record = load_record(folder)
    return {
        "folder": str(folder),
        "kind": record.data.kind,
        "task": record.data.task,
        "models": [*_models(record)],
        "metric": record.metric,
        "words": [*record.verdict, *record.notes],
        "yaml": to_yaml(record.run, exclude_defaults=True),
        "rows": record.data.examples.get("dev", 0),
    }


def _models(record: Record) -> Iterable[dict[str, Any]]:
    times = record.cost.milliseconds_per_example
    for name, facts in (
        ("teacher", record.teacher),
        ("student, fine-tuned", record.baseline),
        ("student, distilled", record.student),
    ):
        if facts is not None:
            yield {
                "name": name,
                "score": facts.scores.get(record.metric),
                "parameters": facts.parameters_with_head,
                "megabytes": facts.megabytes,
                "milliseconds": times.get("teacher" if facts is record.teacher else "student"),
            }


def study_entry(folder: Path) -> dict[str, Any]:
    """One line in the list of studies."""
    return {"folder": str(folder), "name": folder.name}


def study_details(folder: Path) -> dict[str, Any]:
    """The best configurations of a study by task, each with the YAML that runs it. Raises `DistillerError`."""
    from distiller.analysis.best import configurations
    from distiller.report.content import as_yaml
    from distiller.study.trial_io import load_trials

    trials = load_trials(folder)
    statuses = trials.frame["status"].value_counts().to_dict()
    best: list[dict[str, Any]] = []
    for task, listed in configurations(trials).items() if len(trials.complete) else ():
        for one in listed[:SHOWN]:
            levels = {name: level for name, level in one.levels.items() if level}
            best.append(
                {
                    "task": task,
                    "student": one.student,
                    "levels": levels,
                    "score": one.score,
                    "runs": one.runs,
                    "ratio": one.ratio,
                    "yaml": as_yaml(one),
                }
            )
    return {"folder": str(folder), "trials": {str(name): int(count) for name, count in statuses.items()}, "best": best}
