"""Texts made of two training texts: what is drawn, what is kept, and that nothing else of the data changes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller.tasks.crossover import (
    CUT,
    ENOUGH,
    EXCHANGED,
    MOST,
    QUESTION_WORDS,
    TOKENS,
    USUAL,
    WHOLE,
    usual_crossovers,
    with_crossed,
)
from distiller.tasks.data import CROSSED, Answer, QuestionSplit, Split, TaggedSplit, TaskData

TEXTS = tuple(" ".join(f"{letter}{place}" for place in range(10)) for letter in "abcdefghij")
"""Ten words each; a word says its text and its place."""


def task(texts: tuple[str, ...] = TEXTS, pairs: tuple[str, ...] | None = None) -> TaskData:
    train = Split("train", texts, pairs, labels=tuple(n % 2 for n in range(len(texts))))
    dev = Split("dev", ("a story",), pairs=("b",) if pairs else None, labels=(0,))
    return TaskData("films", "classification", ("no", "yes"), ("accuracy",), {"train": train, "dev": dev})


def made(data: TaskData, times: int = 4, seed: int = 13) -> Split:
    split = with_crossed(data, times, seed=seed).splits[CROSSED]
    assert isinstance(split, Split)
    return split


def test_a_text_begins_like_one_and_ends_like_another() -> None:
    split = made(task())
    assert not split.labelled
    assert 30 < len(split) <= 4 * len(TEXTS)
    for text in split.texts:
        words = text.split()
        first = [word for word in words if word[0] == words[0][0]]
        last = words[len(first) :]
        assert first == [f"{words[0][0]}{place}" for place in range(len(first))]  # from the beginning …
        assert last == [f"{words[-1][0]}{place}" for place in range(len(first), 10)]  # … to the end, cut at one place
        assert first[0][0] != last[0][0]
        assert 10 * CUT[0] <= len(first) <= 10 * CUT[1]


def test_every_text_begins_some_and_ends_some() -> None:
    split = made(task(), times=8)
    assert {text[0] for text in split.texts} == set("abcdefghij")
    assert {text.split()[-1][0] for text in split.texts} == set("abcdefghij")


def test_the_seed_decides_and_nothing_else() -> None:
    assert made(task()) == made(task())
    assert made(task()).texts != made(task(), seed=14).texts


def test_of_pairs_first_is_crossed_with_first() -> None:
    split = made(task(pairs=tuple(text.upper() for text in TEXTS)))
    assert split.pairs is not None
    for first, second in zip(split.texts, split.pairs, strict=True):
        assert first.islower()
        assert second.isupper()
        assert first[0].upper() == second[0]
        assert first.split()[-1][0].upper() == second.split()[-1][0]  # both from the same two rows


def test_the_data_is_still_that_data() -> None:
    data = task()
    more = with_crossed(data, 2, seed=1)
    assert more.fingerprint == data.fingerprint
    assert (more.labelled, more.unlabelled) == (data.labelled, data.unlabelled)
    assert [split.name for split in more.transfer] == ["train", CROSSED]
    assert with_crossed(data, 0, seed=1) is data


def test_texts_of_other_splits_do_not_come_back() -> None:
    data = task(("a b", "c d") * 20)
    splits = {**data.splits, "dev": Split("dev", ("a d", "c b"), labels=(0, 1))}
    crossed = with_crossed(TaskData("films", "classification", ("no", "yes"), ("accuracy",), splits), 9, seed=3)
    assert CROSSED not in crossed.splits  # every crossed text is a training text or one of the development set


def test_sentences_in_words_and_texts_without_labels() -> None:
    train = TaggedSplit(
        "train", (("the", "old", "man"), ("a", "green", "sea", "of")) * 15, tags=((0, 1, 1), (0, 0, 1, 0)) * 15
    )
    dev = TaggedSplit("dev", (("who",),), tags=((0,),))
    unlabelled = TaggedSplit("unlabelled", (("some", "new", "words", "and", "more"),) * 30)
    data = TaskData("tags", "tagging", ("x", "y"), ("tag_f1",), {"train": train, "unlabelled": unlabelled, "dev": dev})
    split = with_crossed(data, 2, seed=3).splits[CROSSED]
    assert isinstance(split, TaggedSplit)
    assert not split.labelled
    assert any(words[0] == "some" and words[-1] != "more" for words in split.words)  # unlabelled ones take part
    assert len(set(split.ids)) == len(split)


def test_words_of_a_tagger_are_exchanged() -> None:
    sentence = ("the", "Old", "man", "is", "so", "nice", ".")
    sentences = tuple((f"{number}", *sentence, f"{number}") for number in range(60))
    data = TaskData("tags", "tagging", ("x",), ("tag_f1",), {"train": TaggedSplit("train", sentences)})
    found = with_crossed(data, 9, seed=3, words=("whale", "umbrella")).splits[CROSSED]
    assert isinstance(found, TaggedSplit)
    columns = list(zip(*found.words, strict=True))  # all sentences are of one length, and cut in one place
    for word, column in zip(sentence, columns[1:-1], strict=True):
        allowed = {word, "whale", "umbrella"} if word in ("the", "Old", "man", "nice") else {word}
        assert set(column) == allowed
    share = sum(word in ("whale", "umbrella") for column in columns for word in column) / (4 * len(found))
    assert share == pytest.approx(EXCHANGED, abs=0.04)  # three standard errors
    assert with_crossed(data, 9, seed=3, words=("whale", "umbrella")).splits[CROSSED] == found


def questions(rows: int = 30) -> TaskData:
    asked = tuple(f"when did the person {row} leave home ?" for row in range(rows))
    contexts = tuple(f"In {1900 + row} it rained. Person {row} left a warm house near the sea!" for row in range(rows))
    answers = tuple((Answer(str(1900 + row), 3),) for row in range(rows))
    train = QuestionSplit("train", asked, contexts, answers, null_answers=True)
    return TaskData("qa", "qa", (), ("answer_f1",), {"train": train, "dev": replace(train, name="dev").take([0])})


def test_questions_are_made_about_whole_contexts() -> None:
    data = questions()
    train, found = data.splits["train"], with_crossed(data, 8, seed=3).splits[CROSSED]
    assert isinstance(train, QuestionSplit)
    assert isinstance(found, QuestionSplit)
    assert not found.labelled
    assert found.null_answers
    assert set(found.contexts) == set(train.contexts)
    assert len(set(found.question_ids)) == len(set(found.ids)) == len(found)
    others = 0
    for question, context in zip(found.questions, found.contexts, strict=True):
        if question in train.questions:
            others += 1
            assert train.contexts[train.questions.index(question)] != context
            continue
        words = question.rstrip("?").split()
        kept = next(
            n for n in range(len(words), 0, -1) if any(q.startswith(" ".join(words[:n])) for q in train.questions)
        )
        assert 1 <= kept < len(words)
        assert " ".join(words[kept:]) in context  # words in a row, of one sentence
    assert others / len(found) == pytest.approx(WHOLE, abs=0.1)
    assert with_crossed(data, 8, seed=3).splits[CROSSED] == found
    assert with_crossed(data, 0, seed=3) is data


def test_questions_in_a_script_without_blanks() -> None:
    asked, contexts = ("東京は何年に？", "誰が家を出た？") * 10, ("雨が降った。人は家を出た。", "海の近くの家。") * 10
    data = TaskData("qa", "qa", (), ("answer_f1",), {"train": QuestionSplit("train", asked, contexts)})
    found = with_crossed(data, 5, seed=3).splits[CROSSED]
    assert isinstance(found, QuestionSplit)
    assert not any(" " in question for question in found.questions)


def test_questions_of_much_text_get_fewer() -> None:
    assert usual_crossovers(questions()) == MOST
    (context,) = questions(1).splits["train"].contexts
    long = replace(questions(2000).splits["train"], contexts=(context + " word" * 120,) * 2000)
    data = replace(questions(), splits={"train": long})
    words = 2000 * (len(context.split()) + 120 + 8)
    assert usual_crossovers(data) == QUESTION_WORDS // words - 1 == 3
    assert usual_crossovers(data, tokens=TOKENS * words) == 0


def test_more_text_gets_fewer() -> None:
    line = " ".join(["word"] * 100)
    times = [usual_crossovers(task((line,) * rows)) for rows in (10, 1200, 1500, 2000, 3000, 6001)]
    assert times == [MOST, USUAL, 3, 2, 1, 0]
    short = [usual_crossovers(task(("a word",) * rows)) for rows in (600, 1500, ENOUGH // USUAL, 2 * ENOUGH)]
    assert short == [MOST, 8, USUAL, USUAL]
    assert usual_crossovers(task((line,) * 1000), tokens=TOKENS * 350_000) == 2  # 100,000 words, room for 350,000


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=8))
def test_whatever_the_script_a_crossed_text_is_a_text(texts: list[str]) -> None:
    split = with_crossed(task(tuple(texts)), 2, seed=0).splits.get(CROSSED)
    if split is not None:
        assert isinstance(split, Split)
        assert all(text.strip() for text in split.texts)


def test_scripts_without_blanks_are_cut_between_characters() -> None:
    texts = ("这部电影非常好看我很喜欢它的故事", "本书太无聊了我不想再读一遍谢谢")
    for text in made(task(texts)).texts:
        assert text[0] in "这本"
        assert 10 < len(text) < 20
        assert not text.isspace()
