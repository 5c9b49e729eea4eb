"""Computing as in 8 bits: torch's own rounding is the oracle, and nothing of it stays."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import GPT2Config, GPT2ForSequenceClassification

from distiller.models.eight_bits import EightBits, rounded
from distiller.models.taught_words import settle_words, teach_words
from training.tiny import student


@given(st.integers(1, 6), st.integers(1, 20), st.sampled_from([63, 127]), st.integers(0, 1000))
def test_rows_are_rounded_as_torch_rounds_channels(rows: int, width: int, levels: int, seed: int) -> None:
    values = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    scales = values.abs().amax(1) / levels
    expected = torch.fake_quantize_per_channel_affine(
        values, scales, torch.zeros(rows, dtype=torch.int32), 0, -levels, levels
    )
    apart = (rounded(values, levels) - expected).abs()
    steps = apart / scales[:, None]  # torch multiplies by 1 / scale: a number halfway between two may go either way
    assert ((steps < 1e-3) | ((steps > 0.999) & (steps < 1.001))).all()
    assert (steps > 0.5).float().mean() <= 0.1 or rows * width < 10


def test_zeros_stay_and_the_gradient_passes() -> None:
    values = torch.zeros(2, 3, requires_grad=True)
    (rounded(values) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert torch.equal(rounded(values), values)
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 2.0, 3.0]] * 2


def gpt2() -> Any:
    made = GPT2Config(vocab_size=50, n_positions=20, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    return GPT2ForSequenceClassification(made).eval()


@pytest.mark.parametrize("make", [student, gpt2])
def test_it_is_on_and_off_and_changes_no_weight(make: Any) -> None:
    model, ids = make(), torch.tensor([[5, 7, 9, 11]])
    with torch.no_grad():
        before, state = model(input_ids=ids).logits, {name: value.clone() for name, value in model.state_dict().items()}
        rounding = EightBits(model)
        rounding.start()
        rounding.start()
        during = model(input_ids=ids).logits
        coarse = EightBits(make(), weight_bits=7)
        coarse.model.load_state_dict(state)
        coarse.start()
        rounding.stop()
        assert torch.equal(model(input_ids=ids).logits, before)
    assert 0 < (during - before).abs().max() < 0.5 * before.abs().max()
    assert not torch.equal(coarse.model(input_ids=ids).logits, during)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_every_product_has_weights_that_are_multiples_of_a_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = student(), []
    inner = nn.functional.linear

    def linear(read: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        seen.append(weight)
        return inner(read, weight, bias)

    EightBits(model).start()
    monkeypatch.setattr(nn.functional, "linear", linear)
    model(input_ids=torch.tensor([[5, 7, 9]]))
    assert len(seen) == sum(isinstance(module, nn.Linear) for module in model.modules())
    for weight in seen:
        steps = weight / (weight.abs().amax(1, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)


def test_words_that_are_taught_are_rounded_as_the_table_that_they_become() -> None:
    model, ids = student(), torch.tensor([[5, 7, 9]])
    teach_words(model, torch.randn(100, 24, generator=torch.Generator().manual_seed(0)))
    model.get_input_embeddings().map.data.normal_(generator=torch.Generator().manual_seed(1))
    rounding = EightBits(model)
    rounding.start()
    with torch.no_grad():
        taught = model(input_ids=ids).logits
        rounding.stop()
        settle_words(model)
        EightBits(model).start()
        torch.testing.assert_close(model(input_ids=ids).logits, taught, rtol=1e-3, atol=1e-3)
