"""Aligned segments: the same tokens, the second texts at one place, labels on their tokens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from distiller.config import Task
from distiller.tasks.data import Answer, QuestionSplit, Split
from distiller.tasks.encode import Collator
from distiller.tasks.segments import aligned
from distiller.tasks.tokens import encode_split

CLS, SEP, PAD = 2, 3, 0
FILL = {"input_ids": PAD, "attention_mask": 0, "token_type_ids": 0, "output_mask": 0}
text = st.lists(st.integers(5, 50), min_size=1, max_size=9)


def feature(first: list[int], second: list[int]) -> dict[str, Any]:
    ids = [CLS, *first, SEP, *second, SEP]
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types, "example_id": 0}


@given(pairs=st.lists(st.tuples(text, text), min_size=1, max_size=6), data=st.data())
def test_tokens_stay_in_order_and_second_texts_begin_together(pairs: list[Any], data: st.DataObject) -> None:
    features = [feature(*pair) for pair in pairs]
    longest = max(len(row["input_ids"]) for row in features)
    limit = data.draw(st.integers(longest, 2 * longest))
    positions = [data.draw(st.integers(0, len(row["input_ids"]) - 1)) for row in features]
    given = [row | {"labels": [place, -100]} for row, place in zip(features, positions, strict=True)]
    done = aligned(given, separator=SEP, fill=FILL, limit=limit)
    for (first, _), row, before, place in zip(pairs, done, features, positions, strict=True):
        kept = [n for n, seen in enumerate(row["attention_mask"]) if seen]
        for name in ("input_ids", "token_type_ids"):
            assert [row[name][n] for n in kept] == before[name]
        assert row["labels"] == [kept[place], -100]
        assert len(row["input_ids"]) == len(row["attention_mask"]) == len(row["token_type_ids"]) <= limit
        assert row["input_ids"][: len(first) + 1] == before["input_ids"][: len(first) + 1]
    begins = {row["input_ids"].index(SEP) for row in done}
    behind = max(len(second) for _, second in pairs) + 2
    if max(len(first) for first, _ in pairs) + 1 + behind <= limit:
        assert begins == {max(len(first) for first, _ in pairs) + 1}


def test_labels_of_tokens_are_padded_too() -> None:
    rows = [feature([5], [6]) | {"labels": [-100, 1, -100, 2, -100]}, feature([7, 8], [9])]
    rows[1]["labels"] = [-100, 1, 1, -100, 2, -100]
    done = aligned(rows, separator=SEP, fill=FILL | {"labels": -100}, limit=40)
    assert done[0]["labels"] == [-100, 1, -100, -100, 2, -100]
    assert done[1]["labels"] == rows[1]["labels"]


@pytest.fixture(scope="module")
def collator() -> Collator:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    return Collator(BertTokenizerFast(vocab={word: n for n, word in enumerate(words)}), max_length=32)


def test_a_batch_of_pairs(collator: Collator) -> None:
    split = Split("train", ("a b c", "d"), pairs=("e", "f g"), labels=(0, 1))
    rows = encode_split(split, collator.tokenizer, Task(), 16)
    batch = collator([rows[0], rows[1]], align_segments=True)
    assert batch["input_ids"][:, :8].tolist() == [[2, 5, 6, 7, 3, 9, 3, 0], [2, 8, 0, 0, 3, 10, 11, 3]]
    assert batch["attention_mask"][1, :8].tolist() == [1, 1, 0, 0, 1, 1, 1, 1]
    assert batch["token_type_ids"][1, :8].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert batch["labels"].tolist() == [0, 1]


def test_an_answer_stays_on_its_tokens(collator: Collator) -> None:
    split = QuestionSplit("train", ("a b c", "d"), ("e f g", "f g h"), ((Answer("f", 2),), (Answer("g h", 2),)))
    rows = encode_split(split, collator.tokenizer, Task(), 16)
    batch = collator([rows[0], rows[1]], align_segments=True)
    answers = [batch["input_ids"][n, begin : end + 1].tolist() for n, (begin, end) in enumerate(batch["labels"])]
    assert answers == [[10], [11, 12]]
    assert batch["output_mask"].sum(1).tolist() == [3, 3]
