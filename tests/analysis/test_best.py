"""Best configurations, counts among them, and effects of levels, against hand-made tables and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from analysis.tables import grid
from distiller.analysis.best import configurations, top_counts
from distiller.analysis.effects import level_effects
from distiller.analysis.pareto import pareto_front
from distiller.study.trials import Trials, tabulate

pd = pytest.importorskip("pandas")


def trials(frame: pd.DataFrame, *factors: str) -> Trials:
    return tabulate([{str(key): value for key, value in row.items()} for row in frame.to_dict("records")], factors)


def test_seeds_are_averaged_and_failures_left_out() -> None:
    rows = [
        {"task": "rte", "mapping": "skip", "seed": 0, "score": 0.6, "teacher_score": 0.8, "run": "{}"},
        {"task": "rte", "mapping": "skip", "seed": 1, "score": 0.7, "teacher_score": 0.8, "run": '{"best": 1}'},
        {"task": "rte", "mapping": "last", "seed": 0, "score": 0.66, "teacher_score": None},
        {"task": "rte", "mapping": "emd", "seed": 0, "status": "failed"},
        {"task": "cola", "mapping": "emd", "seed": 0, "score": 0.1},
    ]
    found = configurations(tabulate(rows, ["mapping"]))
    assert list(found) == ["cola", "rte"]
    last, skip = found["rte"]
    assert (last.levels, last.score, last.sd, last.ratio) == ({"mapping": "last"}, 0.66, None, None)
    assert (skip.score, skip.sd, skip.ratio) == pytest.approx((0.65, 0.0707107, 0.8125))
    assert (skip.trials, skip.runs, skip.run) == ((0, 1), 2, '{"best": 1}')


def test_counts_among_the_best() -> None:
    """On each of two tasks the best 2 of 6 have `emd`; blindly, a third of the 4 best would."""
    frame = grid(
        {"task": ["rte", "cola"], "mapping": ["skip", "last", "emd"], "loss": ["mse", "mi"]},
        lambda task, mapping, loss: (mapping == "emd") + 0.1 * (loss == "mi"),
    )
    counts = {(one.factor, one.level): one for one in top_counts(trials(frame, "mapping", "loss"), top=2)}
    assert counts["mapping", "emd"].count == 4
    assert counts["mapping", "skip"].count == 0
    assert counts["mapping", "emd"].expected == pytest.approx(4 / 3)
    assert (counts["loss", "mi"].count, counts["loss", "mi"].expected) == (2, pytest.approx(2))
    assert counts["loss", "mi"].tried == 6


@given(seed=st.integers(0, 2**16), top=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_counts_sum_to_what_was_looked_at(seed: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    frame = grid({"task": "xyz", "a": "012", "b": "01"}, lambda *_: rng.normal())
    counts = top_counts(trials(frame, "a", "b"), top=top)
    for factor in "ab":
        assert sum(one.count for one in counts if one.factor == factor) == 3 * min(top, 3)
        assert sum(one.expected for one in counts if one.factor == factor) == pytest.approx(3 * min(top, 3))


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_pairs_cancel_everything_else(seed: int) -> None:
    """The effect is exact however large the differences between tasks, seeds and other factors are."""
    rng = np.random.default_rng(seed)
    noise = {key: 100 * rng.normal() for key in ("rte", "cola", "0", "1", "mse", "mi", "pkd")}
    frame = grid(
        {"task": ["rte", "cola"], "seed": "01", "loss": ["mse", "mi", "pkd"], "mapping": ["skip", "emd"]},
        lambda task, seed, loss, mapping: noise[task] + noise[seed] + noise[loss] + 0.5 * (mapping == "emd"),
    )
    rows = trials(frame.sample(frac=1, random_state=seed), "loss", "mapping")
    effect = next(one for one in level_effects(rows) if one.factor == "mapping")
    sign = 1 if effect.level == "emd" else -1
    assert (effect.how, effect.n) == ("paired", 12)
    assert (effect.difference, effect.low, effect.high) == pytest.approx((sign * 0.5,) * 3, abs=1e-9)


def test_the_paired_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    frame = grid({"seed": list(range(25)), "mapping": ["none", "emd"]}, lambda seed, mapping: rng.normal())
    (effect,) = level_effects(trials(frame.assign(task="rte"), "mapping"), resamples=20000)
    wide = frame.pivot(index="seed", columns="mapping", values="score")
    pairs = (wide["emd"] - wide["none"]).to_numpy()
    theirs = bootstrap((pairs,), np.mean, n_resamples=20000, method="percentile", random_state=rng).confidence_interval
    assert effect.reference == "none"
    assert effect.difference == pytest.approx(pairs.mean())
    assert (effect.low, effect.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_without_pairs_levels_are_compared_within_their_context() -> None:
    """The tasks differ by 10 and have the levels in different numbers: pooled means would say -3, not 1."""
    rng = np.random.default_rng(1)
    rows = [
        {"task": task, "mapping": mapping, "loss": str(rng.random()), "score": base + gain}
        for task, base, mapping, gain, n in (
            ("rte", 0, "none", 0, 8), ("rte", 0, "emd", 1, 24), ("cola", 10, "none", 0, 24), ("cola", 10, "emd", 1, 8),
        )
        for _ in range(n)
    ]  # fmt: skip
    effect = next(one for one in level_effects(tabulate(rows, ["mapping", "loss"])) if one.factor == "mapping")
    assert (effect.level, effect.how, effect.n) == ("emd", "within", 32)
    assert (effect.difference, effect.low, effect.high) == pytest.approx((1, 1, 1))


def test_few_trials_have_no_interval() -> None:
    rows = [{"task": "rte", "mapping": m, "loss": str(n), "score": n} for n, m in enumerate(["none"] * 9 + ["emd"])]
    (effect,) = level_effects(tabulate(rows, ["mapping", "loss"]), factors=["mapping"])
    assert effect.difference == pytest.approx(9 - 4)
    assert (effect.low, effect.high, effect.n) == (None, None, 1)


COST = st.none() | st.integers(0, 5).map(float) | st.just(float("nan"))


@given(points=st.lists(st.tuples(COST, st.integers(0, 5).map(float)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_nothing_beats_a_point_of_the_front(points: list[tuple[float | None, float]]) -> None:
    front = pareto_front([cost for cost, _ in points], [score for _, score in points])
    for (cost, score), on_front in zip(points, front, strict=True):
        if cost is None or cost != cost:
            assert not on_front
            continue
        known = [(other, better) for other, better in points if other is not None and other == other]
        assert on_front == (
            not any(other <= cost and better >= score and (other < cost or better > score) for other, better in known)
        )
