from typing import Any

import pytest
import torch

from distiller.objectives.intermediate import INTERMEDIATE

GRIDS = [name for name in INTERMEDIATE if INTERMEDIATE[name].traits["grid"]]


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "attention_mse": [{"count_padding": True}],
    "mse": [{"reduce": "sum_dim"}],
    "pkd": [{"tokens": "all"}, {"normalise": False}, {"tokens": "all", "normalise": False, "mean_dim": True}],
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("fill", [0.0, float("nan"), float("-inf")])
def test_all_pairs_at_once_are_the_pairs_one_by_one(name: str, fill: float) -> None:
    entry = INTERMEDIATE[name]
    torch.manual_seed(0)
    shape = (4, 5, 6) if entry.traits["reads"] == "hidden_states" else (4, 3, 5, 5)
    mask = torch.arange(5) < torch.tensor([5, 2, 0, 1])[:, None]
    valid = mask[..., None] if len(shape) == 3 else mask[:, None, :, None] & mask[:, None, None, :]
    students = torch.randn(2, *shape, dtype=torch.float64).masked_fill(~valid, fill).requires_grad_()
    teachers = torch.randn(3, *shape, dtype=torch.float64).masked_fill(~valid, fill)
    variants = [{}, *VARIANTS.get(name, [])]
    if fill != 0:  # what counts padding reads it
        variants = [options for options in variants if "count_padding" not in options]
    for options in variants:
        pairs = [[entry.function(s, t, mask, **options) for t in teachers] for s in students]
        expected = torch.stack([torch.stack(row) for row in pairs])
        together = entry.traits["grid"](students, teachers, mask, **options)
        torch.testing.assert_close(together, expected)
        weights = torch.randn_like(expected)
        gradients = [torch.autograd.grad((x * weights).sum(), students)[0] for x in (together, expected)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["mse", "l2", "pkd"])
def test_layers_that_are_copies_are_as_exact_as_a_single_pair(name: str) -> None:
    """In float32: a student that begins with its teacher's layers has distances of zero, and finite gradients."""
    entry = INTERMEDIATE[name]
    torch.manual_seed(0)
    mask = torch.ones(4, 5)
    teachers = 100 * torch.randn(3, 4, 5, 64)
    students = torch.stack([teachers[0], teachers[1] * (1 + 1e-5)]).requires_grad_()
    pairs = torch.stack([torch.stack([entry.function(s, t, mask) for t in teachers]) for s in students])
    together = entry.traits["grid"](students, teachers, mask)
    torch.testing.assert_close(together, pairs, rtol=1e-5, atol=1e-9)
    gradients = [torch.autograd.grad(x.sum(), students)[0] for x in (together, pairs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
