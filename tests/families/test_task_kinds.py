"""What Eq. (1) promises for every intermediate objective, critic, layer mapping and prediction objective on every kind
of task: padding never counts, the teacher is never trained, equality costs nothing, and neither does nothing."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distiller import config
from distiller.models.signals import Signals
from distiller.objectives.critics import CRITICS
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.objectives.prediction import PREDICTION
from distiller.training.batching import count
from distiller.training.objective import DistillationObjective, ModelShape
from distiller.training.readout import Kind
from distiller.training.view import Totals, View

GARBAGE = 1e3
LENGTHS = torch.tensor([5, 2, 4])
SMALL = {
    "transformer": {"layers": 1, "feedforward": 8, "heads": 2, "dropout": 0.0, "embedding": 4},
    "mlp": {"layers": 2, "hidden": 8, "embedding": 4},
    "joint": {"layers": 1, "feedforward": 8, "heads": 2, "dropout": 0.0},
}
LABELS = {
    "classification": torch.tensor([2, 0, 1]),
    "regression": torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64),
    "tagging": torch.tensor([[-100, 2, -100, 0, -100], [-100, 1, -100, -100, -100], [-100, 0, 1, -100, -100]]),
    "qa": torch.tensor([[1, 3], [-100, -100], [2, 2]]),
}
OUTPUTS = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0]])
PER_TOKEN = ("tagging", "qa")

# several labels at once and generation have tests of their own: test_readout, test_drop_in
KINDS = [kind for kind in get_args(Kind) if kind not in ("multilabel", "generation")]
SHAPES = ("classification", "tagging", "qa")
"""Regression has the shapes of classification."""
TERMS = [
    *((name, None) for name in INTERMEDIATE if INTERMEDIATE[name].traits["head"] != "critic"),
    *((name, critic) for name in INTERMEDIATE if INTERMEDIATE[name].traits["head"] == "critic" for critic in CRITICS),
]
every_kind = pytest.mark.parametrize("kind", SHAPES)
every_mapping = pytest.mark.parametrize("mapping", MAPPING)
every_term = pytest.mark.parametrize(("loss", "critic"), TERMS, ids=[f"{loss}-{critic}" for loss, critic in TERMS])


def objective(
    kind: Kind, *terms: tuple[str, str | None], mapping: str = "skip", layers: int = 3, width: int = 4, **wish: Any
) -> DistillationObjective:
    """Eq. (1) for a student of two layers and a teacher of `layers`, `width` against 6 wide; projections always."""
    options = {"pairs": [[1, 2], [-1, -1]]} if mapping == "pairs" else {}
    intermediate = [
        config.Term(
            loss=loss,
            mapping=config.Component(name=mapping, options=options),
            critic=config.Critic(name=critic, options=SMALL[critic]) if critic else None,
        )
        for loss, critic in terms
    ]
    torch.manual_seed(0)
    made = DistillationObjective(
        config.Objective(intermediate=intermediate, **wish),
        student=ModelShape(2, width),
        teacher=ModelShape(layers, 6),
        kind=kind,
    )
    return made.double().eval()


def signals(kind: Kind, layers: int, width: int, *, seed: int, extra: int = 0, mask: Tensor) -> Signals:
    """Random signals of three examples, with garbage in `extra` more positions and in all other padding."""
    rng = torch.Generator().manual_seed(seed)
    valid = mask[:, :5].bool()

    def random(*shape: int) -> Tensor:
        return torch.randn(3, *shape, generator=rng, dtype=torch.float64)

    def spoilt(values: Tensor, there: Tensor, *pad: int) -> Tensor:
        values = values.masked_fill(~there, GARBAGE if extra else -1.0)
        return F.pad(values, pad, value=GARBAGE).requires_grad_()

    outputs = {"classification": 3, "regression": 1, "tagging": 3, "qa": 2}[kind]
    logits = random(5, outputs) if kind in PER_TOKEN else random(outputs)
    both = (valid[:, :, None] & valid[:, None, :])[:, None]
    return Signals(
        logits=spoilt(logits, valid[..., None], 0, 0, 0, extra) if kind in PER_TOKEN else logits.requires_grad_(),
        hidden_states={
            layer: spoilt(random(5, width), valid[..., None], 0, 0, 0, extra) for layer in range(layers + 1)
        },
        attention_scores={layer: spoilt(random(2, 5, 5), both, 0, extra, 0, extra) for layer in range(1, layers + 1)},
        mask=mask,
    )


def view(
    kind: Kind,
    *,
    extra: int = 0,
    layers: int = 3,
    width: int = 4,
    same: bool = False,
    lengths: Tensor = LENGTHS,
    outputs: Tensor = OUTPUTS,
    labels: Tensor | None = None,
) -> View:
    """Three examples of 5, 2 and 4 tokens; `same`: the student is its teacher."""
    mask = (torch.arange(5 + extra) < lengths[:, None]).long()
    labels = LABELS[kind] if labels is None else labels
    shown = F.pad(outputs, (0, extra)) if kind in PER_TOKEN else None
    if kind == "tagging":
        labels = F.pad(labels, (0, extra), value=-100)
    student = signals(kind, 2, 6 if same else width, seed=1, extra=extra, mask=mask)
    teacher = student if same else signals(kind, layers, 6, seed=2, extra=extra, mask=mask)
    batch = {"input_ids": mask, "attention_mask": mask, "labels": labels}
    totals = count([batch | ({} if shown is None else {"output_mask": shown})])["original"]
    whole = Totals(*(number.clamp(min=1) for number in totals))  # as the trainer does
    return View(student, teacher, labels, whole, shown)


def every(side: Signals) -> list[Tensor]:
    return [side.logits, *side.hidden_states.values(), *side.attention_scores.values()]


def gradients(made: DistillationObjective, seen: View) -> tuple[dict[str, Tensor], list[Tensor], list[Tensor]]:
    """(components, gradient by student signal, gradient by trained part) of the sum of everything."""
    loss, components = made({"original": seen})
    parts = list(made.parameters())
    found = torch.autograd.grad(loss, [*every(seen.student), *parts], allow_unused=True)
    dense = [
        torch.zeros_like(x) if g is None else g for g, x in zip(found, [*every(seen.student), *parts], strict=True)
    ]
    return components, dense[: len(every(seen.student))], dense[len(every(seen.student)) :]


def cropped(x: Tensor, like: Tensor) -> Tensor:
    return x[tuple(slice(size) for size in like.shape)]


@every_kind
@every_mapping
@every_term
def test_padding_changes_neither_value_nor_any_gradient(
    kind: Kind, mapping: str, loss: str, critic: str | None
) -> None:
    made = objective(kind, (loss, critic), mapping=mapping, gamma1=0.5)
    short, long = view(kind), view(kind, extra=3)
    values, by_signal, by_part = gradients(made, short)
    long_values, long_by_signal, long_by_part = gradients(made, long)
    torch.testing.assert_close(long_values, values)
    torch.testing.assert_close(long_by_part, by_part)
    for longer, shorter in zip(long_by_signal, by_signal, strict=True):
        torch.testing.assert_close(cropped(longer, shorter), shorter)
        torch.testing.assert_close(longer.abs().sum(), shorter.abs().sum())  # nothing in the padding
    assert any(gradient.any() for gradient in by_signal[1:])
    assert all(gradient.any() for gradient in by_part) or critic  # a baseline begins at 0


@every_kind
@every_mapping
@every_term
def test_the_teacher_gets_no_gradient(kind: Kind, mapping: str, loss: str, critic: str | None) -> None:
    seen = view(kind)
    objective(kind, (loss, critic), mapping=mapping)({"original": seen})[0].backward()
    assert seen.teacher is not None
    assert all(signal.grad is None for signal in every(seen.teacher))
    assert seen.student.logits.grad is not None


@every_kind
@every_mapping
@pytest.mark.parametrize("loss", ["mse", "l2", "pkd", "cos", "attention_mse"])
def test_a_student_like_its_teacher_costs_nothing(kind: Kind, mapping: str, loss: str) -> None:
    options = {"pairs": [[1, 1], [-1, -1]]} if mapping == "pairs" else {}
    term = config.Term(loss=loss, mapping=config.Component(name=mapping, options=options))
    made = DistillationObjective(
        config.Objective(intermediate=[term], prediction=config.Component(name="mse")),
        student=ModelShape(2, 6),
        teacher=ModelShape(2, 6),
        kind=kind,
    )
    components, by_signal, _ = gradients(made, view(kind, same=True))
    assert set(components) == {"prediction", loss}
    assert components["prediction"] == 0
    assert abs(float(components[loss])) < 4e-6  # the root of 1e-12 for each of up to three pairs of L2
    assert all(gradient.abs().max() < 1e-9 for gradient in by_signal)


@every_kind
@every_mapping
@every_term
def test_a_batch_of_nothing_gives_zero_and_no_gradient(kind: Kind, mapping: str, loss: str, critic: str | None) -> None:
    """No token, no output, no label: what is left of a batch whose every row was cut away."""
    wish: dict[str, Any] = {"gamma1": 0.5} if kind in PER_TOKEN else {"beta1": 0.0, "gamma1": 0.0}
    made = objective(kind, (loss, critic), mapping=mapping, **wish)
    labels = torch.full_like(LABELS[kind], -100) if kind in PER_TOKEN else None
    nothing = view(kind, lengths=torch.zeros_like(LENGTHS), outputs=torch.zeros_like(OUTPUTS), labels=labels)
    components, by_signal, by_part = gradients(made, nothing)
    assert all(value == 0 for value in components.values())
    assert not any(gradient.any() for gradient in [*by_signal, *by_part])


@pytest.mark.parametrize("kind", PER_TOKEN)
@pytest.mark.parametrize("prediction", PREDICTION)
def test_tokens_without_outputs_or_labels_leave_the_intermediate_term(kind: Kind, prediction: str) -> None:
    """Real tokens whose outputs do not count still have hidden states to learn."""
    made = objective(kind, ("mse", None), prediction=config.Component(name=prediction), gamma1=0.5)
    labels = torch.full_like(LABELS[kind], -100)
    components, by_signal, _ = gradients(made, view(kind, outputs=torch.zeros_like(OUTPUTS), labels=labels))
    assert components["prediction"] == components["label"] == 0
    assert components["mse"] > 0
    assert not by_signal[0].any()
    assert by_signal[1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prediction", PREDICTION)
def test_outputs_outside_the_mask_never_count(kind: Kind, prediction: str) -> None:
    if kind == "regression" and not PREDICTION[prediction].traits["regression"]:
        return
    made = objective(kind, prediction=config.Component(name=prediction), gamma1=0.5)
    values, by_signal, _ = gradients(made, view(kind))
    long_values, long_by_signal, _ = gradients(made, view(kind, extra=3))
    torch.testing.assert_close(long_values, values)
    torch.testing.assert_close(cropped(long_by_signal[0], by_signal[0]), by_signal[0])
    if kind in PER_TOKEN:
        assert not by_signal[0][~OUTPUTS.bool()].any()
        assert not long_by_signal[0][:, 5:].any()
