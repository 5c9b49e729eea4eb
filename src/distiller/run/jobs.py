"""What a training of a run reads, and how this machine computes it."""

from functools import partial
from typing import Any

import numpy as np

from distiller.config import Run
from distiller.device import Compute, compute
from distiller.run.plan import RunPlan
from distiller.tasks.data import TaggedSplit, TaskData
from distiller.tasks.encode import Collator
from distiller.tasks.outcomes import outcomes
from distiller.tasks.tokens import Tokens, scorer
from distiller.training.batching import ViewCollator
from distiller.training.fit import Job


def machine(run: Run) -> Compute:
    """Device, number format and attention kernel for `run` on this machine."""
    return compute(run.training.precision, run.training.attention)


def job_of(plan: RunPlan, splits: Tokens, tokenizer: Any) -> Job:
    """A training on the gold labels of `splits`, in the tokens of `tokenizer`."""
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
    """The weight of each class, with mean 1 over the labelled training rows; `None`: all the same."""
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
