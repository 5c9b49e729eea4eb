"""Each token loss against a loop over single numbers, with ragged masks."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.intermediate import INTERMEDIATE, attention_mse, cos, hidden_ce, hidden_mse, pkd

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def hidden(seed: int = 0, shape: tuple[int, ...] = (2, 2, 3, 4)) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return student, teacher


def norm(vector: list[float]) -> float:
    return math.sqrt(sum(x * x for x in vector))


def squares(s: list[float], t: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(s, t, strict=True))


def cosine(s: list[float], t: list[float]) -> float:
    return sum(a * b for a, b in zip(s, t, strict=True)) / norm(s) / norm(t)


TOKEN_ORACLES = {
    ("mse", ()): lambda s, t: squares(s, t) / len(s),
    ("mse", (("reduce", "sum_dim"),)): squares,
    ("l2", ()): lambda s, t: math.sqrt(squares(s, t) + 1e-12),
    ("cos", ()): lambda s, t: 1 - cosine(s, t),
    ("ce", ()): lambda s, t: -(softmax(t) * log_softmax(s)).sum(),
    ("pkd", (("tokens", "all"),)): lambda s, t: 2 - 2 * cosine(s, t),
    ("pkd", (("tokens", "all"), ("normalise", False), ("mean_dim", True))): lambda s, t: squares(s, t) / len(s),
}


@pytest.mark.parametrize("case", TOKEN_ORACLES, ids=str)
def test_token_losses_agree_with_a_loop(case) -> None:
    name, options = case
    student, teacher = hidden()
    values = INTERMEDIATE[name].function(student, teacher, MASK, **dict(options))
    for b in range(2):
        tokens = [token for token in range(3) if MASK[b, token]]
        losses = [TOKEN_ORACLES[case](student[b, k].tolist(), teacher[b, k].tolist()) for k in tokens]
        assert values[b].item() == pytest.approx(sum(losses) / len(tokens), rel=1e-12)


def test_weighting_by_valid_tokens_gives_the_mean_over_all_tokens() -> None:
    student, teacher = hidden()
    weights = MASK.sum(1) / MASK.sum()
    tokens = torch.nn.functional.mse_loss(student[MASK.bool()], teacher[MASK.bool()])
    torch.testing.assert_close((hidden_mse(student, teacher, MASK) * weights).sum(), tokens)


def test_pkd_reads_the_first_token_and_takes_a_teacher_of_another_length() -> None:
    student, teacher = hidden(shape=(2, 2, 6, 4))
    mask = torch.ones(2, 6)
    expected = 2 - 2 * torch.cosine_similarity(student[:, 0], teacher[:, 0])
    torch.testing.assert_close(pkd(student, teacher[:, :5], mask), expected)
    torch.testing.assert_close(pkd(student, teacher, mask, mean_dim=True), expected / 4)


def test_hidden_cross_entropy_is_least_at_the_teacher_plus_a_constant() -> None:
    student, teacher = hidden()
    least = torch.from_numpy(np.asarray(entropy(softmax(teacher.numpy(), axis=-1), axis=-1)))
    torch.testing.assert_close(hidden_ce(teacher + 3, teacher, torch.ones(2, 3)), least.mean(1))
    assert (hidden_ce(student, teacher, MASK) > hidden_ce(teacher, teacher, MASK)).all()


def test_cosine_loss_is_between_0_and_2() -> None:
    student, teacher = hidden(1)
    assert ((cos(student, teacher, MASK) > 0) & (cos(student, teacher, MASK) < 2)).all()
    torch.testing.assert_close(cos(-teacher, teacher, MASK), torch.full((2,), 2.0, dtype=torch.float64))


def test_attention_mse_agrees_with_a_loop() -> None:
    student, teacher = hidden(2, (2, 2, 5, 3, 3))
    values = attention_mse(student, teacher, MASK)
    padded = attention_mse(student, teacher, MASK, count_padding=True)
    for b in range(2):
        valid = [token for token in range(3) if MASK[b, token]]
        entries = [
            (student[b, h, q, k] - teacher[b, h, q, k]).item() ** 2 for h in range(5) for q in valid for k in valid
        ]
        assert values[b].item() == pytest.approx(np.mean(entries))
        rows = [
            (student[b, h, q, k] - teacher[b, h, q, k]).item() ** 2 for h in range(5) for q in range(3) for k in valid
        ]
        assert padded[b].item() == pytest.approx(sum(rows) / 45)


def test_attention_mse_of_masked_scores_is_finite() -> None:
    student, teacher = hidden(2, (2, 2, 5, 3, 3))
    masked = student.masked_fill(~MASK.bool()[:, None, None, :], -math.inf).requires_grad_()
    value = attention_mse(masked, teacher.masked_fill(~MASK.bool()[:, None, None, :], -1e4), MASK)
    (gradient,) = torch.autograd.grad(value.sum(), masked)
    torch.testing.assert_close(value, attention_mse(student, teacher, MASK))
    assert gradient.isfinite().all()


def test_other_numbers_of_heads_are_refused_in_words() -> None:
    with pytest.raises(ShapeError, match="12 attention heads and the teacher 16"):
        attention_mse(torch.ones(2, 12, 3, 3), torch.ones(2, 16, 3, 3), MASK)


@pytest.mark.parametrize(
    "call",
    [
        lambda: hidden_mse(torch.ones(2, 3, 4), torch.ones(2, 3, 5), MASK),
        lambda: hidden_mse(torch.ones(2, 4, 4), torch.ones(2, 4, 4), MASK),
        lambda: attention_mse(torch.ones(2, 3, 4), torch.ones(2, 3, 4), MASK),
        lambda: attention_mse(torch.ones(2, 1, 3, 3), torch.ones(2, 1, 3, 4), MASK),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call) -> None:
    with pytest.raises(ShapeError):
        call()
