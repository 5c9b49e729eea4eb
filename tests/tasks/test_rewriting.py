"""Copies of training texts with other words: what is drawn, what is kept, and that nothing else of the data changes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.tasks.data import REWRITTEN, QuestionSplit, Split, TaggedSplit, TaskData
from distiller.tasks.rewriting import MOST, SHARE, TOKENS, usual_copies, with_rewritten

TEXTS = tuple(f"the {word} story , told in {number} words" for number, word in enumerate(["dull", "great"] * 20))


def task(texts: tuple[str, ...] = TEXTS, **columns: object) -> TaskData:
    train = Split("train", texts, labels=tuple(n % 2 for n in range(len(texts))), **columns)  # pyright: ignore
    dev = Split("dev", ("a story",), pairs=("b",) if train.pairs else None, labels=(0,))
    return TaskData("films", "classification", ("no", "yes"), ("accuracy",), {"train": train, "dev": dev})


def made(data: TaskData, copies: int = 4, seed: int = 13) -> Split:
    split = with_rewritten(data, copies, seed=seed).splits[REWRITTEN]
    assert isinstance(split, Split)
    return split


def test_copies_have_words_of_the_texts_and_no_labels() -> None:
    split = made(task())
    known = {word for text in TEXTS for word in text.split()}
    assert not split.labelled
    assert len(split) <= 4 * len(TEXTS)
    assert {word for text in split.texts for word in text.split()} <= known
    assert not set(split.texts) & set(TEXTS)
    assert all(split.texts)


def test_about_as_many_words_are_left_out_as_the_share_says() -> None:
    texts = tuple(" ".join(["word"] * 200) for _ in range(200))
    lengths = [len(text.split()) for text in made(task(texts), copies=1).texts]
    assert sum(lengths) / (200 * len(lengths)) == pytest.approx(1 - SHARE / 2, abs=0.01)


def test_words_come_in_as_often_as_they_stand_in_the_texts() -> None:
    texts = tuple("a a a b" for _ in range(2000))
    data = task(texts + tuple("c " * 100 for _ in range(20)))
    counts = Counter(word for text in made(data, copies=1).texts for word in text.split() if "c" not in text[:1])
    assert counts["b"] / counts["a"] == pytest.approx(1 / 3, abs=0.05)


def test_the_seed_decides_and_nothing_else() -> None:
    assert made(task()) == made(task())
    assert made(task()).texts != made(task(), seed=14).texts


def test_both_texts_of_a_pair_are_rewritten() -> None:
    split = made(task(pairs=TEXTS[::-1]))
    assert split.pairs is not None
    assert any(text not in TEXTS for text in split.texts)
    assert any(text not in TEXTS for text in split.pairs)


def test_the_data_is_still_that_data() -> None:
    data = task()
    more = with_rewritten(data, 2, seed=1)
    assert more.fingerprint == data.fingerprint
    assert (more.labelled, more.unlabelled) == (data.labelled, data.unlabelled)
    assert [split.name for split in more.transfer] == ["train", REWRITTEN]
    assert with_rewritten(data, 0, seed=1) is data


def test_texts_of_other_splits_do_not_come_back() -> None:
    data = task(("a b",) * 50)
    splits = {**data.splits, "dev": Split("dev", ("a", "b", "a a", "b b", "b a"), labels=(0,) * 5)}
    rewritten = with_rewritten(TaskData("films", "classification", ("no", "yes"), ("accuracy",), splits), 9, seed=3)
    assert REWRITTEN not in rewritten.splits  # every copy is the text itself or one of the development set


def test_sentences_in_words_and_texts_without_labels() -> None:
    train = TaggedSplit("train", (("the", "old", "man"),) * 30, tags=((0, 1, 1),) * 30)
    dev = TaggedSplit("dev", (("who",),), tags=((0,),))
    unlabelled = TaggedSplit("unlabelled", (("a", "new", "sea", "and", "more"),) * 30)
    data = TaskData("tags", "tagging", ("x", "y"), ("tag_f1",), {"train": train, "unlabelled": unlabelled, "dev": dev})
    split = with_rewritten(data, 2, seed=3).splits[REWRITTEN]
    assert isinstance(split, TaggedSplit)
    assert not split.labelled
    assert len(split) > 30
    assert len(set(split.ids)) == len(split)


def test_questions_are_not_rewritten() -> None:
    question = QuestionSplit("train", ("who?",), ("he",))
    data = TaskData("qa", "qa", (), ("answer_f1",), {"train": question, "dev": question})
    assert usual_copies(data) == 0
    with pytest.raises(ValueError, match="rewritten"):
        with_rewritten(data, 1, seed=0)


def test_more_text_gets_fewer_copies() -> None:
    line = " ".join(["word"] * 100)
    copies = [usual_copies(task((line,) * rows)) for rows in (10, 1200, 1500, 2000, 3000, 6001)]
    assert copies == [MOST, MOST, 3, 2, 1, 0]
    assert usual_copies(task((line,) * 1000), tokens=TOKENS * 350_000) == 2  # 100,000 words and room for 350,000


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=8))
def test_whatever_the_script_a_copy_is_a_text(texts: list[str]) -> None:
    texts = [text for text in texts if text.strip()] or ["x"]
    data = task(tuple(texts))
    split = with_rewritten(data, 2, seed=0).splits.get(REWRITTEN)
    if split is not None:
        assert isinstance(split, Split)
        assert all(text.strip() for text in split.texts)


def test_scripts_without_blanks_change_by_the_character() -> None:
    texts = ("这部电影非常好看我很喜欢它的故事", "这本书太无聊了我不想再看一遍谢谢") * 10
    split = made(task(texts))
    assert {len(text) for text in split.texts} > {16, 15, 14}
    assert {letter for text in split.texts for letter in text} <= {letter for text in texts for letter in text}
