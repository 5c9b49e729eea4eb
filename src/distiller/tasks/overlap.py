"""Answer texts compared with gold answers as the official script of SQuAD 1.1 does (arXiv:1606.05250).

Where a context may hold no answer, as the script of SQuAD 2 does (arXiv:1806.03822): the empty text is then right, and
nothing else scores. Scripts without spaces between words are compared letter by letter, as the script of MLQA does
(arXiv:1910.07475).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from distiller.errors import DataError
from distiller.tasks.data import QuestionSplit
from distiller.tasks.words import MARKS, spaced_words

ARTICLES = re.compile(r"\b(a|an|the)\b")
MARK = re.compile(f"[{MARKS}]")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """`text` in lower case, without punctuation and the words a, an and the, with single spaces between words.

    The punctuation removed is that of ASCII, and of scripts whose letters count as words (`spaced_words`).
    """
    plain = text.lower().translate(PUNCTUATION)
    if not plain.isascii():
        plain = MARK.sub("", plain)
    return " ".join(spaced_words(ARTICLES.sub(" ", plain)))


def matches(prediction: str, gold: str) -> float:
    """1 if two texts are equal once normalised, else 0."""
    return float(normalise(prediction) == normalise(gold))


def token_f1(prediction: str, gold: str) -> float:
    """F1 of the words that two normalised texts share, each counted as often as both have it; 0 if they share none.

    An empty `gold`, which means no answer, is matched only by a text without words.
    """
    if not gold:
        return matches(prediction, gold)
    predicted, right = normalise(prediction).split(), normalise(gold).split()
    shared = (Counter(predicted) & Counter(right)).total()
    return 2 * shared / (len(predicted) + len(right)) if shared else 0.0


def exact_match(predictions: Sequence[str | None], golds: Sequence[Sequence[str]]) -> float:
    """Share of the questions whose predicted text is one of the gold answers; `None` is no prediction, and wrong."""
    return _mean_of_best(matches, predictions, golds)


def answer_f1(predictions: Sequence[str | None], golds: Sequence[Sequence[str]]) -> float:
    """Mean over all questions of the word F1 with the closest gold answer; a question without a prediction scores 0."""
    return _mean_of_best(token_f1, predictions, golds)


def squad_scores(predictions: Mapping[str, str], split: QuestionSplit) -> dict[str, float]:
    """`exact_match` and `answer_f1` of `predictions` by question id, from 0 to 1 (the official script: times 100).

    Where some questions have no answer, also both scores over the questions that have one (HasAns in that script), and
    the share of the others that are left unanswered (NoAns).
    The mean is over all questions of `split`: one without a prediction scores 0, and predictions for unknown questions
    are ignored. Raises `DataError` for a split without answers.
    """
    if split.answers is None:
        raise DataError(f"split `{split.name}` has no answers to score with", hint="score one that has, such as `dev`")
    found = [predictions.get(key) for key in split.question_ids]
    golds = [[answer.text for answer in right] for right in split.answers]
    values = {"exact_match": exact_match(found, golds), "answer_f1": answer_f1(found, golds)}
    answered = [row for row, right in enumerate(golds) if any(right)]
    empty = [row for row, right in enumerate(golds) if not any(right)]
    if split.null_answers and answered and empty:
        said, right = [found[row] for row in answered], [golds[row] for row in answered]
        values |= {
            "has_answer_exact_match": exact_match(said, right),
            "has_answer_f1": answer_f1(said, right),
            "no_answer_accuracy": exact_match([found[row] for row in empty], [golds[row] for row in empty]),
        }
    return values


def squad_values(predictions: Mapping[str, str], split: QuestionSplit, metric: str) -> np.ndarray:
    """What each question of `split` `[q]` adds to `metric`, `exact_match` or `answer_f1`."""
    assert split.answers is not None
    found = [predictions.get(key) for key in split.question_ids]
    golds = [[answer.text for answer in right] for right in split.answers]
    return np.asarray(_best({"exact_match": matches, "answer_f1": token_f1}[metric], found, golds))


def _mean_of_best(
    measure: Callable[[str, str], float], predictions: Sequence[str | None], golds: Sequence[Sequence[str]]
) -> float:
    values = _best(measure, predictions, golds)
    return sum(values) / len(values)


def _best(
    measure: Callable[[str, str], float], predictions: Sequence[str | None], golds: Sequence[Sequence[str]]
) -> list[float]:
    return [
        0.0 if prediction is None else max(measure(prediction, one) for one in set(right))
        for prediction, right in zip(predictions, golds, strict=True)
    ]
