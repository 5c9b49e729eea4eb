"""The development examples on which teacher and student disagree, the largest differences first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, softmax

from distiller.config import Task
from distiller.deploy.examination import Disagreement
from distiller.tasks.alignment import tags_read
from distiller.tasks.answers import NOTHING, answers
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.overlap import token_f1
from distiller.tasks.windows import EncodedQuestions

LONGEST = 600
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Said:
    """What one model says about the development set, in its own tokens."""

    encoded: EncodedSplit
    logits: np.ndarray
    """`[rows of encoded, …]`, as the model gives them."""

    @property
    def gold(self) -> np.ndarray | None:
        """The labels, in the model's own tokens."""
        return self.encoded.gold

    @cached_property
    def tags(self) -> list[np.ndarray]:
        """For a tagger: the predicted tag of each word that it has read, row by row."""
        assert self.gold is not None
        chosen = self.logits.argmax(-1)
        return list(map(tags_read, chosen, self.gold))

    @cached_property
    def gold_tags(self) -> list[np.ndarray]:
        """For a tagger: the correct tag of each word that it has read, row by row."""
        assert self.gold is not None
        return [tags_read(right, right) for right in self.gold]


Apart = tuple[int, str, str, str, float]
"""A row, what is right, what the teacher and what the student say of it, and how far these two are apart."""


def by_class(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Apart]:
    """Rows with different classes."""

    def named(shares: np.ndarray) -> str:
        return f"{labels[shares.argmax()]} ({100 * shares.max():.0f} %)"

    ours, theirs = (softmax(one.logits, axis=-1) for one in (student, teacher))
    for row in np.flatnonzero(ours.argmax(-1) != theirs.argmax(-1)).tolist():
        label = None if split.labels is None else split.labels[row]
        gold = labels[label] if isinstance(label, int) and label >= 0 else ""
        yield row, gold, named(theirs[row]), named(ours[row]), float(np.abs(ours[row] - theirs[row]).sum() / 2)


def by_labels(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Apart]:
    """Rows with different sets of labels."""

    def named(shares: np.ndarray) -> str:
        return ", ".join(labels[n] for n in np.flatnonzero(shares > 0.5)) or "none"

    ours, theirs = (expit(one.logits) for one in (student, teacher))
    for row in np.flatnonzero(((ours > 0.5) != (theirs > 0.5)).any(-1)).tolist():
        gold = "" if split.labels is None else named(np.asarray(split.labels[row]))
        yield row, gold, named(theirs[row]), named(ours[row]), float(np.abs(ours[row] - theirs[row]).sum() / 2)


def by_number(labels: list[str], split: Split, student: Said, teacher: Said) -> Iterator[Apart]:
    """Every row: two numbers are never exactly the same."""
    pairs = zip(student.logits.reshape(-1), teacher.logits.reshape(-1), strict=True)
    for row, (ours, theirs) in enumerate(pairs):
        gold = "" if split.labels is None else f"{split.labels[row]:.4g}"
        yield row, gold, f"{theirs:.4g}", f"{ours:.4g}", abs(float(ours - theirs))


def by_tag(labels: list[str], split: TaggedSplit, student: Said, teacher: Said) -> Iterator[Apart]:
    """Sentences in which a word that both have read has different tags."""
    for row, (gold, ours, theirs) in enumerate(zip(student.gold_tags, student.tags, teacher.tags, strict=True)):
        read = min(len(ours), len(theirs))
        apart = np.flatnonzero(ours[:read] != theirs[:read])
        if len(apart):
            right, taught, learnt = (
                " ".join(f"{split.words[row][n]}/{labels[tags[n]]}" for n in apart) for tags in (gold, theirs, ours)
            )
            yield row, right, taught, learnt, len(apart) / read


def by_answer(split: QuestionSplit, student: Said, teacher: Said, task: Task) -> Iterator[Apart]:
    """Questions whose answers differ once normalised."""
    found = []
    for one in (student, teacher):
        assert isinstance(one.encoded, EncodedQuestions)
        found.append(answers(one.encoded, split, one.logits[..., 0], one.logits[..., 1], **task.answer_limits))
    for row, key in enumerate(split.question_ids):
        ours, theirs = (predictions[key].text for predictions in found)
        distance = 1 - token_f1(ours, theirs)
        if distance > 0 and ours != theirs:
            gold = "" if split.answers is None else split.answers[row][0].text or NOTHING
            yield row, gold, theirs or NOTHING, ours or NOTHING, distance


OF_ROWS: dict[str, Callable[..., Iterator[Apart]]] = {
    "classification": by_class,
    "multilabel": by_labels,
    "regression": by_number,
    "tagging": by_tag,
}


def disagreements(
    kind: str, labels: list[str] | None, split: AnySplit, student: Said, teacher: Said, task: Task
) -> list[Disagreement]:
    """The examples of `split` on which the two disagree, for a task of this `kind`."""
    if isinstance(split, QuestionSplit):
        found = by_answer(split, student, teacher, task)
    else:
        found = OF_ROWS[kind](labels or [], split, student, teacher)
    return [
        Disagreement(text=_text(split, row), gold=gold, teacher=theirs, student=ours, distance=distance)
        for row, gold, theirs, ours, distance in sorted(found, key=lambda one: -one[-1])
    ]


def _text(split: AnySplit, row: int) -> str:
    if isinstance(split, TaggedSplit):
        text = " ".join(split.words[row])
    elif isinstance(split, QuestionSplit):
        text = f"{split.questions[row]} ∥ {split.contexts[row]}"
    else:
        text = split.texts[row] if split.pairs is None else f"{split.texts[row]} ∥ {split.pairs[row]}"
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
