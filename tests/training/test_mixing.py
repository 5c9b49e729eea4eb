"""Mixup: against loops over examples, and as an identity where the weight is 1."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification

from distiller import config
from distiller.training.batching import ViewCollator, count
from distiller.training.mixing import Mix, draw, embedded, mix_of, mixed
from training.tiny import Eq1, Examples, batch, pad, student, teacher, term

SAME = {"rtol": 1e-5, "atol": 1e-6}


@dataclass(frozen=True)
class Options:
    alpha: float = 0.4
    per: str = "pair"
    mask: str = "union"
    align_segments: bool = False


def with_mix(examples: dict[str, Any], mix: Mix, mask: str = "union") -> dict[str, Any]:
    """The examples, and themselves mixed as the augmented view."""
    return {**examples, "augmented": mixed(examples, mix, mask=mask)}


def whole(size: int) -> Mix:
    return Mix(torch.randperm(size, generator=torch.Generator().manual_seed(3)), torch.ones(size))


def objective(**given: Any) -> config.Objective:
    return config.Objective(**{"beta1": 0, "beta2": 0, "augmented_label": "gold"} | given)


def test_mixed_embeddings_agree_with_a_loop_over_examples_and_tokens() -> None:
    examples, small = batch(5), student()
    mix = draw(5, Options(), (0,))
    found = embedded(small, mixed(examples, mix, mask="union"))
    table, ids = small.get_input_embeddings().weight, examples["input_ids"]
    assert "input_ids" not in found
    for row in range(5):
        weight, other = float(mix.weight[row]), int(mix.partner[row])
        for position in range(ids.shape[1]):
            expected = weight * table[ids[row, position]] + (1 - weight) * table[ids[other, position]]
            torch.testing.assert_close(found["inputs_embeds"][row, position], expected, **SAME)
            either = max(examples["attention_mask"][row, position], examples["attention_mask"][other, position])
            assert found["attention_mask"][row, position] == either


@pytest.mark.parametrize("losses", [("mse", "pkd"), ("mi_alpha",), ("attention_mse",)])
def test_a_weight_of_one_gives_the_original_view(losses: tuple[str, ...]) -> None:
    examples = batch(6)
    wish = objective(beta1=0.7, gamma1=0.4, beta2=0.7, gamma2=0.4, intermediate=[term(loss) for loss in losses])
    _, components = Eq1(wish, student(), teacher())(with_mix(examples, whole(6), mask="first"))
    for name, value in components.items():
        if not name.startswith("augmented_"):
            torch.testing.assert_close(components[f"augmented_{name}"], value, **SAME)


def test_a_weight_of_zero_gives_the_partners() -> None:
    features = [feature for feature in (Examples(40)[n] for n in range(40)) if len(feature["input_ids"]) == 7]
    examples = pad(features)  # of one length, so that no mask is wider than the partner's own
    mix = whole(len(features))._replace(weight=torch.zeros(len(features)))
    wish = objective(beta2=1, gamma2=1)
    total, _ = Eq1(wish, student(), teacher())(with_mix(examples, mix))
    swapped = {name: value[mix.partner] for name, value in examples.items()}
    torch.testing.assert_close(total, Eq1(wish, student(), teacher())({**examples, "augmented": swapped})[0], **SAME)


@given(seed=st.integers(0, 2**16), mask=st.sampled_from(["union", "first"]))
@settings(deadline=None, max_examples=10)
def test_gold_classes_are_mixed_and_the_teacher_is_asked_about_the_mixture(seed: int, mask: str) -> None:
    examples, small, large = batch(5, seed=seed), student(labels=3), teacher(labels=3)
    mix = draw(5, Options(mask=mask), (seed,))
    view = mixed(examples, mix, mask=mask)
    with torch.no_grad():
        inputs = [
            {name: embedded(model, view)[name] for name in ("inputs_embeds", "attention_mask")}
            for model in (small, large)
        ]
        guess, scores = small(**inputs[0]).logits, large(**inputs[1]).logits
    labels = F.one_hot(examples["labels"], 3).float()
    blended = mix.weight[:, None] * labels + (1 - mix.weight[:, None]) * labels[mix.partner]
    expected = 0.6 * F.mse_loss(guess, scores) + 0.8 * F.cross_entropy(guess, blended)
    wish = objective(prediction={"name": "mse"}, beta2=0.6, gamma2=0.8)
    total, _ = Eq1(wish, small, large)({**examples, "augmented": view})
    torch.testing.assert_close(total, expected, **SAME)


def test_numbers_are_mixed_before_they_are_compared() -> None:
    examples, small = batch(6), student(labels=1)
    examples["labels"] = torch.linspace(0, 5, 6)
    mix = draw(6, Options(), (1,))
    view = mixed(examples, mix, mask="union")
    found = embedded(small, view)
    guess = small(inputs_embeds=found["inputs_embeds"], attention_mask=found["attention_mask"]).logits[:, 0]
    total, _ = Eq1(objective(gamma2=1), small)({**examples, "augmented": view})
    torch.testing.assert_close(total, F.mse_loss(guess, mix.blend(examples["labels"])), **SAME)


@pytest.mark.parametrize("kind", ["tagging", "qa"])
def test_absent_labels_of_tokens_and_spans_weigh_nothing(kind: str) -> None:
    shape = BertConfig(vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=16, num_labels=3 if kind == "tagging" else 2)  # fmt: skip
    torch.manual_seed(0)
    small: Any = (BertForTokenClassification if kind == "tagging" else BertForQuestionAnswering)(shape).eval()
    examples = batch(5)
    mask = examples["attention_mask"]
    random = torch.Generator().manual_seed(1)
    if kind == "tagging":
        labels = torch.randint(0, 3, mask.shape, generator=random)
        labels[(torch.rand(mask.shape, generator=random) < 0.4) | (mask == 0)] = -100
    else:
        labels = torch.stack([torch.zeros(5, dtype=torch.long), mask.sum(1) - 1], dim=1)
        labels[[1, 3]] = -100
    examples |= {"labels": labels, "output_mask": mask}
    mix = draw(5, Options(), (2,))
    view = mixed(examples, mix, mask="union")
    found = embedded(small, view)
    output = small(inputs_embeds=found["inputs_embeds"], attention_mask=found["attention_mask"])
    if kind == "tagging":
        scores = output.logits
    else:
        scores = torch.stack([output.start_logits, output.end_logits], 1)
        scores = scores.masked_fill(view["output_mask"][:, None] == 0, -1e4)
    loss, weight = 0.0, 0.0
    for row in range(5):
        for share, source in ((mix.weight[row], row), (1 - mix.weight[row], int(mix.partner[row]))):
            for place in range(labels.shape[1]):
                if (label := int(labels[source, place])) != -100:
                    loss -= float(share * scores[row, place].log_softmax(-1)[label])
                    weight += float(share)
    eq1 = Eq1Of(kind, small)
    torch.testing.assert_close(eq1({**examples, "augmented": view}), torch.tensor(loss / weight), **SAME)


class Eq1Of(Eq1):
    """Only the gold labels of the augmented view, for a model of another kind."""

    def __init__(self, kind: Any, small: Any) -> None:
        from distiller.training.distillation_model import DistillationModel
        from distiller.training.objective import DistillationObjective, model_shape

        parts = DistillationObjective(objective(gamma2=1), student=model_shape(small.config), teacher=None, kind=kind)
        self.model, self.teacher = DistillationModel(small, parts).eval(), None

    def __call__(self, examples: Any) -> Any:
        return super().__call__(examples)[0].detach()


def test_teacher_and_student_share_the_pairing_and_mix_their_own_tables() -> None:
    examples = {**batch(6), "teacher": {**batch(6, seed=9)}}
    collate = ViewCollator(pad, pad, mixup=Options(), seed=5)
    features = [{**Examples(6)[n], "teacher": Examples(6, 9)[n], "epoch": 2} for n in range(6)]
    for feature in features:
        feature["augmented"] = {name: value for name, value in feature.items() if name != "epoch"}
    found = collate(features)["augmented"]
    assert torch.equal(found["mixup_weight"], found["teacher"]["mixup_weight"])
    assert torch.equal(found["mixup_partner"], found["teacher"]["mixup_partner"])
    torch.testing.assert_close(found["teacher"]["input_ids"], examples["teacher"]["input_ids"])
    small, large = student(), teacher()
    assert embedded(small, found)["inputs_embeds"].shape[-1] == 16
    assert embedded(large, found["teacher"])["inputs_embeds"].shape[-1] == 32


def test_the_draw_depends_on_seed_epoch_and_examples_alone() -> None:
    def collated(seed: int, epoch: int, first: int) -> Any:
        features = [{**Examples(12)[n], "epoch": epoch} for n in range(first, first + 6)]
        for feature in features:
            feature["augmented"] = {name: value for name, value in feature.items() if name != "epoch"}
        mix = mix_of(ViewCollator(pad, mixup=Options(), seed=seed)(features)["augmented"])
        assert mix is not None
        return mix

    same, again = collated(0, 1, 0), collated(0, 1, 0)
    assert torch.equal(same.weight, again.weight)
    assert torch.equal(same.partner, again.partner)
    for other in (collated(1, 1, 0), collated(0, 2, 0), collated(0, 1, 6)):
        assert not torch.equal(same.weight, other.weight)


def test_weights_follow_the_beta_distribution_and_partners_are_a_permutation() -> None:
    mix = draw(20_000, Options(alpha=0.4), (0,))
    assert sorted(mix.partner.tolist()) == list(range(20_000))
    variance = 1 / (4 * (2 * 0.4 + 1))  # of Beta(a, a)
    values = mix.weight.double().numpy()
    assert abs(values.mean() - 0.5) < 4 * np.sqrt(variance / 20_000)
    assert abs(values.var() - variance) < 0.01
    shared = draw(50, replace(Options(), per="batch"), (0,)).weight
    assert len(set(shared.tolist())) == 1


def test_gradients_reach_the_students_embeddings_and_not_the_teacher() -> None:
    large = teacher()
    eq1 = Eq1(objective(beta2=1), student(), large)
    gradients = eq1.gradients(with_mix(batch(6), draw(6, Options(), (0,))))
    assert gradients["student.bert.embeddings.word_embeddings.weight"].abs().sum() > 0
    assert all(parameter.grad is None for parameter in large.parameters())


def test_totals_count_the_union_of_tokens_once() -> None:
    examples = batch(6)
    mix = draw(6, Options(), (0,))
    totals = count([with_mix(examples, mix)])
    mask = examples["attention_mask"]
    assert totals["augmented"].tokens == ((mask + mask[mix.partner]) > 0).sum()
    assert totals["original"].tokens == mask.sum()
