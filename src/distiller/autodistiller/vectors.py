"""The vectors of the words that occur in a task."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from distiller.augment.word_vectors import PACKAGE, read_word_vectors

Vectors = dict[str, np.ndarray]
"""From a word in lower case to its vector `[d]`, float64."""


def read_vectors(words: Collection[str], source: str | Path = PACKAGE) -> Vectors:
    """The vectors that `source` has for `words`. Raises as `read_word_vectors` does."""
    wanted = set(words)
    known, table = read_word_vectors(source)
    return {word: np.asarray(table[row], dtype=float) for row, word in enumerate(known) if word in wanted}
