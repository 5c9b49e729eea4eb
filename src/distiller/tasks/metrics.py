"""Scores of predictions against gold labels. All but `rmse` are better when higher and at most 1."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distiller.errors import ConfigError, ShapeError, did_you_mean, warn
from distiller.registry import Entry, Family
from distiller.tasks.data import TaskData
from distiller.tasks.encode import IGNORED
from distiller.tasks.entities import entity_f1, entity_precision, entity_recall, marks_entities
from distiller.tasks.overlap import answer_f1, exact_match

Metric = Callable[..., float]
ZERO: Any = 0
"""The value of undefined quotients, about which scikit-learn would warn."""
GLUE_SOURCE = "arXiv:1804.07461"


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of class ids `[n]` that are correct."""
    return float(np.mean(predictions == labels))


def f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class 1 of two classes; 0 if class 1 is neither predicted nor present."""
    return _f1_of(1, predictions, labels)


def f1_macro(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Unweighted mean of the F1 of every class that is predicted or present."""
    return float(np.mean([_f1_of(one, predictions, labels) for one in np.union1d(predictions, labels)]))


def matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation of class ids, from -1 to 1; 0 if all predictions or all labels are one class."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Pearson correlation of numbers `[n]`, from -1 to 1; 0, with a warning, if it is undefined."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, labels)


def spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Spearman rank correlation (ties share a mean rank), from -1 to 1; 0, with a warning, if it is undefined."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, labels)


def token_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of the words of all sentences whose tag id `[n]` is correct."""
    return accuracy(predictions, labels)


def token_f1_macro(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Unweighted mean of the F1 of every tag that is predicted or present, over the words of all sentences."""
    return f1_macro(predictions, labels)


def rmse(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Root of the mean squared error, in the unit of the labels; lower is better."""
    return float(np.sqrt(np.mean((predictions.astype(np.float64) - labels) ** 2)))


def micro_f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 over all classes of all rows together, `[n, c]` of 0 and 1; 0 if nothing is predicted or present."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="micro", zero_division=ZERO))


def macro_f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Unweighted mean of the F1 of the classes, `[n, c]` of 0 and 1; 0 for a class neither predicted nor present."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=ZERO))


def subset_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows `[n, c]` of 0 and 1 in which every class is correct."""
    return float((predictions == labels).all(-1).mean())


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes that occur of the average precision (area under the precision–recall curve).

    `scores` are `[n, c]`, `labels` 0 or 1.
    """
    from sklearn.metrics import average_precision_score

    there = labels.any(0)
    return float(average_precision_score(labels[:, there], scores[:, there], average="macro")) if there.any() else 0.0


METRICS: Family[Metric] = Family(
    "metric",
    {
        "accuracy": Entry(accuracy, GLUE_SOURCE, {"kind": "classification"}),
        "f1": Entry(f1, GLUE_SOURCE, {"kind": "classification", "classes": 2}),
        "f1_macro": Entry(f1_macro, "scikit-learn", {"kind": "classification"}),
        "matthews": Entry(matthews, "doi:10.1016/0005-2795(75)90109-9", {"kind": "classification"}),
        "micro_f1": Entry(micro_f1, "scikit-learn", {"kind": "multilabel"}),
        "macro_f1": Entry(macro_f1, "scikit-learn", {"kind": "multilabel"}),
        "subset_accuracy": Entry(subset_accuracy, "scikit-learn", {"kind": "multilabel"}),
        "average_precision": Entry(average_precision, "scikit-learn", {"kind": "multilabel", "scores": True}),
        "pearson": Entry(pearson, GLUE_SOURCE, {"kind": "regression"}),
        "spearman": Entry(spearman, GLUE_SOURCE, {"kind": "regression"}),
        "rmse": Entry(rmse, "scikit-learn", {"kind": "regression", "lower_is_better": True}),
        "entity_f1": Entry(entity_f1, "seqeval", {"kind": "tagging", "entities": True}),
        "entity_precision": Entry(entity_precision, "seqeval", {"kind": "tagging", "entities": True}),
        "entity_recall": Entry(entity_recall, "seqeval", {"kind": "tagging", "entities": True}),
        "token_accuracy": Entry(token_accuracy, "scikit-learn", {"kind": "tagging"}),
        "token_f1_macro": Entry(token_f1_macro, "scikit-learn", {"kind": "tagging"}),
        "answer_f1": Entry(answer_f1, "arXiv:1606.05250", {"kind": "qa"}),
        "exact_match": Entry(exact_match, "arXiv:1606.05250", {"kind": "qa"}),
    },
)


def scores(data: TaskData, logits: Any, labels: Any) -> dict[str, float]:
    """Every metric of the task, by name; question answering has `answers.question_scores` instead.

    `logits` are `[n, classes]`, or `[n]` or `[n, 1]` for regression; `labels` are class ids or numbers `[n]`. For
    tagging, logits are `[n, length, classes]` and labels `[n, length]` with -100 at unscored tokens, as in
    `EncodedSplit.gold`; logits may be longer. Raises `ShapeError` if the shapes do not fit; warns of non-finite logits.
    """
    raw, gold = np.asarray(logits), np.asarray(labels)
    if data.kind == "tagging":
        return _tagging_scores(data, raw, gold)
    if data.kind == "multilabel":
        return _multilabel_scores(data, raw, gold)
    expected = (len(gold), len(data.labels)) if data.kind == "classification" else (len(gold), 1)
    if raw.shape != expected and not (data.kind == "regression" and raw.shape == expected[:1]):
        raise ShapeError(f"logits of shape {list(raw.shape)} for {data.kind} should have shape {list(expected)}")
    warn_of_divergence(raw)
    predictions = raw.argmax(-1) if data.kind == "classification" else raw.reshape(-1)
    return {name: METRICS[name].function(predictions, gold) for name in data.metrics}


def _multilabel_scores(data: TaskData, raw: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    if raw.shape != gold.shape or raw.shape[1:] != (len(data.labels),):
        raise ShapeError(
            f"logits of shape {list(raw.shape)} for multilabel should have shape {[len(gold), len(data.labels)]}"
        )
    warn_of_divergence(raw)
    predictions, gold = (raw > 0).astype(np.int64), gold.astype(np.int64)
    found: dict[str, float] = {}
    for name in data.metrics:
        entry = METRICS[name]
        found[name] = entry.function(np.nan_to_num(raw) if entry.traits.get("scores") else predictions, gold)
    return found


def _tagging_scores(data: TaskData, raw: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    classes = len(data.labels)
    if raw.ndim != 3 or gold.ndim != 2 or raw.shape != (len(gold), max(raw.shape[1], gold.shape[1]), classes):
        raise ShapeError(
            f"logits of shape {list(raw.shape)} for tagging should have shape {[*gold.shape, classes]}, or be longer"
        )
    raw = raw[:, : gold.shape[1]]
    warn_of_divergence(raw[gold != IGNORED])
    return {name: tagging_score(name, raw.argmax(-1), gold, data.labels) for name in data.metrics}


def tagging_score(name: str, predictions: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> float:
    """The metric `name` of tag ids `[sentences, l]`, over the positions where `gold` is not `IGNORED`."""
    entry, scored = METRICS[name], gold != IGNORED
    if not entry.traits.get("entities"):
        return entry.function(predictions[scored], gold[scored])
    names = np.asarray(labels)
    said, right = (
        [names[row[words]].tolist() for row, words in zip(ids, scored, strict=True)] for ids in (predictions, gold)
    )
    return entry.function(said, right)


def warn_of_divergence(logits: np.ndarray) -> None:
    """Warn if some `logits` are not finite."""
    if not np.isfinite(logits).all():
        warn("some logits are not finite: the training diverged")


def check_metric(name: str, data: TaskData) -> None:
    """Raise `ConfigError` unless the best checkpoint of this task can be chosen by the metric `name`."""
    traits = METRICS[name].traits
    fitting = [
        metric
        for metric, entry in METRICS.entries.items()
        if entry.traits["kind"] == data.kind
        and entry.traits.get("classes") in (None, len(data.labels))
        and not entry.traits.get("lower_is_better")
        and (marks_entities(data.labels) or not entry.traits.get("entities"))
    ]
    if name in fitting:
        return
    reason = f"is for {traits['kind']}"
    if traits["kind"] == data.kind:
        reason = f"is for {traits.get('classes')} classes"
        if traits.get("lower_is_better"):
            reason = "is better when lower"
        if traits.get("entities"):
            reason = "is for tags that mark entities, such as B-PER and I-PER"
    raise ConfigError(
        f"metric `{name}` {reason}, so it cannot choose the best checkpoint of task `{data.name}`",
        hint=did_you_mean(name, fitting),
    )


def _f1_of(one: int, predictions: np.ndarray, labels: np.ndarray) -> float:
    """F1 of class `one`; 0 if it is neither predicted nor present."""
    hits = np.sum((predictions == one) & (labels == one))
    total = np.sum(predictions == one) + np.sum(labels == one)
    return float(2 * hits / total) if total else 0.0


def _correlation(measure: Callable[..., Any], predictions: np.ndarray, labels: np.ndarray) -> float:
    """The correlation, or 0 with a warning if it is undefined: constant predictions say nothing about the labels."""
    x, y = predictions.astype(np.float64), labels.astype(np.float64)
    defined = len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    value = float(measure(x, y)[0]) if defined else np.nan
    if np.isnan(value):
        warn("the correlation with constant or NaN values is not defined and counts as 0")
        return 0.0
    return value
