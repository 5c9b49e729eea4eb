"""A closer look at a finished run: teacher and student row by row, for every kind of task and pair of vocabularies."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deploy.conftest import KINDS, Models
from distiller.config import Task
from distiller.deploy import examine as module
from distiller.deploy.disagreements import Said, disagreements
from distiller.deploy.examine import calibration_of_labels, examine_run
from distiller.deploy.finished import open_finished
from distiller.models.folders import load_tokenizer
from distiller.models.load import load_model
from distiller.run.card import how_to_load
from distiller.tasks.data import Split, TaggedSplit
from distiller.tasks.encode import IGNORED
from report.test_run_page import record


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_that_is_the_student_agrees_and_another_does_not(
    models: Models, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_finished(models.model(kind), run=models.run(kind))
    monkeypatch.setattr(module, "find_teacher", lambda _: models.model(kind))
    same = examine_run(source)
    assert same.difference is not None
    assert (same.difference.d, same.difference.se) == (0, 0)
    assert same.teacher == same.student
    if kind == "regression":  # numbers are listed by their distance, and here that is none
        assert {one.distance for one in same.disagreements} == {0}
    else:
        assert (same.disagreements, same.share_disagreeing) == ([], 0)

    other = load_model(models.model(kind), kind=source.kind, labels=source.labels)
    torch.manual_seed(1)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    other.save_pretrained(tmp_path)
    load_tokenizer(models.model(kind)).save_pretrained(tmp_path)
    monkeypatch.setattr(module, "find_teacher", lambda _: tmp_path)
    found = examine_run(source)
    assert found.teacher is not None
    assert found.difference is not None
    assert found.disagreements
    assert found.difference.d == pytest.approx(found.student.score - found.teacher.score, abs=1e-6)
    distances = [one.distance for one in found.disagreements]
    assert distances == sorted(distances, reverse=True)
    for one in found.disagreements:
        assert one.teacher != one.student
        assert one.gold


def said(gold: list[list[int]], tags: list[list[int]]) -> Said:
    logits = np.eye(3)[np.array(tags)]
    encoded: Any = SimpleNamespace(gold=np.array(gold))
    return Said(encoded, logits)


def test_taggers_of_two_vocabularies_are_compared_word_by_word() -> None:
    split = TaggedSplit(name="dev", words=(("a", "fine", "film"),), tags=((0, 1, 2),))
    no = IGNORED
    # the student has a token a word, the teacher two for the second word, and was cut before the last one
    student = said([[no, 0, 1, 2, no]], [[0, 0, 1, 2, 0]])
    teacher = said([[no, 0, 1, no, no, no]], [[0, 0, 2, 2, 2, 2]])
    found = disagreements("tagging", ["O", "GOOD", "FILM"], split, student, teacher, Task())
    assert [(one.gold, one.teacher, one.student, one.distance) for one in found] == [
        ("fine/GOOD", "fine/FILM", "fine/GOOD", 0.5)
    ]


def test_several_labels_are_told_by_name() -> None:
    split = Split(name="dev", texts=("a", "b"), labels=((1.0, 0.0), (0.0, 0.0)))
    encoded: Any = SimpleNamespace(gold=np.array(split.labels))
    student, teacher = Said(encoded, np.array([[9.0, 9], [-9, -9]])), Said(encoded, np.array([[9.0, -9], [-9, -9]]))
    (one,) = disagreements("multilabel", ["music", "plot"], split, student, teacher, Task())
    assert (one.text, one.gold, one.teacher, one.student) == ("a", "music", "music", "music, plot")
    assert one.distance == pytest.approx(0.5, abs=1e-3)


def test_yes_and_no_are_calibrated_alike() -> None:
    logits = np.array([9.0, -9.0, 9.0, -9.0])
    assert calibration_of_labels(logits, np.array([1.0, 0, 1, 0])).error == pytest.approx(0, abs=1e-3)
    assert calibration_of_labels(logits, np.array([0.0, 1, 0, 1])).error == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", [*KINDS, "multilabel"])
def test_what_cards_and_pages_say_of_loading_runs(
    models: Models, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = record()
    task = one.run.task.model_copy(update={"max_length": 16, "text_pair": "b" if kind == "pairs" else None})
    data = one.data.model_copy(update={"kind": "classification" if kind == "pairs" else kind})
    told = one.model_copy(update={"data": data, "run": one.run.model_copy(update={"task": task})})
    folder = models.model("classification" if kind == "multilabel" else kind)
    exec(how_to_load(told, folder), {})
    assert capsys.readouterr().out.strip()
