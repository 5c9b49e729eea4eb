"""Embeddings of data sets and of task descriptions (arXiv:2109.11105, Table 7)."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from distiller.autodistiller.vectors import Vectors

LETTERS = re.compile(r"[^\W\d_]+")


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters, in lower case."""
    return LETTERS.findall(text.lower())


def count_words(texts: Iterable[str]) -> dict[str, int]:
    """How often each word occurs in all `texts` together."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    return dict(counts)


def inverse_frequency(data_sets: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """IDF_w = log((1 + N) / (1 + N_w)) for every word of N data sets, of which N_w contain it; natural logarithm.

    A word in all of them weighs 0, and with one data set every word does. Source: arXiv:2109.11105, Table 7.
    """
    listed = list(data_sets)
    containing: Counter[str] = Counter(word for counts in listed for word in counts)
    return {word: math.log((1 + len(listed)) / (1 + n)) for word, n in containing.items()}


def context_embedding(counts: Mapping[str, int], weights: Mapping[str, float], vectors: Vectors) -> np.ndarray | None:
    """The mean vector `[d]` of a data set's words, each times its IDF in `weights`; `None` without known words.

    Words without a vector are skipped and not counted. Source: arXiv:2109.11105, Table 7.
    """
    known = {word: n for word, n in counts.items() if word in vectors}
    if not known:
        return None
    total = sum(n * weights[word] * vectors[word] for word, n in known.items())
    return np.asarray(total) / sum(known.values())


def description_embedding(text: str, vectors: Vectors) -> np.ndarray | None:
    """The mean vector `[d]` of the words that describe a task; `None` without known words."""
    known = [vectors[word] for word in words_of(text) if word in vectors]
    return np.mean(known, axis=0) if known else None
