"""`student.vocabulary`: a student with a part of the pieces, from the run to its folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from distiller import predict
from distiller.config import parse_run
from distiller.errors import ConfigError
from distiller.models.load import load_model
from distiller.models.students import build_student
from distiller.record import load_record
from distiller.run import distil
from distiller.run.plan import make_plan
from run.tiny import FILLER, GOOD, Workshop, pairs, reviews, write

RARE = ["music", "plot"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Training rows without two words, and development rows with them."""
    folder = tmp_path_factory.mktemp("rows")
    learnt = [row for row in reviews(200, seed=0) if not set(RARE) & set(row["text"].split())]
    write(folder / "train.csv", learnt)
    write(folder / "dev.csv", reviews(40, seed=1))
    return {"train": str(folder / "train.csv"), "dev": str(folder / "dev.csv"), "max_length": "16"}


def of(shop: Workshop, folder: Path, files: dict[str, str], **fields: Any) -> dict[str, Any]:
    wish = {"student": {"layers": 2, "vocabulary": "task"}, "task": files, "objective": {}} | fields
    return shop.run(folder, **wish)


def test_the_student_of_a_task_keeps_its_pieces_and_compares_tokens(
    shop: Workshop, files: dict[str, str], tmp_path: Path
) -> None:
    record = distil(parse_run(of(shop, tmp_path, files, baseline=True)))
    assert record.vocabulary is not None
    assert record.vocabulary == load_record(tmp_path / "out").vocabulary
    assert record.vocabulary.affected["train"] == 0
    there = [set(RARE) & set(row["text"].split()) for row in reviews(40, seed=1)]
    assert record.vocabulary.affected["dev"] == pytest.approx(sum(map(bool, there)) / 40)
    assert record.run.objective.terms[0].loss == "mse"
    folder = tmp_path / "out" / "student"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == record.vocabulary.pieces
    assert not set(RARE) & tokenizer.get_vocab().keys()
    assert set(FILLER) - set(RARE) < tokenizer.get_vocab().keys()
    assert predict(str(tmp_path / "out"), ["the film was good"])[0]["label"] in ("good", "bad")
    assert any("vocabulary has" in note for note in record.notes)
    assert "vocabulary has" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_student_begins_as_the_same_function(shop: Workshop, files: dict[str, str], tmp_path: Path) -> None:
    teacher = load_model(shop.tuned, kind="classification", labels=["bad", "good"])
    said = []
    for vocabulary in (None, "task"):
        plan = make_plan(parse_run(of(shop, tmp_path, files, student={"layers": 2, "vocabulary": vocabulary})))
        student, tokenizer = build_student(
            plan.run.student,
            teacher_model=teacher,
            teacher_tokenizer=plan.teacher_tokenizer,
            kind="classification",
            labels=["bad", "good"],
            seed=0,
            vocabulary=plan.vocabulary,
        )
        batch = tokenizer([f"the film was {GOOD[0]}", "a story with actors"], padding=True, return_tensors="pt")
        with torch.no_grad():
            said.append(student.eval()(**batch).logits)
    torch.testing.assert_close(said[0], said[1], rtol=0, atol=0)


def test_fewer_pieces_than_the_task_has_compare_tokens_where_they_stand(
    shop: Workshop, files: dict[str, str], tmp_path: Path
) -> None:
    few = {"layers": 2, "vocabulary": 12}
    record = distil(parse_run(of(shop, tmp_path, files, student=few)))
    assert record.vocabulary is not None
    assert record.vocabulary.pieces == 12
    assert record.vocabulary.affected["train"] > 0
    assert [term.loss for term in record.run.objective.terms] == ["mse"]
    attention = {"intermediate": [{"loss": "attention_mse"}]}
    with pytest.raises(ConfigError, match=r"(?s)`attention_mse` compares tokens.*student.vocabulary=task"):
        make_plan(parse_run(of(shop, tmp_path, files, student=few, objective=attention)))


def test_augmented_texts_may_have_any_piece(shop: Workshop, files: dict[str, str], tmp_path: Path) -> None:
    changed = of(shop, tmp_path, files, augmentation=["random"])
    plan = make_plan(parse_run(changed))
    assert plan.by_characters
    assert [term.loss for term in plan.run.objective.terms] == ["mse"]
    mixed = of(shop, tmp_path, files, augmentation=["mixup"])
    assert [term.loss for term in make_plan(parse_run(mixed)).run.objective.terms] == ["mse"]


def test_a_student_with_pieces_of_its_own_is_cut_too(shop: Workshop, tmp_path: Path) -> None:
    write(tmp_path / "pairs.tsv", pairs(120))
    columns = {"text": "first", "text_pair": "second", "label": "verdict"}
    task = {"train": str(tmp_path / "pairs.tsv"), "max_length": 32, **columns}
    student = {"model": shop.stranger, "vocabulary": "task"}
    teacher = {"model": shop.base, "training": {"max_steps": 2}}
    record = distil(parse_run(of(shop, tmp_path, {}, task=task, student=student, teacher=teacher)))
    assert record.vocabulary is not None
    assert record.vocabulary.pieces < record.vocabulary.whole
    assert record.vocabulary.affected["train"] == 0
    assert [term.loss for term in record.run.objective.terms] == ["mse"]


@pytest.mark.parametrize(("wish", "words"), [(3, "pieces must stay"), (0, "student.vocabulary"), ("all", "vocabulary")])
def test_an_impossible_vocabulary_is_refused(
    shop: Workshop, files: dict[str, str], tmp_path: Path, wish: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        make_plan(parse_run(of(shop, tmp_path, files, student={"layers": 2, "vocabulary": wish})))
    assert "\n" not in error.value.message


@pytest.mark.parametrize("kind", ["tagging", "qa"])
def test_outputs_of_tokens_are_compared_token_by_token(kind: str, shop: Workshop, tmp_path: Path) -> None:
    moods = dict.fromkeys(GOOD, "GOOD")
    some = [row["text"].split() for row in reviews(40, seed=5) if not set(RARE) & set(row["text"].split())]
    lines = ["\n".join(f"{word} {moods.get(word, 'O')}" for word in row) for row in some]
    (tmp_path / "tags.conll").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    asked = []
    for number, row in enumerate(some):
        answer = {"text": row[0], "answer_start": 0}
        asked.append({"context": " ".join(row), "qas": [{"id": str(number), "question": "the", "answers": [answer]}]})
    (tmp_path / "asked.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": asked}]}), encoding="utf-8")
    task = {"train": str(tmp_path / ("asked.json" if kind == "qa" else "tags.conll")), "kind": kind, "max_length": 16}
    teacher = {"model": shop.base, "training": {"max_steps": 2, "min_steps": 1}}
    fields = {"task": task, "teacher": teacher, "training": {"max_steps": 3, "min_steps": 1, "threads": 1}}
    record = distil(parse_run(of(shop, tmp_path, {}, **fields)))
    assert record.vocabulary is not None
    assert record.vocabulary.pieces < record.vocabulary.whole
    assert record.vocabulary.affected["train"] == 0
    cut = {"student": {"layers": 2, "vocabulary": 9}, "output": str(tmp_path / "few")}
    few = parse_run(of(shop, tmp_path, {}, **fields, **cut))
    assert make_plan(few).by_characters
    assert distil(few).vocabulary.affected["train"] > 0  # type: ignore[union-attr]
