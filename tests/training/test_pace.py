"""Until it has learnt: where the rate begins to fall, where a training ends, and that a resumed one ends alike."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from distiller import config
from distiller.training.fit import Job, fit
from distiller.training.pace import COOLING, Pace, learning_rate, pace, patient_steps
from training.tiny import job, student, teacher

scores_by_step = st.lists(st.floats(0, 1), min_size=1, max_size=60)
paces = st.builds(
    lambda floor, extra, every, patience: Pace(floor, floor + extra, every, warmup=floor // 10, patience=patience),
    st.integers(20, 400), st.integers(0, 4000), st.integers(5, 100), st.integers(1, 8),
)  # fmt: skip


def evaluations(scores: list[float], every: int) -> list[tuple[int, float]]:
    return [(every * (place + 1), score) for place, score in enumerate(scores)]


@given(plan=paces, scores=scores_by_step)
def test_it_never_stops_before_the_floor_nor_passes_the_ceiling(plan: Pace, scores: list[float]) -> None:
    start = plan.cooling_from(evaluations(scores, plan.every))
    assert start is None or start >= plan.floor
    assert min(plan.floor, plan.ceiling) <= plan.end(start) <= plan.ceiling


@given(plan=paces, scores=scores_by_step)
def test_later_scores_do_not_change_what_was_decided(plan: Pace, scores: list[float]) -> None:
    """So it does not matter when a training is asked, nor whether it was resumed."""
    listed = evaluations(scores, plan.every)
    whole = plan.cooling_from(listed)
    for seen in range(len(listed) + 1):
        early = plan.cooling_from(listed[:seen])
        assert early == (whole if whole is not None and any(step == whole for step, _ in listed[:seen]) else None)


@given(plan=paces, scores=scores_by_step)
def test_the_rate_rises_stays_and_falls_to_zero(plan: Pace, scores: list[float]) -> None:
    start = plan.cooling_from(evaluations(scores, plan.every))
    end = plan.end(start)
    rates = [plan.rate(step, start) for step in range(end + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[end] == pytest.approx(0, abs=1e-9)
    highest = rates.index(max(rates))
    assert all(a <= b for a, b in pairwise(rates[: highest + 1]))
    after = rates[max(highest, plan.warmup) :]
    assert all(a >= b for a, b in pairwise(after))


def test_patience_counts_evaluations_without_a_better_score() -> None:
    plan = Pace(floor=100, ceiling=1000, every=50, warmup=10, patience=3)
    rising = [(50 * n, n / 100) for n in range(1, 17)]
    assert plan.cooling_from(rising) is None
    assert plan.end(None) == 1000
    level = [(50, 0.1), (100, 0.5), (150, 0.5), (200, 0.4), (250, 0.5)]
    assert plan.cooling_from(level) == 250
    assert plan.end(250) == 250 + max(50, round(COOLING * 250 + 0.49))


@pytest.mark.parametrize(
    ("rows", "floor", "ceiling"),
    [(100, 200, 800), (5_000, 471, 3_140), (30_000, 1_000, 6_000), (3_000_000, 1_000, 187_500)],
)
def test_numbers_by_size(rows: int, floor: int, ceiling: int) -> None:
    found = pace(config.Training(), steps_per_epoch=-(-rows // 32), dev_examples=500)
    assert (found.floor, found.ceiling) == (floor, ceiling)
    assert found.every <= found.floor
    assert found.patience is not None


def test_what_is_asked_for_is_done() -> None:
    by_epochs = pace(config.Training(epochs=3, evaluations=2), steps_per_epoch=100, dev_examples=500)
    assert by_epochs == Pace(300, 300, 50, 30, None, dev_examples=500)
    few = pace(config.Training(max_steps=5), steps_per_epoch=100, dev_examples=500)
    assert (few.floor, few.ceiling) == (5, 5)
    long = pace(config.Training(min_steps=9_000), steps_per_epoch=10, dev_examples=500)
    assert (long.floor, long.ceiling) == (9_000, 9_000)


def test_development_scores_take_at_most_a_fifth_of_the_time() -> None:
    found = pace(config.Training(), steps_per_epoch=1000, dev_examples=25_000)
    assert 0.2 * found.every * 32 + 32 >= 25_000 / 3


@pytest.mark.parametrize(
    ("width", "layers", "pretrained", "rate"),
    [
        (768, 12, True, 5e-5),
        (384, 6, True, 1e-4),
        (128, 2, True, 3e-4),
        (1024, 24, True, 1.9e-5),
        (384, 6, False, 3e-4),
        (32, 2, False, 1e-3),
    ],
)
def test_rates_by_kind_of_model(width: int, layers: int, pretrained: bool, rate: float) -> None:
    shape = BertConfig(hidden_size=width, num_hidden_layers=layers)
    assert learning_rate(shape, pretrained=pretrained) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("sizes", "steps"),
    [((128, 2), 5000), ((384, 3), 500), ((256, 4), 843), ((384, 6), 250), ((64, 1), 5000)],
)
def test_a_small_student_of_answered_texts_is_patient(sizes: tuple[int, int], steps: int) -> None:
    large = BertConfig(hidden_size=384, num_hidden_layers=6)
    small = BertConfig(hidden_size=sizes[0], num_hidden_layers=sizes[1], num_attention_heads=4)
    assert patient_steps(large, small) == steps


@given(st.integers(0, 5000), st.integers(1, 40_000))
def test_patience_raises_the_floor_by_ten_passes_at_most_and_what_is_said_holds(patient: int, epoch: int) -> None:
    usual = pace(config.Training(), steps_per_epoch=epoch, dev_examples=100)
    raised = pace(config.Training(), steps_per_epoch=epoch, dev_examples=100, patient=patient)
    assert raised.floor == max(usual.floor, min(patient, 10 * epoch))
    assert (raised.ceiling, raised.every) == (usual.ceiling, usual.every)
    assert raised.floor <= raised.ceiling
    for said in (config.Training(min_steps=300), config.Training(max_steps=900), config.Training(epochs=2)):
        told = pace(said, steps_per_epoch=epoch, dev_examples=100, patient=patient)
        assert told == pace(said, steps_per_epoch=epoch, dev_examples=100)


def test_a_training_that_does_not_get_better_ends_and_keeps_its_best(tmp_path: Path) -> None:
    made = job()
    scores = iter([0.3, 0.9, *[0.5] * 50])
    work = Job(made.train, made.dev, made.collate, lambda *_: {"accuracy": next(scores)}, "accuracy")
    training = config.Training(min_steps=10, max_steps=200, batch_size=8, patience=3, evaluations=1, log_every=1)
    rates: list[float] = []
    found = fit(
        student(), work, training, objective=config.Objective(gamma1=0.5), folder=tmp_path, seed=0, title="",
        teacher=teacher(),
    )  # fmt: skip
    rates = [entry["learning_rate"] for entry in found.history if "learning_rate" in entry]
    assert found.scores["accuracy"] == 0.9
    assert found.steps < 40
    assert rates[-1] < rates[len(rates) // 2]


def test_a_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    def outcome(folder: Path, stop_at: int | None) -> Any:
        training = config.Training(min_steps=10, max_steps=120, batch_size=8, patience=2, evaluations=1)
        heard: list[int] = []

        def listen(step: int, _: float) -> None:
            heard.append(step)
            if stop_at is not None and len(heard) == stop_at:
                raise KeyboardInterrupt

        given: dict[str, Any] = {"folder": folder, "seed": 0, "title": "", "teacher": teacher()}
        work, wish = job(), config.Objective(gamma1=0.5)
        try:
            return fit(student(), work, training, objective=wish, on_evaluation=listen, **given)
        except KeyboardInterrupt:
            return fit(student(), work, training, objective=wish, resume=True, **given)

    whole, again = outcome(tmp_path / "whole", None), outcome(tmp_path / "again", 4)
    assert again.steps == whole.steps
    assert again.best_step == whole.best_step
    assert again.scores == whole.scores


def test_a_training_that_is_not_for_the_score_does_not_end_by_it(tmp_path: Path) -> None:
    """A first stage on hidden states alone leaves the head as it was."""
    made = job()
    work = Job(made.train, made.dev, made.collate, lambda *_: {"accuracy": 0.5}, "accuracy")
    training = config.Training(min_steps=5, max_steps=40, batch_size=8, patience=1, evaluations=1)
    hidden = config.Objective(beta1=0.0, gamma1=0.0, intermediate=[config.Term(loss="mse")])
    given: dict[str, Any] = {"seed": 0, "title": "", "teacher": teacher()}
    stage = fit(student(), work, training, objective=hidden, folder=tmp_path / "a", select_best=False, **given)
    scored = fit(student(), work, training, objective=config.Objective(), folder=tmp_path / "b", **given)
    assert stage.steps == 40
    assert scored.steps < 40
