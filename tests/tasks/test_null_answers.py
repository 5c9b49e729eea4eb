"""Questions that their context does not answer, as in SQuAD 2: read, put into windows, decoded and scored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from distiller.config import Task
from distiller.errors import ConfigError, DataError, ModelError
from distiller.run.verdict import Outcomes
from distiller.run.verdict import words as verdict_words
from distiller.tasks import load_task
from distiller.tasks.answers import answers, question_scores
from distiller.tasks.data import NO_ANSWER, Answer, QuestionSplit, TaskData, joined, without_labels
from distiller.tasks.encode import IGNORED
from distiller.tasks.outcomes import constant, silence
from distiller.tasks.overlap import squad_scores
from distiller.tasks.windows import EncodedQuestions, encode_questions, null_token

BERT = "[CLS] $A [SEP] $B:1 [SEP]:1"
XLNET = "$A [SEP] $B:1 [SEP]:1 [CLS]:2"


def tokenizer(template: str = BERT) -> PreTrainedTokenizerFast:
    """One token a letter; `template` says where the special tokens stand."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"]
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(word, words.index(word)) for word in ("[CLS]", "[SEP]") if word in template]
    backend.post_processor = processors.TemplateProcessing(single="$A", pair=template, special_tokens=special)
    names: dict[str, Any] = {"pad_token": "[PAD]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]" if special else None, **names)


CONTEXT = "a b c d e f g h"
ASKED = QuestionSplit(
    "train",
    ("a", "b", "c"),
    (CONTEXT,) * 3,
    ((Answer("c", 4),), (NO_ANSWER,), ()),
    question_ids=("has", "none", "unknown"),
    null_answers=True,
)


@pytest.mark.parametrize(("template", "place"), [(BERT, 0), (XLNET, -1)])
def test_a_window_without_the_answer_has_the_place_of_none(template: str, place: int) -> None:
    made = tokenizer(template)
    encoded = encode_questions(ASKED, made, 9, stride=1)  # windows of five letters: a b c d e, e f g h
    assert null_token(made) == made.cls_token_id
    assert encoded.nulls is not None
    labels: dict[str, list[Any]] = {}
    for row in range(len(encoded)):
        feature = encoded[row]
        nowhere = range(len(feature["input_ids"]))[place]
        assert (int(encoded.nulls[row]), feature["input_ids"][nowhere]) == (nowhere, made.cls_token_id)
        ids, mask = (np.asarray(feature[name]) for name in ("input_ids", "output_mask"))
        counted = made.convert_ids_to_tokens(ids[mask == 1])
        assert sorted(counted)[0] == "[CLS]"
        assert len(counted) == encoded.counts[row] + 1
        start, end = feature["labels"]
        said = "unknown" if start == IGNORED else made.convert_ids_to_tokens(feature["input_ids"][start : end + 1])
        labels.setdefault(ASKED.question_ids[encoded.questions[row]], []).append(said)
    assert labels == {"has": [["c"], ["[CLS]"]], "none": [["[CLS]"]] * 2, "unknown": ["unknown"] * 2}


def test_rows_keep_what_they_say() -> None:
    assert ASKED.take([1]).null_answers
    both = joined(ASKED, without_labels(ASKED))
    assert isinstance(both, QuestionSplit)
    assert both.null_answers
    assert both.answers == (*(ASKED.answers or ()), (), (), ())


def test_a_model_that_has_no_place_for_none_is_refused() -> None:
    with pytest.raises(ModelError, match="puts no token before or behind a text"):
        encode_questions(ASKED, tokenizer("$A $B:1"), 9, stride=1)


def published(encoded: EncodedQuestions, starts: np.ndarray, ends: np.ndarray, row: int, threshold: float) -> str:
    """The rule of the published scripts, by a loop: the lowest score of [CLS] against the best pair."""
    best, text, nothing = -np.inf, "", np.inf
    for window in np.flatnonzero(encoded.questions == row):
        assert encoded.nulls is not None
        null = encoded.nulls[window]
        nothing = min(nothing, starts[window, null] + ends[window, null])
        for first in range(*encoded.own[window]):
            for last in range(first, encoded.counts[window]):
                shift = encoded.firsts[window]
                if (score := starts[window, first + shift] + ends[window, last + shift]) > best:
                    a, b = (encoded.spans[encoded.origins[window] + place] for place in (first, last))
                    best, text = score, CONTEXT[a[0] : b[1]]
    return "" if nothing - best > threshold else text


@pytest.mark.parametrize("template", [BERT, XLNET])
@pytest.mark.parametrize("threshold", [0.0, -3.0, 4.0])
def test_none_is_said_where_it_beats_the_best_answer(template: str, threshold: float) -> None:
    encoded = encode_questions(ASKED, tokenizer(template), 9, stride=1)
    rng = np.random.default_rng(0)
    said = set()
    for _ in range(60):
        starts, ends = rng.normal(scale=2, size=(2, len(encoded), max(encoded.lengths) + 3))
        for window, null in enumerate(encoded.nulls if encoded.nulls is not None else ()):
            starts[window, null] += 5
        found = answers(encoded, ASKED, starts, ends, null_threshold=threshold)
        for row, key in enumerate(ASKED.question_ids):
            assert found[key].text == published(encoded, starts, ends, row, threshold)
            assert sum(one.text == "" for one in found[key].candidates) == 1
            assert sum(one.probability for one in found[key].candidates) == pytest.approx(1)
            said.add(found[key].text == "")
    assert said == {True, False}


def test_scores_of_questions_with_and_without_an_answer() -> None:
    golds = ((Answer("b c", 2),), (Answer("c", 4),), (NO_ANSWER,), (NO_ANSWER,))
    split = QuestionSplit("dev", tuple("abcd"), (CONTEXT,) * 4, golds, null_answers=True)
    found = squad_scores({"0": "b", "1": "", "2": "", "3": "d"}, split)
    assert found == {
        "exact_match": 0.25,  # by hand, as the official script of SQuAD 2 counts: the third alone
        "answer_f1": pytest.approx((2 / 3 + 0 + 1 + 0) / 4),
        "has_answer_exact_match": 0,
        "has_answer_f1": pytest.approx(1 / 3),
        "no_answer_accuracy": 0.5,
    }
    made = encode_questions(split, tokenizer(), 16)
    silent = np.zeros((len(made), max(made.lengths), 2))
    silent[:, 0] = 5
    assert question_scores(made, split, silent)["no_answer_accuracy"] == 1


def test_who_never_answers_is_told_from_who_has_learnt_it() -> None:
    rows = 40
    golds = tuple((NO_ANSWER,) if row % 2 else (Answer("c", 4),) for row in range(rows))
    asked = QuestionSplit("dev", ("a",) * rows, (CONTEXT,) * rows, golds, null_answers=True)
    data = TaskData("own", "qa", (), ("answer_f1", "exact_match"), {"train": asked, "dev": asked})
    silent, right = silence(data), np.ones(rows)
    assert constant(data, None) == (0.5, "no answer")
    words = [verdict_words(data, Outcomes(None, [], [one], None), None) for one in (silent, right)]
    assert "no better than who says always `no answer`: 50.0 against 50.0" in words[0][0]
    assert words[1] == []


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """Loads rows of a table as training and development data."""

    def loaded(rows: list[dict[str, Any]], dev: list[dict[str, Any]] | None = None, **fields: Any) -> Any:
        for name, some in (("train", rows), ("dev", dev or rows)):
            lines = [
                json.dumps({"id": str(n), "question": "a", "context": CONTEXT, **row}) for n, row in enumerate(some)
            ]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        files = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "dev")}
        return load_task(Task(**{**files, "kind": "qa", **fields}))

    return loaded


RIGHT = {"answers": [{"text": "c", "answer_start": 4}]}
NONE = [
    {"answers": [], "is_impossible": True, "plausible_answers": [{"text": "d", "answer_start": 6}]},
    {"answers": {"text": [], "answer_start": []}},  # as `datasets` has SQuAD 2
    {"answers": "{'text': array([], dtype=object), 'answer_start': array([], dtype=int32)}"},  # as pandas writes it
    {"answers": []},
]


@pytest.mark.parametrize("none", NONE, ids=str)
def test_none_is_read_as_files_have_it(load: Callable[..., Any], none: dict[str, Any]) -> None:
    data = load([RIGHT, none])
    assert data.splits["train"].answers == data.splits["dev"].answers == ((Answer("c", 4),), (NO_ANSWER,))
    assert data.null_answers
    assert any("1 of 2 questions of" in note and "a model learns to say so" in note for note in data.notes)
    with pytest.raises(DataError, match=r"line 2, question `1` has no answer"):
        load([RIGHT, none], null_answers=False)
    without = load([RIGHT], [RIGHT, none])  # nothing to learn it from
    assert (len(without.splits["dev"]), without.null_answers) == (1, False)
    assert any("1 of 2 questions of dev have no answer, and are left out" in note for note in without.notes)
    assert len(load([RIGHT], [RIGHT, none], null_answers=True).splits["dev"]) == 2


def test_an_answer_that_is_not_known_is_none_of_them(load: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="question `1` has no answer") as caught:
        load([RIGHT, {"answers": None}])
    assert "an empty list" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"task\.null_threshold has no meaning"):
        load([RIGHT, RIGHT], null_threshold=1.0)
