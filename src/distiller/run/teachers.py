"""The teacher of a run, or several as one: loaded, fine-tuned if it has no head for the task, and scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from transformers import PreTrainedModel

from distiller import config
from distiller.cache.folders import FolderCache
from distiller.models.folders import load_config
from distiller.models.heads import class_names
from distiller.models.load import follow_tokenizer, load_model
from distiller.models.signals import SignalReader
from distiller.models.students import build_student
from distiller.run.jobs import job_of, machine
from distiller.run.label_order import warn_of_outputs
from distiller.run.plan import RunPlan
from distiller.run.stages import stages_of, teachers_of
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.training.several_teachers import OtherTeachers
from distiller.training.shared_work import FineTuned, fine_tune, teacher_scores


@dataclass(frozen=True)
class Teaching:
    """One teacher, several as one, or none."""

    model: PreTrainedModel | None = None
    """The first one, where several are averaged: layers are its."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of all teachers together."""
    outcome: np.ndarray | None = None
    """What they say of the development set."""
    tuned: FineTuned | None = None
    """The first one, where it was fine-tuned here; `None` where it came fine-tuned."""
    others: OtherTeachers | None = None
    alone: Mapping[str, float] = field(default_factory=dict)
    """Where there are several: what each scores alone."""


def prepare_teachers(
    plan: RunPlan, store: FolderCache, splits: Mapping[str, EncodedSplit], console: Console | None
) -> Teaching:
    """The teacher; if there are several, all of them, and their joint scores."""
    spec, data = plan.run.teacher, plan.data
    if spec is None:
        return Teaching()
    specs = teachers_of(spec)
    found = [_teacher(plan, one, store, splits, console, first=one is specs[0]) for one in specs]
    if len(found) == 1:
        return found[0]
    models = [one.model for one in found if one.model is not None]
    others = OtherTeachers(models[1:], [one.weight for one in specs], data.kind)
    job = job_of(plan, splits, plan.teacher_tokenizer)
    scores, outcome = teacher_scores(
        store,
        models[0],
        job,
        Collator(plan.teacher_tokenizer),
        precision=machine(plan.run).precision,
        decoding=plan.run.task.answer_limits,
        others=others,
    )
    alone: dict[str, float] = {}
    for one, result in zip(specs, found, strict=True):
        name = one.model if one.model not in alone else f"{one.model} ({len(alone) + 1})"
        alone[name] = result.scores[data.metric]
    return replace(found[0], scores=scores, outcome=outcome, others=others, alone=alone)


def _teacher(
    plan: RunPlan,
    spec: config.Teacher,
    store: FolderCache,
    splits: Mapping[str, EncodedSplit],
    console: Console | None,
    *,
    first: bool,
) -> Teaching:
    """A teacher with a head for the task, fine-tuned here if it has none; its scores and outcome."""
    run, data = plan.run, plan.data
    here = machine(run)
    job = job_of(plan, splits, plan.teacher_tokenizer)
    teacher = load_teacher(plan, spec)
    if first:
        _rehearse(plan, teacher)
    if plan.tunes(spec):
        training = config.Training.model_validate({**run.training.model_dump(), **spec.training.model_dump()})
        tuned = fine_tune(
            store,
            "teachers",
            lambda: teacher,
            job,
            training,
            seed=spec.seed,
            title="fine-tune the teacher" if first else f"fine-tune the teacher {Path(spec.model).name}",
            console=console,
        )
        return Teaching(load_teacher(plan, spec, tuned.folder), tuned.scores, tuned.outcome, tuned)
    collate = Collator(plan.teacher_tokenizer)
    decoding = run.task.answer_limits
    scores, outcome = teacher_scores(store, teacher, job, collate, precision=here.precision, decoding=decoding)
    gold = splits["dev"].gold
    if data.kind != "qa" and gold is not None:
        theirs = class_names(load_config(spec.model, trust_remote_code=spec.trust_remote_code))
        warn_of_outputs(spec.model, outcome, gold, kind=data.kind, labels=data.labels, theirs=theirs)
    return Teaching(teacher, scores, outcome)


def load_teacher(plan: RunPlan, spec: config.Teacher, tuned: Path | None = None) -> PreTrainedModel:
    """A teacher as the run names it, or as it was `tuned` here; a missing head is initialised from its seed."""
    here = machine(plan.run)
    model = load_model(
        tuned or spec.model,
        kind=plan.data.kind,
        labels=plan.labels,
        attention=here.attention if tuned is None and plan.tunes(spec) else here.answering,
        trust_remote_code=spec.trust_remote_code,
        seed=spec.seed,
    )
    return follow_tokenizer(model, plan.teacher_tokenizer)


def _rehearse(plan: RunPlan, teacher: PreTrainedModel) -> None:
    """Build a student and run both models on a few tokens: a failure would otherwise come after minutes of training."""
    student, _ = build_student(
        plan.run.student,
        teacher_model=teacher,
        teacher_tokenizer=plan.teacher_tokenizer,
        kind=plan.data.kind,
        labels=plan.labels,
        seed=0,
        vocabulary=plan.vocabulary,
    )
    for stage in stages_of(plan.run):
        objective = plan.objective(stage)
        for side, model in (("teacher", teacher), ("student", student)):
            SignalReader(model, objective.layers(side), objective.layers(side, "attention_scores")).close()
