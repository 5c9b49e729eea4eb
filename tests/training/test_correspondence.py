"""Which token of the teacher a token of the student is compared with, where both read other pieces."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.tiny import tiny_tokenizer
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer, Tokenizer
from transformers import (
    BertConfig,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
    TrainingArguments,
)

from distiller.config import Task
from distiller.models.signals import Signals
from distiller.tasks.data import Answer, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import NO_ANSWER_HERE, NOWHERE, Collator
from distiller.tasks.tokens import encode_split
from distiller.tasks.windows import EncodedQuestions, encode_read
from distiller.training.batching import PairedSplit, ViewCollator
from distiller.training.correspondence import answers_of_teacher, at_student, places_of_teacher
from distiller.training.trainer import DistillationTrainer

LETTERS = [*"abcdefghij"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "ab", "##cd"]
CORPUS = ["abc deab cdef", "ghij abcd ab", "fade a cabbage", "jab dig hide a big bag"]
READERS = ("wordpiece", "bytes", "unigram")
LONGEST = 64


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tokenizers that cut words into other pieces, mark them in other ways and set other tokens around a text."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    found: dict[str, Any] = {"wordpiece": tiny_tokenizer(PIECES)}
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS * 9, vocab_size=290, special_tokens=special)
    folder = tmp_path_factory.mktemp("bytes")
    trained.save_model(str(folder))
    found["bytes"] = RobertaTokenizer.from_pretrained(folder)
    unigram = SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(CORPUS * 9, vocab_size=40, special_tokens=special, unk_token="<unk>")
    found["unigram"] = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(unigram.to_str()), pad_token="<pad>", unk_token="<unk>"
    )
    return found


words = st.lists(st.text("abcdefghij", min_size=1, max_size=6), min_size=1, max_size=6)


@pytest.mark.parametrize("student", READERS)
@pytest.mark.parametrize("teacher", READERS)
@given(first=words, second=words | st.none(), gap=st.sampled_from([" ", "  ", "\n"]))
@settings(deadline=None, max_examples=25)
def test_every_piece_of_text_goes_with_the_piece_that_has_its_first_character(
    readers: dict[str, Any], student: str, teacher: str, first: list[str], second: list[str] | None, gap: str
) -> None:
    """As `char_to_token` of the library `tokenizers` has it."""
    texts = [gap.join(first), *([] if second is None else [gap.join(second)])]
    split = Split("train", (texts[0],), None if second is None else (texts[1],), (0,))
    ours, theirs = (
        encode_split(split, readers[name], Task(train="x"), 512, characters=True) for name in (student, teacher)
    )
    assert ours.characters is not None
    assert theirs.characters is not None
    places, seen = places_of_teacher(ours.characters, theirs.characters, ("first", "first"))
    other = readers[teacher](*texts).encodings[0]
    own = readers[student](*texts).encodings[0]
    for token, (number, (begin, end)) in enumerate(zip(own.sequence_ids, own.offsets, strict=True)):
        if number is None or not texts[number][begin:end].strip():
            continue  # a piece of blanks alone has no character
        assert seen[token]
        begin += len(texts[number][begin:end]) - len(texts[number][begin:end].lstrip())
        assert places[token] == other.char_to_token(begin, number)
    if own.sequence_ids[0] is None:
        assert places[0] == 0


@pytest.mark.parametrize("student", READERS)
@pytest.mark.parametrize("teacher", READERS)
@given(sentence=words)
@settings(deadline=None, max_examples=25)
def test_the_first_piece_of_a_word_goes_with_the_first_piece_of_that_word(
    readers: dict[str, Any], student: str, teacher: str, sentence: list[str]
) -> None:
    split = TaggedSplit("train", (tuple(sentence),), (tuple(range(len(sentence))),))
    ours, theirs = (
        encode_split(split, readers[name], Task(train="x", kind="tagging"), 512, characters=True)
        for name in (student, teacher)
    )
    assert ours.characters is not None
    assert theirs.characters is not None
    assert ours.labels is not None
    assert theirs.labels is not None
    places, seen = places_of_teacher(ours.characters, theirs.characters, ("first", "first"))
    assert seen.all()
    labelled = ours.labels >= 0
    assert (theirs.labels[places][labelled] == ours.labels[labelled]).all()


def test_special_tokens_go_with_what_stands_in_their_place() -> None:
    def spans(*numbers: int) -> np.ndarray:
        return np.asarray([(n, n + 1) if n >= 0 else (-1, -1) for n in numbers])

    student = spans(-1, 0, 1, -1, 5, -1)  # [CLS] a b [SEP] c [SEP]
    places, seen = places_of_teacher(student, spans(-1, 0, 1, -1, -1, 5, -1), ("first", "first"))
    assert places.tolist() == [0, 1, 2, 3, 5, 6]  # <s> a b </s> </s> c </s>
    assert seen.all()
    places, _ = places_of_teacher(student, spans(0, 1, -1, 5, -1, -1), ("first", "last"))
    assert places.tolist() == [5, 0, 1, 2, 3, 4]  # a b <sep> c <sep> <cls>
    places, seen = places_of_teacher(student, spans(-1, 0, -1), ("first", "first"))
    assert places.tolist() == [0, 1, 1, 2, 1, 2]  # the teacher's limit cut the rest
    assert seen.tolist() == [True, True, False, True, False, True]
    places, seen = places_of_teacher(student, spans(-1, -1), ("first", "first"))
    assert places.tolist() == [0] * 6
    assert not seen[[1, 2, 4]].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("left", [False, True])
def test_outputs_are_moved_to_the_tokens_of_the_student(dtype: torch.dtype, left: bool) -> None:
    """Each state and output holds its own place, whichever side the teacher is padded on."""
    lengths, padded = [4, 2, 5], 6
    numbers = torch.zeros(3, padded, dtype=dtype)
    mask = torch.zeros(3, padded, dtype=torch.long)
    for row, length in enumerate(lengths):
        where = slice(padded - length, None) if left else slice(length)
        numbers[row, where] = torch.arange(length, dtype=dtype)
        mask[row, where] = 1
    state = numbers[..., None].expand(-1, -1, 3)
    places = torch.tensor([[0, 3, 3, 1], [1, 0, 0, 0], [4, 2, 0, 0]])
    ours = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    found = Signals(state[..., :2], {0: state, 2: state}, {}, mask).at(places, ours)
    for values in (found.logits, *found.hidden_states.values()):
        assert torch.equal(values[..., 0] * ours, places.to(dtype) * ours)
        assert values.dtype == dtype
    assert found.mask is ours
    assert found.unmoved is not None
    assert found.unmoved.mask is mask
    pooled = torch.randn(3, 5)
    assert Signals(pooled, {}, {}, mask).at(places, ours).logits is pooled


def test_a_batch_has_places_and_leaves_out_what_the_teacher_did_not_see(readers: dict[str, Any]) -> None:
    split = TaggedSplit("train", (("abcd", "ab", "j"), ("cab",)), ((0, 1, 2), (1,)))
    task = Task(train="x", kind="tagging")
    ours = encode_split(split, readers["wordpiece"], task, LONGEST, characters=True)
    theirs = encode_split(split, readers["bytes"], task, 4, characters=True)
    rows = PairedSplit(ours, theirs)
    batch = ViewCollator(Collator(readers["wordpiece"]), Collator(readers["bytes"]))([rows[0], rows[1]])
    assert batch["teacher_places"].shape == batch["input_ids"].shape
    assert "characters" not in batch
    whole = torch.as_tensor(np.asarray(ours.output_mask))
    assert batch["output_mask"].sum() < whole.sum()  # the end of the first sentence
    plain = PairedSplit(encode_split(split, readers["wordpiece"], task, LONGEST), theirs)
    assert "teacher_places" not in plain[0]


def test_a_trainer_compares_a_word_with_what_the_teacher_says_of_it(readers: dict[str, Any], tmp_path: Path) -> None:
    sentences = [["abcd", "ab", "j"], ["cab"], ["hide", "a", "big", "bag"]]
    tags = [list(range(len(sentence))) for sentence in sentences]
    split = TaggedSplit("train", tuple(map(tuple, sentences)), tuple(map(tuple, tags)))
    task = Task(train="x", kind="tagging")
    ours, theirs = (
        encode_split(split, readers[name], task, LONGEST, characters=True) for name in ("wordpiece", "bytes")
    )
    sizes: dict[str, Any] = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_labels": 4}
    student = BertForTokenClassification(BertConfig(vocab_size=len(PIECES), num_hidden_layers=1, **sizes))
    shape = RobertaConfig(vocab_size=len(readers["bytes"]), num_hidden_layers=2, pad_token_id=1, **sizes)
    teacher = RobertaForTokenClassification(shape).eval()
    rows = PairedSplit(ours, theirs)
    collate = ViewCollator(Collator(readers["wordpiece"]), Collator(readers["bytes"]))
    trainer = DistillationTrainer(
        student,
        TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]),
        collate,
        rows,  # type: ignore[arg-type]
        teacher=teacher,
        objective={"intermediate": [{"loss": "mse"}]},
    )
    said = trainer.teacher_signals(collate([rows[row] for row in range(len(rows))]))
    for row in range(len(rows)):
        whole = torch.tensor([theirs[row]["input_ids"]])
        with torch.no_grad():
            alone = teacher(whole, output_hidden_states=True)
        first, own = (torch.tensor(split[row]["labels"]) >= 0 for split in (theirs, ours))
        assert first.sum() == len(sentences[row])
        torch.testing.assert_close(said.logits[row, : len(own)][own], alone.logits[0][first])
        torch.testing.assert_close(said.hidden_states[2][row, : len(own)][own], alone.hidden_states[2][0][first])


# --- questions: the teacher reads the windows of its student ----------------------------------------------------------


def asked(question: list[str], context: list[str], *, gap: str = " ", null: bool = False) -> QuestionSplit:
    text = gap.join(context)
    return QuestionSplit(
        "train",
        questions=(" ".join(question),),
        contexts=(text,),
        answers=((Answer(text[: len(context[0])], 0),),),
        question_ids=("a",),
        null_answers=null,
    )


def last_with(encoding: Any, character: int) -> int:
    """The last token that has this character of the context: a unigram's mark of a word may share its first one."""
    tokens = [token for token, number in enumerate(encoding.sequence_ids) if number == 1]
    return max(token for token in tokens if encoding.offsets[token][0] <= character < encoding.offsets[token][1])


@pytest.mark.parametrize("student", READERS)
@pytest.mark.parametrize("teacher", READERS)
@given(question=words, context=st.lists(words, min_size=1, max_size=6), gap=st.sampled_from([" ", "  "]))
@settings(deadline=None, max_examples=25)
def test_an_answer_begins_and_ends_where_the_teacher_has_the_same_characters(
    readers: dict[str, Any], student: str, teacher: str, question: list[str], context: list[list[str]], gap: str
) -> None:
    """As the library `tokenizers` says of the context as a whole; the windows are of a few tokens."""
    null = "unigram" not in (student, teacher)  # it sets no token around a text that could stand for no answer
    split = asked(question, [word for some in context for word in some], gap=gap, null=null)
    task = Task(train="x", kind="qa", stride=3, max_question_length=12)
    ours = encode_split(split, readers[student], task, 26, unanswered=True, characters=True)
    assert isinstance(ours, EncodedQuestions)
    theirs = encode_read(split, ours, readers[teacher], LONGEST * 9)
    assert len(theirs) == len(ours)
    assert theirs.truncated == 0
    assert theirs.characters is not None
    alone = readers[teacher](split.questions[0], split.contexts[0]).encodings[0]
    behind = len(split.questions[0]) + 1
    for row in range(len(ours)):
        own, other = ours[row]["characters"], np.split(theirs.characters, theirs.starts[1:-1])[row]
        starts, ends = answers_of_teacher(own, other)
        text = [place for place in range(len(own)) if own[place, 0] >= behind and own[place, 0] < own[place, 1]]
        first = [alone.char_to_token(int(own[place, 0]) - behind, 1) for place in text]
        last = [last_with(alone, int(own[place, 1]) - 1 - behind) for place in text]
        for number, place in enumerate(text):
            for found, wanted, neighbour in ((starts, first, number - 1), (ends, last, number + 1)):
                if 0 <= neighbour < len(text) and wanted[neighbour] == wanted[number]:
                    assert found[place] == NOWHERE  # an answer begins with the first of them, ends with the last
                    continue
                assert theirs[row]["input_ids"][found[place]] == alone.ids[wanted[number]]
                begin, end = alone.offsets[wanted[number]]
                assert other[found[place], 1] == end + behind
                assert other[found[place], 0] >= begin + behind
        if null:
            assert ours.nulls is not None
            place = int(ours.nulls[row])
            assert theirs[row]["input_ids"][starts[place]] == readers[teacher].cls_token_id
            assert starts[place] == ends[place]


def test_what_the_teacher_has_no_room_for_is_counted_and_has_no_chance(readers: dict[str, Any]) -> None:
    split = asked(["abc"], ["abcd", "ghij", "fade", "hide", "dig"])
    task = Task(train="x", kind="qa", stride=3)
    ours = encode_split(split, readers["wordpiece"], task, LONGEST, characters=True)
    assert isinstance(ours, EncodedQuestions)
    theirs = encode_read(split, ours, readers["bytes"], 12)
    assert theirs.truncated == 1
    assert theirs.lengths == [12]
    assert theirs.characters is not None
    row = PairedSplit(ours, theirs)[0]
    seen = theirs.characters[:, 1].max()
    beyond = ours[0]["characters"][:, 0] >= seen
    assert beyond.any()
    assert set(np.asarray(row["teacher_starts"])[beyond]) == {NOWHERE}
    assert row["output_mask"] == ours[0]["output_mask"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_answers_are_moved_to_the_tokens_of_the_student(dtype: torch.dtype) -> None:
    logits = torch.arange(10, dtype=dtype).view(1, 5, 2)
    view = {
        "attention_mask": torch.ones(1, 4, dtype=torch.long),
        "teacher_places": torch.tensor([[0, 1, 1, 4]]),
        "teacher_starts": torch.tensor([[0, 1, NOWHERE, 4]]),
        "teacher_ends": torch.tensor([[0, NOWHERE, 2, 4]]),
    }
    state = torch.randn(1, 5, 3)
    found = at_student(Signals(logits, {1: state}, {}, torch.ones(1, 5, dtype=torch.long)), view)
    assert found.logits.softmax(1)[0, 2, 0] == found.logits.softmax(1)[0, 1, 1] == 0
    assert found.logits[0, [0, 1, 3], 0].tolist() == [0, 2, 8]
    assert found.logits[0, [0, 2, 3], 1].tolist() == [1, 5, 9]
    assert found.logits.dtype == dtype
    assert torch.equal(found.hidden_states[1], state[:, [0, 1, 1, 4]])


def test_no_answer_goes_with_no_answer_wherever_it_stands() -> None:
    null = (NO_ANSWER_HERE, NO_ANSWER_HERE)
    student = np.asarray([null, (0, 1), (-1, -1), (3, 5), (-1, -1)])
    starts, ends = answers_of_teacher(student, np.asarray([(0, 1), (-1, -1), (3, 4), (4, 5), (-1, -1), null]))
    assert starts.tolist() == [5, 0, NOWHERE, 2, NOWHERE]
    assert ends.tolist() == [5, 0, NOWHERE, 3, NOWHERE]
