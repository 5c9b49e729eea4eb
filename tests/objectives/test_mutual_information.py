"""MI-α against a triple loop, known bounds, and Gaussians whose mutual information is known."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.critics import mlp
from distiller.objectives.mutual_information import leave_one_out_logmeanexp, mi_alpha, mi_components

few = settings(deadline=None, max_examples=25)
ALPHAS = [0.0, 0.1, 0.5, 0.9, 1.0]
seeds = st.integers(0, 2**16)
alphas = st.sampled_from(ALPHAS)
positive_alphas = st.sampled_from(ALPHAS[1:])


def random_scores(
    size: int, *, scale: float = 2.0, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(size, size, generator=generator, dtype=dtype)
    return scores, torch.randn(size, generator=generator, dtype=dtype)


def bound(scores: Tensor, log_q: Tensor | None, alpha: float) -> Tensor:
    return -mi_alpha(scores, log_q, alpha=alpha).mean()


def brute_force(scores: Tensor, log_q: Tensor, alpha: float) -> float:
    """The single-sample estimator of the bound, averaged over the example that is left out."""
    f, q, size = scores.numpy(), np.exp(log_q.numpy()), len(scores)
    total = 0.0
    for i in range(size):
        for j in range(size):
            if i != j:
                paired = np.mean([np.exp(f[i, k]) for k in range(size) if k != j])
                others = np.mean([np.exp(f[i, k]) for k in range(size) if k != i])
                total += f[i, i] - np.log(alpha * paired + (1 - alpha) * q[i])
                total -= np.exp(f[i, j]) / (alpha * others + (1 - alpha) * q[i])
    return 1 + total / (size * (size - 1))


@few
@given(size=st.integers(3, 7), seed=seeds, alpha=alphas)
def test_bound_agrees_with_a_triple_loop(size: int, seed: int, alpha: float) -> None:
    scores, log_q = random_scores(size, seed=seed)
    assert bound(scores, log_q, alpha).item() == pytest.approx(brute_force(scores, log_q, alpha), rel=1e-11, abs=1e-11)
    parts = mi_components(scores, log_q, alpha=alpha)
    torch.testing.assert_close(bound(scores, log_q, alpha), (1 + parts.joint - parts.marginal).mean())


@few
@given(size=st.integers(2, 12), seed=seeds, scale=st.sampled_from([0.0, 1.0, 10.0, 90.0]))
def test_leave_one_out_in_float32_is_close_to_exact(size: int, seed: int, scale: float) -> None:
    scores, _ = random_scores(size, scale=scale, seed=seed, dtype=torch.float32)
    without = scores.double()[:, None, :].expand(size, size, size).masked_fill(torch.eye(size).bool(), -math.inf)
    exact = without.logsumexp(-1) - math.log(size - 1)
    torch.testing.assert_close(leave_one_out_logmeanexp(scores).double(), exact, rtol=1e-6, atol=1e-4)


def test_leave_one_out_gradient_agrees_with_finite_differences() -> None:
    scores, _ = random_scores(5, seed=0)
    assert torch.autograd.gradcheck(leave_one_out_logmeanexp, scores.requires_grad_())


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradient_agrees_with_finite_differences(alpha: float) -> None:
    scores, log_q = (side.requires_grad_() for side in random_scores(4, seed=1))
    assert torch.autograd.gradcheck(lambda f, q: mi_alpha(f, q, alpha=alpha), (scores, log_q))


@few
@given(seed=seeds, alpha=alphas, scale=st.sampled_from([30.0, 90.0]))
def test_gradient_is_finite_for_large_scores(seed: int, alpha: float, scale: float) -> None:
    scores, log_q = random_scores(16, scale=scale, seed=seed, dtype=torch.float32)
    value = mi_alpha(scores.requires_grad_(), log_q.requires_grad_(), alpha=alpha)
    gradients = torch.autograd.grad(value.mean(), (scores, log_q), allow_unused=True)
    assert value.isfinite().all()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@few
@given(size=st.integers(3, 10), seed=seeds, alpha=positive_alphas, scale=st.floats(0.1, 60))
def test_no_critic_exceeds_the_cap(size: int, seed: int, alpha: float, scale: float) -> None:
    scores, log_q = random_scores(size, scale=scale, seed=seed)
    scores = scores + 3 * scale * torch.eye(size)
    parts = mi_components(scores, log_q, alpha=alpha)
    assert bound(scores, log_q, alpha) <= 1 + math.log((size - 1) / alpha) + 1e-9
    assert parts.joint.mean() <= math.log((size - 1) / alpha) + 1e-9
    assert (parts.marginal >= 0).all()
    assert parts.marginal.mean() <= 1 / alpha + 1e-9
    assert not parts.clamped.any()


def test_cap_without_the_one_is_exceeded() -> None:
    scores = 60.0 * torch.eye(16, dtype=torch.float64) - 30
    value = bound(scores, None, 0.9).item()
    assert value == pytest.approx(3.81, abs=0.01)
    assert value > math.log(15 / 0.9)


@few
@given(size=st.integers(3, 8), seed=seeds, alpha=alphas)
def test_common_shift_of_scores_and_baseline_changes_nothing(size: int, seed: int, alpha: float) -> None:
    scores, log_q = random_scores(size, seed=seed)
    shift = torch.linspace(-2, 3, size, dtype=torch.float64)
    shifted = bound(scores + shift[:, None], log_q + shift, alpha)
    torch.testing.assert_close(shifted, bound(scores, log_q, alpha))


def test_ends_are_tuba_and_infonce() -> None:
    scores, log_q = random_scores(6, seed=3)
    off = ~torch.eye(6, dtype=torch.bool)
    ratio = scores - log_q[:, None]
    torch.testing.assert_close(bound(scores, log_q, 0.0), 1 + ratio.diagonal().mean() - ratio[off].exp().mean())
    sets = [[k for k in range(6) if k != j] for j in range(6)]
    infonce = [
        torch.log_softmax(scores[i, sets[j]], 0)[sets[j].index(i)] + math.log(5)
        for j in range(6)
        for i in range(6)
        if i != j
    ]
    torch.testing.assert_close(bound(scores, None, 1.0), torch.stack(infonce).mean())
    torch.testing.assert_close(mi_components(scores, None, alpha=1.0).marginal, torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(bound(scores + log_q[:, None], None, 1.0), bound(scores, None, 1.0))


def test_unbounded_end_is_cut_and_says_so() -> None:
    scores = torch.zeros(4, 4)
    scores[0, 1] = 80.0
    parts = mi_components(scores, None, alpha=0.0)
    assert parts.clamped.tolist() == pytest.approx([1 / 3, 0, 0, 0])
    assert parts.marginal[0].item() == pytest.approx((math.exp(30) + 2) / 3)


@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (3, 4), (4,), ()])
def test_batches_that_cannot_work_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        mi_alpha(torch.zeros(shape), None)


def test_baseline_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="log baseline"):
        mi_alpha(torch.zeros(4, 4), torch.zeros(4, 1))


def gaussian_batches(batches: int, size: int, width: int, rho: float) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(batches):
        x, noise = torch.randn(2, size, width, generator=generator, dtype=torch.float64)
        yield x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize(
    ("size", "table"),
    [
        (16, {0.0: 4.41, 0.1: 3.86, 0.5: 3.20, 0.9: 2.76, 1.0: 2.36}),
        (64, {0.0: 4.52, 0.1: 4.21, 0.5: 3.80, 0.9: 3.48, 1.0: 3.27}),
    ],
)
def test_gaussians_with_the_optimal_critic(size: int, table: dict[float, float]) -> None:
    batches, width, rho = 600, 20, 0.6
    truth = -width / 2 * math.log(1 - rho**2)
    values: dict[float, list[float]] = {alpha: [] for alpha in ALPHAS}
    for x, y in gaussian_batches(batches, size, width, rho):
        given_x = -(torch.cdist(y, rho * x) ** 2) / (2 * (1 - rho**2)) - width / 2 * math.log(1 - rho**2)
        scores = given_x + (y**2).sum(1, keepdim=True) / 2  # log p(y|x) - log p(y)
        for alpha in ALPHAS:
            values[alpha].append(bound(scores, None, alpha).item())
    means = [float(np.mean(values[alpha])) for alpha in ALPHAS]
    deviations = [float(np.std(values[alpha], ddof=1)) for alpha in ALPHAS]
    errors = [deviation / math.sqrt(batches) for deviation in deviations]
    assert means == sorted(means, reverse=True)
    assert deviations == sorted(deviations, reverse=True)
    assert abs(means[0] - truth) < 4 * errors[0]
    for mean, error, alpha in zip(means, errors, ALPHAS, strict=True):
        assert mean <= truth + 4 * error
        assert abs(mean - table[alpha]) < 6 * error + 0.01  # the table has its own error and two decimals


@pytest.mark.slow
def test_trained_critic_finds_the_information_of_gaussians() -> None:
    torch.manual_seed(0)
    width, rho, size = 10, 0.5, 128
    truth = -width / 2 * math.log(1 - rho**2)
    critic = mlp(width, width, layers=3, hidden=256)
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3)
    mask, values = torch.ones(size, 1), []
    for step, (x, y) in enumerate(gaussian_batches(500, size, width, rho)):
        scores, log_q = critic(x[:, None].float(), mask, y[:, None].float(), mask)
        loss = mi_alpha(scores, log_q, alpha=0.9).mean()
        if step < 400:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        else:
            values.append(-loss.item())
    assert 1.1 < np.mean(values) < truth + 0.05
