"""Whether a teacher that was fine-tuned elsewhere names its classes in another order than the data means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    names = "see id2label in its config.json"
    if says_nothing(theirs):
        names = f"task.labels=[{', '.join(labels[one] for one in found.meant)}] is that order"
    warn(
        f"teacher `{name}` is right in {100 * found.present:.1f} % of the development rows, and with its classes in "
        f"another order in {100 * found.best:.1f} %: they are called {', '.join(f'`{one}`' for one in theirs[:8])}; "
        f"{names}"
    )


class Order(NamedTuple):
    """Another order of the classes, and how right a model is in it."""

    meant: list[int]
    """The class that each output means."""
    best: float
    """Accuracy in this order."""
    present: float
    """Accuracy as it is."""


def better_order(predictions: np.ndarray, labels: np.ndarray) -> Order | None:
    """The best order of the classes, where it is far better than the present one.

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
    constant = table.sum(0).max() / len(labels)  # who says but one class knows no order
    if best < max(BETTER, 2 * present) or best <= constant:
        return None
    return Order([int(one) for one in meant], float(best), float(present))
