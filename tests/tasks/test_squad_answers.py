"""Answers against slow loops, hand cases and the official script; gold answers against the real development set."""

import json
import math
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from distiller.config import Task
from distiller.errors import ConfigError, DataError, OutputError, ShapeError
from distiller.tasks import load_task
from distiller.tasks.answers import Prediction, answers, question_scores, write_predictions
from distiller.tasks.data import Answer, QuestionSplit, TaskData
from distiller.tasks.metrics import METRICS, check_metric
from distiller.tasks.overlap import answer_f1, exact_match, matches, normalise, squad_scores, token_f1
from distiller.tasks.windows import EncodedQuestions, encode_questions
from distiller.tasks.words import MARKS, UNSPACED
from tasks.tiny import wordpieces

WORDS = ["a", "b", "c"]
MANY = 10**9


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return wordpieces(tmp_path_factory.mktemp("vocabulary"), WORDS)


@pytest.fixture(scope="module")
def squad(shared: Path) -> tuple[QuestionSplit, EncodedQuestions]:
    """The real development set, whole, and its windows."""
    split = load_task(Task(name="squad", data=str(shared / "data" / "squad"))).splits["dev"]
    assert isinstance(split, QuestionSplit)
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "minilm-l6-h384")
    return split, encode_questions(split, tokenizer, 320, stride=128)


def one_hot(encoded: EncodedQuestions) -> np.ndarray:
    """Logits of a model that knows the label of every window and nothing else."""
    assert encoded.labels is not None
    logits = np.zeros((len(encoded), max(encoded.lengths), 2), dtype=np.float32)
    rows = np.flatnonzero(encoded.labels[:, 0] >= 0)
    for side in (0, 1):
        logits[rows, encoded.labels[rows, side], side] = 9
    return logits


def slow_answers(
    encoded: EncodedQuestions, split: QuestionSplit, starts: Any, ends: Any, n_best: int, longest: int
) -> dict[str, list[tuple[str, float]]]:
    """The BERT script with loops: texts and scores of each question, the best first."""
    found: dict[str, list[tuple[str, float]]] = {}
    for question, key in enumerate(split.question_ids):
        pairs = []
        for row in np.flatnonzero(encoded.questions == question):
            first = encoded.firsts[row]
            context = range(first, first + encoded.counts[row])
            own = range(first + encoded.own[row, 0], first + encoded.own[row, 1])
            best_starts = sorted(own, key=lambda p, r=row: (-starts[r, p], p))[:n_best]
            best_ends = sorted(context, key=lambda p, r=row: (-ends[r, p], p))[:n_best]
            for start in best_starts:
                for end in best_ends:
                    if start <= end < start + longest:
                        spans = encoded.spans[encoded.origins[row] - first + np.array([start, end])]
                        text = split.contexts[question][spans[0, 0] : spans[1, 1]]
                        pairs.append((-(starts[row, start] + ends[row, end]), row, start, end, text))
        texts: dict[str, float] = {}
        for score, *_, text in sorted(pairs):
            if len(texts) < n_best:
                texts.setdefault(text, -score)
        found[key] = list(texts.items())
    return found


@given(
    words=st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=24), min_size=1, max_size=3),
    limit=st.integers(7, 14),
    n_best=st.integers(1, 6),
    longest=st.integers(1, 7),
    ties=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=100)
def test_answers_are_those_of_the_loops(
    tokenizer: PreTrainedTokenizerFast,
    words: list[list[str]],
    limit: int,
    n_best: int,
    longest: int,
    ties: bool,
    seed: int,
) -> None:
    contexts = tuple(map(" ".join, words))
    split = QuestionSplit("dev", ("a",) * len(words), contexts)
    encoded = encode_questions(split, tokenizer, limit, stride=2)
    rng = np.random.default_rng(seed)
    shape = (2, len(encoded), max(encoded.lengths) + 3)
    starts, ends = rng.integers(0, 4, shape).astype(float) if ties else rng.normal(size=shape)
    expected = slow_answers(encoded, split, starts, ends, n_best, longest)
    found = answers(encoded, split, starts, ends, n_best=n_best, max_answer_length=longest)
    assert {key: [one.text for one in prediction.candidates] for key, prediction in found.items()} == {
        key: [text for text, _ in pairs] for key, pairs in expected.items()
    }
    for key, prediction in found.items():
        context = split.contexts[split.question_ids.index(key)]
        scores = [score for _, score in expected[key]]
        assert [one.score for one in prediction.candidates] == pytest.approx(scores)
        total = sum(map(math.exp, scores))
        assert [one.probability for one in prediction.candidates] == pytest.approx(
            [math.exp(s) / total for s in scores]
        )
        assert all(context.startswith(one.text, one.start) for one in prediction.candidates)
        assert prediction.text == (expected[key][0][0] if scores else "")


def test_what_lies_outside_the_context_is_never_an_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    split = QuestionSplit("dev", ("a b",), ("c c b",), ((Answer("c", 2),),))
    encoded = encode_questions(split, tokenizer, 12, stride=2)
    logits = np.zeros((1, 12, 2))
    logits[0, [0, 1, 3, 7, 11]] = 50  # special tokens, question, padding
    logits[0, 5] = 5
    found = answers(encoded, split, logits[..., 0], logits[..., 1])["0"]
    assert (found.candidates[0].text, found.candidates[0].start, found.candidates[0].score) == ("c", 2, 10)
    assert question_scores(encoded, split, logits) == {"exact_match": 1, "answer_f1": 1}
    logits[0, 5] = np.nan
    with pytest.warns(UserWarning, match="diverged"):
        assert question_scores(encoded, split, logits)["exact_match"] == 1  # the first `c`
    logits[:] = np.nan
    with pytest.warns(UserWarning, match="diverged"):
        assert question_scores(encoded, split, logits) == {"exact_match": 0, "answer_f1": 0}
    assert answers(encoded, split, logits[..., 0], logits[..., 1]) == {"0": Prediction(())}
    with pytest.raises(ShapeError, match="up to 8"):
        answers(encoded, split, logits[:, :7, 0], logits[:, :7, 1])
    with pytest.raises(ShapeError, match="for 1 windows"):
        answers(encoded, split, logits[..., 0], logits[:, :9, 1])
    with pytest.raises(ShapeError, match=r"\[rows, length, 2\]"):
        question_scores(encoded, split, logits[..., 0])


def test_gold_positions_give_the_gold_texts_of_the_real_development_set(
    squad: tuple[QuestionSplit, EncodedQuestions],
) -> None:
    """What is missed is part of a token (`4` in `49`), or longer than an answer may be."""
    split, encoded = squad
    assert encoded.labels is not None
    assert set(encoded.questions[encoded.labels[:, 0] >= 0].tolist()) == set(range(len(split)))
    logits = one_hot(encoded)
    scores = question_scores(encoded, split, logits)
    assert scores == pytest.approx({"exact_match": 0.99707, "answer_f1": 0.99770}, abs=1e-5)
    found = answers(encoded, split, logits[..., 0], logits[..., 1], max_answer_length=MANY)
    assert split.answers is not None
    wrong = [
        (found[key].text, right)
        for key, right in zip(split.question_ids, split.answers, strict=True)
        if not any(matches(found[key].text, one.text) for one in right)
    ]
    assert len(wrong) == 23
    assert all(any(one.text in text for one in right) for text, right in wrong)


def test_gold_answers_score_everything_and_no_answers_nothing(squad: tuple[QuestionSplit, Any]) -> None:
    split, _ = squad
    assert split.answers is not None
    gold = {key: right[0].text for key, right in zip(split.question_ids, split.answers, strict=True)}
    assert squad_scores(gold, split) == {"exact_match": 1, "answer_f1": 1}
    last = {key: right[-1].text for key, right in zip(split.question_ids, split.answers, strict=True)}
    assert sum(not normalise(text) for text in last.values()) == 1  # the script gives such an answer no F1
    assert squad_scores(last, split) == {"exact_match": 1, "answer_f1": pytest.approx(1 - 1 / len(split))}
    assert squad_scores({}, split) == {"exact_match": 0, "answer_f1": 0}
    half = dict(list(gold.items())[: len(gold) // 2]) | {"no such question": "x"}
    assert squad_scores(half, split) == {"exact_match": 0.5, "answer_f1": 0.5}  # the unanswered half counts


@pytest.mark.parametrize(
    ("prediction", "gold", "exact", "overlap"),
    [
        ("The cat.", "cat", 1, 1),
        ("cat", "dog", 0, 0),
        ("", "cat", 0, 0),
        ("the", "cat", 0, 0),
        ("the", "an", 1, 0),  # nothing on either side: equal, but no word is shared, as in the official script
        ("big cat", "the cat", 0, 2 / 3),  # of 2 words 1 is right, of 1 word 1 is found
        ("cat cat dog", "cat dog dog", 0, 2 / 3),  # one `cat` and one `dog` are shared
        ("U.S.A", "usa", 1, 1),
        ("twenty-five", "twentyfive", 1, 1),
        ("24–10", "2410", 0, 0),  # only ASCII punctuation is dropped
        ("a  B\tc", "b C", 1, 1),
        ("theatre", "atre", 0, 0),
    ],
)
def test_hand_cases(prediction: str, gold: str, exact: float, overlap: float) -> None:
    assert matches(prediction, gold) == exact
    assert token_f1(prediction, gold) == pytest.approx(overlap)
    assert token_f1(gold, prediction) == pytest.approx(overlap)
    assert (exact_match([prediction], [["x y", gold]]), answer_f1([prediction], [["x y", gold]])) == (
        exact,
        pytest.approx(overlap),
    )


def official(prediction: str, gold: str) -> tuple[str, float, bool]:
    """normalize_answer, f1_score and exact_match_score of evaluate-v1.1.py."""

    def normalize_answer(s: str) -> str:
        exclude = set(string.punctuation)
        lowered = "".join(ch for ch in s.lower() if ch not in exclude)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())

    prediction_tokens, ground_truth_tokens = normalize_answer(prediction).split(), normalize_answer(gold).split()
    num_same = sum((Counter(prediction_tokens) & Counter(ground_truth_tokens)).values())
    equal = normalize_answer(prediction) == normalize_answer(gold)
    if num_same == 0:
        return normalize_answer(prediction), 0, equal
    precision, recall = num_same / len(prediction_tokens), num_same / len(ground_truth_tokens)
    return normalize_answer(prediction), (2 * precision * recall) / (precision + recall), equal


TEXT = st.lists(st.sampled_from(["the", "An", "cat", "Cat,", "dog", "–", "(a)", "é", "İ", "don't"]), max_size=6)


SPACED = st.text(max_size=9).filter(lambda text: not re.search(f"[{UNSPACED}{MARKS}]", text))


@given(first=TEXT.map(" ".join) | SPACED, second=TEXT.map(" ".join))
@settings(deadline=None, max_examples=200)
def test_scores_are_the_official_ones(first: str, second: str) -> None:
    text, overlap, equal = official(first, second)
    assert (normalise(first), matches(first, second)) == (text, equal)
    assert token_f1(first, second) == pytest.approx(
        float(overlap if second else equal)
    )  # SQuAD 2 gives all for no answer


def test_scores_need_answers_and_metrics_are_rows_of_the_table() -> None:
    split = QuestionSplit("test", ("q",), ("c",))
    with pytest.raises(DataError, match="split `test` has no answers"):
        squad_scores({}, split)
    data = TaskData("squad", "qa", (), ("answer_f1", "exact_match"), {"train": split, "dev": split})
    for name in data.metrics:
        check_metric(name, data)
        assert METRICS[name].function(["x"], [["X"]]) == 1
    with pytest.raises(ConfigError, match="metric `f1` is for classification"):
        check_metric("f1", data)


def test_files_of_predictions(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    split = QuestionSplit("dev", ("a", "b"), ("b c", "c"), question_ids=("x", "y"))
    encoded = encode_questions(split, tokenizer, 12, stride=2)
    logits = np.zeros((2, 8))
    logits[0, 4] = 3
    found = answers(encoded, split, logits, logits)
    path = tmp_path / "predictions.json"
    write_predictions(path, found)
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": "c", "y": "c"}
    write_predictions(path, found, n_best=True)
    lists = json.loads(path.read_text(encoding="utf-8"))
    assert [one["text"] for one in lists["x"]] == ["c", "b c", "b"]
    assert lists["y"] == [{"text": "c", "probability": 1, "start_logit": 0, "end_logit": 0}]
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.json"]
    with pytest.raises(OutputError, match="cannot write"):
        write_predictions(tmp_path / "no such folder" / "p.json", found)


def test_letters_count_where_a_script_has_no_blanks() -> None:
    assert token_f1("東京都", "東京") == pytest.approx(0.8)  # as words the two would share nothing
    assert token_f1("在 2012 年", "2012年") == pytest.approx(0.8)
    assert matches("「東京」。", "東京")
    assert not matches("東京", "京東")
