"""Windows against the tokenizer's own, and every label against the text that its tokens came from."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizer

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import load_task
from distiller.tasks.answers import question_scores
from distiller.tasks.data import Answer, QuestionSplit
from distiller.tasks.encode import IGNORED, Collator
from distiller.tasks.windows import EncodedQuestions, encode_questions, own_ranges, window_ranges
from tasks.tiny import wordpieces

LETTERS = "abc"
VOCABULARY = [*LETTERS, "é", ",", "ab", "##a", "##b", "##c"]


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return wordpieces(tmp_path_factory.mktemp("vocabulary"), VOCABULARY, strip_accents=False)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> RobertaTokenizer:
    folder = tmp_path_factory.mktemp("bytes")
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(["ab abc a ca ab, bc"] * 9, vocab_size=275, special_tokens=special)
    trained.save_model(str(folder))
    return RobertaTokenizer.from_pretrained(folder)


@st.composite
def asked(draw: st.DrawFn, *, alphabet: str = "abcé, ", questions: int = 3) -> QuestionSplit:
    """Questions with one or two answers each, some about the same context."""
    text = st.text(alphabet, min_size=1, max_size=40).filter(lambda t: t.strip() != "")
    contexts = draw(st.lists(text, min_size=1, max_size=2))
    rows = []
    for _ in range(draw(st.integers(1, questions))):
        context = draw(st.sampled_from(contexts))
        answers = []
        for _ in range(draw(st.integers(1, 2))):
            start = draw(st.integers(0, len(context) - 1))
            answers.append(Answer(context[start : draw(st.integers(start + 1, len(context)))], start))
        rows.append((draw(st.text("abc ", min_size=1, max_size=12)), context, tuple(answers)))
    first, second, third = zip(*rows, strict=True)
    return QuestionSplit("dev", first, second, third)


def cut(found: EncodedQuestions, row: int, start: int, end: int) -> tuple[int, int]:
    """The characters of the context that positions `start` to `end` of a window came from."""
    assert 0 <= start - found.firsts[row] <= end - found.firsts[row] < found.counts[row]
    at = found.origins[row] - found.firsts[row]
    return int(found.spans[at + start, 0]), int(found.spans[at + end, 1])


@pytest.mark.parametrize("name", ["wordpiece", "byte_level"])
@given(split=asked(), limit=st.integers(19, 40), stride=st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_rows_are_the_windows_of_the_tokenizer(
    request: pytest.FixtureRequest, name: str, split: QuestionSplit, limit: int, stride: int
) -> None:
    tokenizer = request.getfixturevalue(name)
    found = encode_questions(QuestionSplit("dev", split.questions, split.contexts), tokenizer, limit, stride=stride)
    rows = iter(range(len(found)))
    for n, (question, context) in enumerate(zip(split.questions, split.contexts, strict=True)):
        own = tokenizer(
            [question],
            [context],
            truncation="only_second",
            max_length=limit,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, ids in enumerate(own["input_ids"]):
            row = next(rows)
            feature = found[row]
            assert feature["input_ids"] == ids
            assert feature["attention_mask"] == own["attention_mask"][window]
            assert feature.get("token_type_ids") == (own["token_type_ids"][window] if name == "wordpiece" else None)
            sequences = own.sequence_ids(window)
            assert feature["output_mask"] == [int(one == 1) for one in sequences]
            assert (found.questions[row], found.lengths[row], feature["example_id"]) == (n, len(ids), row)
            for position, one in enumerate(sequences):
                if one == 1:
                    assert cut(found, row, position, position) == own["offset_mapping"][window][position]
    assert next(rows, None) is None


@pytest.mark.parametrize("name", ["wordpiece", "byte_level"])
@given(split=asked(questions=1), limit=st.integers(16, 30), stride=st.integers(1, 5))
@settings(deadline=None, max_examples=80)
def test_a_label_is_the_first_answer_that_a_window_holds_as_a_whole(
    request: pytest.FixtureRequest, name: str, split: QuestionSplit, limit: int, stride: int
) -> None:
    tokenizer = request.getfixturevalue(name)
    unlabelled = QuestionSplit("dev", split.questions, split.contexts)
    plain = encode_questions(unlabelled, tokenizer, limit, stride=stride, max_question_length=6)
    assert split.answers is not None
    expected, texts = [], []
    for row in range(len(plain)):
        window = range(plain.origins[row], plain.origins[row] + plain.counts[row])
        label, right = [IGNORED, IGNORED], None
        for text, start in reversed(split.answers[0]):
            touched = [n for n, (a, b) in enumerate(plain.spans) if a < start + len(text) and b > start]
            if touched and all(n in window for n in touched):
                label = [n - window.start + plain.firsts[row] for n in (touched[0], touched[-1])]
                right = text.strip()
        expected.append(label)
        texts.append(right)
    if not any(texts) and all(label[0] == IGNORED for label in expected):
        with pytest.raises(DataError, match="holds an answer as a whole"):
            encode_questions(split, tokenizer, limit, stride=stride, max_question_length=6)
        return
    found = encode_questions(split, tokenizer, limit, stride=stride, max_question_length=6)
    assert [found[row]["labels"] for row in range(len(found))] == expected
    for row, text in enumerate(texts):
        if text is not None:
            first, behind = cut(found, row, *expected[row])
            assert text in split.contexts[0][first:behind]


@given(length=st.integers(0, 90), room=st.integers(1, 30), data=st.data())
@settings(deadline=None, max_examples=200)
def test_every_token_has_one_window_of_its_own(length: int, room: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(0, room - 1))
    windows = window_ranges(length, room, stride)
    owners = []
    for token in range(length):  # the loop of the BERT script, in hundredths
        best, owner = None, None
        for number, (begin, end) in enumerate(windows):
            if not begin <= token < end:
                continue
            score = 100 * min(token - begin, end - 1 - token) + (end - begin)
            if best is None or score > best:
                best, owner = score, number
        owners.append(owner)
    own = own_ranges(windows)
    assert [number for number, (a, b) in enumerate(own) for _ in range(a, b)] == owners
    for (begin, _), (a, b), number in zip(windows, own, range(len(windows)), strict=True):
        assert all(owners[begin + token] == number for token in range(a, b))
    assert all(end - begin <= room for begin, end in windows)
    assert all(a[1] - b[0] == stride for a, b in pairwise(windows))


def test_real_questions_are_encoded_as_by_transformers(shared: Path) -> None:
    data = load_task(Task(name="squad", data=str(shared / "data" / "squad"), train_limit=20, dev_limit=60))
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "minilm-l6-h384")
    split = data.splits["dev"]
    assert isinstance(split, QuestionSplit)
    found = encode_questions(split, tokenizer, 128, stride=48)
    own = tokenizer(
        list(split.questions),
        list(split.contexts),
        truncation="only_second",
        max_length=128,
        stride=48,
        return_overflowing_tokens=True,
    )
    assert [found[row]["input_ids"] for row in range(len(found))] == own["input_ids"]
    assert found.questions.tolist() == own["overflow_to_sample_mapping"]
    assert len(found) > 60


def test_long_questions_are_cut_and_counted(wordpiece: PreTrainedTokenizerFast) -> None:
    split = QuestionSplit("dev", ("a b c a b c", "a b"), ("b c", "b c"), ((Answer("c", 2),), (Answer("b", 0),)))
    found = encode_questions(split, wordpiece, 12, stride=1, max_question_length=4)
    assert found.truncated == 1
    assert [wordpiece.decode(found[row]["input_ids"]) for row in (0, 1)] == [
        "[CLS] a b c a [SEP] b c [SEP]",
        "[CLS] a b [SEP] b c [SEP]",
    ]
    assert [found[row]["labels"] for row in (0, 1)] == [[7, 7], [4, 4]]
    batch = Collator(wordpiece)([found[0], found[1]])
    assert batch["labels"].tolist() == [[7, 7], [4, 4]]
    assert batch["labels"].dtype == torch.long
    assert batch["output_mask"].tolist()[1] == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    longer = encode_questions(split, wordpiece, 12, stride=1, max_question_length=6)
    assert found.fingerprint != longer.fingerprint


def test_too_little_room_for_the_context(wordpiece: PreTrainedTokenizerFast) -> None:
    context = "a b c " * 9
    split = QuestionSplit("train", ("a b c",), (context,), ((Answer("c", 4),),))
    with pytest.raises(
        DataError, match=r"question `0`: task\.stride is 8, but .* of 3 tokens task\.max_length=14 leaves 8 for"
    ):
        encode_questions(split, wordpiece, 14, stride=8)
    with pytest.raises(DataError, match="a question of 3 tokens leave no room for the context"):
        encode_questions(split, wordpiece, 6, stride=1)
    both = QuestionSplit("train", ("a b c", "a"), (context,) * 2, ((Answer("c", 4),),) * 2, source="train.json")
    with pytest.raises(DataError, match=r"`train\.json`, row 1, question `0`"):
        encode_questions(both, wordpiece, 14, stride=8)
    with pytest.warns(UserWarning, match=r"`train.json`: left out 1 bad row\(s\)"):
        kept = encode_questions(both, wordpiece, 14, stride=8, skip_bad=True)
    assert kept.skipped == 1
    assert set(kept.questions.tolist()) == {1}
    with pytest.raises(DataError, match="row 1, question `0`"):
        encode_questions(split, wordpiece, 14, stride=8, skip_bad=True)
    right = np.zeros((len(kept), max(kept.lengths), 2))
    for row, (start, end) in enumerate(kept.labels if kept.labels is not None else []):
        if start != IGNORED:
            right[row, start, 0] = right[row, end, 1] = 9
    assert question_scores(kept, both, right)["exact_match"] == 0.5  # without a window it has no answer, and scores 0
    grown = encode_questions(
        split, wordpiece, 14, stride=8, unanswered=True
    )  # an augmented question must not end a run
    assert [grown.counts[row] for row in (0, 1)] == [8, 8]
    short = QuestionSplit("train", ("a b c",), ("a b c",), ((Answer("c", 4),),))
    assert len(encode_questions(short, wordpiece, 14, stride=8)) == 1  # one window needs no overlap


def test_a_split_in_which_no_window_holds_an_answer_is_refused(wordpiece: PreTrainedTokenizerFast) -> None:
    context = "a b c " * 9
    split = QuestionSplit("train", ("a",), (context,), ((Answer(context.strip(), 0),),))
    with pytest.raises(DataError, match=r"split `train`: none of its \d+ windows holds an answer as a whole"):
        encode_questions(split, wordpiece, 14, stride=4)


def test_windows_are_padded_on_the_right(wordpiece: PreTrainedTokenizerFast) -> None:
    split = QuestionSplit("train", ("a",), ("a b",), ((Answer("a", 0),),))
    wordpiece.padding_side = "left"
    try:
        encoded = encode_questions(split, wordpiece, 14)
        batch = Collator(wordpiece)([encoded[0]])  # XLNet's pads on the left, and places are counted from there
        (start, end), ids = batch["labels"][0].tolist(), batch["input_ids"][0].tolist()
        assert wordpiece.convert_ids_to_tokens(ids[start : end + 1]) == ["a"]
    finally:
        wordpiece.padding_side = "right"
