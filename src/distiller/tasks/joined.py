"""Several encoded splits, with or without labels, as one training set; nothing is copied."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from distiller.tasks.encode import IGNORED, EncodedSplit
from distiller.tasks.windows import EncodedQuestions


class JoinedSplit:
    """The rows of `parts`, one part after the other; `rows` are the numbers of texts from which each part was made.

    If only some rows have labels, the others get labels that are ignored: -100 for a class, each token, or both ends of
    an answer; NaN for numbers and probabilities.
    """

    def __init__(self, parts: Sequence[EncodedSplit], rows: Sequence[int]) -> None:
        self.parts = parts
        self.rows = rows
        self.lengths = [length for part in parts for length in part.lengths]
        self._starts = [0, *accumulate(map(len, parts))]
        self._labelled = next((part for part in parts if part.labels is not None), None)
        self._soft = next((part.soft for part in parts if part.soft is not None), None)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A row as an `EncodedSplit` gives it, numbered among the rows of all parts."""
        row = range(len(self))[row]
        number = bisect_right(self._starts, row) - 1
        feature = {**self.parts[number][row - self._starts[number]], "example_id": row}
        if self._labelled is not None and "labels" not in feature:
            feature["labels"] = self._no_label(len(feature["input_ids"]))
        if self._soft is not None and "soft_labels" not in feature:
            feature["soft_labels"] = [math.nan] * self._soft.shape[1]
        return feature

    @cached_property
    def questions(self) -> np.ndarray | None:
        """The question of each window, numbered over all parts; `None` for other kinds of task."""
        behind = [0, *accumulate(self.rows)]
        questions = [
            part.questions + start
            for part, start in zip(self.parts, behind, strict=False)
            if isinstance(part, EncodedQuestions)
        ]
        return np.concatenate(questions) if questions else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the fingerprints of the parts."""
        return hashlib.sha256(" ".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    def _no_label(self, tokens: int) -> Any:
        assert self._labelled is not None
        labels = self._labelled.labels
        assert labels is not None
        if self._labelled.per_token:
            return [IGNORED] * tokens
        if labels.ndim > 1:
            return [float(IGNORED) if labels.dtype.kind == "f" else IGNORED] * labels.shape[1]
        return math.nan if labels.dtype.kind == "f" else IGNORED
