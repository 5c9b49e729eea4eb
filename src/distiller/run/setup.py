"""What all seeds of a run share: data in tokens, the fine-tuned teacher, and how this machine computes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel

from distiller import config, processes
from distiller.augment import Policy, build_policy
from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import TeacherCache
from distiller.config import Run
from distiller.device import Compute, accelerator, compute
from distiller.models.eight_bits import EightBits
from distiller.models.folders import load_config
from distiller.models.heads import class_names
from distiller.models.load import follow_tokenizer, load_model
from distiller.models.signals import SignalReader
from distiller.models.students import build_student
from distiller.models.taught_words import teach_words, vectors_of_tokens
from distiller.record import VocabularyFacts
from distiller.run.kept_tokens import kept_split
from distiller.run.label_order import warn_of_outputs
from distiller.run.plan import RunPlan
from distiller.run.stages import Stage, stages_of, teachers_of
from distiller.run.vocabulary import vocabulary_facts, vocabulary_line
from distiller.tasks.data import CROSSED, TRANSFER, AnySplit, TaggedSplit, TaskData, joined
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.joined import JoinedSplit
from distiller.tasks.outcomes import outcomes
from distiller.tasks.tokens import Tokens, encode_split, scorer
from distiller.training.augmented import AugmentedSplit
from distiller.training.batching import PairedSplit, ViewCollator, rows_read
from distiller.training.checkpoints import save_model
from distiller.training.evaluate import predict_logits
from distiller.training.fit import Job
from distiller.training.several_teachers import OtherTeachers
from distiller.training.shared_work import (
    FineTuned,
    TeacherOutputs,
    augmented_outputs,
    fine_tune,
    teacher_outputs,
    teacher_scores,
)
from distiller.training.teacher import FrozenTeacher

COMPILED_MULTIPLE = 32
"""Tokens to whose multiples batches are padded for compiled models: a graph for each length."""


@dataclass(frozen=True)
class Setup:
    """What all seeds of a run share: data in tokens, the fine-tuned teacher, and how this machine computes."""

    plan: RunPlan
    store: FolderCache
    teacher: PreTrainedModel | None
    """The first one, where several are averaged: layers are its."""
    other_teachers: OtherTeachers | None
    teacher_scores: dict[str, float]
    """Of all teachers together."""
    teacher_outcome: np.ndarray | None
    """What the teacher says of the development set."""
    tuned_teacher: FineTuned | None
    """The first one, where it was fine-tuned here; `None` where it came fine-tuned."""
    splits: Mapping[str, EncodedSplit]
    """In the student's tokens."""
    alone: Mapping[str, float]
    """Where there are several teachers: what each scores alone."""
    teacher_splits: Mapping[str, EncodedSplit]
    """In the teacher's tokens; the same objects where both share a vocabulary."""
    vocabulary: VocabularyFacts | None
    """What was cut from the student's vocabulary, if anything."""
    policy: Policy
    """What augments the training examples, perhaps nothing."""
    console: Console | None

    @property
    def run(self) -> Run:
        """The run with every default filled in."""
        return self.plan.run

    @property
    def data(self) -> TaskData:
        """The task's rows."""
        return self.plan.data

    @property
    def metric(self) -> str:
        """The score that decides."""
        return self.data.metric

    @property
    def machine(self) -> Compute:
        """How this machine computes."""
        return machine(self.run)

    @property
    def paired(self) -> bool:
        """Whether teacher and student read different tokens."""
        return self.splits is not self.teacher_splits

    @property
    def transfer(self) -> Any:
        """The rows that the student learns from, labelled or not, in its tokens."""
        return _transfer(self.data, self.splits)

    @property
    def teacher_transfer(self) -> Any:
        """The same rows in the teacher's tokens."""
        return _transfer(self.data, self.teacher_splits)

    def new_student(self, seed: int) -> PreTrainedModel:
        """A fresh student; what is not copied is drawn from `seed`."""
        return self._student(self.teacher, seed)

    def teach_words(self, student: PreTrainedModel) -> None:
        """Let the student's word vectors learn from the teacher's in the training that follows, where that is asked."""
        if self.run.taught_words and self.teacher is not None:
            own = self.plan.student_tokenizer
            vectors = vectors_of_tokens(self.teacher, own, self.plan.teacher_tokenizer)
            teach_words(student, vectors, special=own.all_special_ids)

    def eight_bits(self, student: PreTrainedModel) -> EightBits:
        """As ONNX Runtime computes in 8 bits; OpenVINO's rounding is finer."""
        return EightBits(student, weight_bits=7)

    def untaught_student(self, seed: int) -> PreTrainedModel:
        """A student cut from the teacher, as it was before it was fine-tuned."""
        spec = self.run.teacher
        return self._student(None if spec is None else _load_teacher(self.plan, spec), seed)

    def _student(self, teacher: PreTrainedModel | None, seed: int) -> PreTrainedModel:
        return build_student(
            self.run.student,
            teacher_model=teacher,
            teacher_tokenizer=self.plan.teacher_tokenizer,
            kind=self.data.kind,
            labels=self.plan.labels,
            seed=seed,
            attention=machine(self.run).attention,
            vocabulary=self.plan.vocabulary,
        )[0]

    @cached_property
    def label_job(self) -> Job:
        """What a training of the student on the gold labels alone reads."""
        return _job(self.plan, self.splits, self.plan.student_tokenizer)

    def job(self, seed: int) -> Job:
        """What a distillation of the student reads; `seed` decides the augmentation."""
        train: Any = self.transfer
        if self.paired:
            train = PairedSplit(train, self.teacher_transfer, self.plan.summaries)
        if self.run.augmentation:
            source = reduce(joined, self.data.transfer)
            labels = self.data.label_names or []
            train = AugmentedSplit(
                train,
                source,
                self.policy,
                self._encoders(),
                labels=labels,
                seed=seed,
                summaries=self.plan.summaries,
            )
        multiple = COMPILED_MULTIPLE if self.run.training.compile else Collator.pad_to_multiple_of
        teacher = Collator(self.plan.teacher_tokenizer, multiple)
        student = Collator(self.plan.student_tokenizer, multiple)
        collate = ViewCollator(student, teacher if self.paired else None, mixup=self.policy.mixup, seed=seed)
        return replace(
            self.label_job, train=train, collate=collate, soft_labels=self.data.soft > 0, patient=self.plan.patient
        )

    def baseline(self, seed: int, *, untaught: bool = False) -> FineTuned:
        """The same student fine-tuned on the gold labels alone; `untaught` from the teacher's pretrained layers."""
        start = self.untaught_student if untaught else self.new_student
        which = " from pretrained layers" if untaught else ""
        return fine_tune(
            self.store,
            "baselines",
            partial(start, seed),
            self.label_job,
            self.run.training,
            seed=seed,
            title=f"fine-tune the student without a teacher{which}, seed {seed}",
            console=self.console,
        )

    def outputs(self, stage: Stage) -> TeacherOutputs:
        """What the teacher says of the training set, and what of augmented texts, where either is kept.

        By default each is there only if this run compares with them more than once.
        """
        objective = self.plan.objective(stage)
        training = stage.training
        always = training.cache_teacher == "always"
        batch_size = training.batch_size * training.accumulate * processes.count()
        lengths = self.transfer.lengths
        rows = rows_read(lengths, batch_size=batch_size, steps=training.max_steps, seeds=self.run.seeds)
        epochs = training.epochs or 2
        if training.max_steps:
            epochs = training.max_steps * batch_size / (len(lengths) if rows is None else len(rows))
        repeated = always or epochs * len(self.run.seeds) > 1
        augmented = any(objective.weights["augmented"]) or bool(objective.terms)
        keep = augmented and self.policy.rewrites and (always or self.policy.repeats)
        if self.teacher is None or not objective.needs_teacher or not repeated:
            return TeacherOutputs()
        teacher = FrozenTeacher(
            self.teacher,
            objective.layers("teacher"),
            objective.layers("teacher", "attention_scores"),
            device=torch.device(accelerator()),
            precision=machine(self.run).precision,
            others=self.other_teachers,
        )
        collate = Collator(self.plan.teacher_tokenizer)
        try:
            folder, why = teacher_outputs(self.store, teacher, self.teacher_transfer, collate, training, rows)
            return TeacherOutputs(
                cache=TeacherCache(folder, objective.layers("teacher")) if folder else None,
                augmented=augmented_outputs(self.store, teacher, training) if keep else None,
                note=why,
            )
        finally:
            teacher.close()

    def save(self, student: PreTrainedModel, folder: Path) -> None:
        """Write a plain model folder with the sums of its files."""
        save_model(student, self.plan.student_tokenizer, folder)

    def examine(self, student: PreTrainedModel, scores: Mapping[str, float]) -> tuple[dict[str, float], np.ndarray]:
        """Its scores on further development splits too (MNLI has mismatched genres), and what it says of each row."""
        precision = machine(self.run).precision
        found = dict(scores)
        for name, split in self.splits.items():
            if name not in (*TRANSFER, "dev"):
                logits = predict_logits(student, split, Collator(self.plan.student_tokenizer), precision=precision)
                score = scorer(self.data, self.run.task, self.data.splits[name], split)
                suffix = name.removeprefix("dev_").replace("mismatched", "mm")
                found |= {f"{metric}_{suffix}": value for metric, value in score(logits.numpy(), split.gold).items()}
        logits = predict_logits(student, self.splits["dev"], self.label_job.collate, precision=precision)
        return found, self.label_job.outcome(logits.numpy())

    def _encoders(self) -> dict[str, Callable[[AnySplit], EncodedSplit]]:
        """How augmented rows become tokens, for the student and for a teacher that reads others."""
        tokenizers = {"student": self.plan.student_tokenizer}
        if self.paired:
            tokenizers["teacher"] = self.plan.teacher_tokenizer
        # what grew beyond the limit is cut, whatever the task says of its own rows
        task = self.run.task.model_copy(update={"truncate": True})
        encode = partial(
            encode_split,
            task=task,
            max_length=self.plan.max_length,
            unanswered=True,
            characters=self.plan.by_characters,
        )
        return {role: partial(encode, tokenizer=tokenizer) for role, tokenizer in tokenizers.items()}


def encode_splits(plan: RunPlan, store: FolderCache | None = None) -> tuple[Tokens, Tokens]:
    """The data in the student's and in the teacher's tokens; one object where both share a vocabulary.

    With `store` those of many texts are kept there.
    """
    teacher = _encode_all(plan, plan.teacher_tokenizer, store)
    return teacher if plan.shared_tokens else _encode_all(plan, plan.student_tokenizer, store), teacher


def prepare(plan: RunPlan, tokens: tuple[Tokens, Tokens], store: FolderCache, console: Console | None = None) -> Setup:
    """Load the teacher, and fine-tune it if need be."""
    run = plan.run
    policy = build_policy(run.augmentation, refresh=run.augmentation_refresh, cache=store.root / "augmentation.sqlite")
    policy.prepare()  # what is missing is said before the teacher is trained
    splits, teacher_splits = tokens
    vocabulary = vocabulary_facts(plan, splits, teacher_splits)
    if console is not None and vocabulary is not None:
        console.print(f"{'':10}{vocabulary_line(vocabulary)}", markup=False, soft_wrap=True)
    found = _teachers(plan, store, teacher_splits, console)
    return Setup(
        plan=plan,
        store=store,
        teacher=found.model,
        other_teachers=found.others,
        teacher_scores=found.scores,
        teacher_outcome=found.outcome,
        tuned_teacher=found.tuned,
        alone=found.alone,
        splits=splits,
        teacher_splits=teacher_splits,
        vocabulary=vocabulary,
        policy=policy,
        console=console,
    )


@dataclass(frozen=True)
class _Teaching:
    """A teacher, or several as one."""

    model: PreTrainedModel | None = None
    scores: dict[str, float] = field(default_factory=dict)
    outcome: np.ndarray | None = None
    tuned: FineTuned | None = None
    others: OtherTeachers | None = None
    alone: Mapping[str, float] = field(default_factory=dict)


def _teachers(
    plan: RunPlan, store: FolderCache, splits: Mapping[str, EncodedSplit], console: Console | None
) -> _Teaching:
    """The teacher; where there are several, all of them, and what they score together."""
    spec, data = plan.run.teacher, plan.data
    if spec is None:
        return _Teaching()
    specs = teachers_of(spec)
    found = [_teacher(plan, one, store, splits, console, first=one is specs[0]) for one in specs]
    if len(found) == 1:
        return found[0]
    models = [one.model for one in found if one.model is not None]
    others = OtherTeachers(models[1:], [one.weight for one in specs], data.kind)
    job = _job(plan, splits, plan.teacher_tokenizer)
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
) -> _Teaching:
    """A teacher with a head for the task, fine-tuned here if it has none; its scores and outcome."""
    run, data = plan.run, plan.data
    here = machine(run)
    job = _job(plan, splits, plan.teacher_tokenizer)
    teacher = _load_teacher(plan, spec)
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
        return _Teaching(_load_teacher(plan, spec, tuned.folder), tuned.scores, tuned.outcome, tuned)
    collate = Collator(plan.teacher_tokenizer)
    decoding = run.task.answer_limits
    scores, outcome = teacher_scores(store, teacher, job, collate, precision=here.precision, decoding=decoding)
    gold = splits["dev"].gold
    if data.kind != "qa" and gold is not None:
        theirs = class_names(load_config(spec.model, trust_remote_code=spec.trust_remote_code))
        warn_of_outputs(spec.model, outcome, gold, kind=data.kind, labels=data.labels, theirs=theirs)
    return _Teaching(teacher, scores, outcome)


def _load_teacher(plan: RunPlan, spec: config.Teacher, tuned: Path | None = None) -> PreTrainedModel:
    """A teacher as the run names it, or as it was `tuned` here; a head that it lacks is drawn from its seed."""
    model = load_model(
        tuned or spec.model,
        kind=plan.data.kind,
        labels=plan.labels,
        attention=machine(plan.run).attention,
        trust_remote_code=spec.trust_remote_code,
        seed=spec.seed,
    )
    return follow_tokenizer(model, plan.teacher_tokenizer)


def _rehearse(plan: RunPlan, teacher: PreTrainedModel) -> None:
    """Make a student and read both models on a few tokens: what fails there would fail after minutes of training."""
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


def machine(run: Run) -> Compute:
    """Device, number format and attention kernel for `run` on this machine."""
    return compute(run.training.precision, run.training.attention)


def _encode_all(plan: RunPlan, tokenizer: Any, store: FolderCache | None) -> dict[str, EncodedSplit]:
    task = plan.run.task
    # what was made of two texts is cut, whatever the task says of its own rows
    tasks = {CROSSED: task.model_copy(update={"truncate": True})}
    return {
        name: kept_split(
            store,
            split,
            tokenizer,
            tasks.get(name, task),
            plan.max_length,
            characters=plan.by_characters and name in TRANSFER,
        )
        for name, split in plan.data.splits.items()
        if not name.startswith("test")
    }


def _transfer(data: TaskData, splits: Tokens) -> EncodedSplit | JoinedSplit:
    parts = [splits[name] for name in TRANSFER if name in splits]
    return parts[0] if len(parts) == 1 else JoinedSplit(parts, [*map(len, data.transfer)])


def _job(plan: RunPlan, splits: Tokens, tokenizer: Any) -> Job:
    data = plan.data
    return Job(
        train=splits["train"],
        dev=splits["dev"],
        collate=ViewCollator(Collator(tokenizer)),
        score=scorer(data, plan.run.task, data.splits["dev"], splits["dev"]),
        metric=data.metric,
        tokenizer=tokenizer,
        outcome=partial(outcomes, data, splits["dev"], limits=plan.run.task.answer_limits),
        class_weights=class_weights(plan.run, data),
    )


def class_weights(run: Run, data: TaskData) -> tuple[float, ...] | None:
    """How much each class counts, so that the mean over the labelled training rows is 1; `None`: all the same."""
    wish = next((one.class_weights for one in run.objectives if one.class_weights is not None), None)
    if wish is None:
        return None
    counts = class_counts(data)
    if isinstance(wish, str):  # balanced
        weights = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    else:
        weights = np.asarray([wish.get(label, 1.0) for label in data.labels])
    mean = float((weights * counts).sum() / counts.sum())
    return tuple((weights / mean).tolist())


def class_counts(data: TaskData) -> np.ndarray:
    """Labelled training rows of each class, or of tagging words."""
    train = data.splits["train"]
    labels = train.tags if isinstance(train, TaggedSplit) else getattr(train, "labels", None)
    ids = [tag for row in labels or () for tag in row] if isinstance(train, TaggedSplit) else list(labels or ())
    return np.bincount(np.asarray(ids, dtype=np.int64), minlength=len(data.labels))
