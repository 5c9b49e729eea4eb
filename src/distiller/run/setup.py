"""What all seeds of a run share: tokenized data, the fine-tuned teacher, and how this machine computes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel

from distiller import processes
from distiller.augment import Policy, build_policy
from distiller.cache.folders import FolderCache
from distiller.cache.teacher_outputs import TeacherCache
from distiller.config import Run
from distiller.device import Compute, accelerator
from distiller.errors import warn
from distiller.models.eight_bits import EightBits
from distiller.models.load import longest_input
from distiller.models.students import build_student
from distiller.models.taught_words import teach_words, vectors_of_tokens
from distiller.record import VocabularyFacts
from distiller.run.jobs import job_of, machine
from distiller.run.kept_tokens import kept_split
from distiller.run.plan import RunPlan
from distiller.run.stages import Stage
from distiller.run.teachers import Teaching, load_teacher, prepare_teachers
from distiller.run.vocabulary import vocabulary_facts, vocabulary_line
from distiller.tasks.data import CROSSED, TRANSFER, AnySplit, QuestionSplit, TaskData, joined
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.joined import JoinedSplit
from distiller.tasks.tokens import Tokens, encode_split, scorer
from distiller.tasks.windows import EncodedQuestions, encode_read
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
)
from distiller.training.teacher import FrozenTeacher

COMPILED_MULTIPLE = 32
"""Tokens to whose multiples batches are padded for compiled models: a graph for each length."""


@dataclass(frozen=True)
class Setup:
    """What all seeds of a run share: tokenized data, the fine-tuned teacher, and how this machine computes."""

    plan: RunPlan
    store: FolderCache
    teaching: Teaching
    splits: Mapping[str, EncodedSplit]
    """In the student's tokens."""
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
    def teacher(self) -> PreTrainedModel | None:
        """The teacher; the first one, where several are averaged."""
        return self.teaching.model

    @property
    def other_teachers(self) -> OtherTeachers | None:
        """The teachers that are averaged with the first one."""
        return self.teaching.others

    @property
    def data(self) -> TaskData:
        """The task's rows."""
        return self.plan.data

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.data.metric

    @property
    def machine(self) -> Compute:
        """How this machine computes."""
        return machine(self.run)

    @property
    def paired(self) -> bool:
        """Whether teacher and student have different tokenizers."""
        return self.splits is not self.teacher_splits

    @property
    def transfer(self) -> Any:
        """The rows that the student learns from, labelled or not, in its tokens."""
        return _transfer(self.data, self.splits)

    @cached_property
    def teacher_transfer(self) -> Any:
        """The same rows in the teacher's tokens."""
        splits = self.teacher_splits
        if self.data.kind == "qa" and self.plan.by_characters:  # windows of its own end elsewhere
            rows = self.plan.taught.splits
            splits = {name: self._for_teacher(rows[name], self.splits[name]) for name in TRANSFER if name in rows}
            if cut := sum(split.truncated for split in splits.values()):
                warn(
                    f"{cut} windows are longer in the teacher's tokens than it can read: it says nothing of their ends"
                )
        return _transfer(self.data, splits)

    def new_student(self, seed: int) -> PreTrainedModel:
        """A fresh student; weights that are not copied are initialised from `seed`."""
        return self._student(self.teacher, seed)

    def teach_words(self, student: PreTrainedModel) -> None:
        """Let the student's embeddings learn from the teacher's in the next training, if the run asks for it."""
        if self.run.taught_words and self.teacher is not None:
            own = self.plan.student_tokenizer
            vectors = vectors_of_tokens(self.teacher, own, self.plan.teacher_tokenizer)
            teach_words(student, vectors, special=own.all_special_ids)

    def eight_bits(self, student: PreTrainedModel) -> EightBits:
        """Rounding as in ONNX Runtime's 8 bits; OpenVINO's is finer."""
        return EightBits(student, weight_bits=7)

    def untaught_student(self, seed: int) -> PreTrainedModel:
        """A student cut from the teacher as it was before fine-tuning."""
        spec = self.run.teacher
        return self._student(None if spec is None else load_teacher(self.plan, spec), seed)

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
        """The input of a training of the student on the gold labels alone."""
        return job_of(self.plan, self.splits, self.plan.student_tokenizer)

    def job(self, seed: int) -> Job:
        """The input of a distillation of the student; `seed` decides the augmentation."""
        train: Any = self.transfer
        if self.paired:
            train = PairedSplit(train, self.teacher_transfer, self.plan.summaries)
        if self.run.augmentation:
            source = reduce(joined, self.plan.taught.transfer)
            labels = self.data.label_names or []
            train = AugmentedSplit(
                train,
                source,
                self.policy,
                self._encode_augmented,
                encode_for_teacher=self._for_teacher if self.paired else None,
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
        """The same student fine-tuned on gold labels alone; `untaught`: from the teacher's pretrained layers."""
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
        """The teacher's outputs on the training set and on augmented texts, where they are kept.

        By default each is kept only if this run uses them more than once.
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
            folder, why = teacher_outputs(
                self.store, teacher, self.teacher_transfer, collate, training, rows, self.console
            )
            return TeacherOutputs(
                cache=TeacherCache(folder, objective.layers("teacher")) if folder else None,
                augmented=augmented_outputs(self.store, teacher, training) if keep else None,
                note=why,
            )
        finally:
            teacher.close()

    def save(self, student: PreTrainedModel, folder: Path) -> None:
        """Write a plain model folder with the checksums of its files."""
        save_model(student, self.plan.student_tokenizer, folder)

    def examine(self, student: PreTrainedModel, scores: Mapping[str, float]) -> tuple[dict[str, float], np.ndarray]:
        """Its scores on further development splits too (MNLI has mismatched genres), and its outcome on each row."""
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

    def _encode_augmented(self, split: AnySplit, tokenizer: Any = None) -> EncodedSplit:
        """Augmented rows as tokens, the student's by default."""
        # texts that grew beyond the limit are truncated, whatever the task says about its own rows
        return encode_split(
            split,
            tokenizer or self.plan.student_tokenizer,
            self.run.task.model_copy(update={"truncate": True}),
            self.plan.max_length,
            unanswered=True,
            characters=self.plan.by_characters,
        )

    def _for_teacher(self, split: AnySplit, read: EncodedSplit) -> EncodedSplit:
        """Rows that the student reads as `read`, in tokens of a teacher with another tokenizer."""
        assert self.plan.teacher is not None
        tokenizer = self.plan.teacher_tokenizer
        if isinstance(split, QuestionSplit) and isinstance(read, EncodedQuestions):
            return encode_read(split, read, tokenizer, longest_input(self.plan.teacher))
        return self._encode_augmented(split, tokenizer)


def encode_splits(plan: RunPlan, store: FolderCache | None = None) -> tuple[Tokens, Tokens]:
    """The data in the student's and in the teacher's tokens; one object if both share a vocabulary.

    With `store`, the tokens of many texts are kept there.
    """
    teacher = _encode_all(plan, plan.teacher_tokenizer, store)
    return teacher if plan.shared_tokens else _encode_all(plan, plan.student_tokenizer, store), teacher


def prepare(plan: RunPlan, tokens: tuple[Tokens, Tokens], store: FolderCache, console: Console | None = None) -> Setup:
    """Load the teacher, and fine-tune it if needed."""
    run = plan.run
    policy = build_policy(run.augmentation, refresh=run.augmentation_refresh, cache=store.root / "augmentation.sqlite")
    policy.prepare()  # missing packages are reported before the teacher is trained
    splits, teacher_splits = tokens
    vocabulary = vocabulary_facts(plan, splits, teacher_splits)
    if console is not None and vocabulary is not None:
        console.print(f"{'':10}{vocabulary_line(vocabulary)}", markup=False, soft_wrap=True)
    return Setup(
        plan=plan,
        store=store,
        teaching=prepare_teachers(plan, store, teacher_splits, console),
        splits=splits,
        teacher_splits=teacher_splits,
        vocabulary=vocabulary,
        policy=policy,
        console=console,
    )


def _encode_all(plan: RunPlan, tokenizer: Any, store: FolderCache | None) -> dict[str, EncodedSplit]:
    task = plan.run.task
    # texts made from two are truncated, whatever the task says about its own rows
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
        for name, split in plan.taught.splits.items()
        if not name.startswith("test")
    }


def _transfer(data: TaskData, splits: Tokens) -> EncodedSplit | JoinedSplit:
    parts = [splits[name] for name in TRANSFER if name in splits]
    return parts[0] if len(parts) == 1 else JoinedSplit(parts, [*map(len, data.transfer)])
