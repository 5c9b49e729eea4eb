"""Lists that text spells come back, whoever spelt them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.config import Task
from distiller.tasks import load_task
from distiller.tasks.data import TaggedSplit
from distiller.tasks.written_lists import parse_list, parsed_cell

WORDS = st.lists(st.text(st.sampled_from("ab'\"\\é,[] "), min_size=1, max_size=5), min_size=1, max_size=5)


@given(words=WORDS)
@settings(deadline=None, max_examples=60)
def test_python_json_and_numpy_lists_are_read_back(words: list[str]) -> None:
    assert parse_list(str(words)) == words
    assert parse_list(json.dumps(words)) == words
    assert parse_list(str(np.array(words, dtype=object))) == words


def test_numbers_and_what_is_no_list() -> None:
    assert parse_list("[0.25, 1e-3 2]") == [0.25, 0.001, 2]
    assert parse_list("[1, nan, None]") == [1, None, None]
    assert parse_list("[]") == []
    for text in ("[laughter]", "a [b]", "['a'", "['a' ...]", None, 3):
        assert parse_list(text) is None


def test_mappings_and_arrays_within_them_are_read_back() -> None:
    arrays = {
        "text": np.array(["a", "b"], dtype=object),
        "answer_start": np.array([1, 2]),
        "n": np.array([3], "int8"),
    }
    assert parsed_cell(str(arrays)) == {"text": ["a", "b"], "answer_start": [1, 2], "n": [3]}
    assert parsed_cell('{"a": 0.5}') == parsed_cell("{'a': 0.5}") == {"a": 0.5}
    assert parsed_cell("('a', 'b')") == parsed_cell("{'b', 'a'}") == ["a", "b"]
    for text in ("(1998)", "[laughter]", "{", "word", None, 3):
        assert parsed_cell(text) == text


@pytest.mark.parametrize("numpy", [False, True])
def test_a_csv_of_words_and_tags_by_pandas_is_tagging(tmp_path: Path, numpy: bool) -> None:
    rows = [(["the", "dog"], ["D", "N"]), (["it's", "a", "cat"], ["P", "D", "N"])] * 5
    columns = {name: [row[side] for row in rows] for side, name in enumerate(("text", "label"))}
    if numpy:
        columns = {name: [np.array(cell) for cell in cells] for name, cells in columns.items()}
    frame = pytest.importorskip("pandas").DataFrame(columns)
    frame.to_csv(tmp_path / "tags.csv", index=False)
    file = str(tmp_path / "tags.csv")
    data = load_task(Task(train=file, dev=file))
    dev = data.splits["dev"]
    assert isinstance(dev, TaggedSplit)
    assert (data.kind, data.labels, dev.words[1]) == ("tagging", ("D", "N", "P"), ("it's", "a", "cat"))
