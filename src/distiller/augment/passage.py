"""A text as operators see it: words, the gaps between them, and which words must stay as they are."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from random import Random

Edit = tuple[tuple[str, ...], ...] | str | None
"""What an operator makes of one passage: for each of its words the words that take its place (at least one), or the
whole text rewritten, or `None` where there was no output to use."""


@dataclass(frozen=True)
class Passage:
    """Words and the gaps before, between and after them (one more than words); joined they are the text."""

    words: tuple[str, ...]
    gaps: tuple[str, ...]
    protected: frozenset[int] = frozenset()
    """Positions of words that may be neither replaced nor moved."""
    fenced: bool = False
    """Whether words must not be moved across protected ones."""
    context: bool = False
    """Whether answers to a question are looked for in it."""

    def __post_init__(self) -> None:
        if len(self.gaps) != len(self.words) + 1:
            raise ValueError(f"{len(self.words)} words, but {len(self.gaps)} gaps")

    @property
    def text(self) -> str:
        """The text, with every character."""
        return "".join(chain.from_iterable(zip(self.gaps, (*self.words, ""), strict=True)))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end (exclusive) of each word, in characters."""
        found, position = [], 0
        for gap, word in zip(self.gaps, self.words, strict=False):
            position += len(gap)
            found.append((position, position + len(word)))
            position += len(word)
        return found

    @property
    def free(self) -> list[int]:
        """Positions of words that may be edited: not protected, and not punctuation."""
        return [n for n, word in enumerate(self.words) if n not in self.protected and _speaks(word)]

    @property
    def size(self) -> int:
        """The number of words without punctuation marks, to which replacement rates refer."""
        return sum(map(_speaks, self.words))

    @property
    def unchanged(self) -> tuple[tuple[str, ...], ...]:
        """The edit that changes nothing."""
        return tuple((word,) for word in self.words)

    def replaced(self, edit: tuple[tuple[str, ...], ...]) -> "Passage":
        """The passage with each word replaced as `edit` says; several words for one are joined by spaces."""
        if len(edit) != len(self.words) or not all(edit):
            raise ValueError("an edit has at least one word for each word")
        words = tuple(chain.from_iterable(edit))
        between = (gap for gap, new in zip(self.gaps, edit, strict=False) for gap in (gap, *[" "] * (len(new) - 1)))
        return Passage(words, (*between, self.gaps[-1]))


Operator = Callable[[Sequence[Passage], Sequence[Random]], list[Edit]]
"""An edit for each passage, drawn from the generator beside it. Its options are bound already."""


def split_words(text: str) -> Passage:
    """The words of `text`: letters, digits and their accents, with single `-`, `'` or `.` inside; the rest is gaps."""
    words, gaps, end = [], [], 0
    for match in _word().finditer(text):
        gaps.append(text[end : match.start()])
        words.append(match[0])
        end = match.end()
    return Passage(tuple(words), (*gaps, text[end:]))


def split_tokens(text: str) -> tuple[str, ...]:
    """Words and punctuation marks of `text`, each by itself, without spaces."""
    passage = split_words(text)
    marks = [[mark for mark in gap if not mark.isspace()] for gap in passage.gaps]
    return tuple(chain.from_iterable((*gap, word) for gap, word in zip(marks, passage.words, strict=False))) + tuple(
        marks[-1]
    )


def of_words(words: Sequence[str]) -> Passage:
    """A passage of the given words, with spaces between them."""
    return Passage(tuple(words), ("", *[" "] * (len(words) - 1), "") if words else ("",))


def with_case_of(model: str, word: str) -> str:
    """`word` in capitals, or capitalised, like `model`."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def _speaks(word: str) -> bool:
    return word.isalnum() or any(map(str.isalnum, word))


@cache
def _word() -> re.Pattern[str]:
    marks = "".join(chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
    letters = rf"[^\W_]+(?:[{marks}]+[^\W_]*)*"  # `\w` does not match the vowel signs of Indic scripts
    return re.compile(rf"{letters}(?:[-'’.]{letters})*")
