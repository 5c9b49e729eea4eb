"""What a model predicted for each development example, and how far two models differ on them.

The difference between two students scored on the same examples is less uncertain than the errors of their two scores
suggest: where both are right or both are wrong, nothing tells them apart. The error of a difference is therefore that
of the paired difference over resampled examples (Efron & Tibshirani 1993, chapter 6), which holds for every metric.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from distiller.tasks.answers import question_values
from distiller.tasks.data import NO_ANSWER, QuestionSplit, TaskData
from distiller.tasks.encode import IGNORED, EncodedSplit
from distiller.tasks.metrics import METRICS, tagging_score
from distiller.tasks.windows import EncodedQuestions

RESAMPLES = 200
ALIKE = 1.5
"""Standard errors of two make the 3 of the rule of three."""


class Difference(NamedTuple):
    """A difference of scores and its standard error."""

    value: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is more than two standard errors from 0."""
        return abs(self.value) > 2 * self.error


def outcomes(data: TaskData, encoded: EncodedSplit, logits: np.ndarray, *, limits: dict[str, int]) -> np.ndarray:
    """What the task's score is computed from, by example: the decisions that `logits` lead to.

    Class ids `[n]`; for several labels 0 or 1 `[n, c]` (scores, where the metric reads them); numbers `[n]`; tag ids
    `[n, length]` with -100 where nothing is scored; or for question answering the value of the task's metric for each
    question `[q]`. `limits` are `n_best` and `max_answer_length`.
    """
    if data.kind == "qa":
        split = data.splits["dev"]
        assert isinstance(split, QuestionSplit)
        assert isinstance(encoded, EncodedQuestions)
        return question_values(encoded, split, logits, data.metric, **limits)
    if data.kind == "regression":
        return logits.reshape(-1)
    if data.kind == "multilabel":
        return logits if METRICS[data.metric].traits.get("scores") else (logits > 0).astype(np.int64)
    chosen = logits.argmax(-1)
    if data.kind == "tagging":
        gold: Any = encoded.gold
        return np.where(gold == IGNORED, IGNORED, chosen[:, : gold.shape[1]])
    return chosen


def score_of(data: TaskData, outcome: np.ndarray, gold: Any, rows: np.ndarray | slice = slice(None)) -> float:
    """The task's metric of `outcome` on the given rows."""
    entry = METRICS[data.metric]
    if data.kind == "qa":
        return float(outcome[rows].mean())
    said, right = outcome[rows], np.asarray(gold)[rows]
    if data.kind == "multilabel":
        return entry.function(said, right.astype(np.int64))
    if data.kind == "tagging":
        return tagging_score(data.metric, said, right, data.labels)
    return entry.function(said, right)


def difference(
    data: TaskData, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], gold: Any, *, seed: int = 0
) -> Difference:
    """How much better `ours` is than `theirs` on the task's metric: outcomes by training seed, in the same order.

    See `paired_difference`.
    """
    return paired_difference(lambda outcome, rows: score_of(data, outcome, gold, rows), ours, theirs, seed=seed)


def paired_difference(
    score: Callable[[np.ndarray, np.ndarray | slice], float],
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    *,
    seed: int = 0,
) -> Difference:
    """How much better `ours` are than `theirs`, by `score`: a function of an outcome and rows.

    A single outcome on one side is compared with every seed of the other. The error comes from resampling the
    development examples in pairs and, with several seeds, also from the trainings. Where all `n` examples differ
    equally, it follows from the rule of three (Hanley & Lippman-Hand 1983): with 95 % certainty fewer than 3 / `n` of
    all examples do not.
    """
    count = max(len(ours), len(theirs))
    pairs = [(ours[n % len(ours)], theirs[n % len(theirs)]) for n in range(count)]

    def apart(rows: np.ndarray | slice) -> list[float]:
        return [score(a, rows) - score(b, rows) for a, b in pairs]

    by_seed = apart(slice(None))
    if all(np.array_equal(a, b) for a, b in pairs):
        return Difference(0.0, 0.0)
    examples = len(pairs[0][0])
    rng = np.random.default_rng(seed)
    resampled = [float(np.mean(apart(rng.integers(0, examples, examples)))) for _ in range(RESAMPLES)]
    variance = float(np.var(resampled, ddof=1))
    variance = max(variance, (float(np.mean(by_seed)) * ALIKE / examples) ** 2)
    if count > 1:
        variance += float(np.var(by_seed, ddof=1)) / count
    return Difference(float(np.mean(by_seed)), variance**0.5)


def silence(data: TaskData) -> np.ndarray:
    """What each development question `[q]` adds to the score of a model that never answers."""
    split = data.splits["dev"]
    assert isinstance(split, QuestionSplit)
    return np.asarray([float(right == (NO_ANSWER,)) for right in split.answers or ()])


def constant(data: TaskData, gold: Any) -> tuple[float, str | None]:
    """The score of always giving the same answer, and that answer: the most frequent class, or no answer."""
    if data.null_answers:
        return float(silence(data).mean()), "no answer"
    if data.kind in ("regression", "multilabel", "qa"):
        return 0.0, None
    labels = np.asarray(gold)
    most = int(np.bincount(labels[labels != IGNORED]).argmax())
    return score_of(data, np.where(labels == IGNORED, IGNORED, most), labels), data.labels[most]
