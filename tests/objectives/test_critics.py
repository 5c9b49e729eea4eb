"""Critics: orientation, chunks, where gradients go."""

import math

import pytest
import torch
from torch import Tensor

from distiller.objectives.critics import CRITICS, joint, mlp, projection, transformer
from distiller.objectives.mutual_information import mi_alpha
from distiller.objectives.towers import TransformerTower, sinusoids

CASES = [
    ("transformer", {}),
    ("transformer", {"baseline": "head"}),
    ("transformer", {"baseline": "none", "normalise": False}),
    ("mlp", {}),
    ("mlp", {"pool": "mean", "layers": 1}),
    ("joint", {"chunk": 2}),
    ("joint", {"network": "mlp", "baseline": "none"}),
]
cases = pytest.mark.parametrize(("name", "options"), CASES, ids=str)


def build(name: str, options: dict, *, dropout: bool = False) -> torch.nn.Module:
    torch.manual_seed(0)
    critic = CRITICS[name].function(12, 8, **CRITICS.options(name, options))
    with torch.no_grad():  # the baseline starts at 0, which would hide what it does
        for parameter in critic.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return critic.train(dropout)


def batch(seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(5, 4, 8, generator=generator), torch.randn(5, 6, 12, generator=generator)
    student_mask = torch.arange(4) < torch.tensor([4, 2, 3, 1, 4])[:, None]
    teacher_mask = torch.arange(6) < torch.tensor([6, 2, 5, 3, 1])[:, None]
    return student, student_mask, teacher, teacher_mask


@cases
def test_rows_are_teacher_examples_and_columns_student_examples(name: str, options: dict) -> None:
    critic, (student, student_mask, teacher, teacher_mask) = build(name, options), batch()
    order = torch.tensor([3, 0, 4, 1, 2])
    scores, log_q = critic(student, student_mask, teacher, teacher_mask)
    by_row, row_log_q = critic(student, student_mask, teacher[order], teacher_mask[order])
    by_column, _ = critic(student[order], student_mask[order], teacher, teacher_mask)
    assert scores.shape == (5, 5)
    torch.testing.assert_close(by_row, scores[order])
    torch.testing.assert_close(by_column, scores[:, order])
    assert not torch.allclose(by_row, scores)
    if log_q is not None:
        assert log_q.shape == (5,)
        torch.testing.assert_close(row_log_q, log_q[order])
    assert (log_q is None) == (options.get("baseline") == "none")


@cases
def test_loss_trains_student_and_critic_but_not_the_teacher(name: str, options: dict) -> None:
    critic, (student, student_mask, teacher, teacher_mask) = build(name, options, dropout=True), batch()
    student.requires_grad_()
    teacher.requires_grad_()
    mi_alpha(*critic(student, student_mask, teacher, teacher_mask), alpha=0.5).mean().backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    for part, parameter in critic.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.isfinite().all(), part


@cases
def test_an_example_of_padding_only_harms_no_other(name: str, options: dict) -> None:
    critic, (student, student_mask, teacher, teacher_mask) = build(name, options), batch()
    expected, _ = critic(student, student_mask, teacher, teacher_mask)
    student_mask, teacher_mask = student_mask.clone(), teacher_mask.clone()
    student_mask[0] = teacher_mask[0] = False
    for context in (torch.enable_grad(), torch.no_grad()):  # without gradients torch takes another path
        with context:
            scores, _ = critic(student, student_mask, teacher, teacher_mask)
        assert scores.isfinite().all()
        torch.testing.assert_close(scores[1:, 1:], expected[1:, 1:])


@pytest.mark.parametrize("name", ["transformer", "mlp", "joint"])
def test_baseline_starts_at_zero(name: str) -> None:
    for baseline in ["tower", "head"] if name != "joint" else ["tower"]:
        critic = CRITICS[name].function(12, 8, baseline=baseline)
        _, log_q = critic(*batch())
        assert not log_q.any()


def test_chunks_change_nothing_but_memory() -> None:
    results = []
    for chunk in (1, 2, 5):
        critic, (student, student_mask, teacher, teacher_mask) = build("joint", {"chunk": chunk}), batch()
        scores, _ = critic(student.requires_grad_(), student_mask, teacher, teacher_mask)
        scores.square().sum().backward()
        results.append((scores.detach(), student.grad, critic.pair.separator.grad))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_split_first_layer_is_the_layer_on_the_joined_vector() -> None:
    critic, (student, _, teacher, _) = build("joint", {"network": "mlp", "layers": 3}), batch()
    ones = torch.ones(5, 4), torch.ones(5, 6)
    scores, _ = critic(student, ones[0], teacher, ones[1])
    pair = critic.pair
    weight = torch.cat([pair.from_student.weight, pair.from_teacher.weight], 1)
    for i in range(5):
        for k in range(5):
            first = weight @ torch.cat([student[k, 0], teacher[i, 0]]) + pair.from_student.bias
            expected = pair.output(pair.body(first.relu()))
            torch.testing.assert_close(scores[i, k], expected.squeeze(), rtol=1e-4, atol=1e-5)


def test_scores_are_cosines_times_a_scale_that_stays_in_bounds() -> None:
    critic = mlp(12, 8, baseline="none")
    assert critic(*batch())[0].abs().max() <= 10 + 1e-4
    with torch.no_grad():
        critic.log_scale.fill_(50.0)
    scores, _ = critic(*batch())
    assert scores.abs().max() <= 100 + 1e-3
    (gradient,) = torch.autograd.grad(scores.sum(), critic.log_scale)
    assert gradient != 0  # it can come back


def test_scores_keep_full_precision_under_autocast() -> None:
    critic = build("mlp", {})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, log_q = critic(*batch())
    assert scores.dtype == log_q.dtype == torch.float32


@pytest.mark.parametrize(("width", "heads"), [(312, 8), (768, 8), (12, 6), (7, 7), (13, 1)])
def test_heads_divide_the_width(width: int, heads: int) -> None:
    tower = TransformerTower(width, 1, layers=1, feedforward=4, heads=8, dropout=0.0)
    assert tower.encoder.layers[0].self_attn.num_heads == heads


def test_default_transformer_has_the_published_size() -> None:
    critic = transformer(768, 312)
    assert len(critic.teacher.encoder.layers) == 2
    assert critic.teacher.encoder.layers[0].linear1.out_features == 256
    assert critic.teacher.output.out_features == 64
    first, second = (layer.linear1.weight for layer in critic.student.encoder.layers)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["transformer", "joint"])
def test_order_of_tokens_counts_on_both_sides(name: str) -> None:
    critic, (student, _, teacher, _) = build(name, {}), batch()
    ones = torch.ones(5, 4), torch.ones(5, 6)
    scores, _ = critic(student, ones[0], teacher, ones[1])
    assert not torch.allclose(critic(student.flip(1), ones[0], teacher, ones[1])[0], scores)
    assert not torch.allclose(critic(student, ones[0], teacher.flip(1), ones[1])[0], scores)


@pytest.mark.parametrize("width", [6, 7])
def test_positions_follow_the_published_formula(width: int) -> None:
    table = sinusoids(torch.zeros(2, 5, width))
    for position in range(5):
        for k in range(width):
            angle = position / 10_000 ** ((k - k % 2) / width)
            expected = math.cos(angle) if k % 2 else math.sin(angle)
            assert table[position, k].item() == pytest.approx(expected, abs=1e-5)


def test_projection_starts_small_and_without_bias() -> None:
    torch.manual_seed(0)
    linear = projection(312, 768)
    assert linear.weight.shape == (768, 312)
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not linear.bias.any()


def test_joint_critic_reads_both_sides() -> None:
    torch.manual_seed(0)
    critic = joint(12, 8).eval()
    scores, _ = critic(*batch())
    interaction = scores - scores.mean(0) - scores.mean(1, keepdim=True) + scores.mean()
    assert interaction.abs().max() > 1e-4
