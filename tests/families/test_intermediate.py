"""What every intermediate objective, critic and layer mapping promises."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from distiller.errors import ConfigError
from distiller.objectives.critics import CRITICS
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING

LENGTHS = torch.tensor([5, 2, 3, 1])
GARBAGE = 1e3
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def with_critic(critic_name: str, options: dict) -> Loss:
    torch.manual_seed(0)
    critic = CRITICS[critic_name].function(6, 6, **CRITICS.options(critic_name, options)).double().eval()

    def loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        return INTERMEDIATE["mi_alpha"].function(*critic(student, mask, teacher, mask))

    return loss


def forms() -> dict[str, tuple[str, Callable[[], Loss]]]:
    """Every row under every option that changes what it reads: name → (row, maker of the loss)."""
    variants = {
        "mse": [{}, {"reduce": "sum_dim"}],
        "pkd": [{}, {"tokens": "all"}, {"normalise": False}],
    }
    made: dict[str, tuple[str, Callable[[], Loss]]] = {}
    for name in INTERMEDIATE:
        if INTERMEDIATE[name].traits["head"] == "critic":
            for critic in CRITICS:
                for options in [
                    {},
                    *({"joint": [{"network": "mlp"}, {"chunk": 1}], "mlp": [{"pool": "mean"}]}.get(critic, [])),
                ]:
                    made[f"{name}-{critic}-{options}"] = name, lambda c=critic, o=options: with_critic(c, o)
            continue
        for options in variants.get(name, [{}]):
            made[f"{name}-{options}"] = (
                name,
                lambda n=name, o=options: lambda s, t, m: INTERMEDIATE[n].function(s, t, m, **o),
            )
    return made


FORMS = forms()
every_form = pytest.mark.parametrize("form", FORMS)


def inputs(name: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    shape = (4, 5, 6) if INTERMEDIATE[name].traits["reads"] == "hidden_states" else (4, 3, 5, 5)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return student, teacher, torch.arange(5) < LENGTHS[:, None]


def padded(x: Tensor, name: str, fill: float) -> Tensor:
    """Two more positions that hold `fill`."""
    if INTERMEDIATE[name].traits["reads"] == "hidden_states":
        return torch.nn.functional.pad(x, (0, 0, 0, 2), value=fill)
    return torch.nn.functional.pad(x, (0, 2, 0, 2), value=fill)


def evaluate(loss: Loss, student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    values = loss(student, teacher, mask)
    weights = torch.arange(1, len(values) + 1, dtype=values.dtype)
    return values.detach(), torch.autograd.grad((values * weights).sum(), student)[0]


@every_form
@pytest.mark.parametrize("fill", [GARBAGE, float("nan"), float("-inf")])
def test_padding_never_counts(form: str, fill: float) -> None:
    name, make = FORMS[form]
    loss, (student, teacher, mask) = make(), inputs(name)
    values, gradient = evaluate(loss, student, teacher, mask)
    long_mask = torch.nn.functional.pad(mask, (0, 2))
    long_values, long_gradient = evaluate(loss, padded(student, name, fill), padded(teacher, name, -fill), long_mask)
    torch.testing.assert_close(long_values, values)
    expected = padded(gradient, name, 0.0)
    torch.testing.assert_close(long_gradient, expected)
    assert gradient.any()


@every_form
def test_what_stands_in_padding_never_counts(form: str) -> None:
    name, make = FORMS[form]
    loss, (student, teacher, mask) = make(), inputs(name)
    values, gradient = evaluate(loss, student, teacher, mask)
    valid = mask[..., None] if student.dim() == 3 else mask[:, None, :, None] & mask[:, None, None, :]
    other = evaluate(loss, student.masked_fill(~valid, GARBAGE), teacher.masked_fill(~valid, -GARBAGE), mask)
    torch.testing.assert_close(other, (values, gradient))
    assert not gradient.masked_select(~valid).any()


@every_form
def test_one_number_per_example_and_none_to_the_teacher(form: str) -> None:
    name, make = FORMS[form]
    loss, (student, teacher, mask) = make(), inputs(name)
    teacher.requires_grad_()
    values = loss(student.requires_grad_(), teacher, mask)
    values.sum().backward()
    assert values.shape == (4,)
    assert student.grad is not None
    assert teacher.grad is None


@every_form
def test_gradient_agrees_with_finite_differences(form: str) -> None:
    name, make = FORMS[form]
    loss, (student, teacher, mask) = make(), inputs(name)
    gradient = evaluate(loss, student, teacher, mask)[1]
    direction = torch.randn(student.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    weights, step = torch.arange(1, 5, dtype=torch.float64), 1e-6
    with torch.no_grad():
        up, down = (loss(student + sign * step * direction, teacher, mask) for sign in (1, -1))
    slope = ((up - down) * weights).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-7)


@every_form
def test_an_empty_example_gives_nothing_and_harms_no_other(form: str) -> None:
    name, make = FORMS[form]
    loss, (student, teacher, mask) = make(), inputs(name)
    mask[3] = False
    values, gradient = evaluate(loss, student, teacher, mask)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert not gradient[3].any()
    if INTERMEDIATE[name].traits["head"] != "critic":
        assert values[3] == 0


@pytest.mark.parametrize("name", ["mse", "l2", "cos", "pkd", "attention_mse"])
def test_a_student_like_its_teacher_costs_nothing(name: str) -> None:
    student, _, mask = inputs(name)
    values, gradient = evaluate(INTERMEDIATE[name].function, student, student, mask)
    torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1.1e-6)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", INTERMEDIATE.entries)
def test_half_precision_is_computed_in_full(name: str) -> None:
    if INTERMEDIATE[name].traits["head"] == "critic":
        assert INTERMEDIATE[name].function(torch.eye(4).bfloat16(), None).dtype == torch.float32
        return
    student, teacher, mask = inputs(name)
    assert INTERMEDIATE[name].function(student.bfloat16(), teacher.bfloat16(), mask).dtype == torch.float32


@pytest.mark.parametrize("name", INTERMEDIATE.entries)
def test_traits_are_complete(name: str) -> None:
    traits = INTERMEDIATE[name].traits
    assert traits["reads"] in ("hidden_states", "attention_scores")
    assert traits["head"] in ("projection", "critic", None)
    assert traits["per"] in ("token", "example")
    assert isinstance(traits["pooled"], bool)
    assert traits["signed"] == (name == "mi_alpha")


ROWS = [(family, name) for family in (INTERMEDIATE, CRITICS, MAPPING) for name in family]


@pytest.mark.parametrize(("family", "name"), ROWS, ids=[f"{family.kind}-{name}" for family, name in ROWS])
def test_row_has_source_summary_and_options(family, name: str) -> None:
    entry = family[name]
    assert entry.source
    assert entry.summary.endswith(".")
    assert "Source:" in entry.function.__doc__
    required = [option for option, field in entry.schema.model_fields.items() if field.is_required()]
    if required:
        with pytest.raises(ConfigError, match=f"needs the option `{required[0]}`"):
            family.options(name, {})
    else:
        assert set(family.options(name, {})) == set(entry.schema.model_fields)
