"""Many texts are tokenized once, and whoever reads them otherwise gets tokens of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.normalizers import Lowercase
from transformers import BertTokenizerFast

from distiller.cache import arrays
from distiller.cache.folders import FolderCache
from distiller.config import Task
from distiller.models.folders import load_tokenizer
from distiller.run import kept_tokens
from distiller.run.kept_tokens import kept_split
from distiller.tasks.data import Split
from distiller.tasks.tokens import encode_split
from run.tiny import Workshop

TEXTS = tuple(f"the film was {word}" for word in ("good", "bad", "a story with actors and music", "") * 5)
SPLIT = Split("train", TEXTS, labels=(0, 1) * 10)
TASK = Task(train="reviews.csv")


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_tokens, "KEPT", len(TEXTS))


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("pairs", [None, TEXTS[::-1]])
def test_the_second_time_nothing_is_tokenized(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: Any
) -> None:
    tokenizer, split = load_tokenizer(shop.base), Split("train", TEXTS, pairs, SPLIT.labels)
    plain = encode_split(split, tokenizer, TASK, 8)
    first = kept_split(FolderCache(tmp_path), split, tokenizer, TASK, 8)
    monkeypatch.setattr(BertTokenizerFast, "__call__", None)
    again = kept_split(FolderCache(tmp_path), split, load_tokenizer(shop.base), TASK, 8)
    for found in (first, again):
        assert isinstance(found.tokens, np.memmap)
        assert (found.fingerprint, found.lengths, found.truncated) == (
            plain.fingerprint,
            plain.lengths,
            plain.truncated,
        )
        assert [found[row] for row in range(len(TEXTS))] == [plain[row] for row in range(len(TEXTS))]


@pytest.mark.usefixtures("few_are_many")
def test_what_decides_tokens_and_what_does_not(shop: Workshop, tmp_path: Path) -> None:
    store, tokenizer = FolderCache(tmp_path), load_tokenizer(shop.base)

    def kept(split: Split = SPLIT, tokenizer: Any = tokenizer, length: int = 8) -> int:
        expected = encode_split(split, tokenizer, TASK, length).fingerprint
        assert kept_split(store, split, tokenizer, TASK, length).fingerprint == expected
        return len(list(tmp_path.glob("tokens/*/tokens.npy")))

    assert kept() == 1
    assert kept(Split("train", TEXTS, labels=(1, 0) * 10)) == 1  # labels are no part of it
    assert kept(Split("dev", TEXTS)) == 1
    assert kept(length=6) == 2
    assert kept(Split("train", TEXTS[::-1])) == 3
    assert kept(tokenizer=load_tokenizer(shop.stranger)) == 4
    other = load_tokenizer(shop.base)
    other.backend_tokenizer.normalizer = Lowercase()
    assert kept(tokenizer=other) == 5
    assert kept(SPLIT.take(range(19))) == 5  # too few to be kept


@pytest.mark.usefixtures("few_are_many")
def test_a_cache_that_may_only_be_read_stops_nobody(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(shop.base)
    monkeypatch.setattr(arrays, "writable", lambda _: False)
    found = kept_split(FolderCache(tmp_path), SPLIT, tokenizer, TASK, 8)
    assert found.fingerprint == encode_split(SPLIT, tokenizer, TASK, 8).fingerprint
    assert not list(tmp_path.iterdir())
