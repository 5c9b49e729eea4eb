"""The words about a result say what the figures say."""

from typing import Any

import numpy as np
import pytest

from distiller.config.run import parse_run
from distiller.config.translation import TranslationRun
from distiller.run.data_checks import check_pace
from distiller.run.verdict import Outcomes, compare, gain_words, longer, shares, words
from tasks.test_outcomes import guesses, task

N = 600
GOLD = np.random.default_rng(0).integers(0, 3, N)


def said(teacher: float | None, baseline: float, student: float, gold: np.ndarray = GOLD) -> tuple[Any, list[str]]:
    found = Outcomes(
        teacher=guesses(gold, teacher, 1) if teacher is not None else None,
        baseline=[guesses(gold, baseline, 2)], student=[guesses(gold, student, 3)], gold=gold,
    )  # fmt: skip
    comparison = compare(task(), found)
    return comparison, words(task(), found, comparison)


def test_a_gain_is_named_with_its_error_and_the_part_of_the_gap() -> None:
    comparison, lines = said(0.9, 0.7, 0.85)
    assert comparison.difference > 0.1
    assert 0.5 < comparison.gap_closed < 1
    assert "better than the same student fine-tuned" in lines[0]
    assert "of the teacher's lead" in lines[0]
    assert f"{100 * comparison.difference:.1f} ± {100 * comparison.error:.1f}" in lines[0]
    assert len(lines) == 1


@pytest.mark.parametrize("off", [0.0, 4e-4, -4e-4])
def test_what_prints_as_nothing_is_called_neither_better_nor_worse(off: float) -> None:
    same = guesses(GOLD, 0.8, 2)
    found = Outcomes(teacher=guesses(GOLD, 0.95, 1), baseline=[same], student=[same], gold=GOLD)
    comparison = compare(task(), found)
    assert comparison is not None
    comparison = comparison.model_copy(update={"difference": off, "error": abs(off) / 4, "gap_closed": 0.003})
    first, second = gain_words(found, comparison)
    assert first == "The distilled student is as good as the same student fine-tuned without a teacher."
    assert "The teacher leads by" in second


@pytest.mark.parametrize("training", [{}, {"epochs": 2}, {"max_steps": 5}, {"epochs": 2, "max_steps": 5}])
@pytest.mark.parametrize("kind", [{"train": "x.csv"}, {"train": {"source": "x.de", "target": "x.en"}}])
def test_a_longer_training_is_asked_for_by_the_field_that_decides(kind: Any, training: Any) -> None:
    run = parse_run({"task": kind, "teacher": {"model": "m"}, "training": training})
    field = longer(run)
    again = parse_run(run.model_dump(mode="json"), [f"{field}=9"])  # translations refuse what would not count
    if not isinstance(again, TranslationRun):
        check_pace(again.training, "training")
    assert field == "training.max_steps" or again.training.max_steps is None
    found = Outcomes(guesses(GOLD, 0.95, 1), [guesses(GOLD, 0.7, 2)], [guesses(GOLD, 0.7, 3)], GOLD)
    assert f"a longer training (`{field}`)" in gain_words(found, compare(task(), found), longer=field)[-1]


def test_harm_is_said() -> None:
    _, lines = said(0.9, 0.8, 0.7)
    assert "worse than the same student fine-tuned" in lines[0]
    assert "task.unlabelled" in lines[1]


def test_a_teacher_that_is_no_better_than_its_student_is_said() -> None:
    _, lines = said(0.7, 0.8, 0.8)
    assert any("The teacher is behind the student it teaches" in line for line in lines)
    _, lines = said(0.8, 0.8, 0.8)
    assert any("It is not certain that the distilled student is" in line for line in lines)
    assert any("a stronger teacher, a smaller student" in line for line in lines)


@pytest.mark.parametrize(
    ("lead", "said"), [(0.01, "not clearly better than"), (0.0, "no better than"), (-0.01, "no better than")]
)
def test_a_lead_that_is_within_its_error_is_not_called_none(lead: float, said: str) -> None:
    found = Outcomes(
        teacher=guesses(GOLD, 0.8, 1), baseline=[guesses(GOLD, 0.8, 2)], student=[guesses(GOLD, 0.8, 3)], gold=GOLD
    )
    comparison = compare(task(), found)
    assert comparison is not None
    comparison = comparison.model_copy(update={"teacher_lead": lead, "teacher_lead_error": 0.01})
    assert any(
        f"The teacher is {said} the student it teaches ({100 * lead:+.1f} ± 1.0" in line
        for line in gain_words(found, comparison)
    )


def test_a_student_at_the_majority_class_is_said() -> None:
    gold = np.where(np.random.default_rng(1).random(N) < 0.6, 0, 1)
    near = guesses(gold, 0.6, 4)  # its share is right as often as the majority class is, in other places
    found = Outcomes(guesses(gold, 0.9, 1), [guesses(gold, 0.75, 2)], [near], gold)
    line, *_ = words(task(), found, compare(task(), found))
    assert line.startswith("The distilled student is no better than who says always `class 0`")
    taught = found._replace(student=[guesses(gold, 0.8, 3)])
    assert not any("no better than who says" in line for line in words(task(), taught, compare(task(), taught)))


def test_little_is_said_of_little_alone() -> None:
    gold, places = GOLD, np.arange(N)

    def wrong(first: int, last: int) -> np.ndarray:
        return np.where((places >= first) & (places < last), (gold + 1) % 3, gold)

    for student, said_so in ((wrong(100, 190), True), (wrong(100, 174), False)):  # the lead is of 100 examples
        found = Outcomes(wrong(0, 0), [wrong(0, 100)], [student], gold)
        lines = words(task(), found, compare(task(), found))
        assert "It is not certain that the distilled student is better" in lines[0]
        assert "If it is, it makes up for" in lines[0]  # a share of what may be chance is said with that
        assert ("little of that arrives" in lines[1]) == said_so
        assert "task.unlabelled" in lines[1]


def test_few_development_examples_are_no_proof_that_the_teacher_is_no_better() -> None:
    gold, places = GOLD[:60], np.arange(60)
    student = np.where(places < 12, (gold + 1) % 3, gold)
    teacher = np.where((places >= 12) & (places < 18), (gold + 1) % 3, gold)  # 10 ± 7 points better
    found = Outcomes(teacher, [student], [student], gold)
    lines = words(task(), found, compare(task(), found))
    assert any("Nor can it be told how far the teacher leads" in line for line in lines)


def test_a_teacher_at_the_majority_class_is_said() -> None:
    gold = np.where(np.random.default_rng(1).random(N) < 0.7, 0, 1)
    found = Outcomes(np.zeros(N, dtype=int), [guesses(gold, 0.9, 1)], [np.zeros(N, dtype=int)], gold)
    lines = words(task(), found, compare(task(), found))
    assert lines[0].startswith("The teacher has learnt nothing")
    assert "always `class 0`" in lines[0]
    assert any("says `class 0` of every development example" in line for line in lines)


def test_without_a_baseline_there_is_nothing_to_compare() -> None:
    found = Outcomes(guesses(GOLD, 0.9, 1), [], [guesses(GOLD, 0.8, 2)], GOLD)
    assert compare(task(), found) is None
    assert words(task(), found, None) == []


def test_shares_of_classes_add_up() -> None:
    found = shares(task(), GOLD)
    assert sum(found.values()) == pytest.approx(1)
    assert found["class 1"] == pytest.approx((GOLD == 1).mean())


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_a_handful_of_examples_proves_nothing_even_where_all_of_them_agree(examples: int) -> None:
    gold = np.zeros(examples, dtype=np.int64)
    found = Outcomes(teacher=gold, baseline=[gold + 1], student=[gold], gold=gold)
    comparison = compare(task(), found)
    assert comparison is not None
    assert comparison.error == pytest.approx(1.5 / examples)
    lines = words(task(), found, comparison)
    assert any("It is not certain that the distilled student is better" in line for line in lines)
    assert lines[-1].startswith(f"{examples} development examples say" if examples > 1 else "One development example")
    assert not any("of the teacher's lead" in line for line in lines)


def test_many_examples_that_all_agree_do() -> None:
    found = Outcomes(teacher=GOLD, baseline=[(GOLD + 1) % 3], student=[GOLD], gold=GOLD)
    comparison = compare(task(), found)
    lines = words(task(), found, comparison)
    assert lines[0].startswith("The distilled student is 100.0 ± 0.2 points better")
    assert not any("development examples say" in line for line in lines)


@pytest.mark.parametrize("kind", ["qa", "multilabel"])
def test_who_answers_nothing_right_is_not_called_good(kind: str) -> None:
    wrong, right = (np.zeros(40), np.ones(40)) if kind == "qa" else (np.zeros((40, 2)), np.ones((40, 2)))
    asked = task(kind=kind, metric="answer_f1" if kind == "qa" else "micro_f1")
    found = Outcomes(teacher=wrong, baseline=[wrong], student=[wrong], gold=right)
    assert words(asked, found, compare(asked, found))[0].startswith("The teacher has learnt nothing: 0.0. Its students")
    found = found._replace(teacher=right)
    said = words(asked, found, compare(asked, found))[0]
    assert said == "The distilled student is of no use: 0.0 on 40 development examples."
