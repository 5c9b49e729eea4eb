"""The objective on a batch: the loss of two tokens by hand, padding, the triple loss by brute force, exact zeros."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from distiller.config.translation import Objective
from distiller.errors import ConfigError
from distiller.models.encoder_decoder import Seq2SeqReader, decoder_inputs
from distiller.training.batching import count
from distiller.training.view import View
from distiller.translation.batches import collate
from distiller.translation.objective import TranslationObjective, model_shapes
from distiller.translation.tokenizer import END
from translation.tiny import model

V = 20
START = V - 1
ROWS = [
    {"id": 0, "source": [5, 6, 7, END], "target": [8, END]},
    {"id": 1, "source": [9, END], "target": [10, 11, 12, END]},
    {"id": 2, "source": [6, 7, END], "target": [13, 9, END]},
]


def losses(
    wish: dict[str, Any], student: PreTrainedModel, teacher: PreTrainedModel | None, batch: dict[str, Any]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    objective = TranslationObjective(
        Objective.model_validate(wish),
        student=model_shapes(student),
        teacher=model_shapes(teacher) if teacher else None,
    )
    hidden = bool(objective.terms)
    view = View(
        student=Seq2SeqReader(student, hidden=hidden)(batch),
        teacher=Seq2SeqReader(teacher, hidden=hidden)(batch) if teacher else None,
        labels=batch["labels"],
        totals=count([batch])["original"],
        output_mask=batch["output_mask"],
    )
    return objective({"original": view})


def test_the_loss_of_two_tokens_by_hand() -> None:
    """The first target is predicted from the start token alone, and counts as much as the second."""
    made = model(V).eval()
    loss, parts = losses({"beta1": 0}, made, None, collate(ROWS[:1]))
    ids, mask = torch.tensor([[5, 6, 7, END]]), torch.ones(1, 4)
    first = made(input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor([[START]])).logits[0, 0]
    second = made(input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor([[START, 8]])).logits[0, 1]
    by_hand = -(first.log_softmax(-1)[8] + second.log_softmax(-1)[END]) / 2
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(parts["label"], by_hand.detach())


def test_a_start_token_that_is_padding_hides_no_target() -> None:
    """Which positions count follows from the labels: Marian's decoder starts from padding."""
    made = model(V).eval()
    assert made.config.decoder_start_token_id == made.config.pad_token_id
    _, parts = losses({"beta1": 0}, made, None, collate(ROWS))
    alone = [losses({"beta1": 0}, made, None, collate([row]))[1]["label"] * len(row["target"]) for row in ROWS]
    torch.testing.assert_close(parts["label"], sum(alone) / sum(len(row["target"]) for row in ROWS))


def test_a_batch_is_the_mean_over_the_tokens_of_its_sentences() -> None:
    student, teacher = model(V).eval(), model(V, seed=1, encoder_layers=2).eval()
    wish = {"gamma1": 0.5, "beta1": 2.0, "cosine": 0.7, "intermediate": [{"loss": "mse", "side": "decoder"}]}
    together, parts = losses(wish, student, teacher, collate(ROWS))
    alone = [(row, losses(wish, student, teacher, collate([row]))[1]) for row in ROWS]
    for name in ("label", "prediction"):
        weighted = sum(len(row["target"]) * found[name] for row, found in alone) / 9
        torch.testing.assert_close(parts[name], weighted, rtol=1e-4, atol=1e-6)
    cosine = (parts["encoder_cos"] + parts["decoder_cos"]) / 2  # one pair of layers each
    total = 0.5 * parts["label"] + 2 * parts["prediction"] + 0.7 * cosine + parts["decoder_mse"]
    torch.testing.assert_close(together.detach(), total)


def test_the_cosine_is_the_mean_over_tokens_and_matched_layers() -> None:
    student, teacher = model(V).eval(), model(V, seed=1, encoder_layers=2).eval()
    batch = collate(ROWS)
    loss, parts = losses({"beta1": 0, "cosine": 1}, student, teacher, batch)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    inputs["decoder_input_ids"] = decoder_inputs(student, batch["labels"])
    s, t = (one(**inputs, decoder_attention_mask=batch["output_mask"], output_hidden_states=True)
            for one in (student, teacher))  # fmt: skip
    pairs = [
        (s.encoder_hidden_states[1], t.encoder_hidden_states[2], batch["attention_mask"]),
        (s.decoder_hidden_states[1], t.decoder_hidden_states[1], batch["output_mask"]),
    ]
    means = [1 - F.cosine_similarity(a[mask.bool()], b[mask.bool()], dim=-1).mean() for a, b, mask in pairs]
    found = torch.stack([parts["encoder_cos"], parts["decoder_cos"]])
    torch.testing.assert_close(found, torch.stack(means).detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss.detach(), parts["label"] + found.mean())


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it() -> None:
    made = model(V).eval()
    _, parts = losses({"gamma1": 1, "beta1": 1, "cosine": 1}, made, made, collate(ROWS))
    assert abs(parts["prediction"]) < 1e-6
    assert abs(parts["encoder_cos"]) + abs(parts["decoder_cos"]) < 1e-6


def test_mutual_information_works_on_the_encoder_and_trains_its_critic() -> None:
    student, teacher = model(V), model(V, seed=1, width=16, heads=2)
    critic = {"name": "mlp", "options": {"hidden": 8, "embedding": 4}}
    objective = TranslationObjective(
        Objective.model_validate({"beta1": 0, "intermediate": [{"loss": "mi_alpha", "critic": critic}]}),
        student=model_shapes(student),
        teacher=model_shapes(teacher),
    )
    batch = collate(ROWS)
    view = View(
        student=Seq2SeqReader(student, hidden=True)(batch),
        teacher=Seq2SeqReader(teacher.requires_grad_(False), hidden=True)(batch),
        labels=batch["labels"],
        totals=count([batch])["original"],
        output_mask=batch["output_mask"],
    )
    total, parts = objective({"original": view})
    total.backward()
    assert "encoder_mi_alpha" in parts
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in objective.parameters())


@pytest.mark.parametrize("wish", [{}, {"beta1": 0, "cosine": 1}, {"beta1": 0, "intermediate": [{"loss": "mse"}]}])
def test_a_comparison_without_a_teacher_is_refused(wish: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="there is none"):
        losses(wish, model(V), None, collate(ROWS))


def test_what_translation_does_not_have_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="attention scores"):
        losses({"intermediate": [{"loss": "attention_mse"}]}, model(V), model(V), collate(ROWS))
    both = {"loss": "mi_alpha", "critic": {"name": "mlp", "concat_views": True}}
    with pytest.raises(ConfigError, match="needs an augmented view"):
        losses({"intermediate": [both]}, model(V), model(V), collate(ROWS))


def test_a_weight_may_be_a_share_of_the_gradient_and_change() -> None:
    student, teacher = model(V), model(V, seed=1, encoder_layers=2)
    terms = [{"loss": "mse", "weight": {"share": 0.3}}, {"loss": "cos", "side": "decoder", "warmup": 0.5}]
    wish = Objective.model_validate({"beta1": 0, "intermediate": terms})
    objective = TranslationObjective(wish, student=model_shapes(student), teacher=model_shapes(teacher))
    batch = collate(ROWS)
    view: Any = View(
        student=Seq2SeqReader(student, hidden=True)(batch),
        teacher=Seq2SeqReader(teacher, hidden=True)(batch),
        labels=batch["labels"],
        totals=count([batch])["original"],
        output_mask=batch["output_mask"],
    )
    assert objective.measures(0)
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    objective.progress = 0.25
    total, parts = objective({"original": view}, trained)
    assert float(objective.balance.latest["encoder_mse"]) == pytest.approx(0.3, abs=0.01)
    weight = objective.balance.weights[0]
    torch.testing.assert_close(
        total.detach(), parts["label"] + weight * parts["encoder_mse"] + 0.5 * parts["decoder_cos"]
    )
