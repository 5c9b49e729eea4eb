"""Every training text again with other words, for a student to learn what its teacher says of them.

A small student of a few thousand texts ends short of its teacher because it has seen too few of them, not because it
lacks labels. Texts whose words were exchanged or left out at random need not be good language for that: the teacher
answers them all the same, and its answers show how it reads words (Tang et al. 2019, arXiv:1903.12136, section 3.3;
Jiao et al. 2020, TinyBERT, arXiv:1909.10351, section 4). docs/results.md has what it brings.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distiller.tasks.data import REWRITTEN, AnySplit, QuestionSplit, Split, TaggedSplit, TaskData, joined, keys_of
from distiller.tasks.data import without_labels as hidden

SHARE = 0.15
"""Of the words of a text, how many are exchanged or left out, half of them each."""
MOST = 4
"""Copies of a text, where a run does not say …"""
WORDS = 600_000
"""… and the words to which a training set may come with them: what has more is left as it is."""
TOKENS = 1.5
"""Tokens of a word, special ones included, rather too many than too few."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
"""Scripts that set no blanks between words, or long words: their characters are words here."""
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")


def usual_copies(data: TaskData, *, tokens: float = math.inf) -> int:
    """How many rewritten copies of each text a run gets that does not say: fewer, the more text there is.

    `tokens` are those for which there is room where the teacher's outputs are kept.
    """
    if data.kind == "qa":
        return 0
    words = sum(map(len, _corpus(data)))
    return min(MOST, max(0, int(min(WORDS, tokens / TOKENS) / max(1, words)) - 1))


def with_rewritten(data: TaskData, copies: int, *, seed: int) -> TaskData:
    """`data` with `copies` rewritten copies of every row that a student learns from, in the split `rewritten`.

    They have no labels. Words that come in are drawn from all texts, as often as they stand there; of a pair both
    texts are rewritten. The same `seed` gives the same copies. What is left as it was, or became a row of another
    split, is left out. `ValueError` for question answering.
    """
    if not copies:
        return data
    if data.kind == "qa":
        raise ValueError("the answers to rewritten contexts are not looked for")
    rng = np.random.default_rng(seed)
    corpus = _corpus(data)
    vocabulary = [word.lstrip() for text in corpus for word in text]
    found: AnySplit | None = None
    for split in data.transfer:
        for _ in range(copies):
            copy = _rewritten(hidden(split, name=REWRITTEN), vocabulary, rng)
            found = copy if found is None else joined(found, copy)
    assert found is not None
    known = {key for split in data.splits.values() for key in keys_of(split)}
    new = [row for row, key in enumerate(keys_of(found)) if key not in known]
    if not new:
        return data
    return replace(data, splits={**data.splits, REWRITTEN: found.take(new)})


def _corpus(data: TaskData) -> list[list[str]]:
    """The words of every training text, with the blanks before each."""
    found: list[list[str]] = []
    for split in data.transfer:
        if isinstance(split, TaggedSplit):
            found += [list(words) for words in split.words]
        elif isinstance(split, Split):
            found += [_WORD.findall(text) for text in (*split.texts, *(split.pairs or ()))]
    return found


def _rewritten(split: AnySplit, vocabulary: Sequence[str], rng: np.random.Generator) -> AnySplit:
    """One copy of every row."""
    assert not isinstance(split, QuestionSplit)
    if isinstance(split, TaggedSplit):
        return replace(split, words=tuple(tuple(_edited(words, vocabulary, rng)) for words in split.words))

    def texts(column: Sequence[str]) -> tuple[str, ...]:
        return tuple("".join(_edited(_WORD.findall(text), vocabulary, rng)).strip() for text in column)

    pairs = None if split.pairs is None else texts(split.pairs)
    return replace(split, texts=texts(split.texts), pairs=pairs, soft=None)


def _edited(words: Sequence[str], vocabulary: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Some words exchanged, some left out, at least one left."""
    chances = rng.random(len(words))
    others = rng.integers(len(vocabulary), size=len(words))
    edited: list[str] = []
    for word, chance, other in zip(words, chances, others, strict=True):
        if chance >= SHARE:
            edited.append(word)
        elif chance >= SHARE / 2:
            blank = word[: len(word) - len(word.lstrip())]
            edited.append(blank + vocabulary[int(other)])
    return edited or list(words)
