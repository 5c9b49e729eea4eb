"""Scores are sacreBLEU's, with its signatures; vocabularies come back as the text they were given."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.config.translation import Vocabulary
from distiller.errors import DataError, ModelError
from distiller.translation.scores import bleu_of, closest, score, sentence_counts
from distiller.translation.tokenizer import END, check_fit, tokenizer_from_sentencepiece, train_tokenizer
from translation.tiny import sentences, vocabulary

sacrebleu = pytest.importorskip("sacrebleu")

SAID = ["the cat sat on the mat .", "a dog runs in the park today"]
GOLD = ["The cat sat on the mat.", "a dog is running in the park today"]


def test_scores_agree_with_sacrebleu() -> None:
    found = score(SAID, GOLD)
    assert found.values["bleu"] == sacrebleu.corpus_bleu(SAID, [GOLD]).score
    assert found.values["chrf"] == sacrebleu.corpus_chrf(SAID, [GOLD]).score
    assert found.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found.signatures["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|")


def test_the_ends_of_the_scale() -> None:
    assert score(GOLD, GOLD).values == pytest.approx({"bleu": 100.0, "chrf": 100.0})
    assert score(["zzz qqq xxx vvv"] * 2, GOLD).values["bleu"] == 0
    with pytest.raises(DataError, match="1 translations for 2"):
        score(SAID[:1], GOLD)


def test_the_closest_hypothesis() -> None:
    said = ["a cat", GOLD[1], "a dog runs in the park", GOLD[1]]
    assert closest(said, [GOLD[1]]) == 1  # the earlier of two equal ones
    assert closest(said, [GOLD[0], said[2]]) == 2  # any of several references


def test_text_survives_the_vocabulary() -> None:
    words = vocabulary()
    text = [side for pair in sentences(50, seed=9) for side in pair]
    ids = words.encode(text)
    assert words.decode(ids) == text
    assert all(one[-1] == END and END not in one[:-1] for one in ids)


def test_the_same_text_gives_the_same_vocabulary() -> None:
    assert vocabulary() == vocabulary()
    assert vocabulary(47) != vocabulary()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("size", [5000, 5])
def test_a_vocabulary_that_the_text_cannot_fill_is_refused_with_a_size_that_it_can(kind: Any, size: int) -> None:
    text = [side for pair in sentences(30) for side in pair]
    with pytest.raises(DataError, match=f"no vocabulary of {size} pieces") as error:
        train_tokenizer(text, Vocabulary(size=size, kind=kind))
    hinted = re.search(r"vocabulary.size=(\d+)", str(error.value.hint))
    assert hinted
    assert len(train_tokenizer(text, Vocabulary(size=int(hinted[1]), kind=kind))) == int(hinted[1])


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="48 pieces, the teacher has 40"):
        check_fit(vocabulary(), 40, "the teacher")


def test_any_sentencepiece_model_is_a_vocabulary(tmp_path: Path) -> None:
    """With the special tokens of its own, wherever they stand; padding comes last where there is none."""
    import sentencepiece

    text = [side for pair in sentences(200) for side in pair]
    for name, options in {"usual": {}, "earlier": {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}}.items():
        file = tmp_path / f"{name}.model"
        with file.open("wb") as written:
            sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]
                sentence_iterator=iter(text), model_writer=written, vocab_size=30, minloglevel=2, **options
            )
        words = tokenizer_from_sentencepiece(file)
        assert words.pad == (30 if name == "usual" else 0)
        assert words.decode(words.encode(text[:20])) == text[:20]
        assert all(ids[-1] == words.end for ids in words.encode(text[:20]))


@given(data=st.data())
def test_counts_of_sentences_make_the_score_of_any_of_them(data: st.DataObject) -> None:
    words = st.lists(st.sampled_from(["a", "house", "tree", "is", "red", "."]), min_size=1, max_size=8).map(" ".join)
    pairs = data.draw(st.lists(st.tuples(words, words), min_size=1, max_size=6))
    said, gold = map(list, zip(*pairs, strict=True))
    rows = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=8))
    wanted = sacrebleu.corpus_bleu([said[row] for row in rows], [[gold[row] for row in rows]]).score
    assert bleu_of(sentence_counts(said, gold)[rows]) == pytest.approx(wanted)
