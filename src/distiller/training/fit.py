"""One training from start to best checkpoint: the same loop for teachers, baselines and distilled students."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from distiller import config, processes
from distiller.cache.augmented_outputs import AugmentedOutputs
from distiller.cache.teacher_outputs import TeacherCache
from distiller.device import autocast, compute, release
from distiller.errors import RunError
from distiller.interruption import StopRequest
from distiller.models.eight_bits import EightBits
from distiller.models.masks import unread_masks
from distiller.models.taught_words import settle_words
from distiller.training.augmented import AugmentedSplit
from distiller.training.batching import Batch, FollowsEpoch, LengthBucketSampler, SortedByLength, views_of
from distiller.training.callbacks import LastStepCounts, OnEvaluation, ProgressBar, Reporter, RoundsAtTheEnd, Stopwatch
from distiller.training.checkpoints import (
    AT_LEAST,
    CHECKPOINTS,
    BestWeights,
    Checkpoints,
    discard_checkpoints,
    newest_checkpoint,
)
from distiller.training.evaluate import scored_in
from distiller.training.pace import Pace, UntilLearnt, learning_rate, pace
from distiller.training.running_losses import shortened
from distiller.training.several_teachers import OtherTeachers
from distiller.training.table_rows import TableAdamW, clip_grad_norm, sparse_gradients, table_of
from distiller.training.trackers import tracker_callbacks
from distiller.training.trainer import DistillationTrainer

HEAD_RATE = 1e-3
"""Learning rate of projections and critics where none is given: they start at random and must lead."""


@dataclass(frozen=True)
class Fitting:
    """One training that is about to begin."""

    model: PreTrainedModel
    training: Any
    objective: Any
    folder: Path
    seed: int
    title: str
    pace: Pace
    learns: UntilLearnt | None
    """Ends the training when it has learnt; `None`: it takes as long as `pace` says."""
    callbacks: list[Any]
    teacher: PreTrainedModel | None
    teacher_cache: TeacherCache | None
    augmented_cache: AugmentedOutputs | None
    other_teachers: OtherTeachers | None = None

    def arguments(self, metric: str, **own: Any) -> TrainingArguments:
        """The `transformers.TrainingArguments` of every training on this machine; `own` are those of its kind."""
        return TrainingArguments(
            output_dir=str(self.folder / CHECKPOINTS),
            run_name=self.title,
            seed=self.seed,
            data_seed=self.seed,
            gradient_accumulation_steps=self.training.accumulate,
            weight_decay=self.training.weight_decay,
            max_grad_norm=self.training.max_grad_norm,
            optim="adamw_torch_fused",
            **compute(self.training.precision).trainer_arguments(),
            eval_strategy="steps",
            eval_steps=self.pace.every,
            save_strategy="no",  # by time: `Checkpoints`; the best weights stay in memory: `BestWeights`
            save_total_limit=AT_LEAST,
            metric_for_best_model=f"eval_{metric}",
            greater_is_better=True,
            logging_steps=self.training.log_every,
            remove_unused_columns=False,
            report_to=[],
            disable_tqdm=True,
            **own,
        )


class TrainingData(Protocol):
    """What a training reads, and how that is batched and scored: the part that differs between kinds of task."""

    @property
    def metric(self) -> str:
        """The score that chooses the best checkpoint; higher is better."""
        ...

    @property
    def rising(self) -> str:
        """The score that tells whether a model still learns: it rises from the first steps on."""
        ...

    def pace(self, training: Any, objective: Any, *, seed: int) -> tuple[Pace, bool]:
        """How long `training` takes, and whether it ends when the model has stopped improving."""
        ...

    def trainer(self, fitting: Fitting) -> DistillationTrainer:
        """The trainer that carries it out."""
        ...


@dataclass(frozen=True)
class Job:
    """What a training reads: examples, how to batch them, and how to score them."""

    train: Any
    dev: Any
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]
    score: Callable[[Any, Any], dict[str, float]]
    """(logits, labels) → scores."""
    metric: str
    """The score that chooses the best checkpoint; higher is better."""
    tokenizer: Any = None
    outcome: Callable[[Any], Any] = lambda logits: logits
    """What of development logits decides the score, by example."""
    soft_labels: bool = False
    """Whether examples bring probabilities along."""
    class_weights: tuple[float, ...] | None = None
    """How much each class counts in the label terms."""
    patient: int = 0
    """The fewest steps where a run does not say, for a student of texts that its teacher alone has answered."""

    @property
    def rising(self) -> str:
        """The metric itself."""
        return self.metric

    def pace(self, training: config.Training, objective: config.Objective, *, seed: int = 0) -> tuple[Pace, bool]:
        """Without `epochs`, a training ends when the model has stopped improving."""
        return pace_of(training, self, objective), training.epochs is None

    def trainer(self, fitting: Fitting) -> DistillationTrainer:
        """Its development scores are those of the outputs on `dev`."""
        training = fitting.training
        dev = SortedByLength(self.dev, self.dev.lengths)
        return ScoredTrainer(
            fitting.model,
            teacher=fitting.teacher,
            other_teachers=fitting.other_teachers,
            objective=fitting.objective,
            teacher_cache=fitting.teacher_cache,
            augmented_cache=fitting.augmented_cache,
            head_learning_rate=training.head_learning_rate or HEAD_RATE,
            rate=fitting.learns,
            soft_labels=self.soft_labels,
            class_weights=self.class_weights,
            compiled=training.compile,
            args=training_arguments(fitting, self),
            train_dataset=self.train,
            eval_dataset=dev,
            data_collator=self.collate,
            processing_class=self.tokenizer,
            compute_metrics=lambda found: _scores(self, dev.restore(found.predictions), dev.restore(found.label_ids)),
            callbacks=fitting.callbacks,
        )


class ScoredTrainer(DistillationTrainer):
    """A training guided by development scores: its evaluation computes no loss.

    Its batches hold examples of similar `lengths`, which the training set provides.
    """

    table: nn.Embedding | None = None
    """What is trained by the rows that a step has read."""

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """On a processor one that updates the embedding table by rows; elsewhere sparse gradients would block."""
        if self._steps_by_rows():
            _, options = self.get_optimizer_cls_and_kwargs(self.args, self.student)
            self.optimizer_cls_and_kwargs = TableAdamW, options
            self.accelerator.clip_grad_norm_ = clip_grad_norm
            self.table = table_of(self.student)
        return super().create_optimizer(model)

    def _steps_by_rows(self) -> bool:
        return self.args.device.type == "cpu" and self.args.world_size == 1 and not self.compiled

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward pass of one micro-batch."""
        with sparse_gradients(self.table):
            return super().training_step(model, inputs, num_items_in_batch)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBucketSampler:
        data: Any = train_dataset if train_dataset is not None else self.train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        sampler = LengthBucketSampler(data.lengths, size, seed, epochs=isinstance(data, AugmentedSplit))
        self.remove_callback(FollowsEpoch)
        self.add_callback(FollowsEpoch(sampler))
        return sampler

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, *_: Any, **__: Any
    ) -> tuple[None, Tensor, Tensor | None]:
        """The student's logits in one tensor, and the labels."""
        prepared: Batch = self._prepare_inputs(views_of(inputs)["original"])
        precision = scored_in(self.student, self.precision)
        with torch.inference_mode(), autocast(self.args.device.type, precision), unread_masks(self.args.device):
            signals = self.distillation.reader(prepared)
        return None, signals.logits.float(), prepared.get("labels")


@dataclass(frozen=True)
class Fit:
    """The outcome of a training."""

    scores: dict[str, float]
    best_step: int
    steps: int
    seconds: float
    examples_per_second: float
    seconds_waited: float = 0.0
    """Of `seconds`, those in which the training waited for its next batch."""
    augmentation: dict[str, int] = field(default_factory=dict)
    """What the augmentation policy counted."""
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: PreTrainedModel,
    job: TrainingData,
    training: Any,
    *,
    objective: Any,
    folder: Path,
    seed: int,
    title: str,
    teacher: PreTrainedModel | None = None,
    other_teachers: OtherTeachers | None = None,
    teacher_cache: TeacherCache | None = None,
    augmented_cache: AugmentedOutputs | None = None,
    console: Console | None = None,
    resume: bool = False,
    select_best: bool = True,
    eight_bits: EightBits | None = None,
    on_evaluation: OnEvaluation | None = None,
    keep: Callable[[Fit], None] | None = None,
) -> Fit:
    """Train `model` in place; it ends with the weights of its best development score or, where the pace says so, the
    mean of those of its best ones; if not `select_best`, with the last. Checkpoints live in `folder` while it runs;
    with `resume` the newest whole one is continued. `eight_bits` rounds `model` from where the rate falls.
    `on_evaluation` hears (step, development score). `keep` writes what is wanted of the trained model before its
    checkpoints go.

    A signal to stop ends it after a whole step and a checkpoint, with `Interrupted`.
    """
    request = StopRequest()
    steps, until_learnt = job.pace(training, objective, seed=seed)
    if not select_best:  # nothing here is trained for the score, so it does not tell when the training is done
        steps = replace(steps, patience=None)
    learns = UntilLearnt(steps, job.rising) if until_learnt else None
    watch, best = Stopwatch(), BestWeights(model, job.metric, most=steps.averaged)
    falls_from = partial(_falls_from, steps, learns)
    bar = None if console is None else ProgressBar(title, job.metric, console)
    patience = training.patience if select_best and learns is None else None
    wanted = [
        watch,
        LastStepCounts(),
        learns,
        Checkpoints(training.checkpoint_minutes, request),
        best if select_best else None,
        None if eight_bits is None else RoundsAtTheEnd(eight_bits, falls_from, best),
        bar,
        *tracker_callbacks(training.report_to, folder),
        None if patience is None else EarlyStoppingCallback(patience),
        None if on_evaluation is None else Reporter(job.metric, on_evaluation),
    ]
    callbacks = [one for one in wanted if one is not None]
    trainer = job.trainer(
        Fitting(
            model=model,
            training=training,
            objective=objective,
            folder=folder,
            seed=seed,
            title=title,
            pace=steps,
            learns=learns,
            callbacks=callbacks,
            teacher=teacher,
            other_teachers=other_teachers,
            teacher_cache=teacher_cache,
            augmented_cache=augmented_cache,
        )
    )
    trainer.remove_callback(PrinterCallback)
    with request.noted():
        try:
            _train(trainer, folder, title, resume=resume)
        finally:
            if bar is not None:
                bar.close()
            if teacher_cache is not None:
                teacher_cache.close()
        since = falls_from() if eight_bits is not None else -1
        done = _outcome(trainer, watch, job.metric, select_best=select_best, since=since)
        if select_best:
            for callback in callbacks:  # they know that the training has ended
                trainer.remove_callback(callback)
            done = _averaged(trainer, best, steps, done)
            _say_averaged(done, job.metric, title, console)
        if eight_bits is not None:
            done = _unrounded(trainer, eight_bits, done)
        trainer.distillation.reader.close()
        settle_words(model)
        processes.from_first(partial(_kept, keep, done, folder))
    device = trainer.args.device.type
    del trainer
    release(device)
    return done


def _train(trainer: DistillationTrainer, folder: Path, title: str, *, resume: bool) -> None:
    """Train, with `resume` from the newest whole checkpoint. Raises `RunError` that begins with the `title`."""
    try:
        newest = processes.from_first(lambda: newest_checkpoint(folder)) if resume else None
        trainer.train(resume_from_checkpoint=newest)
    except RunError as error:
        raise RunError(f"{title}: {error.message}", hint=error.hint) from None


def _say_averaged(done: Fit, metric: str, title: str, console: Console | None) -> None:
    """The score of averaged weights, which no line of the progress has."""
    averaged = done.history[-1].get("averaged")
    if console is not None and averaged:
        of = f"the mean of the weights of its {averaged:.0f} best evaluations"
        console.print(f"{title}: {metric} {done.scores[metric]:.4f}, {of}", highlight=False)


def _falls_from(steps: Pace, learns: UntilLearnt | None) -> int:
    """The step from which the rate of a training falls, as far as it is known."""
    return steps.falls_from(learns.cooling_from if learns is not None else None)


def _kept(keep: Callable[[Fit], None] | None, done: Fit, folder: Path) -> None:
    """Keep the outcome of a training, and only then remove its checkpoints."""
    if keep is not None:
        keep(done)
    discard_checkpoints(folder)


def _scores(job: Job, logits: Any, labels: Any) -> dict[str, float]:
    """Development scores. Raises `RunError` if the model's outputs are not numbers: it has not learnt anything."""
    finite = np.isfinite(logits).reshape(len(logits), -1).all(1)
    if not finite.all():
        rows = shortened(np.flatnonzero(~finite).tolist())
        raise RunError(
            f"the outputs for development rows {rows} are not numbers: the training diverged",
            hint="lower training.learning_rate, set training.max_grad_norm=1, or training.precision=fp32",
        )
    return job.score(logits, labels)


def _outcome(trainer: DistillationTrainer, watch: Stopwatch, metric: str, *, select_best: bool, since: int) -> Fit:
    history = [repeatable(entry) for entry in trainer.state.log_history if repeatable(entry).keys() - {"step", "epoch"}]
    evaluations = [entry for entry in history if f"eval_{metric}" in entry and entry["step"] > since]
    best = max(evaluations, key=lambda entry: entry[f"eval_{metric}"]) if select_best else evaluations[-1]
    return Fit(
        scores=development_scores(best),
        best_step=int(best["step"]),
        steps=trainer.state.global_step,
        seconds=watch.seconds,
        examples_per_second=trainer.examples_read * processes.count() / max(watch.seconds, 1e-9),
        seconds_waited=trainer.seconds_waited,
        augmentation=dict(sorted(trainer.augmentation.items())),
        history=history,
    )


def training_arguments(fitting: Fitting, job: Job) -> TrainingArguments:
    """The `transformers.TrainingArguments` that a training of `job` means on this machine."""
    training = fitting.training
    return fitting.arguments(
        job.metric,
        num_train_epochs=training.epochs or 1,
        max_steps=fitting.pace.ceiling if training.epochs is None else training.max_steps or -1,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=max(32, training.batch_size),
        learning_rate=training.learning_rate or learning_rate(fitting.model.config, pretrained=True),
        lr_scheduler_type=training.schedule,
        warmup_steps=fitting.pace.warmup,
        dataloader_drop_last=_drops_last(training, job, fitting.objective),
        dataloader_num_workers=_workers(training, job),
    )


def pace_of(training: config.Training, job: Job, objective: config.Objective) -> Pace:
    """How long `job` is trained."""
    batch_size = training.batch_size * processes.count()
    remainder = len(job.train) % batch_size
    micro_batches = len(job.train) // batch_size
    micro_batches += remainder > 0 and not _drops_last(training, job, objective)
    steps_per_epoch = max(1, math.ceil(micro_batches / training.accumulate))
    return pace(training, steps_per_epoch=steps_per_epoch, dev_examples=len(job.dev), patient=job.patient)


def _drops_last(training: config.Training, job: Job, objective: config.Objective) -> bool:
    """Whether an epoch's last batch is dropped: mutual information needs three examples."""
    contrasts = any(term.loss.startswith("mi_") for term in objective.terms)
    return contrasts and 0 < len(job.train) % (training.batch_size * processes.count()) < 3 < len(job.train)


def _workers(training: config.Training, job: Job) -> int:
    """Processes beside the training: by default one where text is rewritten."""
    if training.workers is not None:
        return training.workers
    return int(isinstance(job.train, AugmentedSplit) and bool(job.train.policy.steps))


def _averaged(trainer: DistillationTrainer, best: BestWeights, steps: Pace, done: Fit) -> Fit:
    """Give the model the mean of its best weights, or the best alone if their mean is worse than each of them."""
    averaged = best.average(steps.error(best.found[0].score)) if best.found else []
    if len(averaged) > 1:
        scores = development_scores(repeatable(trainer.evaluate()))
        if scores[best.metric.removeprefix("eval_")] >= averaged[-1].score:
            entry = {f"averaged_{name}": score for name, score in scores.items()}
            note = {"step": float(done.steps), "averaged": float(len(averaged)), **entry}
            return replace(done, scores=scores, history=[*done.history, note])
    best.restore()
    return done


def _unrounded(trainer: DistillationTrainer, eight_bits: EightBits, done: Fit) -> Fit:
    """The scores of the same weights in full precision; the history also has those in 8 bits."""
    eight_bits.stop()
    note = {"step": float(done.steps), **{f"eight_bits_{name}": score for name, score in done.scores.items()}}
    scores = development_scores(repeatable(trainer.evaluate()))
    return replace(done, scores=scores, history=[*done.history, note])


def development_scores(entry: Mapping[str, float]) -> dict[str, float]:
    """The scores of an evaluation's log line, by name."""
    return {name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")}


def repeatable(entry: Mapping[str, float]) -> dict[str, float]:
    """A log line without the values that depend on the clock or on how often a training was resumed."""
    changing = ("runtime", "per_second", "total_flos", "train_loss")
    return {name: value for name, value in entry.items() if not name.endswith(changing)}
