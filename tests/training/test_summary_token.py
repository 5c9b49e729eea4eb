"""Losses on one token for each text compare the token that has seen the text."""

import pytest
import torch

from distiller.config import Objective
from distiller.models.signals import Signals
from distiller.training.objective import DistillationObjective, ModelShape
from distiller.training.view import Totals, View, summarised

MASK = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0]])
TOTALS = Totals(*(torch.tensor(3.0) for _ in Totals._fields))


def signals(seed: int = 0) -> Signals:
    states = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(seed))
    return Signals(logits=torch.zeros(3, 2), hidden_states={0: states, 1: states + 1}, attention_scores={}, mask=MASK)


def view(student: Signals, teacher: Signals) -> View:
    return View(student=student, teacher=teacher, labels=None, totals=TOTALS)


def test_the_first_and_the_last_real_token_on_either_side_of_the_padding() -> None:
    read = summarised(view(signals(0), signals(1)), "first", "last")
    assert read.teacher is not None
    for row, (first, last) in enumerate([(0, 2), (1, 3), (0, 0)]):
        assert torch.equal(read.student.hidden_states[1][row, 0], signals(0).hidden_states[1][row, first])
        assert torch.equal(read.teacher.hidden_states[0][row, 0], signals(1).hidden_states[0][row, last])
    assert read.student.mask.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    "term",
    [
        {"loss": "pkd"},
        {"loss": "mi_alpha", "critic": {"name": "mlp", "options": {"layers": 2, "hidden": 8, "embedding": 4}}},
    ],
    ids=["pkd", "mi_alpha"],
)
def test_a_term_reads_the_last_token_of_a_decoder_and_no_other(term: dict) -> None:
    torch.manual_seed(0)
    objective = DistillationObjective(
        Objective.model_validate({"beta1": 0, "intermediate": [term]}),
        student=ModelShape(1, 8, "last"),
        teacher=ModelShape(1, 8, "last"),
        kind="classification",
    )
    places = torch.tensor([2, 3, 0])
    found = []
    for moved in ("nothing", "others", "last"):
        teacher = signals(1)
        for states in teacher.hidden_states.values():
            chosen = torch.zeros(3, 4, dtype=torch.bool)
            chosen[torch.arange(3), places] = True
            noise = torch.randn(states.shape, generator=torch.Generator().manual_seed(2))
            where = {"nothing": torch.zeros_like(chosen), "others": ~chosen, "last": chosen}[moved]
            states += noise * where[..., None]
        found.append(objective({"original": view(signals(0), teacher)})[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
