"""Differences of two models on the same examples: values as the metrics say, errors as theory says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.tasks.data import Split, TaskData
from distiller.tasks.metrics import METRICS
from distiller.tasks.outcomes import constant, difference, score_of

N = 400


def task(metric: str = "accuracy", classes: int = 3, kind: str = "classification") -> TaskData:
    names = tuple(f"class {n}" for n in range(classes)) if kind != "regression" else ()
    return TaskData(
        name="made up", kind=kind, labels=names, metrics=(metric,),
        splits={"dev": Split("dev", ("text",) * 3, None)},
    )  # fmt: skip


def guesses(gold: np.ndarray, right: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(gold)) < right, gold, (gold + 1) % 3)


@given(seed=st.integers(0, 1000), ours=st.floats(0.3, 0.95), theirs=st.floats(0.3, 0.95))
@settings(max_examples=15)
def test_error_of_accuracy_is_that_of_paired_differences(seed: int, ours: float, theirs: float) -> None:
    gold = np.random.default_rng(seed).integers(0, 3, N)
    a, b = guesses(gold, ours, seed + 1), guesses(gold, theirs, seed + 2)
    apart = (a == gold).astype(float) - (b == gold)
    found = difference(task(), [a], [b], gold)
    assert found.value == pytest.approx(apart.mean())
    assert found.error == pytest.approx(apart.std() / math.sqrt(N), rel=0.25)  # of 200 resamples


def test_models_that_say_the_same_are_not_apart() -> None:
    gold = np.arange(30) % 3
    said = guesses(gold, 0.7, 0)
    assert difference(task(), [said], [said.copy()], gold) == (0.0, 0.0)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "matthews"])
def test_the_value_is_that_of_the_metric(metric: str) -> None:
    gold = np.random.default_rng(3).integers(0, 3, N)
    a, b = guesses(gold, 0.8, 1), guesses(gold, 0.6, 2)
    wanted = METRICS[metric].function(a, gold) - METRICS[metric].function(b, gold)
    assert difference(task(metric), [a], [b], gold).value == pytest.approx(wanted)


def test_numbers_are_resampled_too() -> None:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=N)
    near, far = gold + rng.normal(size=N) * 0.3, gold + rng.normal(size=N) * 3
    found = difference(task("spearman", kind="regression"), [near], [far], gold)
    assert found.clear
    assert found.value > 0.4


def test_tags_are_compared_where_they_are_scored() -> None:
    gold = np.array([[0, 1, -100], [2, -100, -100]])
    said = np.array([[0, 1, -100], [0, -100, -100]])
    assert score_of(task("token_accuracy", kind="tagging"), said, gold) == pytest.approx(2 / 3)


def test_seeds_are_averaged_and_their_spread_counts() -> None:
    gold = np.random.default_rng(9).integers(0, 3, N)
    base = guesses(gold, 0.6, 0)
    alike = [guesses(gold, 0.8, 1)] * 2
    unlike = [guesses(gold, 0.95, 1), guesses(gold, 0.65, 2)]
    same, apart = (difference(task(), ours, [base, base], gold) for ours in (alike, unlike))
    wanted = np.mean([(one == gold).mean() for one in unlike]) - (base == gold).mean()
    assert apart.value == pytest.approx(wanted)
    assert apart.error > 3 * same.error


def test_the_constant_answer_is_the_most_frequent_class() -> None:
    gold = np.array([1, 1, 1, 0, 2])
    assert constant(task(), gold) == (0.6, "class 1")
    assert constant(task("matthews"), gold) == (0.0, "class 1")
