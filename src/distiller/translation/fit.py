"""One training of a translation model from start to best checkpoint: teachers, baselines and students alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from distiller.cache.teacher_outputs import TeacherCache
from distiller.device import compute
from distiller.errors import RunError
from distiller.interruption import StopRequest
from distiller.training.callbacks import LastStepCounts, OnEvaluation, ProgressBar, Reporter, Stopwatch
from distiller.training.checkpoints import (
    AT_LEAST,
    CHECKPOINTS,
    BestWeights,
    Checkpoints,
    discard_checkpoints,
    newest_checkpoint,
)
from distiller.training.fit import development_scores, repeatable
from distiller.translation.batches import BatchStream, Examples, collate
from distiller.translation.config import Optimisation, TranslationObjective
from distiller.translation.model import keep_padding_silent
from distiller.translation.objective import Objective, model_shapes
from distiller.translation.record import METRIC
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.trainer import TranslationTrainer


@dataclass(frozen=True)
class TrainingData:
    """What a training reads, and how it is scored."""

    examples: Examples
    gold_ratio: float
    score: Callable[[Any], dict[str, float]]
    """Development scores of a model, `bleu` among them."""
    fingerprint: str
    """SHA-256 of the training and development text."""
    tokenizer: TranslationTokenizer
    """Of the model that learns."""
    rows: Tensor | None = None
    """Ids of the teacher's vocabulary that this one keeps; `None`: both are the same."""


@dataclass(frozen=True)
class Fit:
    """What a training came to."""

    scores: dict[str, float]
    """Development scores of the best checkpoint."""
    best_step: int
    steps: int
    seconds: float
    """Without evaluation and saving."""
    examples_per_second: float
    history: list[dict[str, float]]


def fit(
    model: PreTrainedModel,
    training_data: TrainingData,
    training: Optimisation,
    *,
    objective: TranslationObjective,
    folder: Path,
    seed: int,
    title: str,
    teacher: PreTrainedModel | None = None,
    teacher_cache: TeacherCache | None = None,
    console: Console | None = None,
    resume: bool = False,
    on_evaluation: OnEvaluation | None = None,
    keep: Callable[[Fit], None] | None = None,
) -> Fit:
    """Train `model` in place; it ends with the weights of its best development BLEU.

    Checkpoints live in `folder` while it runs; with `resume` the newest whole one is continued. `on_evaluation` hears
    of every development BLEU. `keep` writes what is wanted of the trained model before its checkpoints go; a signal to
    stop ends the training after a whole step and a checkpoint, with `Interrupted`. Raises `RunError` for a loss
    that is not finite.
    """
    stream = BatchStream(
        training_data.examples,
        batch_tokens=training.batch_tokens,
        seed=seed,
        gold_ratio=training_data.gold_ratio,
        epochs=training.epochs,
        batches=training.max_steps * training.accumulate if training.max_steps else None,
        source_dropout=training.source_dropout,
        special=training_data.tokenizer.special,
    )
    keep_padding_silent(model)
    steps = math.ceil(len(stream) / training.accumulate)
    set_seed(seed)  # before projections and critics are drawn
    parts = Objective(
        objective,
        student=model_shapes(model),
        teacher=model_shapes(teacher) if teacher is not None else None,
        label_smoothing=training.label_smoothing,
        chunk_megabytes=training.chunk_megabytes,
    )
    watch = Stopwatch()
    request = StopRequest()
    best_weights = BestWeights(model, METRIC)
    callbacks: list[Any] = [watch, LastStepCounts(), Checkpoints(training.checkpoint_minutes, request), best_weights]
    if console is not None:
        callbacks.append(ProgressBar(title, METRIC, console))
    if on_evaluation is not None:
        callbacks.append(Reporter(METRIC, on_evaluation))
    if training.patience is not None:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=training.patience))
    trainer = TranslationTrainer(
        model,
        objective=parts,
        teacher=teacher,
        teacher_cache=teacher_cache,
        rows=training_data.rows,
        score=training_data.score,
        warmup=training.warmup_steps if training.warmup_steps is not None else math.ceil(steps / 10),
        args=_arguments(training, folder, seed=seed, steps=steps),
        train_dataset=stream,
        eval_dataset=[],
        data_collator=partial(collate, pad=training_data.tokenizer.pad),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    with request.noted():
        try:
            trainer.train(resume_from_checkpoint=newest_checkpoint(folder) if resume else None)
        except RunError as error:
            raise RunError(f"{title}: {error.message}", hint=error.hint) from None
        finally:
            for callback in callbacks:
                if isinstance(callback, ProgressBar):
                    callback.close()
        best_weights.restore()
        done = _outcome(trainer, watch, stream.examples_per_batch * training.accumulate)
        if keep is not None:
            keep(done)
        discard_checkpoints(folder)
    return done


def _outcome(trainer: TranslationTrainer, watch: Stopwatch, examples_per_step: float) -> Fit:
    history = [repeatable(entry) for entry in trainer.state.log_history if repeatable(entry).keys() - {"step", "epoch"}]
    best = max((entry for entry in history if f"eval_{METRIC}" in entry), key=lambda entry: entry[f"eval_{METRIC}"])
    return Fit(
        scores=development_scores(best),
        best_step=int(best["step"]),
        steps=trainer.state.global_step,
        seconds=watch.seconds,
        examples_per_second=watch.steps * examples_per_step / max(watch.seconds, 1e-9),
        history=history,
    )


def _arguments(training: Optimisation, folder: Path, *, seed: int, steps: int) -> TrainingArguments:
    every = max(1, math.ceil(steps / training.evaluations))
    return TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        seed=seed,
        data_seed=seed,
        max_steps=steps,
        per_device_train_batch_size=1,  # an item of the stream is a whole batch
        gradient_accumulation_steps=training.accumulate,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        adam_beta1=0.9,
        adam_beta2=0.98,
        max_grad_norm=training.max_grad_norm,
        optim="adamw_torch_fused",
        **compute(training.precision).trainer_arguments(),
        remove_unused_columns=False,
        label_names=["labels"],
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="no",  # by time: `Checkpoints`; the best weights stay in memory: `BestWeights`
        save_total_limit=AT_LEAST,
        metric_for_best_model=f"eval_{METRIC}",
        greater_is_better=True,
        logging_steps=training.log_every,
        report_to=[],
        disable_tqdm=True,
    )
