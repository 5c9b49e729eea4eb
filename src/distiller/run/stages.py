"""The consecutive trainings of a run, and each of its teachers."""

from dataclasses import dataclass

from distiller import config
from distiller.config import Run

OF_ALL_STAGES = ("threads", "attention")
"""Fields of `training` that a process or a model has once."""


@dataclass(frozen=True)
class Stage:
    """One training of a run with every field filled in."""

    name: str
    objective: config.Objective
    training: config.Training


def stages_of(run: Run) -> list[Stage]:
    """The consecutive trainings of a run: its stages, or the one training that it is."""
    if not run.stages:
        return [Stage("distil", run.objective, run.training)]
    fields = run.training.model_dump()
    return [
        Stage(
            stage.name,
            stage.objective,
            config.parse(config.Training, {**fields, **stage.training}, where=f"stage `{stage.name}`, training"),
        )
        for stage in run.stages
    ]


def teachers_of(spec: config.Teacher) -> list[config.Teacher]:
    """Every teacher of a run: the first, and each of the others as if it were the only one."""
    found = [spec.model_copy(update={"others": []})]
    for one in spec.others:
        training = spec.training.model_copy(update={"learning_rate": one.learning_rate})
        found.append(config.Teacher(**one.model_dump(exclude={"learning_rate"}), training=training))
    return found


def finetune_hint(run: Run, spec: config.Teacher, value: str) -> str:
    """How to set `finetune` of a teacher: a field of the run, or of one entry among several."""
    if run.teacher is not None and run.teacher.others:
        return f"`finetune: {value}` in the entry of `{spec.model}`"
    return f"teacher.finetune={value}"
