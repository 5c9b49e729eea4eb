"""Masked-LM replacement, with a model whose ranking is known."""

import math
from pathlib import Path

import pytest
from transformers import BertTokenizerFast, GPT2Config, GPT2LMHeadModel

from augment.stubs import RANKING, after, protect, rngs, write_masked_lm
from distiller.augment.contextual import contextual, eligible, prepare
from distiller.augment.glove import Glove, load_glove
from distiller.augment.masked_lm import load_masked_lm
from distiller.augment.passage import of_words, split_words
from distiller.errors import DataError, MissingPackageError, ModelError

SENTENCE = "The silly story was great, and unseen (story) 123 Silly."
CONTENT = ["good", "film", "plot", "bad", "actor"]
"""What `RANKING` holds beside the stop word, punctuation, parts of words, digits and single letters, best first."""


def edits(text: str, model: str, *, count: int = 1, **options) -> list[list[str]]:
    passage = split_words(text)
    return [after(passage, edit).split() for edit in contextual([passage] * count, rngs(count), model=model, **options)]


def test_only_content_words_are_eligible() -> None:
    passage = protect(SENTENCE, 1, 3)
    assert [passage.words[n] for n in eligible(passage)] == ["story", "great", "unseen", "story", "Silly"]


def test_the_model_decides_and_the_case_stays(masked_lm: str) -> None:
    [words] = edits(SENTENCE, masked_lm, p=1.0, top_k=1)
    assert " ".join(words) == "The good good was good, and good (good) 123 Good."


def test_the_original_is_never_its_own_replacement(masked_lm: str) -> None:
    [words] = edits("Good film", masked_lm, p=1.0, top_k=1)
    assert words == ["Film", "good"]


def test_draws_follow_the_probabilities_of_the_best(masked_lm: str) -> None:
    drawn = [words[0] for words in edits("great", masked_lm, count=3000, p=1.0, top_k=3, batch_size=500)]
    scores = [math.exp(-RANKING.index(word)) for word in ("good", "Film", "plot")]
    for word, score in zip(("good", "film", "plot"), scores, strict=True):
        share = score / sum(scores)
        spread = math.sqrt(3000 * share * (1 - share))
        assert abs(sum(each.lower() == word for each in drawn) - 3000 * share) < 4 * spread
    assert {word.lower() for word in drawn} == {"good", "film", "plot"}


def test_as_many_words_change_as_the_rate_says(masked_lm: str) -> None:
    story = " ".join(["silly", "story"] * 10)
    for p, n_max, count in ((0.3, 10, 6), (0.31, 10, 7), (1.0, 4, 4), (0.01, 10, 1), (0.0, 10, 0)):
        [words] = edits(story, masked_lm, p=p, n_max=n_max)
        assert sum(new not in ("silly", "story") for new in words) == count
    [words] = edits("the silly and the was", masked_lm, p=1.0)
    assert [*words[:1], *words[2:]] == ["the", "and", "the", "was"]


def test_every_eligible_word_is_as_likely(masked_lm: str) -> None:
    rows = edits("silly story great story silly", masked_lm, count=2000, p=0.4, batch_size=500)
    for place, word in enumerate(["silly", "story", "great", "story", "silly"]):
        changed = sum(words[place] != word for words in rows)
        assert abs(changed - 2000 * 2 / 5) < 4 * math.sqrt(2000 * 0.4 * 0.6)


def test_it_follows_from_the_generator_whatever_the_batch(masked_lm: str) -> None:
    passages = [split_words(text) for text in (SENTENCE, "great", "", "a silly " * 9, "...")]
    together = contextual(passages, rngs(5), model=masked_lm)
    alone = [contextual([passage], [rng], model=masked_lm)[0] for passage, rng in zip(passages, rngs(5), strict=True)]
    assert together == alone == contextual(passages, rngs(5), model=masked_lm, batch_size=1)
    assert together != contextual(passages, rngs(5, seed=1), model=masked_lm)


def test_protected_words_stay(masked_lm: str) -> None:
    passage = protect(SENTENCE, 1, 2, 6)
    for edit in contextual([passage] * 20, rngs(20), model=masked_lm, p=1.0):
        assert isinstance(edit, tuple)
        assert [edit[n] for n in (1, 2, 6)] == [("silly",), ("story",), ("unseen",)]


def test_words_of_several_pieces(masked_lm: str, glove: str) -> None:
    found = {"mask": {"good", "film", "plot"}, "skip": {"unseen"}, "glove": {"hidden", "invisible"}}
    for fallback, words in found.items():
        rows = edits("unseen", masked_lm, count=60, p=1.0, top_k=3, fallback=fallback, glove=glove)
        assert {word.lower() for [word] in rows} == words
    assert edits("unheard", masked_lm, p=1.0, fallback="glove", glove=glove) == [["unheard"]]


def test_a_mask_in_the_text_is_a_word_like_others(masked_lm: str) -> None:
    [words] = edits("[MASK] great [MASK]", masked_lm, p=1.0, top_k=1)
    assert words == ["[GOOD]", "good", "[GOOD]"]


def test_words_beyond_the_model_s_maximum_stay(masked_lm: str) -> None:
    [words] = edits("silly " * 100, masked_lm, p=1.0, n_max=100, top_k=1)
    assert words == ["good"] * 30 + ["silly"] * 70  # 32 positions, 2 of them special


def test_tinybert_takes_each_word_with_its_rate_and_any_of_the_best(masked_lm: str, glove: str) -> None:
    options = {"mode": "tinybert", "top_k": 5, "glove": glove, "batch_size": 500}
    rows = edits("silly story the", masked_lm, count=1500, **options)
    for place, word in enumerate(("silly", "story")):
        drawn = [words[place] for words in rows if words[place] != word]
        assert abs(len(drawn) - 1500 * 0.4) < 4 * math.sqrt(1500 * 0.4 * 0.6)
        assert set(drawn) == {"the", "good", "Film", "3"}  # the best five without the part of a word
        for word in set(drawn):
            assert abs(drawn.count(word) - len(drawn) / 4) < 4 * math.sqrt(len(drawn) * 0.25 * 0.75)
    assert {words[2] for words in rows} == {"the"}
    seen = {words[0] for words in edits("unseen", masked_lm, count=100, **options)}
    assert seen == {"unseen", "hidden", "invisible", "1990s", "loud"}


def test_scores_are_those_of_the_whole_model(tmp_path: Path) -> None:
    """The vocabulary is scored at masks only; the numbers are those that `transformers` gives."""
    import torch

    name = write_masked_lm(tmp_path, scores=[0.0])
    source = load_masked_lm(name)
    with torch.no_grad():
        for parameter in source.model.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    texts = ["silly [MASK] great [MASK]", "[MASK] was", "no mask"]
    inputs = source.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        masks, scores = source._scores(texts, None)
        whole = source.model(**inputs).logits[inputs["input_ids"] == source.tokenizer.mask_token_id]
    assert masks == [2, 1, 0]
    assert scores.shape == whole.shape == (3, 26)
    torch.testing.assert_close(scores, whole)


def test_models_that_are_no_masked_language_models_are_refused(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(ModelError, match="is no masked language model: it lacks 6 weights"):
        load_masked_lm(str(shared / "models" / "bert-tiny"))
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
    BertTokenizerFast(vocab=vocabulary, mask_token=None).save_pretrained(tmp_path)
    options = {"device": "cpu", "mode": "sample", "fallback": None, "glove": None}
    with pytest.raises(ModelError, match="has no mask token"):
        prepare(model=str(tmp_path), **options)


def test_neighbours_by_cosine(glove: str) -> None:
    vectors = load_glove(glove)
    assert vectors.neighbours("Unseen", 2) == ("1990s", "hidden")
    assert vectors.neighbours("unseen", 99) == ("1990s", "hidden", "invisible", "loud")
    assert vectors.neighbours("unheard", 2) == ()
    assert Glove(["one"], vectors._vectors[:1]).neighbours("one", 3) == ()


@pytest.mark.slow
def test_neighbours_in_the_vectors_of_the_package() -> None:
    try:
        vectors = load_glove()
    except MissingPackageError as missing:
        pytest.skip(missing.message)
    assert len(vectors.words) == 400_000
    assert vectors.neighbours("king", 5)[0] == "prince"
    assert "film" in vectors.neighbours("movie", 5)


@pytest.mark.parametrize("content", ["", "a 1 2\nb 1\n", "a x y\n", "a\n"])
def test_a_bad_file_of_vectors_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"vectors\.txt"):
        load_glove(str(path))


def test_words_of_a_sentence_given_in_words(masked_lm: str) -> None:
    passage = of_words(["silly", ",", "New York", "great"])
    [edit] = contextual([passage], rngs(1), model=masked_lm, p=1.0, top_k=1)
    assert edit == (("good",), (",",), ("New York",), ("good",))
