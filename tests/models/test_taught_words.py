"""The teacher's word vectors in a student's table: what is learnt, what is left, and the oracle of the components."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from distiller.models.heads import HEADS
from distiller.models.taught_words import (
    TaughtEmbedding,
    has_words,
    principal,
    settle_words,
    teach_words,
    texts_of_tokens,
    vectors_of_tokens,
    whole_words,
)
from models.tiny import FAMILIES, WORDS, tiny_config, tiny_model

IDS = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 5, 9, 2]])
SPECIAL = (0, 1, 2)


def trained(student: nn.Module, precision: torch.dtype | None = None, steps: int = 3) -> None:
    """Move all weights by a few steps towards other outputs on `IDS`."""
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(steps):
        with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
            loss = student(input_ids=IDS).logits.float().square().mean() + student(input_ids=IDS).logits[0, 0].float()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("width", [1, 5, 12])
@pytest.mark.parametrize("seed", range(3))
def test_the_components_are_those_of_scikit_learn(width: int, seed: int) -> None:
    vectors = torch.randn(60, 12, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, 13)
    found = principal(vectors, width)
    assert found.shape == (60, width)
    assert found.square().mean().item() == pytest.approx(1, rel=1e-5)
    if width < 12:
        expected = PCA(width).fit_transform(vectors.numpy())
        alike = np.corrcoef(found.numpy().T, expected.T)[:width, width:]
        np.testing.assert_allclose(np.abs(alike[::-1]), np.eye(width), atol=1e-3)
    torch.testing.assert_close(principal(vectors.flip(0), width).flip(0), found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_begins_as_it_was_and_ends_as_an_ordinary_model(family: str) -> None:
    """Its table alone changes its class meanwhile, and the outputs stay when it is settled."""
    teacher = tiny_model(family, seed=1, hidden_size=48)
    student = tiny_model(family, layers=2).eval()
    before, names, size = student(input_ids=IDS).logits, set(student.state_dict()), student.num_parameters()
    teach_words(student, teacher.get_input_embeddings().weight.detach(), special=SPECIAL)
    torch.testing.assert_close(student(input_ids=IDS).logits, before, rtol=0, atol=0)
    trained(student)
    after = student(input_ids=IDS).logits
    assert (after - before).abs().max() > 1e-3
    settle_words(student)
    torch.testing.assert_close(student(input_ids=IDS).logits, after)
    assert type(student.get_input_embeddings()) is nn.Embedding
    assert (set(student.state_dict()), student.num_parameters()) == (names, size)
    settle_words(student)  # once more changes nothing
    torch.testing.assert_close(student(input_ids=IDS).logits, after)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_words_that_no_text_has_learn_too(precision: torch.dtype | None) -> None:
    teacher, student = tiny_model("bert", seed=1, hidden_size=48), tiny_model("bert", layers=2)
    own = student.get_input_embeddings().weight.detach().clone()
    teach_words(student, teacher.get_input_embeddings().weight.detach(), special=SPECIAL)
    trained(student, precision)
    settle_words(student)
    moved = (student.get_input_embeddings().weight - own).abs().amax(1)
    assert moved[50:].min() > 1e-5
    assert moved[0] == 0  # padding has a role, and occurs nowhere here
    # what it is moved by is linear in the teacher's vectors
    shift = (student.get_input_embeddings().weight - own)[50:].detach()
    known = principal(teacher.get_input_embeddings().weight.detach(), 32)[50:]
    residue = shift - known @ torch.linalg.lstsq(known, shift).solution
    assert residue.norm() < 1e-3 * shift.norm()


def test_a_table_of_a_round_number() -> None:
    """Rows behind the last token are there for speed alone."""
    student, vectors = tiny_model("bert", layers=2, vocab_size=24), torch.randn(20, 48)
    teach_words(student, vectors, special=[0, 1, 2])
    table = student.get_input_embeddings()
    assert isinstance(table, TaughtEmbedding)
    torch.testing.assert_close(table.teacher[3:20], principal(vectors, 32)[3:])
    assert not table.teacher[[0, 1, 2, *range(20, 24)]].any()


def word_pieces(words: list[str]) -> BertTokenizerFast:
    return BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})


def bytes_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `texts`."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=300, min_frequency=1, show_progress=False, special_tokens=["<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, bos_token="<s>")


def test_the_same_token_has_the_same_vector_whatever_its_number() -> None:
    mirrored = word_pieces([*WORDS[:5], *reversed(WORDS[5:]), "extra"])
    teacher = tiny_model("bert", seed=1, vocab_size=len(WORDS) + 1)
    found = vectors_of_tokens(teacher, word_pieces(WORDS), mirrored)
    known, numbers = teacher.get_input_embeddings().weight, mirrored.get_vocab()
    for number, word in enumerate(WORDS):
        assert torch.equal(found[number], known[numbers[word]])


def test_a_token_of_its_own_has_the_mean_of_the_pieces_of_its_text() -> None:
    teacher_tokenizer = bytes_of(["the quick brown fox", "a good film, the best", "goods and films"] * 3)
    teacher = tiny_model("bert", seed=1, vocab_size=len(teacher_tokenizer))
    known = teacher.get_input_embeddings().weight.detach()
    tokenizer = word_pieces([*WORDS, "日"])
    found, numbers = vectors_of_tokens(teacher, tokenizer, teacher_tokenizer), tokenizer.get_vocab()
    for word, text in {"good": " good", "film": " film", "was": " was", "##s": "s"}.items():
        ids = teacher_tokenizer(text)["input_ids"]
        torch.testing.assert_close(found[numbers[word]], known[ids].mean(0))
    # and the other way round: a space is how such a token says that it begins a word
    back = vectors_of_tokens(tiny_model("bert", seed=2, vocab_size=14), teacher_tokenizer, tokenizer)
    assert back.shape == (len(teacher_tokenizer), 32)
    own = tiny_model("bert", seed=2, vocab_size=14).get_input_embeddings().weight
    torch.testing.assert_close(back[teacher_tokenizer.get_vocab()["Ġgood"]], own[numbers["good"]])


@pytest.mark.parametrize("make", [lambda: word_pieces(WORDS), lambda: bytes_of(["the fox was good"])])
def test_texts_of_tokens_are_read_as_these_tokens(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    tokenizer = make()
    texts = texts_of_tokens(tokenizer)
    for number, text in enumerate(texts):
        piece = tokenizer.convert_ids_to_tokens(number)
        if (
            number not in tokenizer.all_special_ids
            and not piece.startswith("##")
            and "\ufffd" not in text
            and text.strip()
        ):
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == [number]


def test_whole_words_are_letters_that_begin_a_word() -> None:
    assert whole_words(word_pieces(["the", "fox", "##ing", "is", "was", "1987", "...", "café"])) == [
        "the", "fox", "was", "café",
    ]  # fmt: skip
    found = whole_words(bytes_of(["a the fox was good, the fox was good"] * 3))
    assert {"the", "fox", "was", "good"} <= set(found)
    assert all(word.isalpha() and len(word) >= 3 for word in found)


def test_what_has_no_plain_table_is_known_without_weights() -> None:
    for family in FAMILIES:
        assert has_words(HEADS["classification"], tiny_config(family))
    from transformers import CanineConfig, Gemma3TextConfig

    assert not has_words(HEADS["classification"], CanineConfig(num_hidden_layers=1))
    scaled = Gemma3TextConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8
    )
    assert not has_words(HEADS["classification"], scaled)
