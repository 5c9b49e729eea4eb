"""The cells of a study: one task, teacher, student and seed each, in which all its points are tried."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from distiller.config import Run, parse_run
from distiller.config.former import former
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError
from distiller.study.config import STUDENT_LABEL, TASK_LABEL, TEACHER_LABEL, Study, base_of, part_label

CONTEXT = ("task", "teacher", "student", "kind")
"""What exclusions may ask of a cell."""

TASK = "{task}"
"""Stands for the label of the task in the model of a teacher or student."""


@dataclass(frozen=True)
class Cell:
    """One task, teacher, student and seed: labels, and the part of the run that they stand for."""

    task: str
    teacher: str
    student: str
    seed: int
    run: Mapping[str, Any]
    kind: str = ""
    """Of the task; only looked up when an exclusion asks for it."""

    @property
    def name(self) -> str:
        """E.g. `rte/bert-base/bert-tiny/0`; also its folder below the study's trials."""
        return "/".join(re.sub(r"[^\w.+-]+", "-", part) for part in (self.task, self.teacher, self.student)) + (
            f"/{self.seed}"
        )

    @property
    def labels(self) -> dict[str, str]:
        """The labels that exclusions may refer to."""
        return {"task": self.task, "teacher": self.teacher, "student": self.student, "kind": self.kind}


def cells_of(study: Study) -> Iterator[Cell]:
    """Every task with every teacher, student and seed. Raises `ConfigError` if the study has none of one kind."""
    base = dict(former(base_of(study)))
    if study.cache is not None:
        base["cache"] = study.cache
    tasks = study.tasks or _of_base(study, base, "task", *TASK_LABEL)
    teachers = study.teachers or _of_base(study, base, "teacher", *TEACHER_LABEL)
    students = study.students or _of_base(study, base, "student", *STUDENT_LABEL)
    asked = any("kind" in rule for rule in study.exclude)
    kinds: dict[str, str] = {}
    for (task, a), (teacher, b), (student, c), seed in itertools.product(
        tasks.items(), teachers.items(), students.items(), study.seeds
    ):
        run = {
            **base,
            "task": {**base.get("task", {}), **a},
            "teacher": _of_task({**base.get("teacher", {}), **b}, task),
            "student": _of_task(c, task),
            "seeds": [seed],
        }
        if asked and task not in kinds:
            kinds[task] = _kind(parse_run(run, where=f"study `{study.name}`, task `{task}`"))
        yield Cell(task, teacher, student, seed, run, kinds.get(task, ""))


def _of_task(part: Mapping[str, Any], task: str) -> dict[str, Any]:
    """A teacher or student whose `model` may be named after the task: `bert-base-uncased-{task}`."""
    model = part.get("model")
    return {**part, "model": model.replace(TASK, task)} if isinstance(model, str) else dict(part)


def _of_base(study: Study, base: Mapping[str, Any], part: str, *keys: str) -> dict[str, dict[str, Any]]:
    given = base.get(part, {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"study `{study.name}`: `{part}` of the base run should be a mapping", hint="see a recipe")
    if part != "student" and not given:
        raise ConfigError(
            f"study `{study.name}` has no {part}", hint=f"name some under `{part}s`, or one in the base run"
        )
    return {part_label(given, *keys): dict(given)}


def _kind(run: Run) -> str:
    """Whether the task of `run` is classification, regression, tagging, question answering or translation."""
    if isinstance(run, TranslationRun):
        return run.task.kind
    from distiller.tasks import TASKS, load_task

    return run.task.kind or TASKS[run.task.name].traits["kind"] or load_task(run.task).kind
