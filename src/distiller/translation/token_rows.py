"""Sentences as token ids in one flat array: 4 bytes per token and 8 per sentence; lists take ten times as much."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

import numpy as np

from distiller.cache.arrays import KEPT, kept_arrays
from distiller.cache.folders import FolderCache
from distiller.translation.pairs import sentences_fingerprint
from distiller.translation.tokenizer import TranslationTokenizer

PIECE = 10_000
"""Sentences tokenized at a time: as lists they take most memory."""


class TokenRows(Sequence[np.ndarray]):
    """Rows of token ids: `tokens` int32 `[sum of lengths]`, row n from `starts[n]` to `starts[n + 1]`."""

    def __init__(self, tokens: np.ndarray, starts: np.ndarray) -> None:
        self.tokens = tokens
        self.starts = starts

    @classmethod
    def of(cls, rows: "Iterable[Sequence[int] | np.ndarray]") -> "TokenRows":
        """The same rows, from any iterable of rows."""
        if isinstance(rows, TokenRows):
            return rows
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.array([len(row) for row in arrays], dtype=np.int64)
        return cls(_joined(arrays), np.concatenate([[0], np.cumsum(lengths)]))

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, `[rows]`."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, row: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, row: slice) -> "TokenRows": ...

    def __getitem__(self, row: "int | slice") -> "np.ndarray | TokenRows":
        """One row, or the rows of a slice."""
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        row = range(len(self))[row]
        return self.tokens[self.starts[row] : self.starts[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        for row in range(len(self)):
            yield self[row]

    def __add__(self, other: "TokenRows") -> "TokenRows":
        """The rows of both."""
        starts = np.concatenate([self.starts, other.starts[1:] + self.starts[-1]])
        return TokenRows(np.concatenate([self.tokens, other.tokens]), starts)

    def take(self, rows: "Sequence[int] | np.ndarray") -> "TokenRows":
        """The rows at these positions, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        return TokenRows(self.tokens[np.repeat(self.starts[chosen], lengths) + within], starts)


def encoded(encode: Callable[[Sequence[str]], list[list[int]]], sentences: Sequence[str]) -> TokenRows:
    """`sentences` as rows of tokens; only `PIECE` sentences at a time are held as lists."""
    tokens: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    for start in range(0, len(sentences), PIECE):
        rows = TokenRows.of(encode(sentences[start : start + PIECE]))
        tokens.append(rows.tokens)
        lengths.append(rows.lengths)
    return TokenRows(_joined(tokens), np.concatenate([[0], np.cumsum(_joined(lengths, np.int64))]))


def kept_rows(
    store: FolderCache | None, tokenizer: TranslationTokenizer, sentences: Sequence[str], *, targets: bool
) -> TokenRows:
    """`sentences` as rows of tokens; a long text is tokenized once for all runs and memory-mapped from the cache."""
    encode = tokenizer.encode_targets if targets else tokenizer.encode
    if store is None or len(sentences) < KEPT:
        return encoded(encode, sentences)
    facts = {"text": sentences_fingerprint(sentences), "tokenizer": tokenizer.fingerprint, "targets": targets}

    def make() -> dict[str, np.ndarray]:
        rows = encoded(encode, sentences)
        return {"tokens": rows.tokens, "starts": rows.starts}

    kept = kept_arrays(store, "translation-tokens", facts, make)
    return TokenRows(kept["tokens"], np.asarray(kept["starts"]))


def _joined(arrays: Sequence[np.ndarray], kind: type = np.int32) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=kind)
