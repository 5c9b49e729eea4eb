"""Prediction and label losses against SciPy, torch and hand-written loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.prediction import ce, cross_entropy, kl, mask_positions, mse, squared_error

few = settings(deadline=None, max_examples=20)


def doubles(*shape: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 3 * torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    return student.requires_grad_(), teacher


@few
@given(seed=st.integers(0, 2**16), temperature=st.floats(0.5, 8), shape=st.sampled_from([(5,), (2, 3), (2, 2, 3)]))
def test_kl_and_ce_agree_with_scipy(seed: int, temperature: float, shape: tuple[int, ...]) -> None:
    student, teacher = doubles(*shape, 4, seed=seed)
    p, q = (softmax(x.detach().numpy() / temperature, axis=-1) for x in (teacher, student))
    divergence = torch.from_numpy(np.asarray(entropy(p, q, axis=-1)))
    own = torch.from_numpy(np.asarray(entropy(p, axis=-1)))
    torch.testing.assert_close(kl(student, teacher, temperature=temperature), divergence * temperature**2)
    torch.testing.assert_close(ce(student, teacher, temperature=temperature, scale_T2=False), divergence + own)
    torch.testing.assert_close(
        ce(student, teacher, temperature=temperature, class_mean=True) * 4,
        ce(student, teacher, temperature=temperature),
    )


@few
@given(seed=st.integers(0, 2**16), temperature=st.floats(0.5, 8))
def test_gradient_is_temperature_times_difference_of_probabilities(seed: int, temperature: float) -> None:
    student, teacher = doubles(3, 5, seed=seed)
    expected = temperature * ((student / temperature).softmax(-1) - (teacher / temperature).softmax(-1))
    for loss in (ce, kl):
        (gradient,) = torch.autograd.grad(loss(student, teacher, temperature=temperature).sum(), student)
        torch.testing.assert_close(gradient, expected.detach())


def test_gradient_stays_of_one_order_over_temperatures() -> None:
    student, teacher = doubles(64, 3, seed=0)
    norms = []
    for temperature in (1.0, 2.0, 4.0, 8.0):
        (gradient,) = torch.autograd.grad(ce(student, teacher, temperature=temperature).mean(), student)
        norms.append(gradient.norm().item())
    assert max(norms) < 10 * min(norms)


def test_hot_kl_is_half_the_squared_error_of_centred_logits() -> None:
    student, teacher = doubles(6, 7, seed=1)
    delta = student - teacher
    limit = (delta - delta.mean(-1, keepdim=True)).pow(2).mean(-1) / 2
    torch.testing.assert_close(kl(student, teacher, temperature=1e4), limit, rtol=1e-3, atol=1e-4)


def test_constants_added_to_logits_change_mse_only() -> None:
    student, teacher = doubles(4, 3, seed=2)
    for loss in (ce, kl):
        torch.testing.assert_close(loss(student + 5, teacher - 2), loss(student, teacher))
    assert not torch.allclose(mse(student + 5, teacher), mse(student, teacher))


def test_certain_teacher_gives_the_ordinary_cross_entropy() -> None:
    student, _ = doubles(4, 3, seed=3)
    labels = torch.tensor([0, 2, 1, 1])
    teacher = torch.full((4, 3), -1e4, dtype=torch.float64).scatter(1, labels[:, None], 1e4)
    torch.testing.assert_close(
        ce(student, teacher), torch.nn.functional.cross_entropy(student, labels, reduction="none")
    )


def test_mse_averages_over_classes_and_divides_on_request() -> None:
    student, teacher = doubles(4, 3, seed=4)
    expected = torch.tensor(
        [
            np.mean([(s - t) ** 2 for s, t in zip(*rows, strict=True)])
            for rows in zip(student.tolist(), teacher.tolist(), strict=True)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(mse(student, teacher), expected)
    torch.testing.assert_close(mse(student, teacher, divide_by=2.0), expected / 4)
    assert mse(student[:, :1], teacher[:, :1]).shape == (4,)


def test_question_answering_over_four_positions_of_which_two_are_masked() -> None:
    student, teacher = doubles(1, 4, seed=5)
    valid = torch.tensor([[True, True, False, False]])
    p = softmax(teacher[0, :2].numpy() / 2)
    expected = -(p * log_softmax(student.detach()[0, :2].numpy() / 2)).sum() * 4
    assert ce(student, teacher, valid, temperature=2.0).item() == pytest.approx(expected)
    masked = [mask_positions(side, valid) for side in (student, teacher)]
    torch.testing.assert_close(ce(*masked, temperature=2.0), ce(student, teacher, valid, temperature=2.0))
    squares = [(s - t) ** 2 for s, t in zip(student[0, :2].tolist(), teacher[0, :2].tolist(), strict=True)]
    assert mse(student, teacher, valid).item() == pytest.approx(np.mean(squares))


@pytest.mark.parametrize("loss", [ce, kl])
def test_masked_positions_stay_masked_at_a_high_temperature(loss) -> None:
    student, teacher = doubles(3, 6, seed=6)
    valid = torch.arange(6).expand(3, 6) < 4
    expected = loss(student[:, :4], teacher[:, :4], temperature=1000.0, class_mean=True)
    torch.testing.assert_close(loss(student, teacher, valid, temperature=1000.0, class_mean=True), expected)
    (gradient,) = torch.autograd.grad(loss(student, teacher, valid, temperature=1000.0).sum(), student)
    assert not gradient[:, 4:].any()


def test_cross_entropy_of_ids_and_of_probabilities() -> None:
    logits, _ = doubles(2, 3, 4, seed=7)
    labels = torch.tensor([[0, 3, -100], [1, -100, 2]])
    values = cross_entropy(logits, labels)
    for i in range(2):
        for j in range(3):
            label = int(labels[i, j])
            expected = 0.0 if label < 0 else -log_softmax(logits.detach()[i, j].numpy())[label]
            assert values[i, j].item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert not gradient[labels == -100].any()
    soft = torch.nn.functional.one_hot(labels.clamp(min=0), 4).double() * 0.5 + 0.125
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), soft.flatten(0, 1), reduction="none")
    torch.testing.assert_close(cross_entropy(logits, soft).flatten(), expected)


def test_squared_error_takes_one_output_with_or_without_its_dimension() -> None:
    targets = torch.tensor([0.5, 5.0, 2.0])
    logits = torch.tensor([[1.5], [3.0], [2.0]])
    for given_logits in (logits, logits.squeeze(-1)):
        assert squared_error(given_logits, targets).tolist() == [1.0, 4.0, 0.0]


def test_half_precision_is_computed_in_full() -> None:
    student, teacher = (side.bfloat16() for side in doubles(4, 3, seed=8))
    for loss in (ce, kl, mse):
        assert loss(student, teacher).dtype == torch.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda: ce(torch.ones(4, 1), torch.ones(4, 1)),
        lambda: kl(torch.ones(4), torch.ones(4)),
        lambda: cross_entropy(torch.ones(4, 1), torch.zeros(4, dtype=torch.long)),
    ],
)
def test_one_output_has_no_cross_entropy(call) -> None:
    with pytest.raises(ShapeError, match="fewer than two classes") as error:
        call()
    assert "mse" in str(error.value.hint)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mse(torch.ones(4, 2), torch.ones(4, 3)),
        lambda: ce(torch.ones(4, 2), torch.ones(4, 3)),
        lambda: ce(torch.ones(4, 2), torch.ones(4, 2), torch.ones(4, 3)),
        lambda: cross_entropy(torch.ones(4, 2), torch.ones(4)),
        lambda: cross_entropy(torch.ones(4, 2), torch.zeros(3, dtype=torch.long)),
        lambda: squared_error(torch.ones(4, 2), torch.ones(4)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call) -> None:
    with pytest.raises(ShapeError):
        call()
