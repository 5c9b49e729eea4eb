"""Whether the outputs of a teacher that was fine-tuned elsewhere mean something else than the data's labels."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from distiller.errors import warn
from distiller.tasks.data import Kind, sample
from distiller.tasks.labels import says_nothing

LOOKED_AT = 1000
"""Development rows."""

TRIED = 20
"""Orders of the labels by chance, which another order of the classes must beat."""

BEYOND = 1.25
"""By what factor it must beat them on average."""

AGREES = 0.5
"""Correlation from which on a regression is said to agree with its labels."""


def warn_of_outputs(
    name: str,
    said: np.ndarray,
    gold: np.ndarray,
    *,
    kind: Kind,
    labels: Sequence[str],
    theirs: Sequence[str],
) -> None:
    """Warn if the model `name` would score far better with its outputs in another order than `labels`.

    Warns too if its numbers are on another scale than those of the data. `said` are its outcomes on the development
    rows (`distiller.tasks.outcomes`), `gold` their labels, `theirs` its own names for the outputs, before they became
    `labels`.
    """
    rows = list(sample(len(gold), LOOKED_AT, seed=0))
    said, gold = said[rows], gold[rows]
    if kind == "regression":
        _warn_of_scale(name, said, gold)
        return
    found = better_memberships(said > 0, gold) if kind == "multilabel" else better_order(said, gold)
    if found is None:
        return
    names = "see id2label in its config.json"
    if says_nothing(theirs):
        names = f"task.labels=[{', '.join(labels[one] for one in found.meant)}] is that order"
    of = {"tagging": "tags of the development rows", "multilabel": "classes of the development rows (macro F1)"}
    warn(
        f"teacher `{name}` is right in {100 * found.present:.1f} % of the {of.get(kind, 'development rows')}, and with "
        f"its classes in another order in {100 * found.best:.1f} %: they are called "
        f"{', '.join(f'`{one}`' for one in theirs[:8])}; {names}"
    )


def _warn_of_scale(name: str, numbers: np.ndarray, gold: np.ndarray) -> None:
    """Warn if numbers `[n]` correlate with `gold` `[n]`, but are further from it than its mean is."""
    known = np.isfinite(gold) & np.isfinite(numbers)
    numbers, gold = numbers[known], gold[known]
    if len(gold) < 3 or not numbers.std() or not gold.std():
        return
    agree = float(np.corrcoef(numbers, gold)[0, 1])
    if agree < AGREES or np.mean((numbers - gold) ** 2) <= gold.var():
        return
    warn(
        f"teacher `{name}` agrees with the labels (correlation {agree:.2f}) on another scale: its numbers are around "
        f"{numbers.mean():.3g} ± {numbers.std():.3g}, the labels {gold.mean():.3g} ± {gold.std():.3g}; bring the "
        "labels to its scale, or fine-tune it (teacher.finetune=always)"
    )


class Order(NamedTuple):
    """Another order of the classes, and how accurate a model is in it."""

    meant: list[int]
    """The class that each output means."""
    best: float
    """Accuracy, or of several classes at once the mean F1, in this order."""
    present: float
    """The same as it is."""


def better_order(predictions: np.ndarray, labels: np.ndarray) -> Order | None:
    """The best order of the classes, if it is far better than the present one and than chance.

    `predictions` and `labels` are class ids of one shape. The best of all orders is found by the Hungarian method on
    the confusion matrix. `None` if the present order is about right, or no order is.
    """
    known = labels >= 0
    predictions, labels = predictions[known], labels[known]
    if not len(labels):
        return None
    classes = int(max(predictions.max(), labels.max())) + 1

    def table(labels: np.ndarray) -> np.ndarray:
        found = np.zeros((classes, classes))
        np.add.at(found, (predictions, labels), 1)
        return found / len(labels)

    counted = table(labels)
    order = _best(counted)
    constant = counted.sum(0).max()  # a model that always gives one class has no order
    shares = np.maximum(counted.sum(0), 1e-12)
    fair, fair_present = (counted / shares)[range(classes), order].sum(), np.trace(counted / shares)
    best, present = counted[range(classes), order].sum(), np.trace(counted)
    if best <= constant or fair < 2 * fair_present or not _beyond_chance(best, labels, table):
        return None
    return Order(order, float(best), float(present))


def better_memberships(predictions: np.ndarray, labels: np.ndarray) -> Order | None:
    """The same where several classes apply at once: `predictions` and `labels` `[n, classes]`, true or 1 for each."""
    known = (labels >= 0).all(-1)
    said, labels = predictions[known].astype(np.float64), labels[known].astype(np.float64)
    if not len(labels):
        return None

    def table(labels: np.ndarray) -> np.ndarray:
        """F1 of each output for each class, over the number of classes."""
        sizes = said.sum(0)[:, None] + labels.sum(0)
        return 2 * said.T @ labels / np.maximum(sizes, 1) / labels.shape[1]

    counted = table(labels)
    order = _best(counted)
    best, present = counted[range(len(order)), order].sum(), np.trace(counted)
    if best < 2 * present or not _beyond_chance(best, labels, table):
        return None
    return Order(order, float(best), float(present))


def _best(table: np.ndarray) -> list[int]:
    """The class for each output that makes the sum over `table` `[outputs, classes]` largest."""
    return [int(one) for one in linear_sum_assignment(table, maximize=True)[1]]


def _beyond_chance(best: float, labels: np.ndarray, table: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether `best` is far beyond what the best order reaches when labels are shuffled among rows."""
    rng = np.random.default_rng(0)
    by_chance = []
    for _ in range(TRIED):
        shuffled = table(rng.permutation(labels))
        by_chance.append(shuffled[range(len(shuffled)), _best(shuffled)].sum())
    return bool(best > max(by_chance) and best > BEYOND * np.mean(by_chance))
