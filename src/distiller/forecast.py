"""What a run will cost, before it starts: parameters, FLOPs and memory. Trains nothing and loads no large weights."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PretrainedConfig

from distiller.config import Run, Training
from distiller.models.cost import flops, parameter_count, training_memory
from distiller.run.plan import make_plan, stages_of
from distiller.run.setup import encode_splits, machine
from distiller.run.summary import data_lines
from distiller.run.vocabulary import vocabulary_facts, vocabulary_line
from distiller.training.pace import pace


@dataclass(frozen=True)
class Size:
    """One model in numbers."""

    name: str
    parameters: int
    flops: int
    """Of one forward pass over one text of the longest length."""


@dataclass(frozen=True)
class Forecast:
    """A resolved run and what it takes."""

    run: Run
    data: list[str]
    """What the data are, in words."""
    teacher: Size | None
    student: Size
    steps: int
    memory: int
    """Bytes of weights, optimiser and activations at the longest length."""
    machine: str

    def lines(self) -> Iterable[str]:
        """For people."""
        yield ""
        yield from self.data
        for role, size in (("teacher", self.teacher), ("student", self.student)):
            if size is None:
                continue
            yield f"{role:10}{size.parameters:,} parameters, {size.flops / 1e9:.2f} GFLOPs a text ({size.name})"
        if self.teacher is not None:
            smaller = self.teacher.parameters / self.student.parameters
            fewer = self.teacher.flops / max(1, self.student.flops)
            yield f"{'':10}{smaller:.1f} times smaller, {fewer:.1f} times less computation"
        seeds = f" for each of {len(self.run.seeds)} seeds" if len(self.run.seeds) > 1 else ""
        yield f"training  {self.steps:,} steps{seeds}, {self.machine}"
        yield f"memory    about {self.memory / 1e9:.2f} GB at {self.run.task.max_length} tokens"


def forecast(run: Run) -> Forecast:
    """Resolve `run` against its data and models and size it. Raises `DistillerError` for what would stop it."""
    plan = make_plan(run)
    run, data, teacher, student = plan.run, plan.data, plan.teacher, plan.student
    length = run.task.max_length or data.default_max_length
    stages = stages_of(run)
    here = machine(run)
    tokens = encode_splits(plan)
    told = data_lines(data, tokens[0], length)
    vocabulary = vocabulary_facts(plan, *tokens)
    if vocabulary is not None:
        told.append(f"{'':10}{vocabulary_line(vocabulary)}")
    return Forecast(
        run=run,
        data=told,
        teacher=None if run.teacher is None or teacher is None else _size(run.teacher.model, teacher, length),
        student=_size("student", student, length),
        steps=sum(_steps(stage.training, data.labelled + data.unlabelled) for stage in stages),
        memory=training_memory(
            student,
            length=length,
            batch=max(stage.training.batch_size for stage in stages) * (2 if run.augmentation else 1),
            teacher=teacher,
            half=here.precision != "fp32",
        ),
        machine=str(here),
    )


def _size(name: str, shape: PretrainedConfig, length: int) -> Size:
    return Size(name, parameter_count(shape), flops(shape, length=length))


def _steps(training: Training, examples: int) -> int:
    per_epoch = math.ceil(math.ceil(examples / training.batch_size) / training.accumulate)
    return pace(training, steps_per_epoch=per_epoch, dev_examples=1).ceiling
