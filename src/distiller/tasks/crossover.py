"""Texts made from two texts, the beginning of one and the end of another, for a teacher to label.

A small student trained on a few thousand texts falls short of its teacher because it has seen too few texts, not
because it lacks labels. Crossed texts need not be good language for that: the teacher labels them all the same, and how
it weighs their two halves shows how it reads. Instance crossover is due to Luque (2019, arXiv:1909.11241), who joined
texts of one class to have more of them; that a teacher can label any generated text, to Tang et al. (2019,
arXiv:1903.12136). docs/results.md has the gains. A tagger learns words too: some of those in its crossed sentences are
replaced by words that may occur in no training text. For question answering the contexts stay whole, so that no answer
is lost, and questions are made instead: what a small student lacks is how their words are found again in the context.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from itertools import chain

import numpy as np

from distiller.tasks.data import CROSSED, AnySplit, QuestionSplit, Split, TaggedSplit, TaskData, joined, keys_of
from distiller.tasks.data import without_labels as hidden

CUT = (0.3, 0.7)
"""Where a text is cut: least and greatest share of its words."""
USUAL, MOST = 4, 16
"""Crossed texts for each one, where a run does not say, and the most where there are few: …"""
ENOUGH = 12_000
"""… until there are so many; a few hundred texts gain from more than four (docs/results.md)."""
EXCHANGED, SHORTEST = 0.4, 3
"""Share of the words of a crossed sentence that are exchanged for others of the vocabulary, and letters of the shortest
that are: what is shorter, or no word, holds a sentence together."""
WORDS, QUESTION_WORDS = 600_000, 1_200_000
"""Words to which a training set may come with them, and one of questions and their contexts, which are read anew with
each: what has more is left as it is."""
TOKENS = 1.5
"""Tokens of a word, special ones included, rather too many than too few."""

WHOLE = 1 / 3
"""Share of the questions made that are another row's as it stands: of most of them the context does not tell."""
SPAN = 3
"""Words of the context in a question made, at least."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
"""Scripts that set no blanks between words, or long words: their characters are words here."""
_SET_CLOSE = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")


def usual_crossovers(data: TaskData, *, tokens: float = math.inf) -> int:
    """How many crossed texts per text a run gets that does not say: fewer, the more text there is.

    `tokens` is the number for which there is room where the teacher's outputs are kept.
    """
    rows, words = sum(map(len, data.transfer)), 0
    most = min(QUESTION_WORDS if data.kind == "qa" else WORDS, tokens / TOKENS)
    for text in chain.from_iterable(column for split in data.transfer for column in _columns(split)):
        words += len(text)
        if 2 * words > most:  # of millions of texts only as many are read as it takes to know
            return 0
    wished = min(MOST, max(USUAL, ENOUGH // max(1, rows)))
    return min(wished, int(most / max(1, words)) - 1)


def with_crossed(data: TaskData, times: int, *, seed: int, words: Sequence[str] = ()) -> TaskData:
    """`data` with `times` crossed texts for every row that a student learns from, in the split `crossed`.

    Each has the beginning of that row and the end of another one, labelled or not, and no label. In pairs, first texts
    are crossed with first ones, and second with second ones. In sentences for a tagger some words are replaced by
    others of `words`. Each context gets `times` new questions: two thirds of them have the beginning of another row's
    question and end in words of a sentence of the context, the rest are another row's question. The same `seed` gives
    the same texts. Texts that are already a row of another split are left out.
    """
    if not times:
        return data
    rng = np.random.default_rng(seed)
    source = hidden(reduce(joined, data.transfer), name=CROSSED)
    if isinstance(source, QuestionSplit):
        asked = reduce(joined, [_asked(source, rng) for _ in range(times)])
        found: AnySplit = replace(asked, question_ids=tuple(f"{CROSSED}-{row}" for row in range(len(asked))))
    else:
        columns = [list(column) for column in _columns(source)]
        found = reduce(joined, [_crossed(source, columns, rng) for _ in range(times)])
    if isinstance(found, TaggedSplit) and words:
        found = replace(found, words=tuple(_exchanged(sentence, words, rng) for sentence in found.words))
    known = {key for split in data.splits.values() for key in keys_of(split)}
    new = [row for row, key in enumerate(keys_of(found)) if key not in known]
    if not new:
        return data
    return replace(data, splits={**data.splits, CROSSED: found.take(new)})


def _columns(split: AnySplit) -> list[Iterable[Sequence[str]]]:
    """The words of each text in each column, with the space before them, one text after the other."""
    if isinstance(split, TaggedSplit):
        return [split.words]
    if isinstance(split, QuestionSplit):
        return [map(_WORD.findall, column) for column in (split.questions, split.contexts)]
    columns = (split.texts,) if split.pairs is None else (split.texts, split.pairs)
    return [map(_WORD.findall, column) for column in columns]


def _crossed(split: AnySplit, columns: Sequence[Sequence[Sequence[str]]], rng: np.random.Generator) -> AnySplit:
    """Every row of `split`, whose `columns` have these words, once, with the end of another."""
    ahead = rng.integers(1, max(2, len(split)), size=len(split))
    others: list[int] = ((np.arange(len(split)) + ahead) % len(split)).tolist()
    crossed: list[list[list[str]]] = []
    for texts in columns:
        cuts = rng.uniform(*CUT, size=len(texts))
        crossed.append(
            [_joint(words, texts[other], cut) for words, other, cut in zip(texts, others, cuts, strict=True)]
        )
    if isinstance(split, TaggedSplit):
        return replace(split, words=tuple(map(tuple, crossed[0])))
    assert isinstance(split, Split)
    texts, *pairs = (tuple("".join(words).strip() for words in column) for column in crossed)
    return replace(split, texts=texts, pairs=pairs[0] if pairs else None, soft=None)


def _asked(split: QuestionSplit, rng: np.random.Generator) -> QuestionSplit:
    """Every context of `split` once, with a new question."""
    questions = [_WORD.findall(question) for question in split.questions]
    sentences: dict[str, list[list[str]]] = {}
    asked: list[str] = []
    for context in split.contexts:
        if context not in sentences:
            sentences[context] = [_WORD.findall(text) for text in _SENTENCE.split(context) if text.strip()]
        words = questions[rng.integers(len(questions))]
        if rng.random() >= WHOLE and sentences[context]:
            sentence = sentences[context][rng.integers(len(sentences[context]))]
            words = _question(words, sentence, rng)
        asked.append("".join(words).strip())
    return replace(split, questions=tuple(asked))


def _question(words: Sequence[str], sentence: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The first `words` of a question; the rest is replaced by as many consecutive words of `sentence`."""
    kept = max(1, round(len(words) * rng.uniform(*CUT)))
    first = int(rng.integers(max(1, len(sentence) - SPAN + 1)))
    span = list(sentence[first : first + max(SPAN, len(words) - kept)])
    if not _SET_CLOSE.match(span[0].lstrip()):  # no space precedes the first word of a sentence
        span[0] = " " + span[0].lstrip()
    span[-1] = span[-1].rstrip(".,;:!?") + "?"
    return [*words[:kept], *span]


def _joint(words: Sequence[str], others: Sequence[str], cut: float) -> list[str]:
    """The first words of one text, at least one, and the last ones of another, without its first."""
    return [*words[: max(1, round(len(words) * cut))], *others[max(1, round(len(others) * cut)) :]]


def _exchanged(sentence: Sequence[str], words: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """`sentence` with a share of its words replaced by random ones of `words`."""
    drawn = rng.random(len(sentence)) < EXCHANGED
    others: list[int] = rng.integers(len(words), size=len(sentence)).tolist()
    found = list(sentence)
    for place in np.flatnonzero(drawn).tolist():
        if len(found[place]) >= SHORTEST and found[place].isalpha():
            found[place] = words[others[place]]
    return tuple(found)
