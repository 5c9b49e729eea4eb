"""Scores against scikit-learn, SciPy and answers worked out by hand."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distiller.errors import ConfigError, ShapeError
from distiller.tasks.data import Split, TaskData
from distiller.tasks.metrics import METRICS, check_metric, scores


def task(kind: str, classes: int, *metrics: str) -> TaskData:
    train = Split("train", ("a",))
    return TaskData("toy", kind, tuple(map(str, range(classes))), metrics, {"train": train})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")  # scikit-learn and SciPy warn of the constant draws
@given(seed=st.integers(0, 2**16), rows=st.integers(2, 30), classes=st.integers(2, 4))
@settings(deadline=None, max_examples=60)
def test_classification_agrees_with_scikit_learn(seed: int, rows: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits, gold = rng.normal(size=(rows, classes)), rng.integers(classes, size=rows)
    guess = logits.argmax(-1)
    assert scores(task("classification", classes, "accuracy", "f1", "f1_macro", "matthews"), logits, gold) == (
        pytest.approx(
            {
                "accuracy": sk.accuracy_score(gold, guess),
                "f1": sk.f1_score(gold == 1, guess == 1, zero_division=0),  # type: ignore[arg-type]
                "f1_macro": sk.f1_score(gold, guess, average="macro", zero_division=0),  # type: ignore[arg-type]
                "matthews": sk.matthews_corrcoef(gold, guess),
            }
        )
    )


@given(seed=st.integers(0, 2**16), rows=st.integers(3, 30))
@settings(deadline=None, max_examples=40)
def test_regression_agrees_with_scipy(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    guess, gold = rng.normal(size=rows).round(1), rng.normal(size=rows)
    guess[0], guess[1] = -9.0, 9.0  # never constant
    found = scores(task("regression", 0, "pearson", "spearman", "rmse"), guess[:, None], gold)
    assert found["pearson"] == pytest.approx(np.corrcoef(guess, gold)[0, 1])
    assert found["spearman"] == pytest.approx(np.corrcoef(stats.rankdata(guess), stats.rankdata(gold))[0, 1])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(gold, guess))


def test_by_hand() -> None:
    guess, gold = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 0, 1, 1])
    # hits 2, false alarms 1, misses 1, right rejections 1: F1 = 4/6, MCC = (2·1 - 1·1) / sqrt(3·3·2·2)
    assert METRICS["accuracy"].function(guess, gold) == pytest.approx(3 / 5)
    assert METRICS["f1"].function(guess, gold) == pytest.approx(4 / 6)
    assert METRICS["matthews"].function(guess, gold) == pytest.approx(1 / 6)
    assert METRICS["rmse"].function(np.array([1.0, 3.0]), np.array([2.0, 1.0])) == pytest.approx(2.5**0.5)


@pytest.mark.parametrize("constant", [0, 1])
def test_constant_predictions_score_0(constant: int) -> None:
    guess, gold = np.full(4, constant), np.array([0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert METRICS["matthews"].function(guess, gold) == 0
        assert METRICS["f1"].function(guess, gold) == (0 if constant == 0 else pytest.approx(2 / 3))
    for name in ("pearson", "spearman"):
        with pytest.warns(UserWarning, match="counts as 0"):
            assert METRICS[name].function(guess.astype(float), gold.astype(float)) == 0
        with pytest.warns(UserWarning, match="counts as 0"):
            assert METRICS[name].function(np.array([np.nan, 1.0, 2.0, 3.0]), gold.astype(float)) == 0


def test_logits_must_fit_the_task_and_be_finite() -> None:
    with pytest.raises(ShapeError, match=r"\[3, 3\].* should have shape \[3, 2\]"):
        scores(task("classification", 2, "accuracy"), np.zeros((3, 3)), np.zeros(3))
    with pytest.raises(ShapeError):
        scores(task("regression", 0, "rmse"), np.zeros((3, 2)), np.zeros(3))
    with pytest.warns(UserWarning, match="not finite"):
        scores(task("classification", 2, "accuracy"), np.full((3, 2), np.nan), np.zeros(3))


def test_a_metric_must_fit_the_task_that_it_steers() -> None:
    check_metric("f1", task("classification", 2))
    check_metric("pearson", task("regression", 0))
    for name, wrong in (
        ("f1", task("classification", 3)),
        ("accuracy", task("regression", 0)),
        ("rmse", task("regression", 0)),
        ("no_such", task("regression", 0)),
    ):
        with pytest.raises(ConfigError, match=f"`{name}`"):
            check_metric(name, wrong)


@pytest.mark.parametrize("name", METRICS.entries)
def test_every_metric_is_documented_and_best_for_the_gold_labels(name: str) -> None:
    gold = np.array([0, 1, 1, 0])
    given = [["B-PER", "O"]] if METRICS[name].traits.get("entities") else gold
    right = [["cat"], ["dog", "a cat"]] if METRICS[name].traits["kind"] == "qa" else None
    best = METRICS[name].function(given, given) if right is None else METRICS[name].function(["The cat", "dog"], right)
    assert best == (0 if METRICS[name].traits.get("lower_is_better") else pytest.approx(1))
    assert METRICS[name].summary
