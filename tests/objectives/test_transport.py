"""Optimal transport between layers against linear programming, permutations and finite differences."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from distiller.errors import ConfigError, RunError, ShapeError
from distiller.objectives.mapping import MAPPING
from distiller.objectives.transport import Transport, optimal_flow, sinkhorn_flow, updated_weights

few = settings(deadline=None, max_examples=30)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 12))
seeds = st.integers(0, 2**16)


def problem(size: tuple[int, int], seed: int, *, uniform: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=size)
    if uniform:
        return cost, np.full(size[0], 1 / size[0]), np.full(size[1], 1 / size[1])
    return cost, rng.dirichlet(np.ones(size[0])), rng.dirichlet(np.ones(size[1]))


def least_cost(cost: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """The same problem, written down the slow way and given to the interior-point method."""
    n, m = cost.shape
    constraints, sums = [], []
    for j in range(n):
        constraints.append([1.0 if k // m == j else 0.0 for k in range(n * m)])
        sums.append(rows[j])
    for i in range(m - 1):
        constraints.append([1.0 if k % m == i else 0.0 for k in range(n * m)])
        sums.append(columns[i])
    return linprog(cost.ravel(), A_eq=constraints, b_eq=sums, method="highs-ipm").fun


@few
@given(size=sizes, seed=seeds, uniform=st.booleans())
def test_flow_is_optimal_and_has_exact_marginals(size: tuple[int, int], seed: int, uniform: bool) -> None:
    cost, rows, columns = problem(size, seed, uniform=uniform)
    flow = optimal_flow(cost, rows, columns)
    assert (flow >= 0).all()
    np.testing.assert_allclose(flow.sum(1), rows, atol=1e-12, rtol=0)
    np.testing.assert_allclose(flow.sum(0), columns, atol=1e-12, rtol=0)
    assert (flow * cost).sum() == pytest.approx(least_cost(cost, rows, columns), abs=1e-9)


@few
@given(size=sizes, seed=seeds, uniform=st.booleans(), shift=st.floats(-50, 50))
def test_a_constant_cost_changes_nothing(size: tuple[int, int], seed: int, uniform: bool, shift: float) -> None:
    cost, rows, columns = problem(size, seed, uniform=uniform)
    flow = optimal_flow(cost, rows, columns)
    np.testing.assert_allclose(optimal_flow(cost + shift, rows, columns), flow, atol=1e-9)


@few
@given(size=sizes, seed=seeds, uniform=st.booleans())
def test_reordered_student_layers_reorder_the_flow(size: tuple[int, int], seed: int, uniform: bool) -> None:
    cost, rows, columns = problem(size, seed, uniform=uniform)
    order = np.random.default_rng(seed).permutation(size[0])
    flow = optimal_flow(cost, rows, columns)
    np.testing.assert_allclose(optimal_flow(cost[order], rows[order], columns), flow[order], atol=1e-9)


@few
@given(seed=seeds, scale=st.sampled_from([1e-12, 1e6]), spread=st.sampled_from([1e-3, 1e-6, 1e-9, 1e-12]))
def test_hardly_uneven_weights_and_costs_of_any_size(seed: int, scale: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (1 + spread * rng.normal(size=size) for size in (4, 12))
    cost = rng.normal(size=(4, 12))
    flow = optimal_flow(cost * scale, rows, columns)
    assert (flow >= 0).all()
    np.testing.assert_allclose(flow.sum(1), rows / rows.sum(), atol=1e-12, rtol=0)
    np.testing.assert_allclose(flow.sum(0), columns / columns.sum(), atol=1e-12, rtol=0)
    expected = least_cost(cost, rows / rows.sum(), columns / columns.sum())
    assert (flow * cost).sum() == pytest.approx(expected, abs=1e-6)


def test_equal_depths_give_the_best_permutation() -> None:
    cost, rows, columns = problem((5, 5), 0, uniform=True)
    best = min(sum(cost[j, order[j]] for j in range(5)) for order in permutations(range(5)))
    assert (optimal_flow(cost, rows, columns) * cost).sum() == pytest.approx(best / 5)


@few
@given(size=sizes, seed=seeds, uniform=st.booleans(), epsilon=st.sampled_from([1e-4, 1e-2, 0.05, 1.0, 5.0]))
def test_sinkhorn_has_exact_marginals_and_never_costs_less(
    size: tuple[int, int], seed: int, uniform: bool, epsilon: float
) -> None:
    cost, rows, columns = problem(size, seed, uniform=uniform)
    flow = sinkhorn_flow(cost, rows, columns, epsilon=epsilon)
    assert (flow >= 0).all()
    np.testing.assert_allclose(flow.sum(1), rows, atol=1e-12, rtol=0)
    np.testing.assert_allclose(flow.sum(0), columns, atol=1e-12, rtol=0)
    assert (flow * cost).sum() >= least_cost(cost, rows, columns) - 1e-9
    np.testing.assert_allclose(sinkhorn_flow(1e6 * cost - 3, rows, columns, epsilon=epsilon), flow, atol=1e-7)


@few
@given(size=sizes, seed=seeds, uniform=st.booleans())
def test_sinkhorn_costs_what_the_exact_flow_does_as_epsilon_goes_to_0(
    size: tuple[int, int], seed: int, uniform: bool
) -> None:
    cost, rows, columns = problem(size, seed, uniform=uniform)
    least, entropy = least_cost(cost, rows, columns), math.log(size[0] * size[1])
    for epsilon in (0.1, 0.01, 0.001):  # no flow has more entropy than log(N·M)
        flow = sinkhorn_flow(cost, rows, columns, epsilon=epsilon)
        assert (flow * cost).sum() - least <= (epsilon * entropy + 1e-3) * np.ptp(cost) + 1e-9


def test_sinkhorn_minimises_cost_less_entropy() -> None:
    cost, rows, columns = problem((3, 4), 5, uniform=False)
    flow, strength = sinkhorn_flow(cost, rows, columns, epsilon=0.2), 0.2 * np.ptp(cost)

    def price(moved: np.ndarray) -> float:
        return (moved * cost).sum() + strength * (moved * np.log(moved)).sum()

    for a, b, i, k in [(0, 1, 0, 1), (0, 2, 1, 3), (1, 2, 2, 3)]:  # any change that keeps the sums is of such squares
        for step in (-1e-4, 1e-4):
            moved = flow.copy()
            moved[[a, b], [i, k]] += step
            moved[[a, b], [k, i]] -= step
            assert price(moved) > price(flow)


def test_the_solver_is_an_option_of_the_mapping() -> None:
    cost = torch.from_numpy(problem((2, 3), 6, uniform=True)[0]).requires_grad_()
    options = MAPPING.options("emd", {"solver": "sinkhorn", "epsilon": 0.3})
    del options["include_embeddings"]
    (gradient,) = torch.autograd.grad(Transport(3, 2, **options)(cost), cost)
    share = np.full(2, 1 / 2), np.full(3, 1 / 3)
    np.testing.assert_allclose(gradient, sinkhorn_flow(cost.detach().numpy(), *share, epsilon=0.3), atol=1e-7)
    with pytest.raises(ConfigError, match="`epsilon`"):
        MAPPING.options("emd", {"epsilon": 0})


@pytest.mark.parametrize("mass", ["paper", "n_layers"])
def test_gradient_is_the_flow_and_agrees_with_finite_differences(mass) -> None:
    cost = torch.from_numpy(problem((3, 7), 1, uniform=True)[0]).requires_grad_()
    transport = Transport(7, 3, mass=mass)
    (gradient,) = torch.autograd.grad(transport(cost), cost)
    assert gradient.sum().item() == pytest.approx(3 if mass == "n_layers" else 1)
    step = 1e-6
    for j in range(3):
        for i in range(7):
            nudge = torch.zeros_like(cost)
            nudge[j, i] = step
            slope = (transport(cost + nudge) - transport(cost - nudge)) / (2 * step)
            assert slope.item() == pytest.approx(gradient[j, i].item(), abs=1e-7)


@pytest.mark.parametrize("rule", ["reciprocal", "softmax"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_update_agrees_with_a_loop(rule, side) -> None:
    cost, rows, columns = problem((3, 5), 2, uniform=False)
    cost = np.abs(cost)
    flow = optimal_flow(cost, rows, columns)
    weights = rows if side == "student" else columns
    lines = list(zip(flow, cost, strict=True)) if side == "student" else list(zip(flow.T, cost.T, strict=True))
    unit = [sum(f * c for f, c in zip(*line, strict=True)) / w for line, w in zip(lines, weights, strict=True)]
    ratio = [sum(unit) / u for u in unit]
    if rule == "softmax":
        ratio = [math.exp(r / 10) for r in ratio]
    expected = np.array(ratio) / sum(ratio)
    result = updated_weights(flow, cost, weights, side=side, rule=rule, temperature=10.0)
    if expected.min() >= 1e-3:
        np.testing.assert_allclose(result, expected)
    assert result.sum() == pytest.approx(1)
    assert np.argmax(result) == np.argmin(unit)


def test_a_free_layer_keeps_a_weight_to_divide_by() -> None:
    cost = np.array([[0.0, 1.0], [1.0, 0.5]])
    half = np.array([0.5, 0.5])
    weights = updated_weights(optimal_flow(cost, half, half), cost, half, side="student")
    assert weights.min() > 0.9e-3
    nothing = updated_weights(np.eye(2) / 2, np.zeros((2, 2)), half, side="student")
    assert nothing.tolist() == [0.5, 0.5]


def test_weights_move_only_in_training_and_survive_saving() -> None:
    cost = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    transport = Transport(12, 4, update_weights=True)
    before = transport.student_weights.clone()
    first = transport.eval()(cost)
    assert torch.equal(transport.student_weights, before)
    assert transport.train()(cost) == first  # the update takes effect at the next step
    assert not torch.allclose(transport.student_weights, before)
    copy = Transport(12, 4, update_weights=True)
    copy.load_state_dict(transport.state_dict())
    for _ in range(3):
        assert copy(cost) == transport(cost)
    fixed = Transport(12, 4)
    fixed(cost)
    assert torch.equal(fixed.student_weights, before)


def test_options_of_the_mapping_are_those_of_the_transport() -> None:
    options = MAPPING.options("emd", {"update_weights": True, "weight_update": "softmax", "mass": "n_layers"})
    del options["include_embeddings"]
    transport = Transport(3, 2, **options)
    assert (transport.weight_update, transport.mass, transport.update_weights) == ("softmax", "n_layers", True)


def test_costs_that_cannot_work_are_refused_in_words() -> None:
    half = np.array([0.5, 0.5])
    with pytest.raises(ShapeError):
        optimal_flow(np.zeros((2, 3)), half, half)
    with pytest.raises(RunError, match="not a finite number"):
        optimal_flow(np.array([[0.0, np.nan], [1.0, 1.0]]), half, half)
    with pytest.raises(RunError, match="never negative"):
        updated_weights(np.eye(2) / 2, -np.eye(2), half, side="student")
