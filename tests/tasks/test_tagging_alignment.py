"""Tags on sub-words against the words themselves: nothing shifts, nothing is invented, nothing is lost unsaid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import BertTokenizerFast, PreTrainedTokenizerFast, RobertaTokenizer

from distiller.config import Task
from distiller.errors import ConfigError, DataError, ModelError
from distiller.tasks import load_task
from distiller.tasks.alignment import encode_tagged
from distiller.tasks.data import TaggedSplit
from distiller.tasks.encode import CHUNK, Collator
from tasks.tiny import wordpieces

LETTERS = "abc"
WORDS = [*LETTERS, *("##" + letter for letter in LETTERS)]
ODD = ["\u200b", "\xad", "\x00", "\ufe0f", "[UNK]", "[SEP]", "日本", "a b", "a-b", " ", "é"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return wordpieces(tmp_path_factory.mktemp("vocabulary"), WORDS, model_max_length=48)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> RobertaTokenizer:
    folder = tmp_path_factory.mktemp("bytes")
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(["the cat sat on the mat"] * 9, vocab_size=300, special_tokens=special)
    trained.save_model(str(folder))
    return RobertaTokenizer.from_pretrained(folder)


@st.composite
def tagged(draw: st.DrawFn, *, odd: bool) -> TaggedSplit:
    word = st.text(LETTERS, min_size=1, max_size=4)
    if odd:
        word |= st.sampled_from(ODD) | st.text(min_size=1, max_size=3).filter(lambda w: w.isprintable())
    words = draw(st.lists(st.lists(word, min_size=1, max_size=8), min_size=1, max_size=4))
    tags = [draw(st.lists(st.integers(0, 4), min_size=len(row), max_size=len(row))) for row in words]
    return TaggedSplit("dev", tuple(map(tuple, words)), tuple(map(tuple, tags)))


@given(split=tagged(odd=False), limit=st.integers(3, 40))
@settings(deadline=None, max_examples=80)
def test_pieces_joined_give_the_words_and_labels_their_tags(
    tokenizer: PreTrainedTokenizerFast, split: TaggedSplit, limit: int
) -> None:
    """Every word of these letters is spelt out, so the pieces say by themselves where a word begins."""
    encoded = encode_tagged(split, tokenizer, limit)
    lost = cut = 0
    for row, (words, tags) in enumerate(zip(split.words, split.tags or (), strict=True)):
        feature = encoded[row]
        pieces = tokenizer.convert_ids_to_tokens(feature["input_ids"])
        assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
        assert feature["labels"][0] == feature["labels"][-1] == -100
        found: list[tuple[str, int]] = []
        for piece, label in zip(pieces[1:-1], feature["labels"][1:-1], strict=True):
            if piece.startswith("##"):
                assert label == -100
                found[-1] = (found[-1][0] + piece[2:], found[-1][1])
            else:
                found.append((piece, label))
        whole = list(zip(words, tags, strict=True))
        assert [label for _, label in found] == [tag for _, tag in whole[: len(found)]]
        assert found[:-1] == whole[: len(found) - 1]
        assert whole[len(found) - 1][0].startswith(found[-1][0])
        assert feature["output_mask"] == [0, *[1] * (len(pieces) - 2), 0]
        lost += len(whole) - len(found)
        cut += sum(map(len, words)) + 2 > limit
    assert (encoded.cut_words, encoded.truncated) == (lost, cut)


@pytest.mark.parametrize("kind", ["tokenizer", "byte_level"])
@given(split=tagged(odd=True))
@settings(deadline=None, max_examples=60)
def test_odd_words_keep_their_tags(kind: str, request: pytest.FixtureRequest, split: TaggedSplit) -> None:
    encoded = encode_tagged(split, request.getfixturevalue(kind), 512)
    for row, tags in enumerate(split.tags or ()):
        labels = encoded[row]["labels"]
        assert [label for label in labels if label != -100] == list(tags)
    assert encoded.cut_words == encoded.truncated == 0


def test_a_word_of_which_nothing_is_left_is_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    split = TaggedSplit("dev", (("ab", "\u200b", "c"), ("b",)), ((1, 2, 3), (4,)))
    encoded = encode_tagged(split, tokenizer, 16)
    assert tokenizer.convert_ids_to_tokens(encoded[0]["input_ids"]) == ["[CLS]", "a", "##b", "[UNK]", "c", "[SEP]"]
    assert encoded[0]["labels"] == [-100, 1, -100, 2, 3, -100]
    assert encoded[1] == {
        "input_ids": [2, 6, 3],
        "attention_mask": [1, 1, 1],
        "token_type_ids": [0, 0, 0],
        "labels": [-100, 4, -100],
        "output_mask": [0, 1, 0],
        "example_id": 1,
    }
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, pad_token="[PAD]")
    with pytest.raises(DataError, match="sentence 1: the tokenizer leaves nothing of word 2, and has no unknown token"):
        encode_tagged(split, bare, 16)


def test_a_tokenizer_without_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = Tokenizer.from_str(tokenizer._tokenizer.to_str())
    parts = Tokenizer(whole.model)
    parts.pre_tokenizer = whole.pre_tokenizer
    plain = PreTrainedTokenizerFast(tokenizer_object=parts, pad_token="[PAD]", unk_token="[UNK]")
    encoded = encode_tagged(TaggedSplit("dev", (("abc",), ("ab", "a")), ((3,), (1, 2))), plain, 8)
    assert [encoded[row]["labels"] for row in range(2)] == [[3, -100, -100], [1, -100, 2]]


def test_byte_level_words_are_those_after_a_space(byte_level: RobertaTokenizer) -> None:
    words = ("the", "cat", "sat")
    encoded = encode_tagged(TaggedSplit("dev", (words,), ((0, 1, 2),)), byte_level, 16)
    oracle = byte_level(" " + " ".join(words))
    assert encoded[0]["input_ids"] == oracle["input_ids"]
    assert [label for label in encoded[0]["labels"] if label != -100] == [0, 1, 2]


@given(split=tagged(odd=True), left=st.booleans(), multiple=st.sampled_from([1, 8]))
@settings(deadline=None, max_examples=50)
def test_padding_never_makes_a_label(
    tokenizer: PreTrainedTokenizerFast, split: TaggedSplit, left: bool, multiple: int
) -> None:
    encoded = encode_tagged(split, tokenizer, 48)
    tokenizer.padding_side = "left" if left else "right"
    batch = Collator(tokenizer, pad_to_multiple_of=multiple)([encoded[row] for row in range(len(split))])
    tokenizer.padding_side = "right"
    names = ("labels", "output_mask", "attention_mask", "input_ids", "token_type_ids")
    assert {batch[name].dtype for name in names} == {torch.long}
    assert {batch[name].shape for name in names} == {batch["input_ids"].shape}
    outside = batch["attention_mask"] == 0
    assert (batch["labels"][outside] == -100).all()
    assert (batch["output_mask"][outside] == 0).all()
    assert (batch["labels"][batch["output_mask"] == 0] == -100).all()
    for row in range(len(split)):
        real = ~outside[row]
        assert batch["labels"][row][real].tolist() == encoded[row]["labels"]
        assert batch["output_mask"][row][real].tolist() == encoded[row]["output_mask"]
    gold = encoded.gold
    assert gold is not None
    assert gold.shape == (len(split), max(encoded.lengths))
    if not left:
        padded = np.full(batch["labels"].shape, -100)
        padded[:, : gold.shape[1]] = gold
        assert (batch["labels"].numpy() == padded).all()


def test_labels_of_rows_stay_as_they_are(tokenizer: PreTrainedTokenizerFast) -> None:
    """A start and an end for each row are not labels of tokens."""
    rows = [{"input_ids": [2] * n, "attention_mask": [1] * n, "labels": [1, 2], "output_mask": [1] * n} for n in (5, 3)]
    batch = Collator(tokenizer)(rows)
    assert batch["labels"].tolist() == [[1, 2], [1, 2]]
    assert batch["output_mask"].sum(1).tolist() == [5, 3]


def test_what_cannot_be_encoded_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    split = TaggedSplit("dev", (("a",), ("abc", "a")), ((1,), (1, 1)), ids=(4, 7))
    with pytest.raises(DataError, match=r"split `dev`, sentence 8: 6 tokens, but task\.max_length is 5"):
        encode_tagged(split, tokenizer, 5, truncate=False)
    assert encode_tagged(split, tokenizer, 6, truncate=False).cut_words == 0
    with pytest.raises(ConfigError, match="2 special tokens"):
        encode_tagged(split, tokenizer, 2)

    class Slow:
        is_fast, name_or_path = False, "old"

        def num_special_tokens_to_add(self, pair: bool) -> int:
            return 2

    with pytest.raises(ModelError, match="`old` cannot tell"):
        encode_tagged(split, Slow(), 5)  # type: ignore[arg-type]


def test_chunks_and_unlabelled_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    words = tuple(("abc",) * (1 + row % 3) for row in range(CHUNK + 2))
    labelled = encode_tagged(TaggedSplit("x", words, tuple((1,) * len(row) for row in words)), tokenizer, 20)
    assert len(labelled) == CHUNK + 2
    assert labelled[CHUNK + 1]["labels"] == [-100, *[1, -100, -100] * len(words[CHUNK + 1]), -100]
    hidden = encode_tagged(TaggedSplit("x", words), tokenizer, 20)
    assert "labels" not in hidden[0]
    assert hidden.gold is None
    assert hidden.fingerprint != labelled.fingerprint
    masks = [encoded.output_mask for encoded in (hidden, labelled)]
    assert masks[0] is not None
    assert masks[0].tolist() == masks[1].tolist()  # type: ignore[union-attr]


def test_ud_ewt_in_the_tokens_of_a_real_model(shared: Path) -> None:
    data = load_task(Task(name="ud-ewt", data=str(shared / "data" / "ud_en_ewt")))
    tokenizer: Any = BertTokenizerFast.from_pretrained(shared / "models" / "bert-tiny")
    split = data.splits["dev"]
    assert isinstance(split, TaggedSplit)
    encoded = encode_tagged(split, tokenizer, 128)
    assert encoded.labels is not None
    assert int((encoded.labels >= 0).sum()) + encoded.cut_words == 25147
    uncut = encode_tagged(split, tokenizer, 512)
    assert uncut.labels is not None
    assert uncut.truncated == uncut.cut_words == 0
    assert uncut.labels[uncut.labels >= 0].tolist() == [tag for row in split.tags or () for tag in row]
