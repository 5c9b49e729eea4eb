"""A whole distillation, and how it is made from what was written."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from distiller.config.base import Config, parse
from distiller.config.former import former, is_former
from distiller.config.models import Student, Teacher, one_teacher
from distiller.config.names import Operator
from distiller.config.objective import Objective
from distiller.config.plain import apply_override, read_yaml
from distiller.config.task import Task
from distiller.config.training import Training
from distiller.errors import ConfigError, warn
from distiller.registry import Count, Number, Seed


def _place(value: str) -> str:
    if found := re.search(r"\$(\w+|\{\w+\})", value):
        raise ValueError(f"`{found[0]}` is not replaced by a variable's value: write it out")
    return value


Folder = Annotated[str, AfterValidator(_place)]


class Stage(Config):
    """One of several consecutive trainings of the same student. All other settings are those of the run."""

    name: Annotated[str, Field(pattern=r"^[\w][\w .+-]{0,63}$")]
    """Name of the stage and of its folder in the output: letters, digits, `_`, `-`, `+`, `.` and spaces."""
    objective: Objective
    training: dict[str, Any] = {}
    """Fields of `training` that differ in this stage; `threads` and `attention` are those of the whole run."""


class Run(Config):
    """The configuration of one distillation: everything that determines its result.

    With `task.kind: translation` the constructor returns a `TranslationRun`. Raises `ConfigError` for an unknown field
    or a value out of its range, with the name of the field.
    """

    recipe: str | None = None
    """The recipe this run was made from; a label only."""
    task: Task
    teacher: Annotated[Teacher | None, BeforeValidator(one_teacher)] = None
    """`null`: no teacher model; the student learns from the probabilities in the data (`task.probabilities`)."""
    student: Student = Student()
    augmentation: list[Operator] = []
    """The augmentation policy: operators in the order in which they are applied."""
    augmentation_refresh: Count = 1
    """Epochs that share the same augmented texts; 1 augments every example anew in every epoch."""
    crossovers: Annotated[int, Field(ge=0, le=100), Number] | None = None
    """Texts for each training text that begin like it and end like another (for taggers with some words exchanged for
    others of the vocabulary), or questions for each context that begin like another and end in words of the context;
    the student learns the teacher's outputs on them. `null`: 4, up to 16 where there are fewer than 3,000 texts, fewer
    where the texts have more than 120,000 words and none from 300,000 on (twice that where questions are answered), or
    where the teacher's outputs would not fit into `cache_gb`; none without a teacher, with `augmentation`, in a recipe,
    or where `training` sets `epochs` or `max_steps`."""
    taught_words: bool | None = None
    """While the student learns, its word vectors are its own plus a linear map of the teacher's, learnt too and added
    in at the end: words that occur in no training text then benefit from what the teacher knows about them. `null`:
    where both have one vocabulary and the student does not start from the teacher's own layers; not for tagging, and
    not with `defaults: paper`, as published recipes are."""
    objective: Objective = Objective()
    stages: list[Stage] = []
    """Train in consecutive stages, each with its own objective, instead of once with `objective`."""
    training: Training = Training()
    baseline: bool | Literal["both"] = True
    """Also fine-tune the same student without a teacher, to measure what distillation adds; the result is cached. A
    student cut from a teacher that is fine-tuned in this run starts from the fine-tuned layers, and so does its
    baseline. `both` adds a second baseline, which starts from the same layers before the teacher was fine-tuned."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    """One training per seed; the Record has mean and standard deviation."""
    output: Folder = "outputs/run"
    """Folder of the result: the student, the resolved run and the Record."""
    cache: Folder | None = None
    """Folder of what runs share: fine-tuned teachers, baselines, teacher outputs. `null`: `$DISTILLER_CACHE` or
    `~/.cache/distiller`."""

    def __new__(cls, /, **data: Any) -> "Run":
        """`Run(task={"kind": "translation", …})` is of that kind."""
        kind: Any = kind_of(data) if cls is Run else cls
        return super().__new__(kind)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, data: Any, handler: Any) -> "Run":
        kind = kind_of(data) if cls is Run else cls
        return handler(data) if kind is cls else kind.model_validate(data)

    @property
    def objectives(self) -> list[Objective]:
        """The objective of each consecutive training."""
        return [stage.objective for stage in self.stages] or [self.objective]

    @model_validator(mode="after")
    def _distinct_seeds(self) -> "Run":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct, got {self.seeds}")
        return self

    @model_validator(mode="after")
    def _distinct_stages(self) -> "Run":
        taken = {"student", "result.json"}  # what else stands in a seed's folder
        for stage in self.stages:
            name = stage.name.casefold().rstrip(". ")  # as file systems that ignore case compare names
            if name in taken:
                raise ValueError(f"each stage needs a name of its own, and `{stage.name}` is taken")
            taken.add(name)
        return self


def _names_files(train: Any) -> bool:
    """Whether these are two sides of a translation, and not rows at hand: columns of lists, splits of a data set."""
    return isinstance(train, Mapping) and any(isinstance(value, str | os.PathLike) for value in train.values())


def kind_of(data: Any) -> type[Run]:
    """The class of the run that is written in `data`: it follows from the kind of its task."""
    if not isinstance(data, Mapping):
        return Run
    from distiller.config.translation import Translation, TranslationRun

    task = data.get("task")
    translates = isinstance(task, Translation) or is_former(data)
    if isinstance(task, Mapping):
        train = task.get("train")
        two_sides = isinstance(train, Config) or _names_files(train)
        translates = task.get("kind") == "translation" or (two_sides and task.get("kind") is None)
    return TranslationRun if translates else Run


def parse_run(data: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "run") -> Run:
    """A `Run` from plain data and `a.b=value` overrides. Raises `ConfigError` that names the field."""
    if is_former(data):
        data = former(data)
        warn(f"{where}: `corpus` is now a `task` of the kind translation, `nll` is gamma1 and `word_kd` beta1")
    merged = dict(data)
    for override in overrides:
        merged = apply_override(merged, override)
    if "corpus" in merged and kind_of(merged) is not Run:
        raise ConfigError(f"{where}: no field is called `corpus`", hint="its fields are now in `task`: task.train")
    return parse(kind_of(merged), merged, where=where)


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read a run from a YAML file. Raises `ConfigError` for a missing file, bad YAML or an unknown field."""
    return parse_run(read_yaml(path), overrides, where=str(path))
