"""The augmented view: the same in any process and order, always from the pristine example, in the right window."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import BertTokenizerFast

from distiller.augment import Policy, build_policy
from distiller.config import Component, Task
from distiller.tasks.data import Answer, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import Collator
from distiller.tasks.tokens import encode_split
from distiller.training.augmented import AugmentedSplit
from distiller.training.batching import COUNTS, LengthBucketSampler, ViewCollator

TASK = Task()
TEXT = "the old film was a dull and slow story about two brothers who lost their way in a quiet town"
WORDS = TEXT.split()


def swaps() -> Policy:
    return build_policy([Component(name="random", options={"ra_mode": "swap", "alpha": 0.3})])


def sentences(size: int) -> Split:
    texts = tuple(" ".join(WORDS[n % 5 : n % 5 + 6 + n % 4]) for n in range(size))
    return Split("train", texts, labels=tuple(n % 2 for n in range(size)))


def augmented(split: Any, tokenizer: Any, policy: Policy, *, seed: int = 0, length: int = 64) -> AugmentedSplit:
    def encode(rows: Any) -> Any:
        return encode_split(rows, tokenizer, TASK.model_copy(update={"stride": 4}), length, unanswered=True)

    return AugmentedSplit(encode(split), split, policy, encode, seed=seed, labels=["O", "X"])


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizerFast(vocab={word: n for n, word in enumerate(dict.fromkeys([*special, *WORDS]))})


@pytest.fixture
def data(tokenizer: Any) -> AugmentedSplit:
    return augmented(sentences(24), tokenizer, swaps())


def views(data: AugmentedSplit, places: list[tuple[int, int]]) -> list[list[int]]:
    return [data[place]["augmented"]["input_ids"] for place in places]


def test_the_view_depends_on_seed_epoch_and_example_alone(data: AugmentedSplit, tokenizer: Any) -> None:
    places = [(1, row) for row in range(24)]
    together = [feature["augmented"]["input_ids"] for feature in data.__getitems__(places)]
    assert together == views(data, places)
    assert together == list(reversed(views(data, places[::-1])))
    assert together != views(data, [(2, row) for row in range(24)])
    assert together != views(augmented(sentences(24), tokenizer, swaps(), seed=1), places)


def test_the_original_view_is_never_touched(data: AugmentedSplit) -> None:
    for epoch in range(3):
        for row in range(24):
            feature = data[epoch, row]
            assert feature["input_ids"] == data.tokens[row]["input_ids"]
            assert sorted(feature["augmented"]["input_ids"]) == sorted(feature["input_ids"])  # swaps keep the words
            assert feature["augmented"]["labels"] == feature["labels"]
            assert feature["augmented"]["example_id"] == feature["example_id"] == row


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing_and_counts_add_up(data: AugmentedSplit, tokenizer: Any, workers: int) -> None:
    def batches(count: int) -> list[Any]:
        sampler = LengthBucketSampler(data.lengths, 4, seed=0, epochs=True)
        sampler.set_epoch(2)
        loader = DataLoader(
            data, batch_size=4, sampler=sampler, collate_fn=ViewCollator(Collator(tokenizer)), num_workers=count
        )
        return list(loader)

    alone, spread = batches(0), batches(workers)
    assert len(alone) == len(spread) == 6
    for one, other in zip(alone, spread, strict=True):
        assert torch.equal(one["augmented"]["input_ids"], other["augmented"]["input_ids"])
    assert sum(batch[COUNTS]["random.texts"] for batch in spread) == 24


def test_without_a_text_operator_the_view_is_the_example(tokenizer: Any) -> None:
    data = augmented(sentences(5), tokenizer, build_policy([Component(name="mixup")]))
    for row in range(5):
        assert data[0, row]["augmented"]["input_ids"] == data[0, row]["input_ids"]


def test_tags_follow_their_words(tokenizer: Any) -> None:
    words = tuple(tuple(WORDS[n : n + 8]) for n in range(6))
    tags = tuple(tuple(int(word in ("film", "brothers", "town")) for word in row) for row in words)
    data = augmented(TaggedSplit("train", words, tags), tokenizer, swaps())
    for row in range(6):
        plain, view = data[0, row], data[0, row]["augmented"]
        entities = [
            [t for t, tag in zip(one["input_ids"], one["labels"], strict=True) if tag == 1] for one in (plain, view)
        ]
        assert entities[0] == entities[1]


def test_the_augmented_window_has_the_number_of_the_original_one(tokenizer: Any) -> None:
    context = " ".join(WORDS * 3)
    answers = ((Answer("dull", context.index("dull")),), (Answer("town", context.index("town")),))
    questions = QuestionSplit("train", ("the film", "the town"), (context, context), answers)
    data = augmented(questions, tokenizer, swaps(), length=40)
    assert len(data) >= 4
    for epoch in range(3):
        for row in range(len(data)):
            feature = data[epoch, row]
            view = feature["augmented"]
            if view["labels"] == [-100, -100]:
                continue
            first, last = view["labels"]
            found = tokenizer.decode(view["input_ids"][first : last + 1])
            assert found in ("dull", "town")
            first, last = feature["labels"]
            assert first == -100 or tokenizer.decode(feature["input_ids"][first : last + 1]) == found


def test_the_sampler_names_the_epoch_and_keeps_its_order() -> None:
    sampler = LengthBucketSampler([3, 5, 4, 6], 2, seed=0, epochs=True)
    sampler.set_epoch(7)
    assert sorted(sampler) == [(7, 0), (7, 1), (7, 2), (7, 3)]
    plain = LengthBucketSampler([3, 5, 4, 6], 2, seed=0)
    plain.set_epoch(7)
    assert [row for _, row in sampler] == list(plain)
