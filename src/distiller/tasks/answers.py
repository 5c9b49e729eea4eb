"""From start and end logits of windows to answers: the best spans of each question's context, over all windows."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distiller.errors import ShapeError
from distiller.files import unwritable, write_json
from distiller.tasks.data import NO_ANSWER, QuestionSplit
from distiller.tasks.metrics import warn_of_divergence
from distiller.tasks.overlap import squad_scores, squad_values
from distiller.tasks.windows import EncodedQuestions

CHUNK = 512
"""Questions decoded at a time: about 250,000 pairs of start and end, with 20 of each."""
NOTHING = "(no answer)"
"""How an empty answer is displayed."""


class Candidate(NamedTuple):
    """One possible answer."""

    text: str
    """The empty string means that the context has no answer."""
    start: int
    """Index of its first character in the context; -1 for no answer."""
    score: float
    """Start logit plus end logit."""
    probability: float
    """Softmax of the scores of all candidates of the question."""
    start_logit: float
    end_logit: float


@dataclass(frozen=True)
class Prediction:
    """The candidate answers to one question, best first; possibly none."""

    candidates: tuple[Candidate, ...]

    @property
    def text(self) -> str:
        """The best answer; empty if there is none."""
        return self.candidates[0].text if self.candidates else ""

    @property
    def probability(self) -> float:
        """The probability of the best answer; 0 if there is none."""
        return self.candidates[0].probability if self.candidates else 0.0


def answers(
    encoded: EncodedQuestions,
    split: QuestionSplit,
    start_logits: Any,
    end_logits: Any,
    *,
    n_best: int = 20,
    max_answer_length: int = 30,
    null_threshold: float = 0.0,
) -> dict[str, Prediction]:
    """The prediction for each question, by question id.

    `start_logits` and `end_logits` are `[rows of encoded, length]`, possibly padded on the right. In each window, the
    `n_best` starts and the `n_best` ends of highest logit among the context tokens are paired; an end is not before its
    start, an answer has at most `max_answer_length` tokens, and a start counts only in the window in which it has most
    context around it. The pairs of all windows of a question are ranked by the sum of their logits; of pairs with equal
    texts the best is kept, `n_best` in all. Ties go to the earlier position. Non-finite logits are never chosen.

    If contexts may have no answer, the score of no answer is the lowest score of its token (`encoded.nulls`) in any
    window. No answer is chosen if this exceeds the best other score by more than `null_threshold`, or if there is no
    other answer (Devlin et al. 2019, section 4.3).

    Raises `ShapeError` if the shapes do not fit. Source: the BERT script for SQuAD, arXiv:1810.04805.
    """
    starts, ends = (np.asarray(logits) for logits in (start_logits, end_logits))
    if starts.shape != ends.shape or starts.ndim != 2 or len(starts) != len(encoded):
        raise ShapeError(
            f"start and end logits of shape {list(starts.shape)} and {list(ends.shape)} for {len(encoded)} windows"
        )
    if starts.shape[1] < max(encoded.lengths):
        raise ShapeError(f"logits for {starts.shape[1]} tokens, but windows have up to {max(encoded.lengths)}")
    nothing = _null_candidates(encoded, starts, ends)
    bounds = np.searchsorted(encoded.questions, range(0, len(split) + CHUNK, CHUNK))
    found: list[Prediction] = []
    for chunk, (a, b) in enumerate(pairwise(bounds)):
        questions = range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(split)))
        pairs = _pairs(encoded, np.arange(a, b), starts, ends, n_best, max_answer_length)
        edges = np.searchsorted(pairs.question, [*questions, questions.stop])
        for question, (first, last) in zip(questions, pairwise(edges), strict=True):
            ranked = pairs.between(int(first), int(last))
            null = nothing.get(question)
            found.append(Prediction(_distinct(ranked, split.contexts[question], n_best, null, null_threshold)))
    return dict(zip(split.question_ids, found, strict=True))


def question_scores(encoded: EncodedQuestions, split: QuestionSplit, logits: Any, **limits: Any) -> dict[str, float]:
    """`exact_match` and `answer_f1`, from 0 to 1, from start and end logits `[rows of encoded, length, 2]`.

    `limits` are the options of `answers`. Raises `ShapeError` if the shapes do not fit; warns of non-finite logits.
    """
    return squad_scores(_texts(encoded, split, logits, limits), split)


def question_values(
    encoded: EncodedQuestions, split: QuestionSplit, logits: Any, metric: str, **limits: Any
) -> np.ndarray:
    """The value of `metric` (`exact_match` or `answer_f1`) for each question, `[q]`. Otherwise as `question_scores`."""
    return squad_values(_texts(encoded, split, logits, limits), split, metric)


def _texts(encoded: EncodedQuestions, split: QuestionSplit, logits: Any, limits: Mapping[str, Any]) -> dict[str, str]:
    """The predicted answer of every question that has one."""
    raw = np.asarray(logits)
    if raw.ndim != 3 or raw.shape[2] != 2:
        raise ShapeError(
            f"logits of shape {list(raw.shape)} for question answering should have shape [rows, length, 2]"
        )
    warn_of_divergence(raw)
    found = answers(encoded, split, raw[..., 0], raw[..., 1], **limits)
    return {key: prediction.text for key, prediction in found.items() if prediction.candidates}


def write_predictions(path: str | Path, predictions: Mapping[str, Prediction], *, n_best: bool = False) -> None:
    """Write `{question id: text}`, the format of the official SQuAD script, as one JSON object.

    With `n_best` the values are lists of all candidates: text, probability, start and end logit. The file is written
    completely or not at all. Raises `OutputError` if it cannot be written.
    """
    content: Mapping[str, Any] = {key: prediction.text for key, prediction in predictions.items()}
    if n_best:
        shown = ("text", "probability", "start_logit", "end_logit")
        content = {
            key: [{name: getattr(one, name) for name in shown} for one in prediction.candidates]
            for key, prediction in predictions.items()
        }
    with unwritable(Path(path), "name another file"):
        write_json(Path(path), content)


class _Pairs(NamedTuple):
    """Possible answers, ordered by question and rank."""

    question: np.ndarray
    first: np.ndarray
    """First character."""
    behind: np.ndarray
    """One past the last character."""
    start_logit: np.ndarray
    end_logit: np.ndarray

    def between(self, first: int, last: int) -> Iterator[tuple[int, int, float, float]]:
        """Characters and logits of the pairs from `first` to `last`, one by one."""
        return zip(*(column[first:last].tolist() for column in self[1:]), strict=True)


def _pairs(
    encoded: EncodedQuestions, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_best: int, longest: int
) -> _Pairs:
    """All permitted pairs of the best starts and ends in the windows `rows`."""
    columns = np.arange(starts.shape[1]) - encoded.firsts[rows, None]  # context tokens count from 0
    context = (columns >= 0) & (columns < encoded.counts[rows, None])
    own = (columns >= encoded.own[rows, :1]) & (columns < encoded.own[rows, 1:])
    start, start_logit = _best(starts[rows], context & own, n_best)
    end, end_logit = _best(ends[rows], context, n_best)
    length = end[:, None, :] - start[:, :, None] + 1
    permitted = (length >= 1) & (length <= longest)
    permitted &= np.isfinite(start_logit)[:, :, None] & np.isfinite(end_logit)[:, None, :]
    window, s, e = np.nonzero(permitted)
    at = encoded.origins[rows][window] - encoded.firsts[rows][window]
    question = encoded.questions[rows][window]
    scores = start_logit[window, s], end_logit[window, e]
    order = np.lexsort((end[window, e], start[window, s], window, -(scores[0] + scores[1]), question))
    return _Pairs(
        question=question[order],
        first=encoded.spans[at + start[window, s], 0][order],
        behind=encoded.spans[at + end[window, e], 1][order],
        start_logit=scores[0][order],
        end_logit=scores[1][order],
    )


def _best(logits: np.ndarray, permitted: np.ndarray, n_best: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions, logits) `[rows, n_best]` of the largest permitted logits; -inf if there are fewer."""
    values = np.where(permitted & np.isfinite(logits), logits.astype(np.float64), -np.inf)
    order = np.argsort(-values, axis=1, kind="stable")[:, :n_best]
    return order, np.take_along_axis(values, order, axis=1)


def _null_candidates(encoded: EncodedQuestions, starts: np.ndarray, ends: np.ndarray) -> dict[int, tuple[float, float]]:
    """Question → start and end logit of no answer, in the window where their sum is lowest."""
    found: dict[int, tuple[float, float]] = {}
    if encoded.nulls is None:
        return found
    rows = np.arange(len(encoded))
    pairs = zip(starts[rows, encoded.nulls].tolist(), ends[rows, encoded.nulls].tolist(), strict=True)
    for question, (start, end) in zip(encoded.questions.tolist(), pairs, strict=True):
        if math.isfinite(start + end) and (question not in found or start + end < sum(found[question])):
            found[question] = start, end
    return found


def _distinct(
    ranked: Iterable[tuple[int, int, float, float]],
    context: str,
    n_best: int,
    null: tuple[float, float] | None = None,
    null_threshold: float = 0.0,
) -> tuple[Candidate, ...]:
    """The best pairs with different texts, and no answer (`null`) among them."""
    kept: dict[str, tuple[int, float, float]] = {}
    for first, behind, start_logit, end_logit in ranked:
        text = context[first:behind]
        shift = len(text) - len(text.lstrip())  # some tokens begin with the space before them
        if (text := text.strip()) and text not in kept:
            kept[text] = (first + shift, start_logit, end_logit)
            if len(kept) == n_best:
                break
    if null is not None:
        best = next((start_logit + end_logit for _, start_logit, end_logit in kept.values()), -math.inf)
        none = {NO_ANSWER.text: (NO_ANSWER.start, *null)}
        kept = none | kept if sum(null) - best > null_threshold else kept | none
    if not kept:
        return ()
    scores = np.asarray([start_logit + end_logit for _, start_logit, end_logit in kept.values()])
    weights = np.exp(scores - scores.max())
    return tuple(
        Candidate(text, first, float(score), float(weight), start_logit, end_logit)
        for (text, (first, start_logit, end_logit)), score, weight in zip(
            kept.items(), scores, weights / weights.sum(), strict=True
        )
    )
