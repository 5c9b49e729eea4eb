"""Gold labels on their way through a policy: kept while they still hold for the text, dropped otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from distiller.augment.passage import Edit, Passage, of_words, split_tokens, split_words
from distiller.tasks.data import Answer
from distiller.tasks.encode import IGNORED


@dataclass(frozen=True)
class Draft:
    """One text of a row as the operators have left it so far, and which of its gold labels still hold."""

    passage: Passage
    key: str
    """The row and which of its texts this is."""
    tags: tuple[int, ...] | None = None
    """A class id for each word, -100 where it is not known any more."""
    outside: int | None = None
    """The class id of words outside every entity, if the tag set has one."""
    answers: tuple[Answer, ...] | None = None

    def after(self, edit: Edit) -> "Draft":
        """The text and labels after `edit`; the same object where it changes nothing."""
        if edit is None or edit in (self.passage.unchanged, self.passage.text):
            return self
        if isinstance(edit, str):
            return self._rewritten(edit)
        changed = replace(self, passage=self.passage.replaced(edit))
        if self.tags is not None:
            changed = replace(changed, tags=follow_tags(self.tags, self.passage, edit, self.outside))
        if self.answers is not None:
            changed = replace(changed, answers=follow_answers(self.answers, self.passage, edit))
        return changed._protected()

    def _rewritten(self, text: str) -> "Draft":
        """No tag survives a new text; an answer does if it occurs there exactly once."""
        if self.tags is not None:
            words = split_tokens(text)
            if not words or words == self.passage.words:
                return self
            return replace(self, passage=of_words(words), tags=(IGNORED,) * len(words))
        answers = self.answers
        if answers is not None:
            once = [(text.find(answer.text), answer.text) for answer in answers if _occurs_once(answer.text, text)]
            answers = tuple(Answer(string, start) for start, string in once)
        passage = replace(split_words(text), fenced=self.passage.fenced, context=self.passage.context)
        return replace(self, passage=passage, answers=answers)._protected()

    def _protected(self) -> "Draft":
        if self.tags is not None:
            positions = entity_words(self.tags, self.outside)
        elif self.answers is not None:
            positions = answer_words(self.answers, self.passage)
        else:
            return self
        return replace(self, passage=replace(self.passage, protected=positions))


def of_text(text: str, key: str) -> Draft:
    """A text whose label holds whatever becomes of it, as classes, numbers and questions do."""
    return Draft(split_words(text), key)


def of_tagged(words: Sequence[str], tags: Sequence[int] | None, key: str, *, outside: int | None) -> Draft:
    """A sentence of tagged words. If there is a tag `outside`, only words with that tag are edited."""
    return Draft(of_words(words), key, None if tags is None else tuple(tags), outside)._protected()


def of_context(text: str, answers: Sequence[Answer] | None, key: str) -> Draft:
    """A context; words that an answer touches are not edited."""
    passage = replace(split_words(text), fenced=True, context=True)
    return Draft(passage, key, answers=None if answers is None else tuple(answers))._protected()


def entity_words(tags: Sequence[int], outside: int | None) -> frozenset[int]:
    """Positions of words with another tag than `outside`; none if the tag set has no such tag."""
    if outside is None:
        return frozenset()
    return frozenset(n for n, tag in enumerate(tags) if tag not in (outside, IGNORED))


def answer_words(answers: Sequence[Answer], passage: Passage) -> frozenset[int]:
    """Positions of words that share a character with an answer."""
    ranges = [(answer.start, answer.start + len(answer.text)) for answer in answers]
    return frozenset(
        n
        for n, (begin, end) in enumerate(passage.spans)
        if any(begin < behind and first < end for first, behind in ranges)
    )


def follow_tags(
    tags: Sequence[int], passage: Passage, edit: tuple[tuple[str, ...], ...], outside: int | None
) -> tuple[int, ...]:
    """A tag for each new word: unchanged words keep theirs, new ones get `outside`, or no label."""
    found: list[int] = []
    for tag, word, new in zip(tags, passage.words, edit, strict=True):
        kept = new == (word,) or tag == outside
        found += [tag if kept else IGNORED] * len(new)
    return tuple(found)


def follow_answers(
    answers: Sequence[Answer], passage: Passage, edit: tuple[tuple[str, ...], ...]
) -> tuple[Answer, ...]:
    """Each answer at its position after `edit`; one with an edited word is dropped."""
    edited = [
        (end, sum(map(len, new)) + len(new) - 1 - (end - begin))
        for (begin, end), word, new in zip(passage.spans, passage.words, edit, strict=True)
        if new != (word,)
    ]
    text = passage.replaced(edit).text
    moved = [
        Answer(answer.text, answer.start + sum(longer for end, longer in edited if end <= answer.start))
        for answer in answers
    ]
    return tuple(answer for answer in moved if text.startswith(answer.text, answer.start))


def _occurs_once(part: str, text: str) -> bool:
    first = text.find(part)
    return first >= 0 and text.find(part, first + 1) < 0
