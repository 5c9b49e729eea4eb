"""What a Python program has at hand goes into a model that stays loaded."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    PreTrainedTokenizerFast,
)

from distiller import Predictor, evaluate, predict
from distiller.errors import ConfigError, DataError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "soup"]
TEXTS = ["a good film", "a bad soup", "good", "a film"]
PAIRS = [("a film", "good a film"), ("a soup", "bad"), ("good", "bad soup"), ("a", "film")]


def saved(folder: Path, head: Any, **given: Any) -> str:
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=24, **given,
    )  # fmt: skip
    model = head.from_config(shape)
    for parameter in model.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("classifier")
    return saved(folder, AutoModelForSequenceClassification, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})


def oracle(folder: str, *texts: Any) -> list[list[float]]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(*map(list, texts), padding=True, return_tensors="pt")).logits.softmax(-1).tolist()


def test_labels_and_probabilities_are_those_of_transformers(classifier: str) -> None:
    predictor = Predictor(classifier)
    for texts, sides in ((TEXTS, [TEXTS]), (PAIRS, zip(*PAIRS, strict=True))):
        for row, expected in zip(predictor(texts), oracle(classifier, *sides), strict=True):
            assert [row["p(no)"], row["p(yes)"]] == pytest.approx(expected, abs=1e-5)
            assert row["label"] == ("yes" if expected[1] > expected[0] else "no")
    assert predictor([]) == []


def test_every_form_of_the_same_texts_gives_the_same(classifier: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    datasets = pytest.importorskip("datasets")
    predictor = Predictor(classifier)
    expected = predictor(TEXTS)
    file = tmp_path / "texts.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([["review"], *([text] for text in TEXTS)])
    columns = {"review": TEXTS, "stars": [1, 2, 3, 4]}
    for given in (file, str(file), columns, pandas.DataFrame(columns), datasets.Dataset.from_dict(columns)):
        assert predictor(given, text="review") == expected
    assert predict(classifier, TEXTS) == expected


def test_a_model_is_scored_on_what_is_given(classifier: str) -> None:
    said = [str(row["label"]) for row in predict(classifier, TEXTS)]
    gold = [said[0], *("no" if label == "yes" else "yes" for label in said[1:])]
    assert evaluate(classifier, {"text": TEXTS, "label": gold})["accuracy"] == 0.25
    assert evaluate(classifier, {"t": TEXTS, "y": said}, text="t", label="y")["accuracy"] == 1
    with pytest.raises(DataError, match="maybe"):
        evaluate(classifier, {"text": TEXTS, "label": ["yes", "no", "no", "maybe"]})
    with pytest.raises(ConfigError, match="without a task"):
        evaluate(classifier, {"text": TEXTS, "label": gold}, overrides=["task.text=review"])


def test_a_regression_gives_numbers(tmp_path: Path) -> None:
    folder = saved(tmp_path, AutoModelForSequenceClassification, num_labels=1)
    scores = [float(row["score"]) for row in predict(folder, TEXTS)]
    assert evaluate(folder, {"text": TEXTS, "label": [2 * score + 1 for score in scores]})["pearson"] == pytest.approx(
        1
    )


def test_a_tagger_takes_texts_and_words(tmp_path: Path) -> None:
    folder = saved(tmp_path, AutoModelForTokenClassification, id2label={0: "O", 1: "B"}, label2id={"O": 0, "B": 1})
    rows = predict(folder, TEXTS)
    assert [row["words"] for row in rows] == [text.split() for text in TEXTS]
    assert all(
        isinstance(row["tags"], list) and len(row["tags"]) == len(text.split())
        for row, text in zip(rows, TEXTS, strict=True)
    )
    assert predict(folder, [text.split() for text in TEXTS]) == rows
    with pytest.raises(ConfigError, match="a tagger is scored"):
        evaluate(folder, {"text": TEXTS, "label": TEXTS})


def test_texts_come_in_whatever_holds_them(classifier: str) -> None:
    predictor = Predictor(classifier)
    rows = predictor(TEXTS)
    for given in (tuple(TEXTS), np.array(TEXTS), iter(TEXTS), (text for text in TEXTS)):
        assert predictor(given) == rows
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    frame = pandas.DataFrame({"text": TEXTS}, index=range(5, 5 + len(TEXTS)))
    assert predictor(frame["text"]) == predictor(datasets.Dataset.from_pandas(frame)["text"]) == rows
    pairs = [(text, "so it is") for text in TEXTS]
    assert predictor(np.array(pairs)) == predictor(iter(pairs)) == predictor(pairs)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"a film"}, "from a set"),
        ("A lovely film.", "is no file"),
        (7, "from a int"),
        ([("a", "b", "c")], "neither a text nor a pair"),
        ([("a", "b"), "c"], "entry 2"),
        ({"review": TEXTS}, "no column `text`"),
        ({"text": "one film"}, "column `text` of the given texts is one cell"),
        ({"text": TEXTS, "label": ["x"]}, "different numbers of rows"),
        ([None], "neither a text nor a pair"),
    ],
)
def test_what_is_no_text_is_said(classifier: str, given: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        Predictor(classifier)(given)


def test_questions_are_answered_out_of_their_contexts(tmp_path: Path) -> None:
    folder = saved(tmp_path, AutoModelForQuestionAnswering)
    predictor = Predictor(Path(folder))
    assert predictor.kind == "qa"
    rows = predictor(PAIRS)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    for (question, context), row in zip(PAIRS, rows, strict=True):
        words = context.split()
        with torch.no_grad():
            scores = model(**tokenizer(question, context, return_tensors="pt"))
        first = 2 + len(question.split())  # behind [CLS], the question and [SEP]
        spans = [(start, end) for start in range(len(words)) for end in range(start, len(words))]
        start, end = max(
            spans,
            key=lambda span: float(scores.start_logits[0, first + span[0]] + scores.end_logits[0, first + span[1]]),
        )
        assert row["answer"] == " ".join(words[start : end + 1])
        assert 0 < row["probability"] <= 1
    questions, contexts = (list(side) for side in zip(*PAIRS, strict=True))
    assert predictor({"id": list("1234"), "context": contexts, "question": questions}) == rows
    assert predictor([]) == []
    with pytest.raises(ConfigError, match="answers are scored"):
        evaluate(folder, {"text": TEXTS, "label": TEXTS})
    with pytest.raises(ConfigError, match="fixed columns"):
        predictor(PAIRS, text="context")
