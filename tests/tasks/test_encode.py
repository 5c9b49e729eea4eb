"""Token ids and batches against what the tokenizer itself gives for one text at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from distiller.config import Task
from distiller.errors import ConfigError, DataError, ModelError
from distiller.tasks import load_task
from distiller.tasks.data import Split, TaskData
from distiller.tasks.encode import CHUNK, Collator, EncodedSplit, encode
from distiller.tasks.tokens import usual_max_length
from tasks.tiny import wordpieces

WORDS = ["the", "film", "was", "good", "bad"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return wordpieces(tmp_path_factory.mktemp("vocabulary"), WORDS, model_max_length=48)


TEXT = st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=20).map(" ".join)


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), pairs=st.booleans(), limit=st.integers(5, 30))
@settings(deadline=None, max_examples=60)
def test_rows_are_what_the_tokenizer_gives_for_each_alone(
    tokenizer: PreTrainedTokenizerFast, rows: list[tuple[str, str]], pairs: bool, limit: int
) -> None:
    first, second = zip(*rows, strict=True)
    encoded = encode(Split("dev", first, second if pairs else None, (1,) * len(rows)), tokenizer, limit)
    cut = 0
    for row, (a, b) in enumerate(rows):
        one = ([a], [b] if pairs else None)  # as a list: of a bare pair `transformers` drops an empty second text
        alone = {name: ids[0] for name, ids in tokenizer(*one, truncation=True, max_length=limit).items()}
        assert encoded[row] == {**alone, "labels": 1, "example_id": row}
        assert encoded.lengths[row] == len(alone["input_ids"])
        cut += len(tokenizer(*one)["input_ids"][0]) > limit  # type: ignore[arg-type]
    assert encoded.truncated == cut


@pytest.mark.parametrize("pairs", [False, True])
def test_the_usual_longest_input_reads_19_of_20_texts_to_their_end(
    tokenizer: PreTrainedTokenizerFast, pairs: bool, tmp_path: Path
) -> None:
    """Of a file of one's own; never fewer tokens than papers take, nor more than 256 or the models' positions."""

    def usual(words: list[int], limit: int = 600, **fields: Any) -> int:
        rows = [{"text": f"{row} " + "film " * (count - 1), "label": "ab"[row % 2]} for row, count in enumerate(words)]
        for row in rows if pairs else ():
            row["other"] = "good"
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        task = Task(train=str(file), dev=str(file), text_pair="other" if pairs else None, **fields)
        return usual_max_length(load_task(task), task, [tokenizer], limit=limit)

    least = 128 if pairs else 64
    assert usual([5] * 40) == least
    assert usual([5] * 40, limit=40) == 40
    assert usual([140] * 39 + [590]) == usual([140] * 3000) == 144  # with 2 or 4 special tokens, in eights
    assert usual([140] * 30 + [200] * 10) == 208
    assert usual([5] * 39 + [200]) == least
    assert usual([5] * 39 + [200], truncate=False) == 208
    assert usual([580] * 40) == 256
    assert usual([580] * 40, limit=150) == 150


def test_the_usual_longest_input_of_a_named_task_is_the_published_one(tokenizer: PreTrainedTokenizerFast) -> None:
    data = TaskData("cola", "classification", ("0", "1"), ("matthews",), {"train": Split("train", ("film " * 90,))})
    assert usual_max_length(data, Task(name="cola"), [tokenizer], limit=512) == 64


def test_longer_than_one_chunk(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = tuple("film " * (1 + row % 5) for row in range(CHUNK + 3))
    encoded = encode(Split("train", texts), tokenizer, 4)
    assert len(encoded) == CHUNK + 3
    assert encoded.truncated == sum(1 + row % 5 > 2 for row in range(CHUNK + 3))
    assert encoded[CHUNK + 2]["input_ids"] == [2, 6, 6, 3]
    assert "labels" not in encoded[0]
    with pytest.raises(IndexError):
        encoded[len(encoded)]


def test_a_tokenizer_without_encodings_counts_what_it_cuts(tokenizer: PreTrainedTokenizerFast) -> None:
    class Plain:
        """Gives plain lists, as the tokenizers written in Python do."""

        def __init__(self, fast: Any) -> None:
            self.fast = fast

        def __getattr__(self, name: str) -> Any:
            return getattr(self.fast, name)

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            found = self.fast(*arguments, **options)
            found._encodings = None
            return found

    split = Split("dev", ("film " * 9, "film", "film film"))
    plain, fast = (encode(split, one, 4) for one in (Plain(tokenizer), tokenizer))  # type: ignore[arg-type]
    assert plain.truncated == fast.truncated == 1
    assert plain.fingerprint == fast.fingerprint


def test_a_text_that_is_too_long_is_refused_on_request(tokenizer: PreTrainedTokenizerFast) -> None:
    split = Split("dev", ("film", "film " * 9), ids=(4, 7))
    with pytest.raises(DataError, match=r"split `dev`, row 8: 11 tokens, but task\.max_length is 8"):
        encode(split, tokenizer, 8, truncate=False)
    assert encode(split, tokenizer, 11, truncate=False).truncated == 0


def test_impossible_lengths_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    split = Split("dev", ("film",), ("good",))
    with pytest.raises(ConfigError, match="3 special tokens"):
        encode(split, tokenizer, 3)


def test_the_fingerprint_follows_tokens_and_labels(tokenizer: PreTrainedTokenizerFast) -> None:
    def build(texts: tuple[str, ...], labels: Any = (0, 1), length: int = 8) -> str:
        return encode(Split("x", texts, labels=labels), tokenizer, length).fingerprint

    variants = [
        build(("film good", "bad")),
        build(("film", "good bad")),
        build(("film good", "bad"), (1, 0)),
        build(("film good", "bad"), (0.0, 1.0)),
        build(("film good", "bad"), None),
        build(("film good", "bad"), length=3),
    ]
    assert len(set(variants)) == len(variants)
    assert build(("film good", "bad")) == variants[0]


@given(texts=st.lists(TEXT, min_size=1, max_size=6), left=st.booleans(), multiple=st.sampled_from([1, 8, 64]))
@settings(deadline=None, max_examples=40)
def test_batches_are_those_of_the_tokenizers_own_padding(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], left: bool, multiple: int
) -> None:
    encoded = encode(Split("dev", tuple(texts), labels=tuple(range(len(texts)))), tokenizer, 48)
    tokenizer.padding_side = "left" if left else "right"
    batch = Collator(tokenizer, pad_to_multiple_of=multiple, max_length=64)([encoded[row] for row in range(len(texts))])
    oracle = tokenizer(texts, padding=True, pad_to_multiple_of=multiple, return_tensors="pt")
    tokenizer.padding_side = "right"
    for name, expected in oracle.items():
        torch.testing.assert_close(batch[name], expected)
    assert batch["example_ids"].tolist() == batch["labels"].tolist() == list(range(len(texts)))
    assert batch["labels"].dtype == batch["example_ids"].dtype == torch.long


def test_rounding_up_stops_at_what_the_model_takes(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode(Split("dev", ("film " * 40,), labels=(0.5,)), tokenizer, 45)
    assert Collator(tokenizer)([encoded[0]])["input_ids"].shape == (1, 48)
    assert Collator(tokenizer, max_length=45)([encoded[0]])["input_ids"].shape == (1, 45)
    assert Collator(tokenizer, pad_to_multiple_of=64)([encoded[0]])["input_ids"].shape == (1, 48)
    assert Collator(tokenizer)([encoded[0]])["labels"].dtype == torch.float32


def test_a_tokenizer_without_segments_or_padding_token(tokenizer: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="[PAD]", model_input_names=["input_ids", "attention_mask"]
    )
    encoded = encode(Split("dev", ("film",)), bare, 8)
    assert isinstance(encoded, EncodedSplit)
    assert set(encoded[0]) == {"input_ids", "attention_mask", "example_id"}
    assert set(Collator(bare)([encoded[0]])) == {"input_ids", "attention_mask", "example_ids"}
    assert np.array_equal(encoded.tokens, [2, 6, 3])
    with pytest.raises(ModelError, match="no padding token"):
        Collator(PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer))
