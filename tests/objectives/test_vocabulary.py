"""Vocabulary-sized losses: value and gradient against formulas written out, and the same in any number of chunks."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.vocabulary import Head, TokenStates, vocabulary_losses


def side(n: int, width: int, size: int, seed: int) -> TokenStates:
    rng = torch.Generator().manual_seed(seed)
    shapes = ((n, width), (size, width), (size,))
    states, weight, bias = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return TokenStates(states.requires_grad_(), Head(weight.requires_grad_(), bias.requires_grad_()))


def scores(one: TokenStates) -> Tensor:
    return one.states @ one.head.weight.T + one.head.bias


def labels(n: int, size: int, seed: int) -> Tensor:
    return torch.randint(size, (n,), generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), temperature=st.floats(0.5, 5), scaled=st.booleans())
def test_values_agree_with_scipy_and_torch(seed: int, temperature: float, scaled: bool) -> None:
    ours, theirs, wanted = side(5, 4, 7, seed), side(5, 6, 7, seed + 1), labels(5, 7, seed)
    found = vocabulary_losses(ours, wanted, theirs, options={"temperature": temperature, "scale_T2": scaled})
    p, q = (softmax(scores(one).detach().numpy() / temperature, axis=-1) for one in (ours, theirs))
    factor = temperature**2 if scaled else 1
    torch.testing.assert_close(found.word.item(), factor * float(rel_entr(q, p).sum()))
    torch.testing.assert_close(found.nll, F.cross_entropy(scores(ours), wanted, reduction="sum"))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), temperature=st.floats(0.5, 5))
def test_the_gradient_of_kl_is_the_difference_of_probabilities(seed: int, temperature: float) -> None:
    """d/dz of KL at temperature T is (p - q) / T for each token, and the bias collects it over tokens."""
    ours, theirs = side(5, 4, 7, seed), side(5, 6, 7, seed + 1)
    options = {"temperature": temperature, "scale_T2": False}
    vocabulary_losses(ours, labels(5, 7, seed), theirs, options=options).word.backward()
    p, q = ((scores(one).detach() / temperature).softmax(-1) for one in (ours, theirs))
    torch.testing.assert_close(ours.head.bias.grad, ((p - q) / temperature).sum(0))
    assert theirs.states.grad is None
    assert theirs.head.weight.grad is None


@pytest.mark.parametrize("tokens", [1, 2, 5])
@pytest.mark.parametrize("prediction", ["kl", "ce"])
def test_chunks_change_neither_value_nor_gradient(tokens: int, prediction: str) -> None:
    grads = []
    for megabytes in (256.0, tokens * 4 * 7 / 1e6):
        ours, theirs = side(11, 4, 7, 0), side(11, 6, 7, 1)
        found = vocabulary_losses(
            ours, labels(11, 7, 2), theirs, prediction=prediction, label_smoothing=0.1, chunk_megabytes=megabytes
        )
        (found.nll + 0.3 * found.word).backward()
        grads.append([*found, ours.states.grad, ours.head.weight.grad, ours.head.bias.grad])
    for whole, chunked in zip(*grads, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=1e-9)


def test_equal_models_have_no_divergence() -> None:
    ours = side(5, 4, 7, 0)
    found = vocabulary_losses(ours, labels(5, 7, 0), ours)
    assert abs(found.word.item()) < 1e-12


def test_without_a_teacher_there_is_no_word_level_loss() -> None:
    assert vocabulary_losses(side(5, 4, 7, 0), labels(5, 7, 0)).word == 0


def test_two_vocabularies_are_refused() -> None:
    with pytest.raises(ShapeError, match="7 pieces, the teacher 8"):
        vocabulary_losses(side(5, 4, 7, 0), labels(5, 7, 0), side(5, 4, 8, 0))
