"""Shares of the gradient: what is measured is what autograd says, and what is asked for is what comes about."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distiller import config
from distiller.errors import ConfigError
from distiller.training.balance import Balance, TermValue
from distiller.training.batching import count, views_of
from training.tiny import Eq1, batch, student, teacher, term, trainer

SHARE = config.Share(share=0.3)


def forward(eq1: Eq1, examples: Any, *, measure: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    views = views_of(examples)
    heard = {name: eq1.teacher(view) for name, view in views.items()}  # type: ignore[misc]
    return eq1.model(views=views, teacher=heard, totals=count([examples]), measure=measure)


def norm_of(eq1: Eq1, examples: Any, part: str) -> float:
    """The gradient norm of one unweighted part at the student's parameters."""
    eq1.model.zero_grad()
    views: dict[str, Any] = {}

    def remember(parts: Any, parameters: Any) -> None:
        views["parts"] = parts

    original = eq1.parts.balance.measure
    eq1.parts.balance.measure = remember  # type: ignore[method-assign]
    forward(eq1, examples, measure=True)
    eq1.parts.balance.measure = original  # type: ignore[method-assign]
    value = next(one.value for one in views["parts"] if one.name == part)
    value.backward()
    squares = sum(p.grad.square().sum() for p in eq1.model.student.parameters() if p.grad is not None)
    return float(squares) ** 0.5


def test_shares_are_those_of_the_gradient_norms() -> None:
    wish = config.Objective(gamma1=0.5, beta1=2.0, intermediate=[term("mse", weight=3.0), term("cos")])
    eq1, examples = Eq1(wish, student(), teacher()), batch(8)
    forward(eq1, examples, measure=True)
    weights = {"prediction": 2.0, "label": 0.5, "mse": 3.0, "cos": 1.0}
    norms = {name: weight * norm_of(eq1, examples, name) for name, weight in weights.items()}
    for name, share in eq1.parts.balance.latest.items():
        assert float(share) == pytest.approx(norms[name] / sum(norms.values()), rel=1e-3)
    assert set(eq1.parts.balance.latest) == set(weights)


@pytest.mark.parametrize("loss", ["mse", "cos", "ce", "pkd", "mi_alpha", "l2"])
@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_a_share_is_what_comes_about_whatever_the_loss_is_measured_in(loss: str, scale: float) -> None:
    wish = config.Objective(gamma1=0.5, beta1=scale, intermediate=[term(loss, weight=SHARE)])
    eq1, examples = Eq1(wish, student(), teacher()), batch(8)
    forward(eq1, examples, measure=True)
    assert float(eq1.parts.balance.latest[loss]) == pytest.approx(0.3, rel=1e-3)
    assert float(sum(eq1.parts.balance.latest.values())) == pytest.approx(1.0, rel=1e-4)


def test_several_shares_leave_the_rest_to_the_others() -> None:
    wish = config.Objective(
        gamma1=0.5, intermediate=[term("mse", weight=config.Share(share=0.2)), term("pkd", weight=SHARE), term("cos")]
    )
    eq1 = Eq1(wish, student(), teacher())
    forward(eq1, batch(8), measure=True)
    found = {name: float(share) for name, share in eq1.parts.balance.latest.items()}
    assert found["mse"] == pytest.approx(0.2, rel=1e-3)
    assert found["pkd"] == pytest.approx(0.3, rel=1e-3)
    assert found["prediction"] + found["label"] + found["cos"] == pytest.approx(0.5, rel=1e-3)


def test_measuring_changes_nothing_where_weights_are_numbers() -> None:
    wish = config.Objective(gamma1=0.5, intermediate=[term("mse")])
    eq1, examples = Eq1(wish, student(), teacher()), batch(8)
    plain, watched = forward(eq1, examples, measure=False), forward(eq1, examples, measure=True)
    torch.testing.assert_close(plain, watched)


def test_the_weight_is_kept_between_measurements_and_moves_slowly() -> None:
    balance = Balance([0.5])
    weight = torch.nn.Parameter(torch.ones(3))

    def parts(scale: float) -> list[TermValue]:
        return [TermValue("prediction", weight.sum()), TermValue("mse", scale * weight.sum(), term=0)]

    balance.measure(parts(0.1), [weight])
    assert float(balance.weight_of(parts(0.1)[1])) == pytest.approx(10, rel=1e-4)
    balance.measure(parts(10.0), [weight])
    assert float(balance.weight_of(parts(10.0)[1])) == pytest.approx(10**0.7 * 0.1**0.3, rel=1e-3)


def test_a_term_that_is_not_heard_has_no_share_and_keeps_its_weight() -> None:
    wish = config.Objective(intermediate=[term("mse", weight=SHARE, head_start=5, projection={"always": True})])
    eq1, examples = Eq1(wish, student(), teacher()), batch(8)
    eq1.parts.step = 0
    forward(eq1, examples, measure=True)
    assert float(eq1.parts.balance.latest["mse"]) == 0
    gradients = eq1.gradients(examples)
    assert any(name.startswith("objective.") and gradient.abs().sum() > 0 for name, gradient in gradients.items())
    alone = Eq1(config.Objective(), student(), teacher()).gradients(examples)
    for name, gradient in alone.items():
        torch.testing.assert_close(gradients[name], gradient)
    eq1.parts.step = 5
    forward(eq1, examples, measure=True)
    assert float(eq1.parts.balance.latest["mse"]) == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.5, 1.0), (0.75, 0.5), (1, 0)])
def test_weights_rise_and_fall(progress: float, factor: float) -> None:
    wish = config.Objective(intermediate=[term("mse", weight=2.0, warmup=0.2, fade=0.5)])
    eq1, examples = Eq1(wish, student(), teacher()), batch(8)
    eq1.parts.progress = progress
    total, components = eq1(examples)
    assert float(total) == pytest.approx(float(components["prediction"] + 2 * factor * components["mse"]), rel=1e-5)


def test_pairs_may_be_averaged() -> None:
    examples = batch(8)
    added, averaged = (
        Eq1(config.Objective(intermediate=[term("mse", pairs=how)]), student(), teacher())(examples)[1]["mse"]
        for how in ("sum", "mean")
    )
    layers = student().config.num_hidden_layers + 1
    torch.testing.assert_close(added, averaged * layers)


def test_shares_stand_in_the_log_and_weights_in_the_checkpoint(tmp_path: Path) -> None:
    made = trainer(tmp_path, {"gamma1": 0.5, "intermediate": [{"loss": "mse", "weight": {"share": 0.4}}]})
    made.train()
    entry = made.state.log_history[0]
    assert entry["share/mse"] == pytest.approx(0.4, rel=1e-2)
    assert entry["share/prediction"] + entry["share/label"] == pytest.approx(0.6, rel=1e-2)
    assert "balance.weights" in made.distillation.objective.state_dict()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"beta1": 0, "gamma1": 0}, "something else that has the rest"),
        ({"intermediate": [term("mse", weight=SHARE), term("cos", weight=config.Share(share=0.8))]}, "add up"),
    ],
)
def test_shares_that_cannot_be(fields: dict[str, Any], reason: str) -> None:
    wish = config.Objective(**({"intermediate": [term("mse", weight=SHARE)]} | fields))
    with pytest.raises(ConfigError, match=reason):
        Eq1(wish, student(), teacher())
