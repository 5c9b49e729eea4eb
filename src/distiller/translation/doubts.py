"""Warnings about parallel text, to be read before anything is trained."""

import re
from collections.abc import Sequence

from distiller.tasks.text_files import ending
from distiller.translation.corpus import Splits

SAME = 0.1
"""Share of pairs with the same sentence on both sides (names, numbers) above which the user is warned."""
_COLUMN = re.compile(r"(?i)source|target|src|tgt|translation|[a-z]{2,3}([-_]\w+)?")
"""Names of columns that hold one side."""


def oddities(splits: Splits) -> list[str]:
    """Warnings about the text: held-out sentences among the training pairs, sides that look swapped or are equal,
    column names among the sentences."""
    found = _headers(splits)
    for pairs in filter(None, (splits.train, splits.dev, splits.test)):
        same = sum(map(str.__eq__, pairs.source, pairs.translations))
        if same > SAME * len(pairs):
            found.append(f"{same:,} of {len(pairs):,} pairs of `{pairs.name}` have the same sentence on both sides")
    known = set(splits.train.source)
    words = {"source": _words(splits.train.source), "target": _words(splits.train.translations)}
    for split, pairs in (("development", splits.dev), ("test", splits.test)):
        if pairs is None:
            continue
        again = sum(source in known for source in pairs.source)
        if again:
            found.append(f"{again} of {len(pairs)} {split} sentences are training sentences too: scores flatter")
        straight = _alike(pairs.source, words["source"]) + _alike(pairs.translations, words["target"])
        crossed = _alike(pairs.source, words["target"]) + _alike(pairs.translations, words["source"])
        if crossed > straight:
            found.append(f"source and target of `{pairs.name}` look swapped: its words are those of the other side")
    for side, other, texts in (("source", "target", splits.monolingual), ("target", "source", splits.backward)):
        for pairs in texts:
            if _alike(pairs.source, words[other]) > _alike(pairs.source, words[side]):
                found.append(f"`{pairs.name}` looks like {other} text, and is taken for {side} text")
    return found


def _headers(splits: Splits) -> list[str]:
    """A warning for each .tsv file whose first pair looks like a header."""
    found = []
    for pairs in (splits.train, splits.dev, splits.test):
        if pairs is None or ending(pairs.name) != ".tsv" or 1 not in pairs.lines:
            continue
        row = pairs.lines.index(1)
        first, second = pairs.source[row], pairs.translations[row]
        if first != second and _COLUMN.fullmatch(first) and _COLUMN.fullmatch(second):
            found.append(
                f"`{pairs.name}` line 1, `{first}` and `{second}`, looks like a header and is taken for a pair: "
                f"`columns: [{first}, {second}]` reads it as one"
            )
    return found


def _words(sentences: Sequence[str]) -> set[str]:
    return {word for sentence in sentences for word in sentence.casefold().split()}


def _alike(sentences: Sequence[str], known: set[str]) -> float:
    """The share of the words of `sentences` that are in `known`."""
    words = [word for sentence in sentences for word in sentence.casefold().split()]
    return sum(word in known for word in words) / max(1, len(words))
