"""Eq. (1): its oracles, its components, and that padding, layers and labels are the right ones."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from distiller import config
from distiller.errors import ConfigError
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.objectives.mutual_information import mi_alpha
from distiller.objectives.transport import Transport
from distiller.training.batching import ViewCollator
from training.tiny import CRITICS, Eq1, batch, pad, student, teacher, term

SAME = {"rtol": 1e-6, "atol": 1e-6}


def objective(*, losses: tuple[str, ...] = (), mapping: str = "skip", **weights: Any) -> config.Objective:
    return config.Objective(intermediate=[term(loss, mapping) for loss in losses], **weights)


def doubled(examples: dict[str, Any]) -> dict[str, Any]:
    return examples | {"augmented": dict(examples)}


# --- oracles of section 1.4 -------------------------------------------------------------------------------------


def test_without_label_weight_it_is_plain_distillation_and_labels_may_be_absent() -> None:
    examples, small, large = batch(), student(), teacher()
    labels = examples.pop("labels")
    total, components = Eq1(objective(losses=("mse",), intermediate_weight=0), small, large)(examples)
    with torch.no_grad():
        target = large(**{k: examples[k] for k in ("input_ids", "attention_mask")}).logits.softmax(-1)
    guess = small(**{k: examples[k] for k in ("input_ids", "attention_mask")}).logits
    torch.testing.assert_close(total, F.cross_entropy(guess, target))
    assert set(components) == {"prediction"}
    with pytest.raises(ConfigError, match="no label"):
        Eq1(objective(gamma1=1), small, large)(examples)
    Eq1(objective(gamma1=1), small, large)(examples | {"labels": labels})


@pytest.mark.parametrize(("weight", "all_weights"), [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"alhpa": 1}},
        {"mapping": {"name": "skip", "options": {"first": 1}}},
        {"critic": {"name": "mlp", "options": {"layer": 1}}},
    ],
)
def test_options_of_a_term_that_is_switched_off_are_checked_too(
    weight: int, all_weights: int, wrong: dict[str, Any]
) -> None:
    terms = [{"loss": "mi_alpha", "weight": weight, **wrong}]
    wish = config.Objective.model_validate({"intermediate": terms, "intermediate_weight": all_weights})
    with pytest.raises(ConfigError, match="no option of"):
        Eq1(wish, student(), teacher())


@pytest.mark.parametrize("losses", [("mse", "pkd"), ("mi_alpha",), ("attention_mse",)])
def test_an_equal_second_view_adds_its_weights(losses: tuple[str, ...]) -> None:
    on = objective(losses=losses, beta1=1, beta2=0.7, gamma1=0.5, gamma2=0.2, augmented_label="gold")
    off = objective(losses=losses, beta1=1.7, gamma1=0.7, intermediate_weight=2)
    examples = batch()
    total, components = Eq1(on, student(), teacher())(doubled(examples))
    torch.testing.assert_close(total, Eq1(off, student(), teacher())(examples)[0], **SAME)
    torch.testing.assert_close(components["prediction"], components["augmented_prediction"])


def test_teacher_soft_labels_add_to_the_prediction_weight() -> None:
    examples = batch(augmented=True)
    first = objective(beta2=0.6, gamma2=0.4, augmented_label="teacher_soft")
    second = objective(beta2=1.0, gamma2=0.0)
    totals = [Eq1(wish, student(), teacher())(examples)[0] for wish in (first, second)]
    torch.testing.assert_close(*totals, **SAME)


@pytest.mark.parametrize("kind", ["teacher_soft", "teacher_hard", "gold"])
@pytest.mark.parametrize("labels", [1, 3])
def test_labels_of_the_augmented_view(kind: str, labels: int) -> None:
    examples, small, large = batch(augmented=True), student(labels=labels), teacher(labels=labels)
    wish = config.Objective(beta1=0, beta2=0, gamma2=1, augmented_label=kind)
    total, _ = Eq1(wish, small, large)(examples)
    view = {name: examples["augmented"][name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        scores, guess, gold = large(**view).logits, small(**view).logits, examples["augmented"]["labels"]
    if labels == 1:
        expected = F.mse_loss(guess[:, 0], gold.float() if kind == "gold" else scores[:, 0])
    else:
        target = {"teacher_soft": scores.softmax(-1), "teacher_hard": scores.argmax(-1), "gold": gold}[kind]
        expected = F.cross_entropy(guess, target)
    torch.testing.assert_close(total, expected)


def test_labels_from_the_teacher_need_a_teacher() -> None:
    wish = config.Objective(beta1=0, beta2=0, gamma2=1)
    assert Eq1(wish, student(), teacher()).parts.needs_teacher
    gold = config.Objective(beta1=0, beta2=0, gamma1=1, gamma2=1, augmented_label="gold")
    assert not Eq1(gold, student()).parts.needs_teacher


def test_a_student_like_its_teacher_costs_nothing() -> None:
    wish = config.Objective(
        prediction="mse", intermediate=[term(loss) for loss in ("mse", "l2", "pkd", "cos", "attention_mse")]
    )
    _, components = Eq1(wish, teacher(), teacher())(batch())
    assert len(components) == 6
    for name, value in components.items():
        assert abs(value) < (1e-5 if name == "l2" else 1e-6), name  # five pairs of the root of 1e-12


def test_the_total_is_linear_in_the_logged_components() -> None:
    terms = [term("mse", weight=0.3), term("mse", "last", weight=2), term("mi_alpha", weight=0.5), term("cos", "emd")]
    wish = config.Objective(beta1=0.9, gamma1=0.2, beta2=0.4, gamma2=0.1, intermediate=terms, intermediate_weight=0.7)
    total, components = Eq1(wish, student(), teacher())(batch(augmented=True))
    weights = {"prediction": 0.9, "label": 0.2, "augmented_prediction": 0.4, "augmented_label": 0.1}
    for name, weight in {"mse_1": 0.3, "mse_2": 2, "mi_alpha": 0.5, "cos": 1}.items():
        weights |= {name: 0.7 * weight, f"augmented_{name}": 0.7 * weight}
    assert set(components) == set(weights)
    torch.testing.assert_close(total, sum(weights[name] * components[name] for name in weights), **SAME)


@pytest.mark.parametrize("mapping", ["skip", "emd"])
def test_concatenated_views_are_each_others_negatives(mapping: str) -> None:
    name = "mlp" if mapping == "emd" else "transformer"
    critic = config.Critic(name=name, options=CRITICS[name], concat_views=True)
    wish = config.Objective(beta1=0, beta2=0, intermediate=[term("mi_alpha", mapping, critic=critic, weight=0.7)])
    eq1, examples = Eq1(wish, student(), teacher()), batch(augmented=True)
    total, components = eq1(examples)
    assert set(components) == {"mi_alpha"}
    torch.testing.assert_close(total, 0.7 * components["mi_alpha"])

    ids = [view["input_ids"][row][view["attention_mask"][row].bool()].tolist()
           for view in (examples, examples["augmented"]) for row in range(6)]  # fmt: skip
    joined = pad([{"input_ids": tokens, "labels": 0, "example_id": 0} for tokens in ids], extra=2)
    mask, heard, part = joined["attention_mask"], eq1.teacher(joined), eq1.parts.terms[0]
    told = eq1.model.reader(joined)
    found = {
        (j, i): mi_alpha(*(part.heads["all"] if mapping == "skip" else part.heads[f"{j}-{i}"])(
            told.hidden_states[j], mask, heard.hidden_states[i], mask)).mean()
        for j, i in part.pairs
    }  # fmt: skip
    if mapping == "emd":
        cost = torch.stack([found[j, i] for j in (1, 2) for i in (1, 2, 3, 4)]).view(2, 4)
        expected = found[0, 0] + Transport(4, 2)(cost)
    else:
        expected = sum(found.values())
    torch.testing.assert_close(components["mi_alpha"], expected.detach(), rtol=1e-4, atol=1e-5)


def test_concatenating_one_view_changes_nothing() -> None:
    both = [
        Eq1(config.Objective(intermediate=[term("mi_alpha", critic=critic)]), student(), teacher())(batch())[1]
        for critic in (
            config.Critic(name="mlp", options=CRITICS["mlp"]),
            config.Critic(name="mlp", options=CRITICS["mlp"], concat_views=True),
        )
    ]
    assert both[0] == both[1]


# --- traps of section 15 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapping", MAPPING)
@pytest.mark.parametrize("loss", INTERMEDIATE)
def test_appended_padding_changes_neither_value_nor_gradient(loss: str, mapping: str) -> None:
    examples = batch(5, augmented=True)
    rows = [
        {"input_ids": ids[mask.bool()].tolist(), "labels": 0, "example_id": 0}
        for ids, mask in zip(examples["input_ids"], examples["attention_mask"], strict=True)
    ]
    eq1 = Eq1(objective(losses=(loss,), mapping=mapping, gamma1=0.5), student(), teacher())
    short, long = ViewCollator(pad)(rows), ViewCollator(lambda some: pad(some, extra=5, fill=77))(rows)
    torch.testing.assert_close(eq1(long)[1], eq1(short)[1], rtol=1e-5, atol=1e-6)
    expected, found = eq1.gradients(short), eq1.gradients(long)
    # token 77 and the positions behind the text are read, but must have no part in anything
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert any(gradient.any() for gradient in expected.values())


@pytest.mark.parametrize(("mapping", "pairs"), [("skip", [(0, 0), (1, 2), (2, 4)]), ("last", [(0, 2), (1, 3), (2, 4)])])
@pytest.mark.parametrize("loss", ["mse", "attention_mse"])
def test_mappings_read_exactly_the_layers_they_name(loss: str, mapping: str, pairs: list[tuple[int, int]]) -> None:
    examples, small, large = batch(), student(width=32), teacher()
    eq1 = Eq1(objective(losses=(loss,), mapping=mapping), small, large)
    inputs = {name: examples[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        theirs = large(**inputs, output_hidden_states=True).hidden_states
        ours = small(**inputs, output_hidden_states=True).hidden_states
    valid = inputs["attention_mask"].bool()
    if loss == "mse":
        signals = eq1.teacher(examples).hidden_states
        assert list(signals) == [i for _, i in pairs]
        for layer, state in signals.items():
            torch.testing.assert_close(state, theirs[layer], rtol=0, atol=0)
        expected = sum(F.mse_loss(ours[j][valid], theirs[i][valid]) for j, i in pairs)
    else:
        pairs = [(j, i) for j, i in pairs if j and i]
        assert list(eq1.teacher(examples).attention_scores) == [i for _, i in pairs]
        maps = [(attention_scores(small, ours, j), attention_scores(large, theirs, i)) for j, i in pairs]
        expected = sum(
            F.mse_loss(s[row][:, keep][:, :, keep], t[row][:, keep][:, :, keep]) / len(valid)
            for s, t in maps
            for row, keep in enumerate(valid)
        )
    torch.testing.assert_close(eq1(examples)[1][loss], expected)


def attention_scores(model: Any, hidden_states: Any, layer: int) -> torch.Tensor:
    """Query times key over the root of the head width, from the weights and the layer below."""
    own = model.bert.encoder.layer[layer - 1].attention.self
    below = hidden_states[layer - 1]
    with torch.no_grad():
        query, key = (f(below).unflatten(-1, (4, -1)).transpose(1, 2) for f in (own.query, own.key))
    return query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5


def test_every_trained_part_gets_a_gradient_and_the_teacher_none() -> None:
    wish = config.Objective(
        gamma1=1, intermediate=[term("mse"), term("mi_alpha"), term("mi_alpha", "emd"), term("l2", "emd")]
    )
    eq1 = Eq1(wish, student(), teacher())
    eq1.gradients(batch())
    without = {name for name, parameter in eq1.model.named_parameters() if parameter.grad is None}
    assert not without
    assert all(parameter.grad is None for parameter in eq1.teacher.model.parameters())


def test_a_softmax_loss_is_refused_for_regression() -> None:
    for name in ("ce", "kl"):
        with pytest.raises(ConfigError, match=f"`{name}` cannot be used for regression") as raised:
            Eq1(config.Objective(prediction=name), student(labels=1), teacher(labels=1))
        assert raised.value.hint == "objective.prediction=mse"
    total, _ = Eq1(config.Objective(), student(labels=1), teacher(labels=1))(batch())
    assert total > 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no critic"):
        Eq1(config.Objective(intermediate=[config.Term(loss="mse", critic=config.Critic())]), student(), teacher())
    pairwise = config.Critic(name="joint", gather=True)
    with pytest.raises(ConfigError, match="`gather` needs a critic that reads"):
        Eq1(config.Objective(intermediate=[config.Term(loss="mi_alpha", critic=pairwise)]), student(), teacher())
    with pytest.raises(ConfigError, match="need a teacher"):
        Eq1(config.Objective(beta1=0, intermediate=[term("mse")]), student())
    embeddings = config.Component(name="pairs", options={"pairs": [[0, 0]]})
    with pytest.raises(ConfigError, match="leaves no layer pair"):
        Eq1(
            config.Objective(intermediate=[config.Term(loss="attention_mse", mapping=embeddings)]), student(), teacher()
        )


def test_projections_exist_where_widths_differ_or_on_request() -> None:
    def heads(width: int, **given: bool) -> list[str]:
        wish = config.Objective(intermediate=[term("mse", projection=config.Projection(**given))])
        return list(Eq1(wish, student(width=width), teacher()).parts.terms[0].heads)

    assert heads(16) == ["0", "1", "2"]
    assert heads(16, shared=True) == ["all"]
    assert heads(32) == []
    assert heads(32, always=True) == ["0", "1", "2"]
