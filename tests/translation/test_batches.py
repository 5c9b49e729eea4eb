"""Batches: every example once, no batch too large, the mixing ratio within its error, and batch k always the same."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.translation.batches import BatchStream, Examples, collate
from distiller.translation.tokenizer import END


def examples(gold: int, pseudo: int = 0, *, seed: int = 0) -> Examples:
    """Example i begins with the token 10 + i, so that it can be recognised."""
    rng = np.random.default_rng(seed)
    rows = [[10 + i, *[5] * int(rng.integers(0, 9)), END] for i in range(gold + pseudo)]
    return Examples.of(rows, [[*row[: 1 + len(row) // 2], END] for row in rows], gold)


def drawn(stream: BatchStream) -> list[int]:
    return [row["source"][0] - 10 for batch in (stream[i] for i in range(len(stream))) for row in batch]


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 300), limit=st.integers(12, 200), seed=st.integers(0, 999))
def test_an_epoch_has_every_example_once_in_batches_that_fit(rows: int, limit: int, seed: int) -> None:
    stream = BatchStream(examples(rows, seed=seed), batch_tokens=limit, seed=seed)
    assert sorted(drawn(stream)) == list(range(rows))
    for index in range(len(stream)):
        batch = stream[index]
        longest = max(max(len(row["source"]), len(row["target"])) for row in batch)
        assert len(batch) * longest <= limit


def test_batches_are_well_filled() -> None:
    """Sorting within pools leaves little padding: far fewer batches than one for each example, near the optimum."""
    text = examples(2000)
    stream = BatchStream(text, batch_tokens=200, seed=0)
    assert len(stream) < 1.2 * text.lengths.sum() / 200


@settings(deadline=None, max_examples=10)
@given(ratio=st.floats(0.05, 0.95), seed=st.integers(0, 999), gold=st.integers(50, 800), pseudo=st.integers(50, 800))
def test_the_share_of_gold_is_within_four_standard_errors(ratio: float, seed: int, gold: int, pseudo: int) -> None:
    text = examples(gold, pseudo)
    rows = BatchStream(text, batch_tokens=300, seed=seed, gold_ratio=ratio).draw(0)
    error = math.sqrt(ratio * (1 - ratio) / len(rows))
    assert len(rows) == max(gold, pseudo)
    assert abs((rows < gold).mean() - ratio) < 4 * error


def test_mixing_is_the_weighted_loss_in_expectation() -> None:
    """L = g·A + (1 - g)·B for any loss of single examples; here over 200 epochs."""
    text, ratio = examples(60, 90), 0.34
    loss = np.random.default_rng(0).normal(size=150)
    stream = BatchStream(text, batch_tokens=300, seed=1, gold_ratio=ratio)
    found = np.concatenate([loss[stream.draw(epoch)] for epoch in range(200)])
    expected = ratio * loss[:60].mean() + (1 - ratio) * loss[60:].mean()
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(len(found))


def test_ratios_of_one_and_zero_take_one_side_only() -> None:
    text = examples(30, 50)
    assert sorted(drawn(BatchStream(text, batch_tokens=99, seed=0, gold_ratio=1.0))) == list(range(30))
    assert sorted(drawn(BatchStream(text, batch_tokens=99, seed=0, gold_ratio=0.0))) == list(range(30, 80))


def test_no_example_returns_before_all_of_its_side_were_seen() -> None:
    rows = BatchStream(examples(10, 1000), batch_tokens=99, seed=0, gold_ratio=0.5).draw(0)
    gold = rows[rows < 10]
    assert [sorted(gold[i : i + 10]) for i in range(0, len(gold) - 9, 10)] == [list(range(10))] * (len(gold) // 10)


def as_lists(batch: list[Any]) -> list[Any]:
    return [(row["id"], list(row["source"]), list(row["target"])) for row in batch]


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    """So a training that is continued meets the batches that it would have met."""
    text = examples(200)
    whole = BatchStream(text, batch_tokens=120, seed=3, epochs=3, source_dropout=0.3)
    later = BatchStream(text, batch_tokens=120, seed=3, epochs=3, source_dropout=0.3)
    index = len(whole) - 2  # asked for first, as after an interruption
    assert as_lists(later[index]) == as_lists([whole[i] for i in range(len(whole))][index])
    assert as_lists(BatchStream(text, batch_tokens=120, seed=4)[0]) != as_lists(whole[0])


def test_source_dropout_leaves_words_out_of_the_source_alone() -> None:
    text = Examples.of([[5] * 50 + [END]] * 40, [[6] * 50 + [END]] * 40, 40)
    noisy = list(BatchStream(text, batch_tokens=10_000, seed=0, source_dropout=0.2, special=frozenset({END}))[0])
    kept = np.array([len(row["source"]) - 1 for row in noisy])
    assert abs(kept.mean() / 50 - 0.8) < 4 * math.sqrt(0.16 / (50 * 40))
    assert all(row["source"][-1] == END and row["target"].tolist() == [6] * 50 + [END] for row in noisy)


def test_a_batch_as_tensors() -> None:
    pairs = [
        {"id": 3, "source": [5, 6, END], "target": [7, END]},
        {"id": 0, "source": [8, END], "target": [9, 10, END]},
    ]
    batch = collate([pairs], pad=19)
    assert batch["example_ids"].tolist() == [3, 0]
    assert batch["input_ids"].tolist() == [[5, 6, END], [8, END, 19]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[7, END, -100], [9, 10, END]]
    assert batch["output_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
