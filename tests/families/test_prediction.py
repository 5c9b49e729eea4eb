"""What every prediction objective and label loss promises."""

import pytest
import torch

from distiller.errors import ShapeError
from distiller.objectives.prediction import LABEL, PREDICTION

every = pytest.mark.parametrize("name", PREDICTION.entries)
FAMILIES = [(family, name) for family in (PREDICTION, LABEL) for name in family]


@pytest.mark.parametrize(("family", "name"), FAMILIES, ids=[f"{family.kind}-{name}" for family, name in FAMILIES])
def test_row_has_source_summary_and_working_options(family, name: str) -> None:
    entry = family[name]
    assert entry.source
    assert entry.summary.endswith(".")
    assert "Source:" in entry.function.__doc__
    assert set(family.options(name, {})) == set(entry.schema.model_fields)
    assert isinstance(entry.traits["regression"], bool)


@every
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (2, 2, 2, 6)])
def test_one_number_per_example_least_at_the_teacher(name: str, shape: tuple[int, ...]) -> None:
    loss = PREDICTION[name].function
    student, teacher = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert loss(student, teacher).shape == shape[:-1]
    assert loss(student, teacher).dtype == torch.float32
    assert (loss(student, teacher) >= loss(teacher, teacher)).all()


@every
def test_teacher_gets_no_gradient(name: str) -> None:
    student, teacher = torch.randn(2, 4, 3).unbind()
    student, teacher = student.requires_grad_(), teacher.requires_grad_()
    PREDICTION[name].function(student, teacher).sum().backward()
    assert student.grad is not None
    assert teacher.grad is None


@every
def test_padded_positions_never_count(name: str) -> None:
    loss = PREDICTION[name].function
    short, teacher = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    valid = torch.arange(5) < torch.tensor([5, 3, 4])[:, None]
    long, long_teacher = (torch.cat([side, 50 * torch.randn(3, 2)], 1) for side in (short, teacher))
    long_valid = torch.cat([valid, torch.zeros(3, 2, dtype=torch.bool)], 1)
    values, gradients = [], []
    for student, other, mask in ((short, teacher, valid), (long, long_teacher, long_valid)):
        student = student.clone().requires_grad_()
        values.append(loss(student, other, mask))
        gradients.append(torch.autograd.grad(values[-1].sum(), student)[0])
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(gradients[1][:, :5], gradients[0])
    assert not gradients[1][:, 5:].any()
    assert not gradients[1][~long_valid].any()


@every
def test_the_regression_trait_tells_the_truth(name: str) -> None:
    one_output = torch.ones(4, 1), torch.zeros(4, 1)
    if PREDICTION[name].traits["regression"]:
        assert (PREDICTION[name].function(*one_output) > 0).all()
    else:
        with pytest.raises(ShapeError):
            PREDICTION[name].function(*one_output)
