"""How many operators a step launches: a GPU waits for each of them, whatever its size."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distiller.models.signals import Signals
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.training.objective import IntermediateTerm, ModelShape
from distiller.training.view import Totals, View
from training.tiny import term


class Launches(TorchDispatchMode):
    """Counts operators."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def launches(loss: str, teacher_layers: int, student_layers: int = 2) -> int:
    """Of a term over all pairs of layers, forwards and backwards; both sides are equally wide, so nothing projects."""
    made = IntermediateTerm(
        term(loss, "emd"), student=ModelShape(student_layers, 8), teacher=ModelShape(teacher_layers, 8)
    )
    mask, one = torch.ones(3, 5, dtype=torch.long), torch.ones(())

    def signals(layers: int) -> Signals:
        states = {layer: torch.randn(3, 5, 8, requires_grad=True) for layer in range(layers + 1)}
        scores = {layer: torch.randn(3, 2, 5, 5, requires_grad=True) for layer in range(1, layers + 1)}
        return Signals(torch.zeros(3, 2), states, scores, mask)

    view = View(signals(student_layers), signals(teacher_layers), None, Totals(one, one, one, one))
    with Launches() as counted:
        made(view).backward()
    return counted.count


@pytest.mark.parametrize("loss", [name for name in INTERMEDIATE if name != "mi_alpha"])
def test_all_pairs_of_layers_are_as_many_operators_as_one(loss: str) -> None:
    """Each mutual information has a critic of its own; every other loss compares all pairs at once.

    A layer may cost two operators, which find the token that stands for its text.
    """
    few, many = launches(loss, 3), launches(loss, 12)
    assert few <= many <= few + 2 * 9
    assert many < 250


def test_what_is_counted_grows_where_pairs_are_compared_one_by_one() -> None:
    assert launches("mi_alpha", 6) > launches("mi_alpha", 3)
