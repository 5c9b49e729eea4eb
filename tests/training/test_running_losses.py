"""What a training's losses come to between two log lines, and what is said of one that is no number."""

import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distiller.errors import RunError
from distiller.training import running_losses
from distiller.training.running_losses import TOTAL, RunningLosses

MICRO = st.lists(st.dictionaries(st.sampled_from(["mse", "kl", TOTAL]), st.integers(-8, 8), min_size=1), min_size=1)


def tensors(components: dict[str, float]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(float(value)) for name, value in components.items()}


def whole(number: torch.Tensor) -> torch.Tensor:
    return number


@given(steps=st.lists(MICRO, min_size=1), most=st.integers(1, 9))
def test_means_are_over_steps_wherever_they_are_settled(steps: list[list[dict[str, int]]], most: int) -> None:
    expected: dict[str, float] = defaultdict(float)
    running = RunningLosses()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_losses, "MOST_NOTED", most)
        for number, micro in enumerate(steps, 1):
            for place, components in enumerate(micro, 1):
                running.note(number, tensors(components), None, ends=place == len(micro))
                for name, value in components.items():
                    expected[name] += value / len(steps)
    again = RunningLosses()
    again.load(running.state())  # as a checkpoint between two log lines has them
    assert again.take(whole) == pytest.approx(expected, abs=1e-5)
    assert (again.sums, again.steps) == ({}, 0)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"mse": math.nan, "kl": 1.0, TOTAL: math.nan}, "loss/mse is not a number at step 2, training rows 21, 22"),
        (
            {"mse": math.inf, "kl": math.nan, TOTAL: math.nan},
            "the gradient is not a number at step 1, training rows 11",
        ),
        ({"mse": 1.0, "kl": 1.0, TOTAL: math.inf}, "loss is not a number at step 2, training rows 21, 22"),
    ],
)
@pytest.mark.parametrize("settled", [False, True])
def test_the_first_step_without_a_number_is_named_with_its_rows(
    broken: dict[str, float], said: str, *, settled: bool
) -> None:
    running = RunningLosses()
    sound = {"mse": 1.0, "kl": 2.0, TOTAL: 3.0}
    running.note(1, tensors(sound), torch.tensor([10]), ends=True)
    if settled:
        running.settle()
    running.note(2, tensors(sound), torch.tensor([20]), ends=False)
    running.note(2, tensors(broken), torch.tensor([21]), ends=True)
    running.note(3, tensors(broken), torch.tensor([30]), ends=True)
    with pytest.raises(RunError) as raised:
        running.settle()
    assert raised.value.message == said
