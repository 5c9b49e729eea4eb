"""Sentences as tokens in one array: the rows of lists, however they are cut, joined or kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.cache import arrays
from distiller.cache.folders import FolderCache
from distiller.translation import token_rows
from distiller.translation.token_rows import TokenRows, encoded, kept_rows
from translation.tiny import sentences, vocabulary

LISTS = st.lists(st.lists(st.integers(0, 70_000), max_size=6), max_size=12)


@given(first=LISTS, second=LISTS, data=st.data())
def test_rows_are_those_of_lists(first: list[list[int]], second: list[list[int]], data: st.DataObject) -> None:
    rows = TokenRows.of(first)
    assert [row.tolist() for row in rows] == first
    assert [row.tolist() for row in rows + TokenRows.of(second)] == first + second
    assert [row.tolist() for row in rows[1:5]] == first[1:5]
    chosen = data.draw(st.lists(st.integers(0, len(first) - 1), max_size=9)) if first else []
    assert [row.tolist() for row in rows.take(chosen)] == [first[row] for row in chosen]
    assert rows.lengths.tolist() == list(map(len, first))
    assert rows.tokens.nbytes == 4 * sum(map(len, first))


def test_text_is_tokenized_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = vocabulary(), [source for source, _ in sentences(50)]
    whole = words.encode(text)
    sizes: list[int] = []

    def encode(part: Any) -> list[list[int]]:
        sizes.append(len(part))
        return words.encode(part)

    monkeypatch.setattr(token_rows, "PIECE", 20)
    assert [row.tolist() for row in encoded(encode, text)] == whole
    assert sizes == [20, 20, 10]
    assert len(encoded(encode, [])) == 0


def test_a_long_text_is_tokenized_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = vocabulary(), [source for source, _ in sentences(50)]
    store = FolderCache(tmp_path)
    monkeypatch.setattr(token_rows, "KEPT", 50)
    first = kept_rows(store, words, text, targets=False)
    with monkeypatch.context() as patch:
        patch.setattr(type(words), "encode", None)
        again = kept_rows(store, words, text, targets=False)
    assert isinstance(again.tokens, np.memmap)
    assert [row.tolist() for row in again] == [row.tolist() for row in first] == words.encode(text)
    assert [row.tolist() for row in kept_rows(store, words, text, targets=True)] == words.encode_targets(text)
    kept_rows(store, words, text[:-1], targets=False)
    assert len(list((tmp_path / "translation-tokens").glob("*/tokens.npy"))) == 2


def test_a_cache_that_may_only_be_read_stops_no_translation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = vocabulary(), [source for source, _ in sentences(50)]
    monkeypatch.setattr(token_rows, "KEPT", 50)
    monkeypatch.setattr(arrays, "writable", lambda _: False)
    found = kept_rows(FolderCache(tmp_path), words, text, targets=False)
    assert [row.tolist() for row in found] == words.encode(text)
    assert not list(tmp_path.iterdir())
