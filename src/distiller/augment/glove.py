"""Nearest neighbours among GloVe vectors."""

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from distiller.augment.word_vectors import PACKAGE, read_word_vectors


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
        """The `count` words most similar to `word` by cosine, best first, without itself; none for an unknown word."""
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
def load_glove(source: str | None = None) -> Glove:
    """The vectors that `source` names, `None` for those of the installed package; once per process.

    Raises as `read_word_vectors` does.
    """
    return Glove(*read_word_vectors(source or PACKAGE))
