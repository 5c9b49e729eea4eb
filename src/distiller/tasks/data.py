"""The data of a task: splits of texts and labels, and what is needed to score predictions."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np

Kind = Literal["classification", "multilabel", "regression", "tagging", "qa"]
"""A label is one class, several classes, a number, a class for each word, or a span of a context, respectively."""


IGNORED = -100
"""The label of an unlabelled item, as in torch and `transformers`."""

UNLABELLED = "unlabelled"
"""The split of training rows without a label."""

CROSSED = "crossed"
"""The split of rows that were made by crossing training rows."""

TRANSFER = ("train", UNLABELLED, CROSSED)
"""The splits on which a student is trained; `train` always exists."""


PIECE = 10_000
"""Rows that are serialised at a time."""


class _Rows:
    """What all kinds of splits share; their columns are the fields that hold a tuple or an array."""

    name: str
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Iterable[int], *, name: str | None = None) -> Self:
        """The rows at these positions, in this order, optionally under another name."""
        rows = list(rows)
        split: Any = self
        chosen: dict[str, Any] = {"name": name or self.name}
        for column in fields(split):
            cells = getattr(self, column.name)
            if isinstance(cells, np.ndarray):
                chosen[column.name] = cells[rows]
            elif isinstance(cells, tuple | list):
                chosen[column.name] = tuple(cells[row] for row in rows)
        return replace(split, **chosen)


class _Placed(_Rows):
    """Rows whose source and position can be named in errors."""

    source: str

    @property
    def where(self) -> str:
        """The file, or else the split, as named in errors."""
        return f"`{self.source}`" if self.source else f"split `{self.name}`"


@dataclass(frozen=True)
class Split(_Rows):
    """Rows of one split, in the order of their source."""

    name: str
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    """The second text of each row, for tasks over pairs."""
    labels: tuple[int, ...] | tuple[float, ...] | tuple[tuple[float, ...], ...] | None = None
    """Class ids (classification), numbers (regression), or for each class 1.0 if it applies and 0.0 if not
    (multi-label); `None`: unlabelled, as the official GLUE tests are."""
    ids: tuple[int, ...] = ()
    """Position of each row among the rows of its source, from 0; by default 0, 1, 2, …"""
    soft: np.ndarray | None = field(default=None, compare=False)
    """Class probabilities that come with the data, `[rows, classes]`; NaN for rows without any."""

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self.texts))))
        for name, column in (("pairs", self.pairs), ("labels", self.labels), ("ids", self.ids), ("soft", self.soft)):
            if column is not None and len(column) != len(self.texts):
                raise ValueError(f"{len(self.texts)} texts, but {len(column)} {name}")

    @property
    def labelled(self) -> bool:
        """Whether the labels are known."""
        return self.labels is not None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, pairs, labels and probabilities."""
        digest = hashlib.sha256()
        for before, column in (("[", self.texts), (", ", self.pairs), (", ", self.labels)):
            digest.update(before.encode())
            for piece in _json(column):
                digest.update(piece.encode())
        digest.update(b"]")
        if self.soft is not None:
            digest.update(self.soft.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class TaggedSplit(_Placed):
    """Sentences of one split in words, in the order of their source."""

    name: str
    words: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[int, ...], ...] | None = None
    """Class ids, one per word; `None`: unlabelled."""
    ids: tuple[int, ...] = ()
    """Position of each sentence among the sentences of its source, from 0; by default 0, 1, 2, …"""
    source: str = field(default="", compare=False)
    """The file, or data set and split, as named in errors."""

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self.words))))
        if len(self.ids) != len(self.words):
            raise ValueError(f"{len(self.words)} sentences, but {len(self.ids)} ids")
        if self.tags is not None and [*map(len, self.tags)] != [*map(len, self.words)]:
            raise ValueError("not every word has one tag")

    @property
    def labelled(self) -> bool:
        """Whether the tags are known."""
        return self.tags is not None

    def place(self, row: int) -> str:
        """Source and number of the sentence at position `row`, for errors."""
        return f"{self.where}, sentence {self.ids[row] + 1}"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over words and tags."""
        return hashlib.sha256(json.dumps([self.words, self.tags]).encode()).hexdigest()


class Answer(NamedTuple):
    """A part of a context that answers a question."""

    text: str
    start: int
    """Index of its first character in the context."""


NO_ANSWER = Answer("", -1)
"""The gold answer to a question that its context does not answer."""


@dataclass(frozen=True)
class QuestionSplit(_Placed):
    """Questions of one split, each with its context, in the order of their source."""

    name: str
    questions: tuple[str, ...]
    contexts: tuple[str, ...]
    """One per question; questions about the same context share one object."""
    answers: tuple[tuple[Answer, ...], ...] | None = None
    """The gold answers of each question: `NO_ANSWER` alone if it has none, empty if unknown. `None`: unlabelled."""
    ids: tuple[int, ...] = ()
    """Position of each question among those of its source, from 0; by default 0, 1, 2, …"""
    question_ids: tuple[str, ...] = ()
    """The unique id of each question in its source; by default its position."""
    source: str = field(default="", compare=False)
    """The file, or data set and split, as an error names it."""
    null_answers: bool = False
    """Whether a question may have no answer in its context; a token of each window then stands for no answer."""

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self.questions))))
        if not self.question_ids:
            object.__setattr__(self, "question_ids", tuple(map(str, self.ids)))
        for name in ("contexts", "answers", "ids", "question_ids"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.questions):
                raise ValueError(f"{len(self.questions)} questions, but {len(column)} {name}")

    @property
    def labelled(self) -> bool:
        """Whether the answers are known."""
        return self.answers is not None

    def place(self, row: int) -> str:
        """Source, row and id of the question at position `row`, for errors."""
        return f"{self.where}, row {self.ids[row] + 1}, question `{self.question_ids[row]}`"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over questions, contexts, answers and question ids."""
        digest = hashlib.sha256()
        columns = (self.questions, self.contexts, self.answers or [None] * len(self), self.question_ids)
        for row in zip(*columns, strict=True):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()


AnySplit = Split | TaggedSplit | QuestionSplit
"""A split of any kind of task."""


@dataclass(frozen=True)
class TaskData:
    """The data of a task: `splits` has `train` and `dev`, possibly `test`, and for MNLI the mismatched splits.

    Either all rows of `train` have labels, or none. Training rows without labels, if others have some, are in the split
    `unlabelled`, with the texts of `task.unlabelled`; rows made by `Run.crossovers` are in the split `crossed`.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Class names in the order of the class ids; empty for regression and question answering."""
    metrics: tuple[str, ...]
    """Names of metrics; the best checkpoint is chosen by the first."""
    splits: Mapping[str, AnySplit]
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of unusable rows that were left out, by split (`Task.skip_bad`)."""
    left_out: tuple[str, ...] = ()
    """Place of each of these rows, and why it could not be used."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The columns that were taken for `Task.text`, `Task.text_pair` and `Task.label`, where the task named none."""
    notes: tuple[str, ...] = ()
    """Notes on the data: what was guessed or held out, and which rows have no label."""
    repeated: int = 0
    """Number of unlabelled texts that were left out because they are also in another split."""
    unsure: int = 0
    """Number of rows left out because no class was as probable as `Task.min_confidence`."""
    as_read: str | None = None
    """The fingerprint before rows were left out that the models of a run cannot read."""

    @property
    def metric(self) -> str:
        """The score by which the best checkpoint is chosen."""
        return self.metrics[0]

    @property
    def label_names(self) -> list[str] | None:
        """Class or tag names in the order of a model's outputs; `None` for numbers and spans."""
        return list(self.labels) if self.kind in ("classification", "multilabel", "tagging") else None

    @property
    def pairs(self) -> bool:
        """Whether each row has two texts."""
        train = self.splits["train"]
        return isinstance(train, Split) and train.pairs is not None

    @property
    def null_answers(self) -> bool:
        """Whether a question may have no answer in its context."""
        return any(isinstance(split, QuestionSplit) and split.null_answers for split in self.splits.values())

    @property
    def labelled(self) -> int:
        """Number of training rows with a label."""
        return len(self.splits["train"]) if self.splits["train"].labelled else 0

    @property
    def unlabelled(self) -> int:
        """Number of training rows without a label, on which the student only imitates the teacher."""
        return sum(len(split) for split in self.transfer if split.name != CROSSED) - self.labelled

    @property
    def soft(self) -> int:
        """Number of training rows with class probabilities."""
        columns = [split.soft for split in self.transfer if isinstance(split, Split) and split.soft is not None]
        return sum(int((~np.isnan(column).any(-1)).sum()) for column in columns)

    @cached_property
    def transfer(self) -> tuple[AnySplit, ...]:
        """The splits on which a student is trained: `train` and, if they exist, `unlabelled` and `crossed`."""
        return tuple(self.splits[name] for name in TRANSFER if name in self.splits)

    @property
    def published_max_length(self) -> int:
        """64 tokens for single texts, 128 for pairs and tagging, 320 for questions (arXiv:2109.11105, appendix G)."""
        if self.kind == "qa":
            return 320
        return 128 if self.pairs or self.kind == "tagging" else 64

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the kind, the label set and the content of all splits, as they were read, except `crossed`."""
        if self.as_read is not None:
            return self.as_read
        splits = sorted((name, split.fingerprint) for name, split in self.splits.items() if name != CROSSED)
        return hashlib.sha256(json.dumps([self.kind, self.labels, splits]).encode()).hexdigest()


def _json(column: Sequence[Any] | None) -> Iterator[str]:
    """The output of `json.dumps(column)` in pieces: as a whole it would take more memory than the texts."""
    if not column:
        yield json.dumps(column)
        return
    for start in range(0, len(column), PIECE):
        yield ", " if start else "["
        yield json.dumps(column[start : start + PIECE])[1:-1]
    yield "]"


def joined(first: AnySplit, second: AnySplit) -> AnySplit:
    """The rows of two splits of one kind, under the name of the first; the ids of the second continue after its ids.

    If only one of them has labels, the rows of the other are marked as unlabelled: -100 for class ids and tags, NaN for
    numbers, no answers.
    """
    behind = max(first.ids, default=-1) + 1
    ids = (*first.ids, *(behind + number for number in second.ids))
    if isinstance(first, TaggedSplit) and isinstance(second, TaggedSplit):
        tags = None
        if first.labelled or second.labelled:
            tags = tuple(
                row for one in (first, second) for row in one.tags or [(IGNORED,) * len(words) for words in one.words]
            )
        return TaggedSplit(first.name, first.words + second.words, tags, ids, first.source)
    if isinstance(first, QuestionSplit) and isinstance(second, QuestionSplit):
        answers = None
        if first.labelled or second.labelled:
            answers = tuple(row for one in (first, second) for row in one.answers or ((),) * len(one))
        questions, contexts = first.questions + second.questions, first.contexts + second.contexts
        names = first.question_ids + second.question_ids
        nulls = first.null_answers or second.null_answers
        return QuestionSplit(first.name, questions, contexts, answers, ids, names, first.source, nulls)
    assert isinstance(first, Split)
    assert isinstance(second, Split)
    known = next((one.labels for one in (first, second) if one.labels), None)
    labels: Any = None
    if known:
        missing: Any = math.nan if isinstance(known[0], float) else IGNORED
        if isinstance(known[0], tuple):
            missing = (float(IGNORED),) * len(known[0])
        labels = tuple(label for one in (first, second) for label in one.labels or (missing,) * len(one))
    pairs = None if first.pairs is None else first.pairs + (second.pairs or ())
    soft = None
    if first.soft is not None or second.soft is not None:
        classes = next(one.soft.shape[1] for one in (first, second) if one.soft is not None)
        parts = (np.full((len(one), classes), np.nan) if one.soft is None else one.soft for one in (first, second))
        soft = np.concatenate([part.astype(np.float32) for part in parts])
    return Split(first.name, first.texts + second.texts, pairs, labels, ids, soft)


def without_labels(split: AnySplit, *, name: str = UNLABELLED) -> AnySplit:
    """The rows of `split` without their labels."""
    hidden = {TaggedSplit: "tags", QuestionSplit: "answers"}.get(type(split), "labels")
    return replace(split, name=name, **{hidden: None})


def keys_of(split: AnySplit) -> list[Any]:
    """What identifies each row: its text or pair of texts, its words, or question and context."""
    if isinstance(split, TaggedSplit):
        return list(split.words)
    if isinstance(split, QuestionSplit):
        return list(zip(split.questions, split.contexts, strict=True))
    return list(split.texts if split.pairs is None else zip(split.texts, split.pairs, strict=True))


def texts_of(split: AnySplit) -> list[str]:
    """All distinct texts of a split, in order: both texts of pairs, joined sentences, questions and contexts."""
    if isinstance(split, TaggedSplit):
        found: Iterable[str] = (" ".join(words) for words in split.words)
    elif isinstance(split, QuestionSplit):
        found = (*split.questions, *split.contexts)
    else:
        found = (*split.texts, *(split.pairs or ()))
    return list(dict.fromkeys(found))


def sample(rows: int, size: int, *, seed: int) -> list[int]:
    """`size` of the positions 0 … `rows` - 1, in ascending order; all of them if there are no more.

    The choice depends on the SHA-256 of (seed, position), not on a library's generator, so it is the same on every
    machine and version, and smaller samples are contained in larger ones.
    """
    if size >= rows:
        return list(range(rows))
    order = sorted(range(rows), key=lambda row: hashlib.sha256(f"{seed}:{row}".encode()).digest())
    return sorted(order[:size])


def hold_out(rows: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """(kept, held out) positions of `rows` ≥ 2 rows: `fraction` of them, at least one and never all."""
    size = min(max(1, round(rows * fraction)), rows - 1)
    held_out = sample(rows, size, seed=seed)
    aside = set(held_out)
    return [row for row in range(rows) if row not in aside], held_out
