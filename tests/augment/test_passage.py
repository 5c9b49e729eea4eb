"""Texts in words: nothing is lost, and edits land where they should."""

from hypothesis import given, settings
from hypothesis import strategies as st

from augment.stubs import texts
from distiller.augment.passage import Passage, of_words, split_tokens, split_words, with_case_of


@given(text=texts)
def test_splitting_loses_nothing(text: str) -> None:
    passage = split_words(text)
    assert passage.text == text
    assert [text[begin:end] for begin, end in passage.spans] == list(passage.words)
    assert all(word and not word.isspace() for word in passage.words)
    assert not any(map(str.isalnum, "".join(passage.gaps)))


def test_words_keep_accents_apostrophes_and_hyphens() -> None:
    text = "Dr. O’Neill's well-known café (U.S.) — हिन्दी, e\N{COMBINING ACUTE ACCENT}té: 3.5%"
    words = ["Dr", "O’Neill's", "well-known", "café", "U.S", "हिन्दी", "e\N{COMBINING ACUTE ACCENT}té", "3.5"]
    assert list(split_words(text).words) == words


@given(text=texts)
def test_tokens_are_the_text_without_spaces(text: str) -> None:
    assert "".join(split_tokens(text)) == "".join(text.split())


@given(text=texts, data=st.data())
@settings(deadline=None)
def test_a_replacement_changes_its_words_and_no_gap(text: str, data: st.DataObject) -> None:
    passage = split_words(text)
    new = st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)
    edit = tuple(data.draw(st.just((word,)) | new) for word in passage.words)
    joined = [" ".join(words) for words in edit]
    expected = "".join(gap + word for gap, word in zip(passage.gaps, [*joined, ""], strict=True))
    changed = passage.replaced(edit)
    assert changed.text == expected
    assert list(changed.words) == [word for words in edit for word in words]


def test_given_words_stay_as_they_are() -> None:
    assert of_words(["a", "b c", "."]).text == "a b c ."
    assert of_words([]) == Passage((), ("",))
    assert of_words(["(", "a", ")"]).free == [1]


def test_case_is_taken_over() -> None:
    assert [with_case_of(model, "movie") for model in ("film", "Film", "FILM", "A", "")] == [
        "movie", "Movie", "MOVIE", "Movie", "movie",
    ]  # fmt: skip
