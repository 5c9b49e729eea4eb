"""Held-out rows: of every class, by its share, and never a text that has been learnt."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.data import Split, TaggedSplit
from distiller.tasks.held_out import hold_out_rows, keys, stratified

LABELS = ("a", "b", "c", "d")


@given(
    classes=st.lists(st.integers(0, 3), min_size=2, max_size=120),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 9),
    repeats=st.integers(1, 200),
)
@settings(deadline=None, max_examples=100)
def test_both_sides_divide_the_rows(classes: list[int], fraction: float, seed: int, repeats: int) -> None:
    texts = tuple(f"text {row % repeats}" for row in range(len(classes)))
    rows = Split("train", texts, labels=tuple(classes))
    task = Task(dev_fraction=fraction, split_seed=seed)
    once = [row for row, text in enumerate(texts) if texts.count(text) == 1]
    if len(set(classes)) == len(classes):
        with pytest.raises(DataError, match="classes has one row, and what is held out would not be learnt"):
            hold_out_rows(rows, task, LABELS, where="file")
        return
    if len(set(texts)) == 1:
        with pytest.raises(DataError, match="is the same"):
            hold_out_rows(rows, task, LABELS, where="file")
        return
    train, dev, notes = hold_out_rows(rows, task, LABELS, where="file")
    assert hold_out_rows(rows, task, LABELS, where="file").dev == dev
    assert sorted([*train.ids, *dev.ids]) == list(range(len(classes)))
    assert len(train) > 0
    size = max(1, round(fraction * len(rows)))
    assert 0 < len(dev) <= (size if 2 * size <= len(once) else size + max(Counter(texts).values()))
    assert not set(keys(train)) & set(keys(dev))
    assert ("repeat a text" in " ".join(notes)) == (len(once) < len(rows))


@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=4), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_each_class_gives_its_share_and_at_least_one(counts: list[int], seed: int) -> None:
    classes = [one for one, count in enumerate(counts) for _ in range(count)]
    size = max(len(counts), round(0.1 * len(classes)))
    found = Counter(classes[row] for row in stratified(classes, range(len(classes)), size, seed=seed))
    assert found.total() == size
    for one, count in enumerate(counts):
        assert found[one] >= 1
        assert found[one] <= max(1, size * count / len(classes) + 1)
        assert found[one] < count


def test_a_rare_class_is_held_out_too_or_missed_aloud() -> None:
    rows = Split("train", tuple(f"text {row}" for row in range(60)), labels=(0,) * 57 + (1,) * 3)
    dev = hold_out_rows(rows, Task(), ("no", "yes"), where="file").dev
    assert isinstance(dev, Split)
    assert Counter(dev.labels) == {0: 5, 1: 1}
    alone = Split("train", rows.texts, labels=(0,) * 59 + (1,))
    _, dev, notes = hold_out_rows(alone, Task(), ("no", "yes"), where="file")
    assert isinstance(dev, Split)
    assert set(dev.labels or ()) == {0}
    assert "no row of 1 class(es) is among the held-out ones: `yes` (1 of 60 rows)" in notes


def test_case_and_space_make_no_other_text() -> None:
    rows = Split("train", ("A  film", "a film ", "b", "c", "d"), labels=(0, 0, 1, 0, 1))
    train, _dev, notes = hold_out_rows(rows, Task(), ("x", "y"), where="file")
    assert {0, 1} <= set(train.ids)
    assert "2 rows of train repeat a text, and none of them is held out" in notes
    tagged = TaggedSplit("train", (("A", "dog"), ("a", "Dog"), ("b",)), ((0, 1), (0, 1), (1,)))
    assert hold_out_rows(tagged, Task(), ("x", "y"), where="file").dev.ids == (2,)


def test_texts_that_all_have_several_rows_are_held_out_whole() -> None:
    """Three annotators a text, say."""
    texts = tuple(f"text {row // 3}" for row in range(300))
    rows = Split("train", texts, labels=tuple(row // 3 % 2 for row in range(300)))
    train, dev, notes = hold_out_rows(rows, Task(), ("x", "y"), where="file")
    assert (len(train), len(dev)) == (270, 30)
    assert isinstance(dev, Split)
    assert Counter(dev.labels) == {0: 15, 1: 15}
    assert set(Counter(dev.texts).values()) == {3}
    assert "300 rows repeat a text, and all rows of a text are held out, or none" in notes


def test_one_text_a_thousand_times_leaves_the_other_class_its_rows() -> None:
    rows = Split(
        "train", ("same",) * 1000 + tuple(f"text {row}" for row in range(50)), labels=(0,) * 1000 + (0, 1) * 25
    )
    train, dev, _ = hold_out_rows(rows, Task(), ("x", "y"), where="file")
    assert isinstance(train, Split)
    assert isinstance(dev, Split)
    assert Counter(train.labels)[1] >= 20
    assert "same" not in dev.texts
    assert set(dev.labels or ()) == {0, 1}
