import pytest
import torch

from distiller.objectives.intermediate import INTERMEDIATE

GRIDS = [name for name in INTERMEDIATE if INTERMEDIATE[name].traits["grid"]]


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
    variants = [{}, {"count_padding": True}] if name == "attention_mse" and fill == 0 else [{}]
    for options in variants:
        pairs = [[entry.function(s, t, mask, **options) for t in teachers] for s in students]
        expected = torch.stack([torch.stack(row) for row in pairs])
        together = entry.traits["grid"](students, teachers, mask, **options)
        torch.testing.assert_close(together, expected)
        weights = torch.randn_like(expected)
        gradients = [torch.autograd.grad((x * weights).sum(), students)[0] for x in (together, expected)]
        torch.testing.assert_close(*gradients)
