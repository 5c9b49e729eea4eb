"""What a word of plain text is: as in tagged corpora, whatever stands around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.tasks.words import SET_APART, spaced_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Not "bad". (Berlin), right?', 'Not " bad " . ( Berlin ) , right ?'),
        ("it isn't 'fine', dogs' bones", "it isn't ' fine ' , dogs ' bones"),
        ("the U.S. and e.g. 3.5, or .NET.", "the U.S. and e.g. 3.5 , or .NET ."),
        ("wait... what?!", "wait ... what ? !"),
        ("see http://a.b/c. #tag @me 5% C++ <url>", "see http://a.b/c . #tag @me 5% C++ <url>"),
        ("¿Qué? «Oui»", "¿ Qué ? « Oui »"),
        ("我在(北京)。", "我 在 ( 北 京 ) 。"),
        ("Apple Inc. pays `` much '' , he says .", "Apple Inc. pays `` much '' , he says ."),  # set apart already
        ("Berlin 's mayor", "Berlin 's mayor"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert words_of(text) == words.split(" ")


@given(st.text(alphabet='ab1 .,!?"()[]…“”«»-_是。\n', max_size=40))
def test_nothing_is_lost_and_words_do_not_fall_apart_further(text: str) -> None:
    found = words_of(text)
    assert "".join(found) == "".join(text.split())
    if not SET_APART.search(text):  # else blanks alone count: of `1? .` the word `1?` falls apart by itself
        assert all(words_of(word) == [word] for word in found)
    assert spaced_words(" ".join(text.split())) == spaced_words(text)
