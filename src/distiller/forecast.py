"""What a run will cost, before it starts: parameters, FLOPs, steps, memory, disk and, on request, time.

Trains nothing and loads no large weights: models have no storage or, to be timed, random weights.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from distiller import memory
from distiller.cache.folders import FolderCache, cache_root
from distiller.config import Optimisation, Run, Teacher, Training
from distiller.device import Compute, accelerator, seconds_of
from distiller.errors import ConfigError
from distiller.models.cost import activation_bytes, flops, parameter_count, times_smaller, training_memory
from distiller.models.folders import load_config
from distiller.models.heads import HEADS, supported_attention, with_labels
from distiller.run import check
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
from distiller.translation.outline import Outline

TIMED = 4
"""Steps that are timed for each model, after one that is not."""
ROOM = 250_000_000
"""Bytes that a training on a processor takes beside what is counted: buffers of its kernels, and what the allocator
does not give back. As measured on two runs, of 4 and of 23 million parameters: 0.20 and 0.30 GB."""
CHECKPOINT, KEPT = 12, 2
"""Bytes of a checkpoint for each weight (itself and two moments), and how many checkpoints there are at a time."""


@dataclass(frozen=True)
class Size:
    """The size of one model."""

    name: str
    parameters: int
    flops: int
    """Of one forward pass over one text of the longest length."""


@dataclass(frozen=True)
class Phase:
    """One training of a run, or one that is repeated for each seed."""

    name: str
    fewest: int
    """Optimisation steps, at least …"""
    most: int
    """… and at most."""
    times: int
    """How often: once for each seed."""
    memory: int
    """Bytes of weights, gradients, optimiser and activations at the longest batch, and of a teacher beside it."""
    seconds: float | None = None
    """Of one step and its share of the development scores, as timed."""

    def line(self) -> str:
        """For people."""
        steps = f"{self.most:,}" if self.fewest == self.most else f"{self.fewest:,} to {self.most:,}"
        seeds = f", {self.times} times" if self.times > 1 else ""
        timed = f", {1000 * self.seconds:,.0f} ms each" if self.seconds is not None else ""
        return f"{self.name}: {steps} steps{timed}{seeds}"


@dataclass(frozen=True)
class Forecast:
    """A resolved run and what it takes."""

    run: Run
    data: list[str]
    """What the data are, in words."""
    teacher: Size | None
    student: Size
    phases: list[Phase]
    """The trainings, in their order. A teacher or baseline that an earlier run left in the cache is not trained."""
    once: float
    """Seconds for the teacher to read the training texts once, where it was timed and its outputs are kept; else 0."""
    process: int
    """Bytes of this process beside its models, with its libraries and data; 0 where an accelerator has the models."""
    cache: int
    """Bytes of the cache on disk: fine-tuned models, and outputs of the teacher."""
    output: int
    """Bytes of the output folder, and of checkpoints while it trains."""
    machine: str

    @property
    def steps(self) -> int:
        """The largest number of optimisation steps of the student, for one seed."""
        return sum(phase.most for phase in self.phases if phase.name.startswith("student"))

    @property
    def memory(self) -> int:
        """The largest number of bytes, of the process or of the accelerator."""
        return self.process + max(phase.memory for phase in self.phases)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The shortest and the longest time; `None` if no step was timed."""
        fewest = most = self.once
        for phase in self.phases:
            if phase.seconds is None:
                return None
            fewest += phase.times * phase.fewest * phase.seconds
            most += phase.times * phase.most * phase.seconds
        return fewest, most

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
        yield f"training  {self.machine}"
        for phase in self.phases:
            yield f"{'':10}{phase.line()}"
        yield f"memory    about {self.memory / 1e9:.2f} GB at most"
        yield f"disk      about {_gigabytes(self.cache)} in the cache, {_gigabytes(self.output)} in {self.run.output}"
        if self.seconds is None:
            yield "time      --time times a few steps"
        else:
            yield f"time      {_span(*self.seconds)}, on this machine as busy as it is now"


def forecast(run: Run, *, timed: bool = False) -> Forecast | Outline:
    """Resolve `run` against its data and models and size it. Raises `DistillerError` for what would stop it.

    `timed`: also build each model with random weights and time a few of its steps.
    """
    plan = check(run)
    if isinstance(plan, Outline):
        if timed:
            raise ConfigError("the steps of a translation are not timed ahead", hint="leave --time out")
        return plan
    run, data, teacher, student = plan.run, plan.data, plan.teacher, plan.student
    length = plan.max_length
    store = FolderCache(cache_root(run.cache))
    tokens, teacher_tokens = encode_splits(plan, store)
    check_room(plan, tokens)
    told = data_lines(data, tokens, length)
    vocabulary = vocabulary_facts(plan, tokens, teacher_tokens)
    if vocabulary is not None:
        told.append(f"{'':10}{vocabulary_line(vocabulary)}")
    process = round(memory.present()) + ROOM if accelerator() == "cpu" else 0
    clock = _Clock(plan, tokens, teacher_tokens) if timed else None
    kept = _outputs_bytes(plan, teacher_tokens)
    cached = kept is not None
    phases = _phases(plan, tokens, clock, cached=cached)
    weights = 4 * parameter_count(student)
    tuned = [4 * parameter_count(shape) for _, shape in _tuned(plan)]
    baselines = weights * len(run.seeds) * _baselines(run)
    largest = max([weights, *tuned]) // 4
    return Forecast(
        run=run,
        data=told,
        teacher=None if run.teacher is None or teacher is None else _size(run.teacher.model, teacher, length),
        student=_size("student", student, length),
        phases=phases,
        once=clock.once() if clock is not None and cached else 0.0,
        process=process,
        cache=sum(tuned) + baselines + (kept or 0),
        output=weights * (len(run.seeds) + 1) + KEPT * CHECKPOINT * largest,
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
        """Seconds of an optimisation step (0 unless `learn`) and of a forward pass, medians over batches."""
        model, here = _filled(shape, self.plan.data.kind, self.here), self.here
        device = accelerator()
        model = nn.Module.to(model, device)
        moved = [{name: value.to(device) for name, value in batch.items()} for batch in batches]
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True) if learn else None

        def run(batch: Mapping[str, Tensor], train: bool) -> None:
            half = torch.bfloat16 if here.precision == "bf16" else torch.float16
            with torch.autocast(device, dtype=half, enabled=here.precision != "fp32"), torch.set_grad_enabled(train):
                outputs = model(**batch)
                loss = sum(one.float().square().mean() for one in outputs.values() if isinstance(one, Tensor))
            if train and optimizer is not None and isinstance(loss, Tensor):
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

        def median(train: bool) -> float:
            run(moved[0], train)
            return statistics.median(seconds_of(partial(run, batch, train), device) for batch in moved)

        learning = 0.0
        if learn:
            model.train()
            learning = median(True)
        model.eval()
        return learning, median(False)


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


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{math.ceil(size / 1e6):,} MB"


def _span(fewest: float, most: float) -> str:
    if most < 90:
        return f"about {fewest:.0f} to {most:.0f} s"
    if most < 5400:
        return f"about {fewest / 60:.0f} to {most / 60:.0f} min"
    return f"about {fewest / 3600:.1f} to {most / 3600:.1f} hours"
