"""Class names: the same ones whoever wrote them, never two of them taken for one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.tasks.labels import class_numbers, label_set, same_names, says_nothing

NAMES = st.lists(st.text(st.sampled_from("aAbB"), min_size=1, max_size=3), min_size=1, max_size=6, unique=True)


@given(names=NAMES, seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_same_names_in_another_order_are_found_exactly(names: list[str], seed: int) -> None:
    theirs = random.Random(seed).sample(names, len(names))
    order = same_names(names, theirs)
    assert order is not None
    assert [theirs[position] for position in order] == names


@given(names=NAMES)
@settings(deadline=None)
def test_case_is_passed_over_only_where_that_is_one_to_one(names: list[str]) -> None:
    distinct = len({name.casefold() for name in names}) == len(names)
    changed = [name.swapcase() for name in names]
    order = same_names(names, changed)
    if set(changed) == set(names):
        assert order == [changed.index(name) for name in names]
    elif distinct and len({name.casefold() for name in changed}) == len(names):
        assert order == list(range(len(names)))
    else:
        assert order is None


@pytest.mark.parametrize(
    ("ours", "theirs", "order"),
    [
        (["Apple", "apple"], ["apple", "Apple"], [1, 0]),
        (["Apple", "apple"], ["APPLE", "apple"], None),
        (["LOC", "loc", "O"], ["O", "LOC", "loc"], [1, 2, 0]),
        (["no", "yes"], ["YES", "No"], [1, 0]),
        (["a", "b"], ["a", "b", "c"], None),
        (["a", "a"], ["a", "a"], [0, 1]),
        (["a", "b"], ["a", "a"], None),
        (["cafe\u0301", "bar"], ["bar", "caf\u00e9"], [1, 0]),
        (["not_entailment", "entailment"], ["Entailment", "Not Entailment"], [1, 0]),
        (["very bad", "very-bad"], ["very_bad", "very-good"], None),
        (["-1", "0"], ["1", "0"], None),
        (["b\u200b", "a"], ["a", "b"], [1, 0]),
    ],
)
def test_which_names_are_the_same(ours: list[str], theirs: list[str], order: list[int] | None) -> None:
    assert same_names(ours, theirs) == order


def test_names_that_only_count() -> None:
    assert says_nothing(["LABEL_0", "LABEL_1"])
    assert says_nothing(["0", "1", "2"])
    assert not says_nothing(["1", "0"])
    assert not says_nothing(["negative", "positive"])


def test_a_whole_number_is_one_class_however_it_is_written() -> None:
    assert label_set(["2", "10", "1.0", "1", "-1", "b", "a"]) == ("-1", "1", "2", "10", "a", "b")
    assert label_set(["1.0", "1.1", "2.0"]) == ("1.0", "1.1", "2.0")
    assert label_set(["007", "7"]) == ("007", "7")
    assert class_numbers(("0", "1"), ["1.0", "0", "1", "2", "x"]) == {"1.0": 1, "0": 0, "1": 1}
    assert class_numbers(("1.0", "1.1"), ["1", "1.1"]) == {"1": 0, "1.1": 1}


def test_an_id_stands_for_a_class_where_no_class_is_a_number() -> None:
    assert class_numbers(("negative", "positive"), ["0", "1.0", "positive", "2"]) == {"0": 0, "1.0": 1, "positive": 1}
    assert class_numbers(("1", "2"), ["0", "1"]) == {"1": 0}


def test_truth_values_are_one_class_however_they_are_spelt() -> None:
    assert label_set(["TRUE", "true", "False", "FALSE"]) == ("False", "true")
    assert label_set(["TRUE", "FALSE"]) == ("FALSE", "TRUE")
    assert class_numbers(("False", "true"), {"TRUE", "FALSE", "false"}) == {"TRUE": 1, "FALSE": 0, "false": 0}


@pytest.mark.parametrize(
    ("labels", "written", "found"),
    [
        (("neg", "pos"), ["Neg", "POS"], {"Neg": 0, "POS": 1}),
        (("neg", "pos"), ["Neg", "neg"], {"neg": 0}),
        (("neg", "pos"), ["Neg", "NEG"], {}),
        (("Polish", "polish"), ["POLISH", "polish"], {"polish": 1}),
        (("not entailment",), ["not_entailment", "entailment"], {"not_entailment": 0}),
        (("1", "2"), ["-1", "+1"], {}),
    ],
)
def test_a_similar_name_stands_for_a_class_where_that_is_one_to_one(
    labels: tuple[str, ...], written: list[str], found: dict[str, int]
) -> None:
    assert class_numbers(labels, written) == found
