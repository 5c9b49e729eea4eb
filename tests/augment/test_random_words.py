"""EDA's swap and synonym."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from augment.stubs import after, protect, rngs, texts
from distiller.augment.passage import split_words
from distiller.augment.random_words import random_words
from distiller.augment.stop_words import is_stop_word

LONG = "The quick dog saw a good film in the car, and the dog (fast!) ran to the box: Good film."


@given(text=texts, alpha=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_swap_keeps_the_words_and_moves_at_most_two_for_each_time(text: str, alpha: float, seed: int) -> None:
    passage = split_words(text)
    [edit] = random_words([passage], rngs(1, seed), alpha=alpha, ra_mode="swap")
    assert isinstance(edit, tuple)
    words = [word for (word,) in edit]
    assert Counter(words) == Counter(passage.words)
    moved = sum(a != b for a, b in zip(words, passage.words, strict=True))
    assert moved <= 2 * max(1, int(alpha * len(words)))
    assert passage.replaced(edit).gaps == passage.gaps


def test_one_word_is_not_swapped_and_two_are() -> None:
    one, two = split_words("alone!"), split_words("hello, world")
    edits = random_words([one, two], rngs(2), ra_mode="swap")
    assert [after(passage, edit) for passage, edit in zip([one, two], edits, strict=True)] == ["alone!", "world, hello"]


@settings(deadline=None)
@given(seed=st.integers(0, 200), alpha=st.floats(0, 1))
def test_synonyms_replace_every_occurrence_of_few_words(wordnet: str, seed: int, alpha: float) -> None:
    passage = split_words(LONG)
    [edit] = random_words([passage], rngs(1, seed), alpha=alpha, ra_mode="synonym", wordnet=wordnet)
    assert isinstance(edit, tuple)
    changed = {
        old.lower(): " ".join(new).lower() for old, new in zip(passage.words, edit, strict=True) if (old,) != new
    }
    assert len(changed) == min(max(1, int(alpha * 20)), 7)  # quick dog good film car fast box
    for old, new in zip(passage.words, edit, strict=True):
        assert " ".join(new).lower() == changed.get(old.lower(), old.lower())
        assert new[0][0].isupper() == old[0].isupper()
        assert not is_stop_word(old) or new == (old,)
    assert passage.replaced(edit).text.count("(") == 1


def test_protected_words_stay_and_fences_hold(wordnet: str) -> None:
    text = "one two three DOG CAR four five six"
    seen = set()
    for seed in range(60):
        fenced = protect(text, 3, 4, fenced=True)
        for mode in ("swap", "synonym", "mix"):
            [edit] = random_words([fenced], rngs(1, seed), alpha=1.0, ra_mode=mode, wordnet=wordnet)
            words = after(fenced, edit).split()
            assert words[3:5] == ["DOG", "CAR"]
            assert set(words[:3]) == {"one", "two", "three"}
        free = protect(text, 3, 4)
        [edit] = random_words([free], rngs(1, seed), alpha=1.0, ra_mode="swap")
        seen |= set(after(free, edit).split()[:3])
    assert "five" in seen  # without a fence words pass the protected ones


def test_mix_tosses_a_coin_for_each_passage(wordnet: str) -> None:
    passages = [split_words("dog film")] * 400
    edits = random_words(passages, rngs(400), ra_mode="mix", wordnet=wordnet)
    swaps = sum(edit == (("film",), ("dog",)) for edit in edits)
    assert abs(swaps - 200) < 4 * 10  # four standard deviations of a fair coin
