"""Batches: the sampler's order, views side by side, and what one optimisation step holds."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from distiller.training.batching import (
    FollowsEpoch,
    LengthBucketSampler,
    PairedSplit,
    ShareOfBatches,
    SortedByLength,
    ViewCollator,
    count,
    views_of,
)  # fmt: skip
from distiller.training.fit import ScoredTrainer
from training.tiny import Examples, arguments, batch, collate, pad, student, teacher

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300)


def order(lengths: list[int], size: int, seed: int, epoch: int) -> list[int]:
    sampler = LengthBucketSampler(lengths, size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@settings(deadline=None, max_examples=50)
@given(lengths=lengths, size=st.integers(1, 9), seed=st.integers(0, 99), epoch=st.integers(0, 5))
def test_every_example_once_and_the_same_for_the_same_seed_and_epoch(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    found = order(lengths, size, seed, epoch)
    assert sorted(found) == list(range(len(lengths)))
    torch.manual_seed(epoch)  # global state has no part in it
    sampler = LengthBucketSampler(lengths, size, seed)
    list(sampler)
    sampler.set_epoch(epoch)
    assert list(sampler) == found


def test_seeds_and_epochs_give_other_orders() -> None:
    some = list(range(1, 101))
    orders = {tuple(order(some, 4, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_the_order_is_that_of_the_epoch_that_a_resumed_training_enters() -> None:
    sampler = LengthBucketSampler(list(range(1, 101)), 4, 0)
    for epoch, orders in ((None, 0), (0, 0), (1.0, 1), (1.4, 1), (2.999, 2)):
        FollowsEpoch(sampler).on_epoch_begin(None, SimpleNamespace(epoch=epoch))
        assert list(sampler) == order(list(range(1, 101)), 4, 0, orders)


def test_a_batch_holds_similar_lengths() -> None:
    some = torch.randint(1, 500, (800,), generator=torch.Generator().manual_seed(0)).tolist()
    found = order(some, 16, 0, 0)
    batches = [[some[i] for i in found[start : start + 16]] for start in range(0, 800, 16)]
    padding = sum(max(row) * len(row) for row in batches) / sum(some)
    assert padding < 1.05  # a random order: about 1.9
    firsts = [row[0] for row in batches]
    assert firsts != sorted(firsts)


def test_the_trainer_gives_each_epoch_its_own_order(tmp_path: Path) -> None:
    seen: list[int] = []

    def recording(features: list[dict]) -> dict:
        seen.extend(feature["example_id"] for feature in features)
        return pad(features)

    made = ScoredTrainer(
        student(),
        teacher=teacher(),
        args=arguments(tmp_path, max_steps=-1, num_train_epochs=2, seed=7, data_seed=0),
        train_dataset=Examples(32),
        data_collator=recording,
    )
    made.train()
    expected = [order(Examples(32).lengths, 8, 0, epoch) for epoch in range(2)]
    assert seen == expected[0] + expected[1]
    assert expected[0] != expected[1]


def test_development_examples_are_read_from_long_to_short() -> None:
    examples = Examples(20)
    found = SortedByLength(examples, examples.lengths)
    sizes = [len(found[i]["input_ids"]) for i in range(len(found))]
    assert sizes == sorted(examples.lengths, reverse=True)


def test_views_and_tokenizers_stay_side_by_side() -> None:
    plain, other = Examples(4, 0, augmented=True), Examples(4, 5)
    paired = PairedSplit(plain, other)
    made = ViewCollator(pad, pad)([paired[i] for i in range(4)])
    assert paired.lengths == plain.lengths
    torch.testing.assert_close(made["teacher"], pad([other[i] for i in range(4)]))
    views = views_of(made)
    assert list(views) == ["original", "augmented"]
    assert "augmented" not in views["original"]
    torch.testing.assert_close(views["augmented"], pad([plain.augmented[i] for i in range(4)]))


def test_totals_of_a_step_count_examples_and_valid_tokens() -> None:
    micro = [batch(3, 0, augmented=True), batch(5, 1, augmented=True)]
    counted = count(micro)
    for name in ("original", "augmented"):
        masks = [views_of(one)[name]["attention_mask"] for one in micro]
        assert counted[name][0] == 8
        assert counted[name][1] == sum(int(mask.sum()) for mask in masks)
    without_mask = {"input_ids": torch.ones(2, 7, dtype=torch.long)}
    assert [int(number) for number in count([without_mask])["original"][:2]] == [2, 14]
    assert list(count([collate([Examples(1)[0]])])) == ["original"]


@settings(deadline=None, max_examples=50)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 9), processes=st.integers(2, 5), drop_last=st.booleans())
def test_processes_share_every_batch_of_one_process(
    size: int, batch_size: int, processes: int, drop_last: bool
) -> None:
    """Together they read what one process with the joined batch reads: none left out, each equally often."""
    order = list(range(size))
    joined = list(BatchSampler(order, batch_size * processes, drop_last))
    shares = [
        list(ShareOfBatches(order, batch_size, drop_last, processes=processes, rank=rank)) for rank in range(processes)
    ]
    assert {len(one) for one in shares} == {len(joined)}
    for whole, *parts in zip(joined, *shares, strict=True):
        times = Counter(row for part in parts for row in part)
        assert set(times) == set(whole)
        assert len(set(times.values())) == 1
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        assert max(sizes) <= (batch_size if len(whole) >= processes else len(whole))
