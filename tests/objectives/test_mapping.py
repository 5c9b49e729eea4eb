"""Layer mappings against the tables of the specification."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.errors import ConfigError
from distiller.objectives.mapping import MAPPING, attention_pairs, emd, last, pairs, skip, skip_strict

layers = st.integers(1, 24)


@pytest.mark.parametrize(
    ("mapping", "sizes", "teachers"),
    [
        (skip, (12, 4), [0, 3, 6, 9, 12]),
        (skip, (12, 6), [0, 2, 4, 6, 8, 10, 12]),
        (skip, (24, 4), [0, 6, 12, 18, 24]),
        (skip, (12, 8), [0, 1, 3, 4, 6, 7, 9, 10, 12]),
        (skip, (2, 4), [0, 0, 1, 1, 2]),
        (skip_strict, (12, 8), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (skip_strict, (12, 4), [0, 3, 6, 9, 12]),
        (last, (12, 4), [8, 9, 10, 11, 12]),
        (last, (6, 6), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_tables(mapping, sizes: tuple[int, int], teachers: list[int]) -> None:
    assert mapping(*sizes) == list(enumerate(teachers))
    assert mapping(*sizes, include_embeddings=False) == list(enumerate(teachers))[1:]


@settings(deadline=None, max_examples=50)
@given(teacher=layers, student=layers)
def test_every_mapping_is_monotone_and_in_range(teacher: int, student: int) -> None:
    for mapping in (skip, skip_strict, last):
        if mapping is not skip and student > teacher:
            continue
        result = mapping(teacher, student)
        assert [pair.student for pair in result] == list(range(student + 1))
        reached = [pair.teacher for pair in result]
        assert reached == sorted(reached)
        assert min(reached) >= 0
        assert reached[-1] <= teacher
    if teacher % student == 0:
        assert skip(teacher, student) == skip_strict(teacher, student)


@settings(deadline=None, max_examples=50)
@given(teacher=layers, student=layers)
def test_attention_pairs_are_the_table_of_zero_based_layers(teacher: int, student: int) -> None:
    if student > teacher:
        return
    zero_based = [(pair.student - 1, pair.teacher - 1) for pair in attention_pairs(skip(teacher, student))]
    assert zero_based == [(j, (j + 1) * teacher // student - 1) for j in range(student)]
    zero_based = [(pair.student - 1, pair.teacher - 1) for pair in attention_pairs(last(teacher, student))]
    assert zero_based == [(j, teacher - student + j) for j in range(student)]


def test_teacher_embeddings_have_no_attention() -> None:
    assert attention_pairs(skip(2, 4)) == [(2, 1), (3, 1), (4, 2)]


def test_transport_considers_all_pairs() -> None:
    assert emd(3, 2) == [(0, 0), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert len(emd(12, 4, include_embeddings=False)) == 48
    assert [name for name in MAPPING if MAPPING[name].traits["transport"]] == ["emd"]


def test_own_pairs_count_from_both_ends() -> None:
    given_pairs = MAPPING.options("pairs", {"pairs": [[1, 3], [-1, -1], [0, -13]]})
    assert pairs(12, 4, **given_pairs) == [(1, 3), (4, 12), (0, 0)]


@pytest.mark.parametrize(("wrong", "side"), [((5, 1), "student"), ((-6, 1), "student"), ((1, 13), "teacher")])
def test_own_pairs_out_of_range_are_refused_in_words(wrong: tuple[int, int], side: str) -> None:
    with pytest.raises(ConfigError, match=f"the {side} has no layer"):
        pairs(12, 4, pairs=[wrong])


def test_no_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="no pair"):
        pairs(12, 4, pairs=[])


@pytest.mark.parametrize("mapping", [last, skip_strict])
def test_a_student_deeper_than_its_teacher_is_refused(mapping) -> None:
    with pytest.raises(ConfigError, match="12 layers, the teacher only 4") as error:
        mapping(4, 12)
    assert "skip" in str(error.value.hint)
