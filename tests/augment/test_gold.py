"""Gold labels through any edit: an entity or an answer survives unharmed, or its label is gone."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from augment.stubs import texts
from distiller.augment.gold import Draft, of_context, of_tagged, of_text
from distiller.augment.passage import Edit
from distiller.tasks.data import Answer
from distiller.tasks.encode import IGNORED

NAMES = st.text("abC.é ", min_size=1, max_size=4).filter(str.strip)
LABELS = ["O", "B-X", "I-X"]


def any_edit(draft: Draft, data: st.DataObject, *, rewrite: bool = True) -> Edit:
    """An edit that an operator may make: free words replaced by one or more, a new text, or none."""
    kind = data.draw(st.sampled_from(["words", "text", "none"] if rewrite else ["words"]))
    if kind == "none":
        return None
    if kind == "text":
        return data.draw(texts | st.just(f"so {draft.passage.text}") | st.just(draft.passage.text))
    free = set(draft.passage.free)
    new = st.lists(st.text("xy1", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)
    return tuple(
        data.draw(st.just((word,)) | new) if n in free else (word,) for n, word in enumerate(draft.passage.words)
    )


def entities(words, tags) -> list[tuple[str, ...]]:
    """Maximal runs of B-X I-X … as `seqeval` reads IOB2."""
    found: list[list[str]] = []
    before = 0
    for word, tag in zip(words, tags, strict=True):
        if tag == 1 or (tag == 2 and before not in (1, 2)):
            found.append([word])
        elif tag == 2:
            found[-1].append(word)
        before = tag
    return [tuple(words) for words in found]


@given(words=st.lists(NAMES, min_size=1, max_size=8), data=st.data())
@settings(deadline=None, max_examples=60)
def test_entities_survive_or_no_tag_does(words: list[str], data: st.DataObject) -> None:
    tags = [data.draw(st.integers(0, 2)) for _ in words]
    draft = of_tagged(words, tags, "0", outside=0)
    for _ in range(3):
        draft = draft.after(any_edit(draft, data))
        assert draft.tags is not None
        assert len(draft.tags) == len(draft.passage.words)
        known = [tag for tag in draft.tags if tag != IGNORED]
        if known:
            assert entities(draft.passage.words, draft.tags) == entities(words, tags)
            assert len(known) == len(draft.tags)


@given(words=st.lists(NAMES, min_size=1, max_size=8), data=st.data())
@settings(deadline=None, max_examples=60)
def test_without_an_outside_tag_only_words_that_stay_keep_theirs(words: list[str], data: st.DataObject) -> None:
    tags = range(len(words))  # each word has a tag of its own: a tag on another word would show
    draft = of_tagged(words, tags, "0", outside=None)
    assert not draft.passage.protected
    for _ in range(2):
        draft = draft.after(any_edit(draft, data))
        assert draft.tags is not None
        for word, tag in zip(draft.passage.words, draft.tags, strict=True):
            assert tag == IGNORED or words[tag] == word


def test_tags_follow_one_to_several_words() -> None:
    draft = of_tagged(["Jim", "saw", "cars", "."], [1, 0, 0, 0], "0", outside=0)
    changed = draft.after((("Jim",), ("saw",), ("motor", "vehicles"), (".",)))
    assert changed.passage.words == ("Jim", "saw", "motor", "vehicles", ".")
    assert changed.tags == (1, 0, 0, 0, 0)
    changed = draft.after("Jim has seen the cars.")
    assert changed.passage.words == ("Jim", "has", "seen", "the", "cars", ".")
    assert changed.tags == (IGNORED,) * 6
    assert draft.after("Jim saw cars.") is draft  # the same words: their tags are still true
    assert draft.after(" ") is draft


@st.composite
def contexts(draw: st.DrawFn) -> tuple[str, tuple[Answer, ...]]:
    text = draw(texts.filter(bool))
    answers = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text) - 1))
        answers.append(Answer(text[start : draw(st.integers(start + 1, len(text)))], start))
    return text, tuple(answers)


@given(given=contexts(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_answers_stand_where_they_are_said_to_or_are_gone(
    given: tuple[str, tuple[Answer, ...]], data: st.DataObject
) -> None:
    text, answers = given
    draft = of_context(text, answers, "0")
    assert draft.passage.text == text
    for _ in range(3):
        before = draft
        edit = any_edit(draft, data)
        draft = draft.after(edit)
        assert draft.answers is not None
        for answer in draft.answers:
            assert draft.passage.text[answer.start : answer.start + len(answer.text)] == answer.text
            assert answer.text in [each.text for each in answers]
        if isinstance(edit, str) and draft is not before:
            assert all(draft.passage.text.count(answer.text) == 1 for answer in draft.answers)


@given(given=contexts(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_no_answer_is_lost_by_edits_of_words(given: tuple[str, tuple[Answer, ...]], data: st.DataObject) -> None:
    """And each is the same occurrence: as many characters of untouched text lie before it as before."""
    text, answers = given
    draft = of_context(text, answers, "0")
    edit = any_edit(draft, data, rewrite=False)
    changed = draft.after(edit)
    assert isinstance(edit, tuple)
    assert changed.answers is not None
    assert [answer.text for answer in changed.answers] == [answer.text for answer in answers]
    for old, new in zip(answers, changed.answers, strict=True):
        grown = sum(
            len(" ".join(words)) - (end - begin)
            for words, (begin, end) in zip(edit, draft.passage.spans, strict=True)
            if end <= old.start
        )
        assert new.start == old.start + grown


def test_answers_of_a_rewritten_context() -> None:
    draft = of_context("In 1990 he left Rome for Paris.", [Answer("1990", 3), Answer("Rome", 16)], "0")
    assert [draft.passage.words[n] for n in sorted(draft.passage.protected)] == ["1990", "Rome"]
    changed = draft.after("Rome was where he left, from Rome, in 1990.")
    assert changed.answers == (Answer("1990", 38),)
    assert changed.passage.protected == {8}
    assert changed.passage.fenced
    assert changed.passage.context
    assert draft.after("He left.").answers == ()


@given(text=texts, data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_text_without_spans_is_what_the_edit_says(text: str, data: st.DataObject) -> None:
    draft = of_text(text, "0")
    edit = any_edit(draft, data)
    expected = draft.passage.replaced(edit).text if isinstance(edit, tuple) else text if edit is None else edit
    assert draft.after(edit).passage.text == expected
    assert replace(draft, key="1").after(draft.passage.unchanged).passage == draft.passage
