"""The development examples on which teacher and student say different things, those farthest apart first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, softmax

from distiller.config import Task
from distiller.deploy.examination import Disagreement
from distiller.tasks.answers import NOTHING, answers
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import IGNORED, EncodedSplit
from distiller.tasks.overlap import token_f1
from distiller.tasks.windows import EncodedQuestions

LONGEST = 600
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Said:
    """What one model says of the development set, read in its own tokens."""

    encoded: EncodedSplit
    logits: np.ndarray
    """`[rows of encoded, …]`, as the model gives them."""

    @property
    def gold(self) -> np.ndarray | None:
        """The labels, in the model's own tokens."""
        return self.encoded.gold

    @cached_property
    def tags(self) -> list[np.ndarray]:
        """Of a tagger: the tag of each word that it has read, row by row."""
        assert self.gold is not None
        chosen = self.logits.argmax(-1)
        return [row[: len(right)][right != IGNORED] for row, right in zip(chosen, self.gold, strict=True)]

    @cached_property
    def gold_tags(self) -> list[np.ndarray]:
        """Of a tagger: the right tag of each word that it has read, row by row."""
        assert self.gold is not None
        return [right[right != IGNORED] for right in self.gold]


def by_class(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Disagreement]:
    """Rows of different classes."""
    ours, theirs = (softmax(one.logits, axis=-1) for one in (student, teacher))
    for row in np.flatnonzero(ours.argmax(-1) != theirs.argmax(-1)).tolist():
        said = [f"{labels[found[row].argmax()]} ({100 * found[row].max():.0f} %)" for found in (theirs, ours)]
        label = None if split.labels is None else split.labels[row]
        yield Disagreement(
            text=_text(split, row),
            gold=labels[label] if isinstance(label, int) and label >= 0 else "",
            teacher=said[0],
            student=said[1],
            distance=float(np.abs(ours[row] - theirs[row]).sum() / 2),
        )


def by_labels(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Disagreement]:
    """Rows that have other labels for one than for the other."""

    def names(chosen: np.ndarray) -> str:
        return ", ".join(labels[n] for n in np.flatnonzero(chosen)) or "none"

    ours, theirs = (expit(one.logits) for one in (student, teacher))
    for row in np.flatnonzero(((ours > 0.5) != (theirs > 0.5)).any(-1)).tolist():
        gold = "" if split.labels is None else names(np.asarray(split.labels[row]) > 0.5)
        yield Disagreement(
            text=_text(split, row),
            gold=gold,
            teacher=names(theirs[row] > 0.5),
            student=names(ours[row] > 0.5),
            distance=float(np.abs(ours[row] - theirs[row]).sum() / 2),
        )


def by_number(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Disagreement]:
    """Every row: numbers are never quite the same."""
    pairs = zip(student.logits.reshape(-1), teacher.logits.reshape(-1), strict=True)
    for row, (ours, theirs) in enumerate(pairs):
        gold = "" if split.labels is None else f"{split.labels[row]:.4g}"
        yield Disagreement(
            text=_text(split, row),
            gold=gold,
            teacher=f"{theirs:.4g}",
            student=f"{ours:.4g}",
            distance=abs(float(ours - theirs)),
        )


def by_tag(labels: list[str], split: TaggedSplit, student: Said, teacher: Said) -> Iterator[Disagreement]:
    """Sentences with words of different tags, among the words that both have read."""
    for row, (gold, ours, theirs) in enumerate(zip(student.gold_tags, student.tags, teacher.tags, strict=True)):
        read = min(len(ours), len(theirs))
        apart = np.flatnonzero(ours[:read] != theirs[:read])
        if len(apart) == 0:
            continue
        said = [" ".join(f"{split.words[row][n]}/{labels[tags[n]]}" for n in apart) for tags in (gold, theirs, ours)]
        yield Disagreement(
            text=_text(split, row), gold=said[0], teacher=said[1], student=said[2], distance=len(apart) / read
        )


def by_answer(split: QuestionSplit, student: Said, teacher: Said, task: Task) -> Iterator[Disagreement]:
    """Questions with answers that differ once normalised."""
    found = []
    for one in (student, teacher):
        assert isinstance(one.encoded, EncodedQuestions)
        found.append(answers(one.encoded, split, one.logits[..., 0], one.logits[..., 1], **task.answer_limits))
    for row, key in enumerate(split.question_ids):
        ours, theirs = (predictions[key].text for predictions in found)
        distance = 1 - token_f1(ours, theirs)
        if distance > 0 and ours != theirs:
            gold = "" if split.answers is None else split.answers[row][0].text or NOTHING
            yield Disagreement(
                text=_text(split, row), gold=gold, teacher=theirs or NOTHING, student=ours or NOTHING, distance=distance
            )


OF_ROWS: dict[str, Callable[..., Iterator[Disagreement]]] = {
    "classification": by_class,
    "multilabel": by_labels,
    "regression": by_number,
    "tagging": by_tag,
}


def disagreements(
    kind: str, labels: list[str] | None, split: AnySplit, student: Said, teacher: Said, task: Task
) -> list[Disagreement]:
    """Where the two say different things of `split`, by the `kind` of the task."""
    if isinstance(split, QuestionSplit):
        found = by_answer(split, student, teacher, task)
    else:
        found = OF_ROWS[kind](labels or [], split, student, teacher)
    return sorted(found, key=lambda one: -one.distance)


def _text(split: AnySplit, row: int) -> str:
    if isinstance(split, TaggedSplit):
        text = " ".join(split.words[row])
    elif isinstance(split, QuestionSplit):
        text = f"{split.questions[row]} ∥ {split.contexts[row]}"
    else:
        text = split.texts[row] if split.pairs is None else f"{split.texts[row]} ∥ {split.pairs[row]}"
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
