"""Recipes: each is well-formed, and its loss on a fixed batch is its paper's formula, written out in plain torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from scipy.optimize import linprog
from torch import Tensor

from distiller import config
from distiller.augment import check_policy
from distiller.recipes import texts, with_own_data
from distiller.training.defaults import filled_in
from distiller.training.mixing import draw, mixed
from training.test_mixing import Options
from training.tiny import Eq1, batch, student, teacher

RECIPES = {name: text for name, text in texts().items() if "kind: translation" not in text}
every_recipe = pytest.mark.parametrize("name", RECIPES)


def parse(name: str) -> config.Run:
    return config.parse_run(yaml.safe_load(RECIPES[name]))


@every_recipe
def test_a_recipe_is_a_run_that_survives_yaml(name: str) -> None:
    run = parse(name)
    for text in (config.to_yaml(run), config.to_yaml(run, exclude_defaults=True)):
        assert config.parse_run(yaml.safe_load(text)) == run


@every_recipe
def test_a_recipe_says_what_it_is(name: str) -> None:
    first = RECIPES[name].splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert parse(name).recipe == name
    assert parse(name).output == f"outputs/{name}"


def test_data_of_one_s_own_take_the_place_of_a_recipe_s() -> None:
    def tasked(name: str, *overrides: str) -> Any:
        return config.parse_run(with_own_data(yaml.safe_load(texts()[name]), overrides), overrides).task

    for overrides in (["task.train=p.csv"], ["task.train={source: p.csv}"], ["task.train.source=p.csv"]):
        task = tasked("nmt-hybrid", *overrides)
        assert (task.train.source, task.train.target, task.dev) == ("p.csv", None, None)
    assert tasked("nmt-hybrid", "task.train=p.csv", "task.dev=d.csv").dev.source == "d.csv"
    assert tasked("nmt-hybrid", "task.train.source=a", "task.train.target=b").dev.source == "val.de"
    assert tasked("demo-translation", "task.train.limit=9").train.source.startswith("package:")
    assert (tasked("bert-pkd", "task.train=p.csv").name, tasked("bert-pkd").name) == ("custom", "rotten-tomatoes")


# --- the losses, by hand ----------------------------------------------------------------------------------------


class Case:
    """A view of a batch, and everything that both models say of it, read with `transformers` alone."""

    def __init__(self, small: Any, large: Any, examples: dict[str, Any], parts: Any) -> None:
        mask = examples["attention_mask"]
        self.valid = mask.bool()
        self.y = F.one_hot(examples["labels"], 2).float()
        if "mixup_partner" in examples:
            self.y = self.mix(examples, self.y)
        with torch.no_grad():
            ours, theirs = (
                model(inputs_embeds=self.words(model, examples), attention_mask=mask, output_hidden_states=True)
                for model in (small, large)
            )
        self.s, self.t = ours.logits, theirs.logits
        self.S, self.T = ours.hidden_states, theirs.hidden_states
        self.small, self.large = small, large
        self.parts = parts
        self.layers = range(1, len(self.S))

    def words(self, model: Any, examples: dict[str, Any]) -> Tensor:
        words = model.get_input_embeddings()(examples["input_ids"])
        return self.mix(examples, words) if "mixup_partner" in examples else words

    def mix(self, examples: dict[str, Any], values: Tensor) -> Tensor:
        partner = examples["mixup_partner"].tolist()
        return torch.stack(
            [w * values[i] + (1 - w) * values[partner[i]] for i, w in enumerate(examples["mixup_weight"])]
        )

    def hard(self) -> Tensor:
        return F.cross_entropy(self.s, self.y)

    def soft(self) -> Tensor:
        return F.cross_entropy(self.s, self.t.softmax(-1))

    def kl(self, temperature: float) -> Tensor:
        s, t = (self.s / temperature).log_softmax(-1), (self.t / temperature).softmax(-1)
        return temperature**2 * F.kl_div(s, t, reduction="batchmean")

    def mse(self, j: int, i: int) -> Tensor:
        return F.mse_loss(self.S[j][self.valid], self.T[i][self.valid])

    def cosine(self, j: int, i: int) -> Tensor:
        return (1 - F.cosine_similarity(self.S[j][self.valid], self.T[i][self.valid])).mean()

    def patient(self, j: int, i: int) -> Tensor:
        return F.mse_loss(F.normalize(self.S[j][:, 0], dim=-1), F.normalize(self.T[i][:, 0], dim=-1))

    def attention(self, j: int, i: int) -> Tensor:
        s, t = scores(self.small, self.S[j - 1], j), scores(self.large, self.T[i - 1], i)
        values = []
        for row, keep in enumerate(self.valid):
            size = int(keep.sum())  # padding is on the right
            values.append(F.mse_loss(s[row, :, :size, :size], t[row, :, :size, :size]))
        return sum(values) / len(values)

    def information(self, critic: torch.nn.Module, j: int, i: int, alpha: float) -> Tensor:
        """I_alpha of section 2.2.2, one example held out at a time."""
        mask = self.valid.long()
        with torch.no_grad():
            f, log_q = critic(self.S[j], mask, self.T[i], mask)
        f, q, size = f.double(), log_q.double().exp(), len(f)

        def a(row: int, out: int) -> Tensor:
            others = [f[row, k].exp() for k in range(size) if k != out]
            return alpha * sum(others) / (size - 1) + (1 - alpha) * q[row]

        pairs = [(row, out) for row in range(size) for out in range(size) if row != out]
        joint = sum(f[row, row] - a(row, out).log() for row, out in pairs) / len(pairs)
        marginal = sum(f[row, out].exp() / a(row, row) for row, out in pairs) / len(pairs)
        return (1 + joint - marginal).float()

    def transport(self, price: Callable[[int, int], Tensor]) -> Tensor:
        """The least cost of moving uniform student weights to uniform teacher weights, layers 1 to N and 1 to M."""
        cost = np.array([[float(price(j, i)) for i in range(1, len(self.T))] for j in self.layers])
        students, teachers = cost.shape
        constraints, sums = [], []
        for row in range(students):
            constraints.append((np.arange(cost.size) // teachers == row).astype(float))
            sums.append(1 / students)
        for column in range(teachers):
            constraints.append((np.arange(cost.size) % teachers == column).astype(float))
            sums.append(1 / teachers)
        solved = linprog(cost.ravel(), A_eq=np.array(constraints), b_eq=np.array(sums), bounds=(0, None))
        assert solved.success
        return torch.tensor(solved.fun, dtype=torch.float32)


def scores(model: Any, below: Tensor, layer: int) -> Tensor:
    """Query times key over the root of the head width, before mask and softmax."""
    own = model.bert.encoder.layer[layer - 1].attention.self
    with torch.no_grad():
        query, key = (f(below).unflatten(-1, (4, -1)).transpose(1, 2) for f in (own.query, own.key))
    return query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5


def tinybert_layers(case: Case) -> Tensor:
    shared = case.parts.terms[0].heads["all"]
    with torch.no_grad():
        hidden = [F.mse_loss(shared(case.S[j])[case.valid], case.T[2 * j][case.valid]) for j in range(4)]
    return sum(hidden) + sum(case.attention(j, 2 * j) for j in case.layers)


def mi_alpha(case: Case) -> Tensor:
    critic = case.parts.terms[0].heads["all"]
    return case.soft() - sum(case.information(critic, j, 2 * j, 0.9) for j in range(4))


def mi_alpha_emd(case: Case) -> Tensor:
    critics = case.parts.terms[0].heads

    def price(j: int, i: int) -> Tensor:
        return -case.information(critics[f"{j}-{i}"], j, i, 0.9)

    return case.soft() + case.transport(price) + price(0, 0)


def standard(case: Case, layers: int = 3) -> Tensor:
    """Before the first measurement of gradients, the weight of the hidden states is 1."""
    hidden = [case.mse(j, j * 6 // layers) for j in range(layers + 1)]
    return case.kl(4) + 0.5 * case.hard() + sum(hidden) / len(hidden)


def appendix_g(case: Case, view: Case, view_label: Tensor) -> Tensor:
    """Prediction and label terms of both views with the weights that the Distiller paper uses with augmentation."""
    return case.soft() + 0.5 * case.hard() + view.soft() + 0.5 * view_label


AUGMENTED: dict[str, list[Callable[[Case, Case], Tensor]]] = {
    "distiller-best": [lambda c, a: appendix_g(c, a, a.soft()) - c.soft() + mi_alpha(c) - a.soft() + mi_alpha(a)],
    "distiller-tinybert": [
        lambda c, a: appendix_g(c, a, a.soft()) + sum(view.mse(j, 2 * j) for view in (c, a) for j in range(4))
    ],
    "mixkd": [lambda c, a: c.hard() + a.hard() + F.mse_loss(a.s, a.t)],
    "mixkd-distiller": [lambda c, a: appendix_g(c, a, a.hard())],
    "tinybert": [
        lambda c, a: tinybert_layers(c) + tinybert_layers(a),
        lambda c, a: (c.soft() + a.soft()) / 2,
    ],
}
"""One expression a stage of the original and the augmented view, for recipes with operators."""

BY_HAND: dict[str, list[Callable[[Case], Tensor]]] = {
    "bert-emd": [
        lambda c: (
            F.cross_entropy(c.s, c.t.softmax(-1)) / 2
            + 0.005 * (c.transport(c.mse) + c.transport(c.attention) + c.mse(0, 0))
        )
    ],
    "bert-pkd": [
        lambda c: 0.5 * c.kl(10) / 2 + 0.5 * c.hard() + 10 * (c.patient(1, 2) + c.patient(2, 4)),
    ],
    "bert-pkd-4": [
        lambda c: 0.5 * c.kl(10) / 2 + 0.5 * c.hard() + 10 * sum(c.patient(*pair) for pair in ((1, 1), (2, 3), (3, 4))),
    ],
    "cos": [lambda c: c.soft() + sum(c.cosine(j, 2 * j) for j in range(4))],
    "demo": [lambda c: standard(c, layers=2)],
    "demo-half": [standard],
    "distilbert": [lambda c: 5 * c.kl(2) + 2 * c.hard() + c.cosine(3, 6)],
    "distilbert-task": [lambda c: 0.5 * c.kl(2) + 0.5 * c.hard()],
    "distiller-bert-emd": [lambda c: c.soft() + c.transport(c.mse) + c.mse(0, 0)],
    "fine-tune": [lambda c: c.hard()],
    "hinton": [lambda c: 0.9 * c.kl(4) + 0.1 * c.hard()],
    "mi-alpha": [mi_alpha],
    "mi-alpha-emd": [mi_alpha_emd],
    "mse": [lambda c: c.soft() + sum(c.mse(j, 2 * j) for j in range(4))],
    "standard": [standard],
    "vanilla-kd": [lambda c: c.soft()],
}
"""One expression a stage, for a teacher of 6 layers and two classes."""


@every_recipe
def test_a_recipe_computes_its_papers_loss(name: str) -> None:
    run = parse(name)
    objectives = [stage.objective for stage in run.stages] or [run.objective]
    large = teacher(6)
    # TinyBERT's shared projection exists only where the student is narrower
    small = student(run.student.layers or 2, 16 if name == "tinybert" else 32)
    operators = [choice.name for choice in run.augmentation]
    examples = batch(5, augmented=bool(operators))
    if "mixup" in operators:
        examples["augmented"] = mixed(examples["augmented"], draw(5, Options(), (0,)), mask="union")
    views = [examples, examples["augmented"]] if operators else [examples]
    expressions: Any = AUGMENTED[name] if operators else BY_HAND[name]
    assert len(expressions) == len(objectives)
    for objective, by_hand in zip(objectives, expressions, strict=True):
        eq1 = Eq1(filled_in(objective, "classification", operators), small, large)
        with torch.no_grad():
            total, _ = eq1(examples)
        cases = [Case(small, large, view, eq1.parts) for view in views]
        torch.testing.assert_close(total, by_hand(*cases), rtol=1e-4, atol=1e-5)


@every_recipe
def test_every_recipe_names_operators_and_options_that_exist(name: str) -> None:
    check_policy(parse(name).augmentation)
