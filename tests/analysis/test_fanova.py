"""fANOVA against hand-made functions, slow loops, another algorithm, and Optuna's trees."""

import random
from collections import defaultdict
from itertools import combinations, product
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from analysis.tables import grid
from distiller.analysis import fanova
from distiller.analysis.factor_space import Factor, FactorSpace, factor_space_of
from distiller.analysis.fanova import Fanova, decompose, variance_shares
from distiller.analysis.importance import factor_importance
from distiller.analysis.leaf_boxes import leaf_boxes, marginal_variance
from distiller.analysis.second_opinion import ped_anova
from distiller.study.trials import read_authors, tabulate

pd = pytest.importorskip("pandas")


def table(found: Fanova) -> dict[str, float]:
    return {"".join(one.factors): one.mean for one in found.components}


def test_additive_part_and_interaction_are_told_apart() -> None:
    """ALGORITHMS.md 8.3: additive in a, plus 2 · 1[b = c], on 3 × 2 × 2: shares a .6087 = (14/9) / (14/9 + 1)."""
    gain = {"x": 0.0, "y": 1.0, "z": 3.0}  # variance 14/9; the second term has 1
    rows = grid({"a": "xyz", "b": "01", "c": "01"}, lambda a, b, c: gain[a] + 2 * (b == c), repeats=20)
    found = variance_shares(rows, ["a", "b", "c"], order=3)
    assert found.r2 == pytest.approx(1)
    assert found.trees == 64
    expected = {"a": 0.6087, "bc": 0.3913, "b": 0, "c": 0, "ab": 0, "ac": 0, "abc": 0}
    assert table(found) == pytest.approx(expected, abs=5e-5)
    assert found.share("c", "b") == found.share("b", "c")
    assert found.components[0].sd == pytest.approx(0, abs=1e-6)


def test_exclusive_or_is_all_pair() -> None:
    found = variance_shares(grid({"a": "01", "b": "01"}, lambda a, b: float(a != b), repeats=10), ["a", "b"])
    assert table(found) == pytest.approx({"ab": 1, "a": 0, "b": 0}, abs=1e-9)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=8, deadline=None)
def test_an_additive_function_has_no_pairs(seed: int) -> None:
    rng = random.Random(seed)
    effect = {level: rng.random() for level in "abcdefgh"}
    rows = grid({"u": "abc", "v": "de", "w": "fgh"}, lambda *levels: sum(map(effect.__getitem__, levels)), repeats=30)
    found = variance_shares(rows, ["u", "v", "w"], order=3, seed=seed)
    spreads = {"u": "abc", "v": "de", "w": "fgh"}
    total = sum(np.var([effect[level] for level in levels]) for levels in spreads.values())
    for one in found.components:
        name = "".join(one.factors)
        alone = np.var([effect[level] for level in spreads[name]]) / total if len(one.factors) == 1 else 0
        assert one.mean == pytest.approx(alone, abs=1e-6)


def noisy(seed: int, *, rows: int = 80) -> pd.DataFrame:
    """Random configurations of 3 × 2 × 4 × 2 levels with a noisy score."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(3, 2, 4, 2))
    codes = [rng.integers(0, n, rows) for n in weight.shape]
    frame = pd.DataFrame(
        {name: [f"{name}{code}" for code in column] for name, column in zip("abcd", codes, strict=True)}
    )
    return frame.assign(score=weight[tuple(codes)] + 0.3 * rng.normal(size=rows))


@given(seed=st.integers(0, 2**16))
@settings(max_examples=5, deadline=None)
def test_all_shares_sum_to_one(seed: int) -> None:
    found = variance_shares(noisy(seed), list("abcd"), order=4, trees=8)
    if found.refusal is None:
        assert sum(one.mean for one in found.components) == pytest.approx(1, abs=1e-9)
        assert all(one.mean >= 0 for one in found.components)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=5, deadline=None)
def test_names_of_levels_do_not_matter(seed: int) -> None:
    frame, rng = noisy(seed), random.Random(seed)
    renamed = frame.copy()
    for name in "abcd":
        levels = sorted(set(frame[name]))
        new = rng.sample([f"level {number}" for number in range(99)], len(levels))
        renamed[name] = [new[levels.index(level)] for level in frame[name]]
    one, other = (variance_shares(rows, list("abcd"), trees=8) for rows in (frame, renamed))
    assert one == other


def by_loops(values: dict[tuple[str, ...], float], names: str) -> dict[tuple[str, ...], float]:
    """The definition, cell by cell: f_U = E[f | x_U] minus all lower terms; V_U = E[f_U²]."""
    terms: dict[tuple[int, ...], dict[tuple[str, ...], float]] = {}
    positions = range(len(names))
    for n in range(len(names) + 1):
        for chosen in combinations(positions, n):
            means = defaultdict(list)
            for cell, value in values.items():
                means[tuple(cell[p] for p in chosen)].append(value)
            terms[chosen] = {
                key: fmean(found)
                - sum(
                    lower[tuple(key[chosen.index(p)] for p in smaller)]
                    for smaller, lower in terms.items()
                    if set(smaller) < set(chosen)
                )
                for key, found in means.items()
            }
    total = np.var(list(values.values()))
    return {
        tuple(names[p] for p in chosen): float(np.mean(np.square(list(term.values()))) / total)
        for chosen, term in terms.items()
        if chosen
    }


def fitted(frame: pd.DataFrame, space: FactorSpace, codes: np.ndarray, *, seed: int) -> RandomForestRegressor:
    model = RandomForestRegressor(n_estimators=4, random_state=seed)
    return model.fit(space.encode(codes), frame["score"].to_numpy())


@given(seed=st.integers(0, 2**16))
@settings(max_examples=6, deadline=None)
def test_grid_and_boxes_agree_with_loops_over_cells(seed: int) -> None:
    frame = noisy(seed)
    space, codes = factor_space_of(frame, tuple("abcd"))
    model, sets = fitted(frame, space, codes, seed=seed), space.components(4)
    quick = decompose(model, space, sets)
    fanova.LARGEST_GRID, largest = 0, fanova.LARGEST_GRID
    try:
        boxes = decompose(model, space, sets)
    finally:
        fanova.LARGEST_GRID = largest
    cells = list(product(*(range(len(factor.levels)) for factor in space.factors)))
    for tree, one, other in zip(model.estimators_, quick, boxes, strict=True):
        values = tree.predict(space.encode(np.array(cells, float)))
        slow = by_loops({tuple(map(str, cell)): float(v) for cell, v in zip(cells, values, strict=True)}, "abcd")
        assert one == pytest.approx([slow[names] for names in sets], abs=1e-10)
        assert other == pytest.approx([slow[names] for names in sets], abs=1e-10)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=6, deadline=None)
def test_boxes_agree_with_optuna_on_ranges(seed: int) -> None:
    """Optuna's private tree, exact for numbers: variances of single, pair and triple marginals."""
    tree_class = pytest.importorskip("optuna.importance._fanova._tree")._FanovaTree
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(size=(60, 3)).astype(np.float32)
    scores = np.sin(5 * numbers[:, 0]) * numbers[:, 1] + numbers[:, 2] ** 2 + 0.1 * rng.normal(size=60)
    bounds = np.array([[-0.5, 1.0], [0.0, 1.25], [0.0, 1.0]])
    space = FactorSpace(
        tuple(Factor(name, bounds=(low, high)) for name, (low, high) in zip("xyz", bounds, strict=True)), {}
    )
    model = RandomForestRegressor(n_estimators=2, random_state=seed).fit(numbers, scores)
    for estimator in model.estimators_:
        leaves, theirs = leaf_boxes(estimator.tree_, space), tree_class(estimator.tree_, bounds)
        for chosen in ([0], [1], [2], [0, 1], [2, 0]):
            assert marginal_variance(leaves, chosen) == pytest.approx(
                theirs.get_marginal_variance(np.array(sorted(chosen))), abs=1e-10
            )
        assert marginal_variance(leaves, [0, 1, 2]) == pytest.approx(theirs.variance, abs=1e-10)


def test_levels_and_ranges_mix() -> None:
    """score = rate + 1[loss = b]: Var U(0, 1) = 1/12 against 1/4, up to what a forest learns from 400 points."""
    rng = np.random.default_rng(0)
    rate, loss = rng.uniform(size=400), rng.choice(["a", "b"], 400)
    frame = pd.DataFrame({"rate": rate.astype(str), "loss": loss, "score": rate + (loss == "b")})
    found = variance_shares(frame, ["rate", "loss"])
    assert found.share("loss") == pytest.approx(0.75, abs=0.02)
    assert found.share("rate") == pytest.approx(0.25, abs=0.02)
    assert found.share("rate", "loss") < 0.01


def test_wide_ranges_are_measured_in_logarithms() -> None:
    rates = [10 ** -(1 + n / 10) for n in range(41)]
    frame = pd.DataFrame({"rate": list(map(repr, rates)), "score": np.log10(rates)})
    factor = factor_space_of(frame, ("rate",))[0].factors[0]
    assert factor.log
    assert factor.bounds == pytest.approx((np.log(1e-5), np.log(0.1)))


def conditional() -> pd.DataFrame:
    """`critic` exists only under `mi`; there it moves the score, which `loss` moves on the mean over critics."""
    rows = [
        {"loss": loss, "critic": critic, "mapping": mapping, "score": value + (0.25 if mapping == "emd" else 0)}
        for loss, critic, value in (("mse", "", 0.0), ("mi", "mlp", 0.5), ("mi", "transformer", 1.5))
        for mapping in ("skip", "emd")
        for _ in range(20)
    ]
    return pd.DataFrame(rows)


def test_a_factor_that_exists_only_under_another_is_nested_in_it() -> None:
    """By hand: loss is 0 or 1 on the mean (variance 1/4); within mi, half the space, critics differ by ±.5 (1/8)."""
    found = variance_shares(conditional(), ["critic", "loss", "mapping"], order=3)
    total = 1 / 4 + 1 / 8 + 1 / 64
    assert found.share("loss") == pytest.approx(1 / 4 / total, abs=1e-6)
    assert found.share("critic") == pytest.approx(1 / 8 / total, abs=1e-6)
    assert found.share("mapping") == pytest.approx(1 / 64 / total, abs=1e-6)
    assert sum(one.mean for one in found.components) == pytest.approx(1)
    names = {frozenset(one.factors) for one in found.components}
    assert frozenset({"loss", "critic"}) not in names
    assert frozenset({"mapping", "critic"}) in names


def test_impossible_combinations_weigh_nothing() -> None:
    space, _ = factor_space_of(conditional(), ("critic", "loss", "mapping"))
    codes, weights = space.grid()
    cells = {
        tuple(factor.levels[code] for factor, code in zip(space.factors, row, strict=True)): weight
        for row, weight in zip(codes, weights, strict=True)
    }
    assert cells == {
        (critic, loss, mapping): 0.25 if loss == "mse" else 0.125
        for critic, loss in (("", "mse"), ("mlp", "mi"), ("transformer", "mi"))
        for mapping in ("skip", "emd")
    }


def test_a_number_that_exists_only_under_a_level_is_cut() -> None:
    rng = np.random.default_rng(1)
    alpha = rng.uniform(size=60)
    frame = pd.DataFrame(
        {
            "loss": ["mi"] * 60 + ["mse"] * 30,
            "alpha": [*map(str, alpha), *[""] * 30],
            "score": [*(alpha > 0.5), *[0.5] * 30],
        }
    )
    found = variance_shares(frame, ["loss", "alpha"])
    assert found.notes == ("`alpha` is cut into 4 levels",)
    assert found.share("alpha") > 0.9


def test_there_is_no_importance_without_signal() -> None:
    rng = np.random.default_rng(3)
    levels = {"a": "xyz", "b": "01"}
    noise = variance_shares(grid(levels, lambda *_: rng.normal(), repeats=5), ["a", "b"])
    assert noise.r2 is not None
    assert noise.r2 <= 0
    assert "explains nothing" in str(noise.refusal)
    assert not noise.components
    assert "equal" in str(variance_shares(grid(levels, lambda *_: 0.5, repeats=5), ["a", "b"]).refusal)
    assert "too few" in str(variance_shares(grid(levels, lambda *_: rng.normal()), ["a", "b"]).refusal)
    assert "no factor" in str(variance_shares(grid({"a": "x"}, lambda *_: rng.normal(), repeats=20), ["a"]).refusal)


def test_shares_are_averaged_over_tasks() -> None:
    """In one task only `a` matters, in the other only `b`, and a third has one level of `a` and pure noise."""
    one = grid({"a": "01", "b": "01"}, lambda a, b: float(a), repeats=10).assign(task="one")
    two = grid({"a": "01", "b": "01"}, lambda a, b: float(b), repeats=10).assign(task="two")
    none = grid({"a": "0", "b": "01"}, lambda a, b: 0.5, repeats=10).assign(task="none")
    rows = pd.concat([one, two, none]).to_dict("records")
    found = factor_importance(tabulate([{str(key): row[key] for key in row} for row in rows], ["a", "b"]))
    assert found.tasks == ("one", "two")
    assert {share.name: share.mean for share in found.shares} == pytest.approx({"a": 0.5, "b": 0.5, "a × b": 0})
    assert {share.name: share.task_sd for share in found.shares} == pytest.approx({"a": 0.5, "b": 0.5, "a × b": 0})
    assert found.by_task["none"].refusal is not None
    assert found.second_mean == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.05)


def test_models_that_differ_are_factors() -> None:
    frame = grid({"student": ["tiny", "mini"], "a": "01"}, lambda student, a: float(student == "mini"), repeats=10)
    found = factor_importance(tabulate(frame.assign(task="rte").to_dict("records"), ["a"]))
    assert found.shares[0].factors == ("student",)
    assert factor_importance(tabulate(frame.assign(task="rte").to_dict("records"), ["a"]), factors=["a"]).factors == (
        "a",
    )


def test_the_second_opinion_sees_what_the_best_trials_share() -> None:
    rng = np.random.default_rng(5)
    frame = grid({"a": "wxyz", "b": "01"}, lambda a, b: (a == "x") + 0.01 * rng.normal(), repeats=8)
    found = ped_anova(frame, ["a", "b"])
    assert sum(found.values()) == pytest.approx(1)
    assert found["a"] > 0.9
    assert ped_anova(frame.head(19), ["a", "b"]) == {}
    assert set(ped_anova(conditional(), ["loss", "critic", "mapping"])) == {"loss", "critic", "mapping"}


def test_the_authors_runs_say_what_they_said(shared: Path) -> None:
    """ALGORITHMS.md 8.3 on all 1,239 runs: intermediate .30, augmentation .15, prediction .11, mapping .055; pairs with
    prediction .11 and with mapping .10. 867 runs are here: six of the eight tasks."""
    trials = read_authors(shared / "data" / "authors_study").where(student="tinybert-4", teacher="bert-base")
    found = factor_importance(trials)
    assert len(found.by_task) == 6
    assert len(found.tasks) >= 4
    alone = {share.name: share.mean for share in found.shares if len(share.factors) == 1}
    assert max(alone, key=lambda name: alone[name]) == "intermediate"
    assert alone["intermediate"] == pytest.approx(0.30, abs=0.05)
    assert alone["augmentation"] == pytest.approx(0.15, abs=0.07)
    assert alone["prediction"] == pytest.approx(0.11, abs=0.05)
    assert alone["mapping"] == pytest.approx(0.055, abs=0.03)
    assert min(alone, key=lambda name: alone[name]) == "mapping"
    pairs = [share.factors for share in found.shares if len(share.factors) == 2]
    assert set(pairs[:2]) == {("intermediate", "prediction"), ("intermediate", "mapping")}
