"""Examples with their augmented view, made anew in every epoch, in whichever process reads them."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distiller.augment import Policy
from distiller.models.layouts import Summary
from distiller.tasks.data import AnySplit
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.windows import EncodedQuestions
from distiller.training.batching import COUNTS, PairedSplit

Feature = dict[str, Any]


class AugmentedSplit:
    """A training set indexed by `(epoch, row)`; each feature has its augmented view under `augmented`.

    `tokens` are the encoded rows of `source`. `encode` turns augmented rows into tokens of the student. Where the
    teacher has another tokenizer, `encode_for_teacher` turns them, and what the student reads, into the teacher's.
    `summaries` are those of `PairedSplit`. Where `policy` rewrites no text, the augmented view is the example itself,
    for mixup. What the policy counts meanwhile travels with the first feature of a batch, since it may happen in
    another process.
    """

    def __init__(
        self,
        tokens: Any,
        source: AnySplit,
        policy: Policy,
        encode: Callable[[AnySplit], EncodedSplit],
        *,
        encode_for_teacher: Callable[[AnySplit, EncodedSplit], EncodedSplit] | None = None,
        seed: int,
        labels: Sequence[str] = (),
        summaries: tuple[Summary, Summary] = ("first", "first"),
    ) -> None:
        self.tokens = tokens
        self.source = source
        self.policy = policy
        self.encode = encode
        self.encode_for_teacher = encode_for_teacher
        self.seed = seed
        self.labels = labels
        self.summaries = summaries
        self.lengths = tokens.lengths
        self._first = _first_windows(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: tuple[int, int]) -> Feature:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[tuple[int, int]]) -> list[Feature]:
        """A whole batch at once: models that rewrite text, and tokenizers, are faster on several texts."""
        epoch = places[0][0]
        rows = [row for _, row in places]
        features = [dict(self.tokens[row]) for row in rows]
        before = Counter(self.policy.counts)
        views = self._rewritten(epoch, rows) if self.policy.steps else features
        found = [
            {**feature, "epoch": epoch, "augmented": {**view, "example_id": feature["example_id"]}}
            for feature, view in zip(features, views, strict=True)
        ]
        found[0][COUNTS] = dict(self.policy.counts - before)
        return found

    def _rewritten(self, epoch: int, rows: list[int]) -> list[Feature]:
        examples = rows if self._first is None else self._questions(rows)
        split = self.policy.augment_split(self.source, examples, seed=self.seed, epoch=epoch, labels=self.labels)
        encoded = self.encode(split)
        places = self._places(rows, encoded)
        if self.encode_for_teacher is None:
            return [dict(encoded[place]) for place in places]
        pairs = PairedSplit(encoded, self.encode_for_teacher(split, encoded), self.summaries)
        return [pairs[place] for place in places]

    def _questions(self, rows: Sequence[int]) -> list[int]:
        """The question that each of these windows belongs to."""
        return self.tokens.questions[rows].tolist()

    def _places(self, rows: Sequence[int], encoded: EncodedSplit) -> list[int]:
        """Where the augmented rows are: for windows, the one with the same number, or else the last."""
        if self._first is None:
            return list(range(len(rows)))
        assert isinstance(encoded, EncodedQuestions)
        first = np.searchsorted(encoded.questions, range(len(rows) + 1))
        numbers = [row - self._first[question] for row, question in zip(rows, self._questions(rows), strict=True)]
        return [min(int(a) + int(n), int(b) - 1) for a, b, n in zip(first[:-1], first[1:], numbers, strict=True)]


def _first_windows(tokens: Any) -> np.ndarray | None:
    """The first window of each question; `None` where an example is one row."""
    questions = getattr(tokens, "questions", None)
    return None if questions is None else np.searchsorted(questions, range(int(questions[-1]) + 1))
