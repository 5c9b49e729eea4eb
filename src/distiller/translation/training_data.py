"""The training data of a translation model: batches by tokens, a learning rate, and scores of translations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from distiller import config, processes
from distiller.config.translation import Objective, Optimisation
from distiller.training.fit import Fitting
from distiller.training.pace import Pace, pace
from distiller.translation.batches import BatchStream, Examples, collate
from distiller.translation.model import keep_padding_silent
from distiller.translation.scores import METRIC, RISING
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.trainer import TranslationTrainer

LOOKS = 10
"""Evaluations in a training of fixed length."""
DECODING = 3
"""Translating a sentence takes about as long as reading so many."""


@dataclass(frozen=True)
class TranslationData:
    """The examples of a training, and how it is scored."""

    examples: Examples
    gold_ratio: float
    score: Callable[[Any], dict[str, float]]
    """Computes the development scores of a model, `bleu` and `chrf`."""
    fingerprint: str
    """SHA-256 of the training and development text."""
    tokenizer: TranslationTokenizer
    """The student's tokenizer."""
    dev: int
    """Number of development sentences."""
    rows: Tensor | None = None
    """Ids of the teacher's vocabulary that the student keeps; `None`: both vocabularies are the same."""
    metric: str = METRIC
    rising: str = RISING

    def stream(self, training: Optimisation, *, seed: int, batches: int | None = None) -> BatchStream:
        """The batches of one training; without `batches`, those of one epoch."""
        return BatchStream(
            self.examples,
            batch_tokens=training.batch_tokens,
            seed=seed,
            gold_ratio=self.gold_ratio,
            batches=batches,
            source_dropout=training.source_dropout,
            special=self.tokenizer.special,
        )

    def rows_read(self, training: Optimisation, seeds: Sequence[int]) -> np.ndarray | None:
        """The examples that trainings of `max_steps` steps read, in ascending order; `None`: all."""
        if training.max_steps is None:
            return None
        batches = training.max_steps * training.accumulate * processes.count()
        drawn = [self.stream(training, seed=seed, batches=batches).rows for seed in seeds]
        found = np.unique(np.concatenate(drawn))
        return None if len(found) == len(self.examples) else found

    def pace(self, training: Optimisation, objective: Objective, *, seed: int) -> tuple[Pace, bool]:
        """The pace, and whether the training ends by itself: with neither `epochs` nor `max_steps`."""
        once, shared = self.stream(training, seed=seed), training.accumulate * processes.count()
        if training.epochs is None and training.max_steps is None:
            usual = config.Optimisation(
                average_best=1,  # the noise of chrF is not known
                min_steps=training.min_steps,
                patience=training.patience,
                batch_size=math.ceil(once.examples_per_batch * processes.count()),
                accumulate=training.accumulate,
            )
            found = pace(usual, steps_per_epoch=math.ceil(once.per_epoch / shared), dev_examples=DECODING * self.dev)
            every = math.ceil(found.ceiling / training.evaluations) if training.evaluations else found.every
            return replace(found, every=every, warmup=training.warmup_steps or found.warmup), True
        batches = max(1, math.ceil((training.epochs or 1) * once.per_epoch))
        steps = training.max_steps or math.ceil(batches / shared)
        warmup = training.warmup_steps if training.warmup_steps is not None else math.ceil(steps / 10)
        every = max(1, math.ceil(steps / (training.evaluations or LOOKS)))
        return Pace(steps, steps, every, warmup, training.patience), False

    def trainer(self, fitting: Fitting) -> TranslationTrainer:
        """A trainer whose development scores are those of translations."""
        training, student = fitting.training, fitting.model
        keep_padding_silent(student)
        return TranslationTrainer(
            student,
            objective=fitting.objective,
            teacher=fitting.teacher,
            label_smoothing=training.label_smoothing,
            chunk_megabytes=training.chunk_megabytes,
            teacher_cache=fitting.teacher_cache,
            rows=self.rows,
            score=self.score,
            rate=fitting.learns or partial(inverse_square_root, warmup=fitting.pace.warmup),
            args=fitting.arguments(
                self.metric,
                max_steps=fitting.pace.ceiling,
                per_device_train_batch_size=1,  # an item of the stream is a whole batch
                learning_rate=training.learning_rate,
                adam_beta1=0.9,
                adam_beta2=0.98,
                label_names=["labels"],
            ),
            train_dataset=self.stream(
                training, seed=fitting.seed, batches=fitting.pace.ceiling * training.accumulate * processes.count()
            ),
            eval_dataset=[],
            data_collator=partial(collate, pad=self.tokenizer.pad),
            callbacks=fitting.callbacks,
        )


def inverse_square_root(step: int, warmup: int) -> float:
    """Factor of the learning rate at step t, from 0: (t+1)/(W+1) up to W, then √((W+1)/(t+1)).

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """
    return (step + 1) / (warmup + 1) if step < warmup else ((warmup + 1) / (step + 1)) ** 0.5
