import sys

import numpy as np
import pytest
from held_out_tasks import leave_one_task_out, permuted, ranker
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, spearmanr

from autodistiller.synthetic import effect, experience
from distiller.autodistiller import features
from distiller.autodistiller.additive import Variances, covariance, fit_additive
from distiller.autodistiller.facts import TaskFacts
from distiller.autodistiller.fit_data import prepare
from distiller.autodistiller.kernels import task_kernel
from distiller.autodistiller.predictor import PREDICTORS, fit_predictor
from distiller.autodistiller.target import make_target, offsets
from distiller.errors import ConfigError, MissingPackageError
from distiller.registry import Entry
from distiller.study.trials import FACTORS

pd = pytest.importorskip("pandas")

INSTALLED = ["additive", "forest"]
FEW = {"additive": {}, "forest": {"trees": 30}}


def mean_spearman(noise: float, predictor: str, seed: int = 0) -> float:
    held = leave_one_task_out(experience(noise=noise, seed=seed), ranker(predictor, baseline=False, **FEW[predictor]))
    return float(np.mean([one.spearman for one in held]))


@pytest.mark.parametrize("predictor", INSTALLED)
def test_without_noise_unseen_tasks_are_ranked_right(predictor: str) -> None:
    clean = mean_spearman(0.0, predictor)
    assert clean > (0.97 if predictor == "additive" else 0.85)
    assert clean > mean_spearman(0.03, predictor) > mean_spearman(0.5, predictor)


def test_permuted_outcomes_leave_nothing_to_rank() -> None:
    found = [
        one.spearman
        for seed in range(3)
        for one in leave_one_task_out(permuted(experience(noise=0.01), seed=seed), ranker(baseline=False))
    ]
    assert abs(np.mean(found)) < 0.1


@pytest.mark.parametrize("predictor", INSTALLED)
def test_held_out_outcomes_change_no_prediction(predictor: str) -> None:
    """What is known only after a run cannot reach the features: the held-out rows get other scores, or none."""
    whole = experience(noise=0.05)
    rows = whole.complete
    own = rows[rows["task"] == "task1"].reset_index(drop=True)
    fitted = fit_predictor(whole.without("task1"), predictor=predictor, options=FEW[predictor])
    said = fitted.predict(own)
    shuffled = own.assign(
        **{name: own[name].sample(frac=1, random_state=1).to_numpy() for name in ("score", "ratio", "seconds")},
        milliseconds=np.arange(len(own)),
        status="failed",
    )
    again = fitted.predict(shuffled)
    for name in ("ratio", "low", "high", "order"):
        np.testing.assert_array_equal(getattr(said, name), getattr(again, name))
    table = features.table(own, FACTORS, fitted.fit_data.tasks, {})
    assert not set(table) & {"score", "ratio", "seconds", "status"}


@pytest.mark.parametrize("predictor", INSTALLED)
def test_predictions_are_ratios_inside_their_intervals(predictor: str) -> None:
    whole = experience(noise=0.02)
    rows = whole.complete
    said = fit_predictor(whole.without("task0"), predictor=predictor, options=FEW[predictor]).predict(
        rows[rows["task"] == "task0"]
    )
    assert (said.low < said.ratio).all()
    assert (said.ratio < said.high).all()
    assert ((said.ratio > 0.4) & (said.ratio < 2)).all()


def test_intervals_hold_four_runs_of_five() -> None:
    """Over many tasks, as the level of a task is most of what is not known."""
    hits = []
    for seed in range(5):
        whole = experience(noise=0.02, seed=seed, tasks=7, runs=20)
        rows = whole.complete
        own = rows[rows["task"] == "task0"]
        said = fit_predictor(whole.without("task0")).predict(own)
        hits += list((said.low <= own["ratio"]) & (own["ratio"] <= said.high))
    assert 0.55 < np.mean(hits) <= 1.0


def test_the_posterior_is_that_of_a_joint_normal() -> None:
    """Condition the joint normal of trials and new rows the slow way, with SciPy's density as the judge."""
    whole = experience(noise=0.05, tasks=3, runs=5)
    fit_data = prepare(whole.without("task2"), vectors={}, teacher=True, baseline=False)
    new = features.before(whole.complete[whole.complete["task"] == "task2"], FACTORS)
    model = fit_additive(fit_data)
    both = pd.concat([features.before(fit_data.rows, FACTORS), new], ignore_index=True)
    parts, rest = covariance(fit_data, both, both, Variances())
    joint = sum(parts.values()) + rest + np.eye(len(both))
    n = len(fit_data.rows)
    said = model.predict(new)
    centred = fit_data.target.values - model.mean
    for i in range(len(new)):
        keep = [*range(n), n + i]
        block = joint[np.ix_(keep, keep)]
        slow = multivariate_normal(cov=block)
        at = said.values[i] - model.mean
        densities = [slow.logpdf([*centred, at + shift]) for shift in (-0.01, 0.0, 0.01)]
        assert densities[1] == max(densities)  # the mean of the conditional normal is its mode
        curvature = (densities[0] - 2 * densities[1] + densities[2]) / 1e-4
        np.testing.assert_allclose(said.deviation[i], 1 / np.sqrt(-curvature), rtol=1e-3)


def test_contributions_sum_to_the_differences() -> None:
    whole = experience(noise=0.01)
    rows = features.before(whole.complete[whole.complete["task"] == "task0"], FACTORS)
    model = fit_additive(prepare(whole.without("task0"), vectors={}, teacher=True, baseline=False))
    said = model.predict(rows)
    np.testing.assert_allclose(sum(said.parts.values()) + model.mean, said.values, atol=1e-9)


def test_effects_are_found() -> None:
    whole = experience(noise=0.005)
    rows = whole.complete[whole.complete["task"] == "task0"]
    said = fit_predictor(whole.without("task0")).predict(rows)
    truth = [effect(tuple(row)) for row in rows[list(FACTORS)].itertuples(index=False)]
    assert spearmanr(said.ratio, truth).statistic > 0.97


@given(scale=st.floats(0.1, 10), teacher=st.floats(0.1, 1))
@settings(max_examples=10, deadline=None)
def test_the_target_forgets_level_and_teacher(scale: float, teacher: float) -> None:
    """Multiplying all ratios of a task, or measuring them against another teacher, changes nothing."""
    rows = experience(noise=0.05, tasks=2, runs=20).complete
    first = make_target(rows, teacher=True, baseline=False).values
    task = rows["task"] == "task1"
    changed = rows.assign(
        ratio=rows["ratio"].where(~task, rows["ratio"] * scale),
        teacher_score=rows["teacher_score"].where(~task, teacher),
    )
    np.testing.assert_allclose(make_target(changed, teacher=True, baseline=False).values, first, atol=1e-9)


def test_offsets_by_hand() -> None:
    rows = pd.DataFrame(
        {"task": ["a", "a", "b"], "teacher_score": [0.8, 0.5, np.nan], "baseline_score": [0.4, np.nan, 0.3]}
    )
    np.testing.assert_allclose(offsets(rows, teacher=True, baseline=False), [-np.log(0.8), -np.log(0.5), 0])
    both = offsets(rows, teacher=True, baseline=True)
    np.testing.assert_allclose(both, [np.log(0.4 / 0.8), np.log(0.65 / 0.5), np.log(0.3)])
    np.testing.assert_array_equal(offsets(rows, teacher=False, baseline=False), np.zeros(3))


def test_a_regression_never_learns_from_cross_entropy() -> None:
    whole = experience(noise=0.0)
    whole = whole.with_task(whole.tasks["task0"].model_copy(update={"kind": "regression"}))
    rows = whole.complete[whole.complete["task"] == "task0"].reset_index(drop=True)
    said = fit_predictor(whole.without("task0")).predict(rows)
    dead = rows["prediction"] == "ce"
    assert said.order[dead].max() < said.order[~dead].min()
    assert (said.ratio[dead] == 0).all()


def test_like_tasks_count_for_more() -> None:
    tasks = [TaskFacts(name=str(n), examples=n, pairs=n > 5000) for n in (1000, 1100, 90_000, 100_000)]
    likeness = task_kernel(features.task_blocks(tasks, {}))
    np.testing.assert_array_equal(np.diag(likeness), 1.0)
    np.testing.assert_allclose(likeness, likeness.T)
    assert likeness[0, 1] > 0.9 > 0.5 > likeness[0, 2]


def test_a_task_feature_more_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [TaskFacts(name="a"), TaskFacts(name="b"), TaskFacts(name="c")]
    entries = {**features.TASK_FEATURES.entries, "own": Entry(lambda tasks, _: np.array([[0.0], [0.0], [1.0]]), "me")}
    monkeypatch.setattr(features, "TASK_FEATURES", features.Family("task feature", entries))
    likeness = task_kernel(features.task_blocks(tasks, {}))
    assert likeness[0, 1] > likeness[0, 2]


def test_numbers_of_ones_own_count() -> None:
    tasks = [TaskFacts(name=name, more={"noise": value}) for name, value in (("a", 0.1), ("b", 0.1), ("c", 0.9))]
    likeness = task_kernel(features.task_blocks(tasks, {}))
    assert likeness[0, 1] == 1.0 > likeness[0, 2]


def test_unknown_predictors_and_options_are_named() -> None:
    whole = experience(noise=0.1, tasks=2, runs=10)
    with pytest.raises(ConfigError, match="forrest"):
        fit_predictor(whole, predictor="forrest")
    with pytest.raises(ConfigError, match="tres"):
        fit_predictor(whole, predictor="forest", options={"tres": 3})


def test_without_autogluon_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autogluon.tabular", None)
    with pytest.raises(MissingPackageError, match="AutoGluon-Tabular") as raised:
        fit_predictor(experience(noise=0.1, tasks=2, runs=10), predictor="autogluon")
    assert "distiller-nlp[auto]" in str(raised.value.hint)


def test_autogluon_ranks_unseen_tasks() -> None:
    pytest.importorskip("autogluon.tabular", reason="AutoGluon-Tabular is not installed")
    whole = experience(noise=0.01, tasks=4, runs=40)
    fitted = fit_predictor(whole.without("task0"), predictor="autogluon", options={"seconds": 20})
    rows = whole.complete[whole.complete["task"] == "task0"]
    assert spearmanr(fitted.predict(rows).order, rows["ratio"]).statistic > 0.5


def test_every_predictor_has_a_summary_and_a_source() -> None:
    for name in PREDICTORS:
        assert PREDICTORS[name].summary
        assert PREDICTORS[name].source
