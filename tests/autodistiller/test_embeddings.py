import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.autodistiller.embeddings import (
    context_embedding,
    count_words,
    description_embedding,
    inverse_frequency,
    words_of,
)

VECTORS = {"cat": np.array([1.0, 0.0]), "dog": np.array([0.0, 1.0]), "bird": np.array([2.0, 2.0])}


def test_words_are_runs_of_letters_in_lower_case() -> None:
    assert words_of("It's 3 O'Clock, déjà-vu_again!") == ["it", "s", "o", "clock", "déjà", "vu", "again"]


def test_idf_and_context_by_hand() -> None:
    """Three data sets: `cat` in all, `dog` in two, `bird` in one; `cow` has no vector and does not count."""
    sets = [count_words(texts) for texts in (["cat dog", "dog cow"], ["Cat", "dog"], ["cat cat bird"])]
    weights = inverse_frequency(sets)
    assert weights["cat"] == 0.0
    assert weights["dog"] == pytest.approx(math.log(4 / 3))
    assert weights["bird"] == pytest.approx(math.log(4 / 2))
    first = context_embedding(sets[0], weights, VECTORS)
    np.testing.assert_allclose(first, [0.0, 2 / 3 * math.log(4 / 3)])
    third = context_embedding(sets[2], weights, VECTORS)
    np.testing.assert_allclose(third, np.full(2, 2 / 3 * math.log(2)))


def test_one_data_set_has_the_zero_vector_and_unknown_words_none() -> None:
    counts = count_words(["cat dog bird"])
    np.testing.assert_array_equal(context_embedding(counts, inverse_frequency([counts]), VECTORS), [0.0, 0.0])
    assert context_embedding({"cow": 3}, inverse_frequency([{"cow": 3}]), VECTORS) is None
    assert description_embedding("cow!", VECTORS) is None
    np.testing.assert_array_equal(description_embedding("A cat, a dog", VECTORS), [0.5, 0.5])


@given(
    st.lists(st.lists(st.sampled_from(["cat", "dog", "bird", "cow"]), min_size=1, max_size=9), min_size=1, max_size=5)
)
def test_context_agrees_with_a_loop_over_tokens(texts: list[list[str]]) -> None:
    sets = [count_words([" ".join(words)]) for words in texts]
    weights = inverse_frequency(sets)
    for words, counts in zip(texts, sets, strict=True):
        tokens = [word for word in words if word in VECTORS]
        found = context_embedding(counts, weights, VECTORS)
        if not tokens:
            assert found is None
            continue
        with_word = {word: sum(word in other for other in texts) for word in tokens}
        slow = [math.log((1 + len(texts)) / (1 + with_word[word])) * VECTORS[word] for word in tokens]
        np.testing.assert_allclose(found, np.mean(slow, axis=0), atol=1e-12)
