"""Token-level outputs: what counts, what is divided by what, and that padding never does."""

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification

from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.config import Objective
from distiller.models.signals import SignalReader, Signals
from distiller.training.batching import count
from distiller.training.mixing import Mix, mixed
from distiller.training.objective import DistillationObjective, ModelShape
from distiller.training.problem import kind_of
from distiller.training.readout import Kind
from distiller.training.view import Totals, View

CLASSES = 3
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
OUTPUTS = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]])
TAGS = torch.tensor([[-100, 2, -100, 0, -100], [-100, 1, -100, -100, -100]])
SPANS = torch.tensor([[1, 3], [-100, -100]])


def view(kind: Kind, seed: int, *, labels: Tensor | None = None, extra: int = 0, outputs: Tensor = OUTPUTS) -> View:
    """Random logits on both sides; `extra` columns of garbage behind the end of every row."""
    generator = torch.Generator().manual_seed(seed)
    width = CLASSES if kind == "tagging" else 2
    sides = [torch.randn(2, 5, width, generator=generator, dtype=torch.float64) for _ in range(2)]
    garbage = torch.Generator().manual_seed(seed + 99)
    logits = [F.pad(side, (0, 0, 0, extra)) for side in sides]
    for side in logits:
        side[:, 5:] = 50 * torch.randn(2, extra, width, generator=garbage, dtype=torch.float64)
    mask, shown = F.pad(MASK, (0, extra)), F.pad(outputs, (0, extra))
    if labels is None:
        labels = F.pad(TAGS, (0, extra), value=-100) if kind == "tagging" else SPANS
    batch = {"input_ids": mask, "attention_mask": mask, "output_mask": shown, "labels": labels}
    student = logits[0].requires_grad_()
    return View(
        Signals(student, {}, {}, mask), Signals(logits[1], {}, {}, mask), labels, count([batch])["original"], shown
    )


def evaluate(kind: Kind, seen: View, **wish: object) -> tuple[Tensor, dict[str, Tensor]]:
    objective = DistillationObjective(Objective(**wish), student=ModelShape(2, 8), teacher=ModelShape(2, 8), kind=kind)  # type: ignore[arg-type]
    return objective({"original": seen})


@pytest.mark.parametrize("seed", range(3))
def test_tagging_averages_over_the_batch_not_over_sentences(seed: int) -> None:
    seen = view("tagging", seed)
    _, parts = evaluate("tagging", seen, prediction="ce", gamma1=1.0)
    student, teacher = seen.student.logits, seen.teacher.logits  # type: ignore[union-attr]
    soft = hard = 0.0
    for row in range(2):
        for token in range(5):
            if OUTPUTS[row, token]:
                p, q = teacher[row, token].softmax(0), student[row, token].softmax(0)
                soft -= sum(float(p[c]) * math.log(float(q[c])) for c in range(CLASSES)) / 4
            if TAGS[row, token] != -100:
                hard -= math.log(float(student[row, token].softmax(0)[TAGS[row, token]])) / 3
    assert float(parts["prediction"]) == pytest.approx(soft, rel=1e-5)
    assert float(parts["label"]) == pytest.approx(hard, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_question_answering_masks_both_sides_and_averages_start_and_end(seed: int) -> None:
    seen = view("qa", seed)
    _, parts = evaluate("qa", seen, prediction="kl", gamma1=1.0)
    student, teacher = seen.student.logits, seen.teacher.logits  # type: ignore[union-attr]
    soft = 0.0
    for row in range(2):
        allowed = OUTPUTS[row].bool()
        for side in range(2):
            p, q = (logits[row, allowed, side].softmax(0) for logits in (teacher, student))
            soft += float((p * (p / q).log()).sum()) / 2 / 2
    allowed = OUTPUTS[0].nonzero().squeeze(1).tolist()
    hard = -sum(
        float(student[0, allowed, side].log_softmax(0)[allowed.index(int(SPANS[0, side]))]) for side in range(2)
    )
    assert float(parts["prediction"]) == pytest.approx(soft, rel=1e-5)
    assert float(parts["label"]) == pytest.approx(hard / 2, rel=1e-5)  # the window without an answer is left out


@pytest.mark.parametrize("kind", ["tagging", "qa"])
@pytest.mark.parametrize("prediction", ["ce", "kl", "mse"])
def test_padding_changes_neither_value_nor_gradient(kind: Kind, prediction: str) -> None:
    short, long = view(kind, 5), view(kind, 5, extra=3)
    results = [evaluate(kind, seen, prediction=prediction, gamma1=1.0)[0] for seen in (short, long)]
    torch.testing.assert_close(results[0], results[1])
    for result in results:
        result.backward()
    torch.testing.assert_close(short.student.logits.grad, long.student.logits.grad[:, :5])  # type: ignore[index]
    assert not long.student.logits.grad[:, 5:].any()  # type: ignore[index]


@pytest.mark.parametrize("kind", ["tagging", "qa"])
@pytest.mark.parametrize("prediction", ["ce", "kl", "mse"])
def test_a_batch_in_which_nothing_counts_gives_zero(kind: Kind, prediction: str) -> None:
    nothing = torch.full_like(TAGS if kind == "tagging" else SPANS, -100)
    seen = view(kind, 1, labels=nothing, outputs=torch.zeros_like(OUTPUTS))
    totals = type(seen.totals)(*(number.clamp(min=1) for number in seen.totals))
    seen = View(seen.student, seen.teacher, seen.labels, totals, seen.output_mask)
    loss, _ = evaluate(kind, seen, prediction=prediction, gamma1=1.0)
    loss.backward()
    assert float(loss) == 0.0
    assert not seen.student.logits.grad.any()  # type: ignore[union-attr]


SMALL = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, num_labels=CLASSES
)


@pytest.mark.parametrize(("kind", "head"), [("tagging", BertForTokenClassification), ("qa", BertForQuestionAnswering)])
def test_the_cache_gives_the_outputs_of_every_token_back(kind: str, head: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = deepcopy(SMALL)
    shape.num_labels = CLASSES if kind == "tagging" else 2
    model = head(shape).eval()
    assert kind_of(model) == kind
    lengths = [5, 3, 4]
    reader = SignalReader(model, hidden_layers=[1])
    rows = [torch.randint(1, 50, (length,)) for length in lengths]

    def batch(ids: list[int]) -> dict[str, Tensor]:
        width = max(lengths[i] for i in ids)
        tokens = torch.stack([F.pad(rows[i], (0, width - lengths[i])) for i in ids])
        return {"input_ids": tokens, "attention_mask": (tokens > 0).long(), "example_ids": torch.tensor(ids)}

    with torch.no_grad():
        build_teacher_cache(tmp_path, reader, [batch([1, 2]), batch([0])], lengths, [1])
        asked = batch([2, 0, 1])
        online = reader(asked)
    stored = TeacherCache(tmp_path).read(asked["example_ids"], asked["attention_mask"])
    valid = asked["attention_mask"].bool()
    torch.testing.assert_close(stored.logits[valid], online.logits[valid], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stored.hidden_states[1][valid], online.hidden_states[1][valid], rtol=1e-4, atol=1e-5)
    assert not stored.logits[~valid].any()


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("absent", [(), (1,), (0, 3, 4), (0, 1, 2, 3, 4)])
def test_gold_labels_are_averaged_over_the_rows_that_have_one(kind: Kind, absent: tuple[int, ...]) -> None:
    width = 3 if kind == "classification" else 1
    logits = torch.randn(5, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    labels = torch.tensor([2, 0, 1, 1, 2]) if kind == "classification" else torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0])
    labels[list(absent)] = -100 if kind == "classification" else math.nan
    ids = torch.ones(5, 2, dtype=torch.long)
    totals = count([{"input_ids": ids, "attention_mask": ids, "labels": labels}])["original"]
    totals = Totals(*(number.clamp(min=1) for number in totals))  # as the trainer divides
    seen = View(Signals(logits, {}, {}, ids), None, labels, totals)
    loss, parts = evaluate(kind, seen, beta1=0.0, gamma1=1.0)
    loss.backward()
    there = [row for row in range(5) if row not in absent]
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(1) > 0, torch.tensor([row in there for row in range(5)]))
    if there and kind == "classification":
        expected = F.cross_entropy(logits[there], labels[there])
    elif there:
        expected = F.mse_loss(logits[there, 0], labels[there].double())
    else:
        expected = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(parts["label"].double(), expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_mixed_rows_of_which_some_have_no_label(kind: Kind) -> None:
    numbers = kind == "regression"
    logits = torch.randn(4, 1 if numbers else 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels = torch.tensor([0.5, math.nan, 2.0, math.nan]) if numbers else torch.tensor([2, -100, 1, -100])
    mix = Mix(torch.tensor([2, 0, 3, 1]), torch.tensor([0.75, 0.5, 0.25, 1.0]))
    ids = torch.ones(4, 2, dtype=torch.long)
    batch = mixed({"input_ids": ids, "attention_mask": ids, "labels": labels}, mix, mask="union")
    seen = View(Signals(logits, {}, {}, ids), None, labels, count([batch])["original"], mix=mix)
    _, parts = evaluate(kind, seen, beta1=0.0, gamma1=1.0)
    if numbers:  # of the four only the first is mixed of two numbers
        expected = (logits[0, 0] - (0.75 * 0.5 + 0.25 * 2.0)) ** 2
    else:
        shares = [(0, 2, 0.75), (0, 1, 0.25), (1, 2, 0.5), (2, 1, 0.25)]  # of the third the partner has no class
        loss = sum(share * F.cross_entropy(logits[row], torch.tensor(label)) for row, label, share in shares)
        expected = loss / sum(share for *_, share in shares)
    torch.testing.assert_close(parts["label"].double(), expected, rtol=1e-5, atol=1e-6)


def test_soft_labels_of_independent_classes_are_binary() -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    ids = torch.ones(4, 2, dtype=torch.long)
    gold = torch.tensor([[1.0, 0, 1], [0, 0, 0], [math.nan] * 3, [1, 1, 1]])
    totals = count([{"input_ids": ids, "attention_mask": ids, "labels": gold}])["original"]
    seen = View(Signals(student, {}, {}, ids), Signals(teacher, {}, {}, ids), gold, totals)
    _, parts = evaluate("multilabel", seen, prediction="ce", gamma1=1.0)
    soft = F.binary_cross_entropy_with_logits(student, teacher.sigmoid())
    torch.testing.assert_close(parts["prediction"].double(), soft, rtol=1e-5, atol=1e-6)
    hard = F.binary_cross_entropy_with_logits(student[[0, 1, 3]], gold[[0, 1, 3]].double())
    torch.testing.assert_close(parts["label"].double(), hard, rtol=1e-5, atol=1e-6)
    _, parts = evaluate("multilabel", seen, prediction="mse")
    # half of it: the score of `no` is 0 on both sides
    torch.testing.assert_close(parts["prediction"].double(), F.mse_loss(student, teacher) / 2, rtol=1e-5, atol=1e-6)


def test_class_weights_multiply_the_label_loss() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels, weights = torch.tensor([2, 0, -100, 1, 2]), torch.tensor([0.5, 2.0, 1.5])
    ids = torch.ones(5, 2, dtype=torch.long)
    totals = count([{"input_ids": ids, "attention_mask": ids, "labels": labels}])["original"]
    seen = View(Signals(logits, {}, {}, ids), None, labels, totals, class_weights=weights)
    _, parts = evaluate("classification", seen, beta1=0.0, gamma1=1.0)
    expected = F.cross_entropy(logits, labels, weight=weights.double(), reduction="sum") / 4
    torch.testing.assert_close(parts["label"].double(), expected, rtol=1e-5, atol=1e-6)
