"""Whether a teacher that was fine-tuned elsewhere names its classes in another order than the data means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from transformers import PreTrainedModel

from distiller.errors import warn
from distiller.tasks.data import sample
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.labels import says_nothing
from distiller.training.evaluate import predict_logits

BETTER = 0.5
"""Accuracy that another order must reach, and at least twice the present one, to be spoken of."""

ASKED = 1000
"""Development rows that are looked at."""


@dataclass(frozen=True)
class _Part:
    """Some rows of a split, as `predict_logits` reads them."""

    split: EncodedSplit
    rows: Sequence[int]

    @property
    def lengths(self) -> list[int]:
        return [self.split.lengths[row] for row in self.rows]

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.split[self.rows[position]]


def warn_of_order(
    name: str,
    teacher: PreTrainedModel,
    dev: EncodedSplit,
    collate: Callable[..., Any],
    *,
    labels: Sequence[str],
    theirs: Sequence[str],
) -> None:
    """Say if the classifier `name`, whose outputs stand for `labels`, would be far better with these in another order.

    `theirs` are its own names of the outputs, before they became `labels`.
    """
    if dev.labels is None or dev.labels.ndim > 1 or not np.issubdtype(dev.labels.dtype, np.integer):
        return
    part = _Part(dev, sample(len(dev), ASKED, seed=0))
    found = better_order(predict_logits(teacher, part, collate).numpy().argmax(-1), dev.labels[list(part.rows)])
    if found is None:
        return
    order, best, present = found
    names = (
        f"task.labels=[{', '.join(labels[one] for one in order)}] is that order"
        if says_nothing(theirs)
        else ("see id2label in its config.json")
    )
    warn(
        f"teacher `{name}` is right in {100 * present:.1f} % of the development rows, and with its classes in another "
        f"order in {100 * best:.1f} %: they are called {', '.join(f'`{one}`' for one in theirs[:8])}; {names}"
    )


def better_order(predictions: np.ndarray, labels: np.ndarray) -> tuple[list[int], float, float] | None:
    """(class that each output means, accuracy in this order, accuracy as it is), where another order is far better.

    `predictions` and `labels` are class ids `[n]`. The best of all orders is found by the Hungarian method on the
    table of confusions. `None` where the present order is about right, or no order is.
    """
    known = labels >= 0
    predictions, labels = predictions[known], labels[known]
    if not len(labels):
        return None
    classes = int(max(predictions.max(), labels.max())) + 1
    table = np.zeros((classes, classes))
    np.add.at(table, (predictions, labels), 1)
    outputs, meant = linear_sum_assignment(table, maximize=True)
    best, present = table[outputs, meant].sum() / len(labels), np.trace(table) / len(labels)
    if best < max(BETTER, 2 * present):
        return None
    return [int(one) for one in meant], float(best), float(present)
