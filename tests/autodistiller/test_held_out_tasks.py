import itertools
from pathlib import Path

import numpy as np
import pytest
from held_out_tasks import (
    HeldOutTask,
    bootstrap,
    ceiling,
    leave_one_task_out,
    permuted,
    probe_gain,
    ranker,
    spearman,
)

from autodistiller.synthetic import experience
from distiller.autodistiller.experience import read_experience
from distiller.autodistiller.fit_data import prepare
from distiller.autodistiller.predictor import fit_predictor
from distiller.autodistiller.probes import choose_probes

pd = pytest.importorskip("pandas")


def held(ratio: list[float], order: list[float], **columns: list) -> HeldOutTask:
    rows = pd.DataFrame({"ratio": ratio, "teacher": "t", "student": "s", **columns})
    return HeldOutTask("task", rows, np.array(order, dtype=float))


def test_top_five_against_every_draw() -> None:
    ratio = [0.5, 0.9, 0.7, 0.8, 0.6, 0.65, 0.85]
    top = held(ratio, [1, 7, 3, 6, 2, 4, 5]).top(3)
    assert top["advised"] == pytest.approx((0.9 + 0.8 + 0.85) / 3)
    draws = [max(draw) for draw in itertools.combinations(ratio, 3)]
    assert top["random best"] == pytest.approx(np.mean(draws))
    assert top["random"] == pytest.approx(np.mean(ratio))


def test_within_ignores_what_students_differ_by() -> None:
    """A ranking by student alone looks good over all rows and is worth nothing within them."""
    rng = np.random.default_rng(0)
    ratio = [*rng.normal(1, 0.01, 40), *rng.normal(2, 0.01, 40)]
    order = [*rng.normal(1, 0.01, 40), *rng.normal(2, 0.01, 40)]
    one = held(ratio, order, student=["a"] * 40 + ["b"] * 40)
    assert one.spearman > 0.7
    assert abs(one.within) < 0.3


def test_constant_sides_are_not_defined() -> None:
    assert np.isnan(spearman(np.ones(5), np.arange(5)))
    assert np.isnan(held([1.0] * 5, list(range(5))).spearman)
    assert np.isnan(bootstrap([float("nan")])[0])


def test_bootstrap_holds_the_mean_and_widens_with_the_spread() -> None:
    narrow, wide = bootstrap([0.4, 0.5, 0.6]), bootstrap([0.0, 0.5, 1.0])
    assert narrow[0] <= 0.5 <= narrow[1]
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_ceiling_is_what_the_truth_reaches() -> None:
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.normal(1.0, 0.02, 300), 2)
    ratio = truth + rng.normal(0, 0.02, 600)
    one = held(list(ratio), list(truth), pipeline=[str(i // 2) for i in range(600)])
    assert ceiling(one, ["pipeline"]) == pytest.approx(one.spearman, abs=0.06)
    assert np.isnan(ceiling(held([1.0, 2.0], [1, 2], pipeline=["a", "b"]), ["pipeline"]))


def test_permutation_keeps_each_task_and_breaks_its_order() -> None:
    whole = experience(noise=0.01)
    rows, shuffled = whole.complete, permuted(whole, seed=0).complete
    for task in rows["task"].unique():
        one, other = (frame.loc[frame["task"] == task, "ratio"] for frame in (rows, shuffled))
        assert sorted(one) == sorted(other)
        assert list(one) != list(other)


def test_no_outcome_of_the_held_out_task_is_handed_over() -> None:
    whole = experience(noise=0.01)
    seen = []

    def rank(others, rows):
        seen.append((set(others.complete["task"]), set(rows["task"]), bool(rows["ratio"].isna().all())))
        return np.arange(len(rows))

    leave_one_task_out(whole, rank)
    assert len(seen) == 5
    for others, own, blind in seen:
        assert blind
        assert not others & own


def test_probes_help_and_are_different_points() -> None:
    """A task that goes its own way: what the others say is wrong there, and a few runs mend it."""
    whole = experience(noise=0.005, tasks=4)
    frame = whole.trials.frame
    odd = frame["task"] == "task0"
    middle = frame.loc[odd, "ratio"].median()
    frame.loc[odd, "ratio"] = middle**2 / frame.loc[odd, "ratio"]
    gain = probe_gain(whole, k=12, draws=1, baseline=False)[0]
    assert gain.without < -0.8
    assert gain.chosen > gain.without + 0.5
    rows = whole.complete[whole.complete["task"] == "task0"].reset_index(drop=True)
    chosen = choose_probes(prepare(whole.without("task0"), vectors={}, teacher=True, baseline=False), rows, 12)
    assert len(set(chosen)) == 12


def test_the_authors_runs_are_ranked_as_docs_say(shared: Path) -> None:
    """docs/results.md: 0.50 over six tasks that were not seen, against 0.3 of a forest."""
    whole = read_experience(shared / "data/authors_study")
    found = leave_one_task_out(whole, ranker(baseline=False))
    assert np.mean([one.spearman for one in found]) == pytest.approx(0.50, abs=0.02)
    assert np.mean([one.within for one in found]) == pytest.approx(0.44, abs=0.02)


def test_more_trials_on_the_task_itself_sharpen_the_interval() -> None:
    whole = experience(noise=0.01)
    rows = whole.complete[whole.complete["task"] == "task0"]
    blind, seen = fit_predictor(whole.without("task0")).predict(rows), fit_predictor(whole).predict(rows)
    assert np.mean(seen.high / seen.low) < np.mean(blind.high / blind.low)
