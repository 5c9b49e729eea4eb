"""What a run of an encoder will cost: parameters, FLOPs, steps, memory, disk and, on request, time."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from distiller.cache.folders import FolderCache, cache_root
from distiller.config import Optimisation, Run, Teacher, Training
from distiller.device import Compute
from distiller.forecast.cost import Cost, Phase, output_bytes, present_process, timed_passes
from distiller.models.cost import activation_bytes, flops, parameter_count, times_smaller, training_memory
from distiller.models.folders import load_config
from distiller.models.heads import HEADS, supported_attention, with_labels
from distiller.run.jobs import machine
from distiller.run.plan import RunPlan
from distiller.run.room import check_room
from distiller.run.setup import encode_splits
from distiller.run.stages import Stage, stages_of, teachers_of
from distiller.run.summary import data_lines
from distiller.run.vocabulary import vocabulary_facts, vocabulary_line
from distiller.tasks.data import TRANSFER
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.tokens import Tokens
from distiller.training.pace import Pace, pace

TIMED = 4
"""Steps that are timed for each model, after one that is not."""


@dataclass(frozen=True)
class Size:
    """The size of one model."""

    name: str
    parameters: int
    flops: int
    """Of one forward pass over one text of the longest length."""


@dataclass(frozen=True, kw_only=True)
class Forecast(Cost):
    """What a run of an encoder takes."""

    data: list[str]
    """What the data are, in words."""
    teacher: Size | None
    student: Size

    def lines(self) -> Iterable[str]:
        """For people."""
        yield ""
        yield from self.data
        for role, size in (("teacher", self.teacher), ("student", self.student)):
            if size is None:
                continue
            yield f"{role:10}{size.parameters:,} parameters, {size.flops / 1e9:.2f} GFLOPs a text ({size.name})"
        if self.teacher is not None:
            smaller = times_smaller(self.teacher.parameters, self.student.parameters)
            fewer = self.teacher.flops / max(1, self.student.flops)
            yield f"{'':10}{smaller}, {fewer:.1f} times less computation"
        yield from self.cost_lines()


def of_encoder(plan: RunPlan, *, timed: bool) -> Forecast:
    """Size a resolved run. Raises `DistillerError` for data that would stop it."""
    run, data, teacher, student = plan.run, plan.data, plan.teacher, plan.student
    length = plan.max_length
    store = FolderCache(cache_root(run.cache))
    tokens, teacher_tokens = encode_splits(plan, store)
    check_room(plan, tokens)
    told = data_lines(data, tokens, length)
    vocabulary = vocabulary_facts(plan, tokens, teacher_tokens)
    if vocabulary is not None:
        told.append(f"{'':10}{vocabulary_line(vocabulary)}")
    process = present_process()
    clock = _Clock(plan, tokens, teacher_tokens) if timed else None
    kept = _outputs_bytes(plan, teacher_tokens)
    cached = kept is not None
    phases = _phases(plan, tokens, clock, cached=cached)
    weights, seeds = parameter_count(student), len(run.seeds)
    tuned = [parameter_count(shape) for _, shape in _tuned(plan)]
    baselines = weights * seeds * _baselines(run)
    return Forecast(
        run=run,
        data=told,
        teacher=None if run.teacher is None or teacher is None else _size(run.teacher.model, teacher, length),
        student=_size("student", student, length),
        phases=phases,
        once=clock.once() if clock is not None and cached else 0.0,
        process=process,
        cache=4 * (sum(tuned) + baselines) + (kept or 0),
        output=output_bytes(weights, max([weights, *tuned]), seeds),
        machine=str(machine(run)),
    )


def _phases(plan: RunPlan, tokens: Tokens, clock: "_Clock | None", *, cached: bool) -> list[Phase]:
    run, dev = plan.run, len(tokens["dev"])
    half = machine(run).precision != "fp32"
    labelled, all_rows = len(tokens["train"]), sum(len(tokens[name]) for name in TRANSFER if name in tokens)
    longest = max(max(tokens[name].lengths) for name in tokens)
    phases: list[Phase] = []

    def add(
        name: str, model: PretrainedConfig, training: Optimisation, examples: int, times: int, **beside: Any
    ) -> None:
        steps = _pace(training, examples, dev, plan.patient if name.startswith("student") else 0)
        batch = training.batch_size * (2 if beside.get("views") else 1)
        size = training_memory(model, length=longest, batch=batch, half=half) + 4 * parameter_count(model)  # the best
        teacher = beside.get("teacher")
        if teacher is not None:
            size += 4 * sum(parameter_count(one) for _, one in _teachers(plan))
            if not cached:
                layers = max(1, teacher.num_hidden_layers)
                size += activation_bytes(teacher, length=longest, batch=batch, half=half) // layers
        seconds = None if clock is None else clock.step(name, model, training, steps, dev, taught=not cached, **beside)
        phases.append(Phase(name, steps.floor, steps.ceiling, times, size, seconds))

    for number, (spec, shape) in enumerate(_tuned(plan)):
        merged = Training.model_validate({**run.training.model_dump(), **spec.training.model_dump()})
        add("teacher" if number == 0 else f"teacher {number + 1}", shape, merged, labelled, 1)
    seeds = len(run.seeds)
    if run.baseline:
        add("baseline", plan.student, run.training, labelled, seeds * _baselines(run))
    for stage in stages_of(run):
        name = "student" if not run.stages else f"student, {stage.name}"
        add(name, plan.student, stage.training, all_rows, seeds, teacher=plan.teacher, views=bool(run.augmentation))
    return phases


class _Clock:
    """Times a few steps of models with random weights, on real texts of medium length."""

    def __init__(self, plan: RunPlan, tokens: Tokens, teacher_tokens: Tokens) -> None:
        self.plan, self.here = plan, machine(plan.run)
        self.tokens, self.teacher_tokens = tokens, teacher_tokens
        self.reading: float | None = None
        """Seconds in which all teachers read one training text."""

    def step(
        self,
        name: str,
        shape: PretrainedConfig,
        training: Optimisation,
        steps: Pace,
        dev: int,
        *,
        taught: bool,
        teacher: PretrainedConfig | None = None,
        views: bool = False,
    ) -> float:
        """Seconds of one optimisation step, with its share of development scores and the teachers' forward passes."""
        own = name.startswith("teacher")
        tokens = self.teacher_tokens if own else self.tokens
        tokenizer = self.plan.teacher_tokenizer if own else self.plan.student_tokenizer
        batches = _batches(tokens["train"], Collator(tokenizer), training.batch_size)
        learning, reading = self._times(shape, batches)
        seconds = learning * (2 if views else 1)
        if teacher is not None:
            known = _batches(self.teacher_tokens["train"], Collator(self.plan.teacher_tokenizer), training.batch_size)
            forward = 0.0
            for _, shape in _teachers(self.plan):
                forward += self._times(shape, known, learn=False)[1]
            self.reading = forward / training.batch_size
            if taught or views:
                seconds += forward * (2 if taught and views else 1)
        looks = dev / training.batch_size * reading / max(1, steps.every)
        return training.accumulate * seconds + looks

    def once(self) -> float:
        """Seconds in which all teachers read every training text once."""
        rows = sum(len(self.teacher_tokens[name]) for name in TRANSFER if name in self.teacher_tokens)
        return rows * (self.reading or 0.0)

    def _times(
        self, shape: PretrainedConfig, batches: list[Mapping[str, Tensor]], *, learn: bool = True
    ) -> tuple[float, float]:
        model = _filled(shape, self.plan.data.kind, self.here)
        return timed_passes(model, batches, self.here, learn=learn)


def _filled(shape: PretrainedConfig, kind: str, here: Compute) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        attention = supported_attention(shape, kind, here.attention)
        return HEADS[kind].from_config(shape, dtype=torch.float32, attn_implementation=attention)


def _batches(encoded: EncodedSplit, collate: Collator, size: int) -> list[Mapping[str, Tensor]]:
    """Batches of texts of similar length, from several parts of the length distribution."""
    order = sorted(range(len(encoded)), key=lambda row: encoded.lengths[row])
    found = []
    for number in range(TIMED):
        middle = round((number + 0.5) / TIMED * len(order))
        start = min(max(0, middle - size // 2), max(0, len(order) - size))
        rows = (order[start : start + size] * size)[:size]
        batch = collate([encoded[row] for row in rows])
        found.append({name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch})
    return found


def _outputs_bytes(plan: RunPlan, teacher_tokens: Tokens) -> int | None:
    """Bytes of the teacher's outputs on the training texts; `None` if they are not kept."""
    shape, run = plan.teacher, plan.run
    if shape is None:
        return None
    largest = 0
    for stage in stages_of(run):
        found = _stage_bytes(plan, stage, shape, teacher_tokens)
        if found is None:
            return None
        largest = max(largest, found)
    return largest


def _stage_bytes(plan: RunPlan, stage: Stage, shape: Any, teacher_tokens: Tokens) -> int | None:
    objective, wish = plan.objective(stage), stage.training.cache_teacher
    once = wish != "always" and (stage.training.epochs or 2) * len(plan.run.seeds) <= 1
    if wish == "never" or once or not objective.needs_teacher or objective.layers("teacher", "attention_scores"):
        return None
    splits = [teacher_tokens[name] for name in TRANSFER if name in teacher_tokens]
    tokens, rows = sum(sum(split.lengths) for split in splits), sum(map(len, splits))
    size = 4 * (tokens * shape.hidden_size * len(objective.layers("teacher")) + rows * shape.num_labels)
    return size if wish == "always" or size <= stage.training.cache_gb * 1e9 else None


def _tuned(plan: RunPlan) -> list[tuple[Teacher, PretrainedConfig]]:
    """The teachers that are fine-tuned before they teach, and their shapes."""
    return [(spec, shape) for spec, shape in _teachers(plan) if plan.tunes(spec)]


def _teachers(plan: RunPlan) -> list[tuple[Teacher, PretrainedConfig]]:
    """Every teacher, and its shape."""
    found: list[tuple[Teacher, PretrainedConfig]] = []
    if plan.teacher is None or plan.run.teacher is None:
        return found
    for number, spec in enumerate(teachers_of(plan.run.teacher)):
        shape = plan.teacher
        if number > 0:
            there = load_config(spec.model, trust_remote_code=spec.trust_remote_code)
            shape = with_labels(there, kind=plan.data.kind, labels=plan.labels)
        found.append((spec, shape))
    return found


def _baselines(run: Run) -> int:
    return 2 if run.baseline == "both" else int(run.baseline)


def _size(name: str, shape: PretrainedConfig, length: int) -> Size:
    return Size(name, parameter_count(shape), flops(shape, length=length))


def _pace(training: Optimisation, examples: int, dev: int, patient: int) -> Pace:
    per_epoch = max(1, math.ceil(math.ceil(examples / training.batch_size) / training.accumulate))
    return pace(training, steps_per_epoch=per_epoch, dev_examples=dev, patient=patient)
