"""Critics of mutual information: networks that score how well a student example fits a teacher example.

Every critic maps `(student_hidden [b, L, d_S], student_mask [b, L], teacher_hidden [b, L', d_T], teacher_mask [b, L'])`
to `(scores [b, b], log_baseline [b] or None)`; row = teacher example, column = student example. The teacher's
hidden states get no gradient. Weights start from torch's global generator: seed it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from distiller.objectives.shapes import HiddenStates, Mask, Scores, at_least_float32, valid_tokens
from distiller.objectives.towers import MlpTower, Pool, TransformerTower, perceptron, pooled, sinusoids
from distiller.registry import Count, Entry, Family, Probability

Baseline = Literal["tower", "head", "none"]
Tower = Callable[[int, int], TransformerTower | MlpTower]
"""Builds a tower from the width of its input and of its output."""

LARGEST_SCALE = 100.0


def transformer(
    teacher_width: int,
    student_width: int,
    *,
    layers: Count = 2,
    feedforward: Count = 256,
    heads: Count = 8,
    dropout: Probability = 0.1,
    embedding: Count = 64,
    normalise: bool = True,
    baseline: Baseline = "tower",
) -> nn.Module:
    """Separable critic with a small Transformer over each side's tokens (the paper's default).

    Scores are inner products of two `embedding`-wide vectors; with `normalise` these have length 1 and are multiplied
    by a learnt scale of at most 100. `baseline`: log q from a third network (`tower`), from a further output of the
    teacher's (`head`, cheaper), or 0 (`none`). Source: arXiv:2109.11105, section 3.2 and appendix.
    """
    tower = partial(TransformerTower, layers=layers, feedforward=feedforward, heads=heads, dropout=dropout)
    return SeparableCritic(
        tower, teacher_width, student_width, embedding=embedding, normalise=normalise, baseline=baseline
    )


def mlp(
    teacher_width: int,
    student_width: int,
    *,
    layers: Count = 4,
    hidden: Count = 512,
    pool: Pool = "cls",
    embedding: Count = 64,
    normalise: bool = True,
    baseline: Baseline = "tower",
) -> nn.Module:
    """Separable critic with a perceptron over each side's first token, or over the mean of its tokens.

    `layers` counts linear layers: the paper has 4, the authors' code 3. The other options are those of `transformer`.
    Source: arXiv:2109.11105, section 3.2 and appendix.
    """
    tower = partial(MlpTower, layers=layers, hidden=hidden, pool=pool)
    return SeparableCritic(
        tower, teacher_width, student_width, embedding=embedding, normalise=normalise, baseline=baseline
    )


def joint(
    teacher_width: int,
    student_width: int,
    *,
    network: Literal["transformer", "mlp"] = "transformer",
    layers: Count = 2,
    feedforward: Count = 256,
    heads: Count = 8,
    dropout: Probability = 0.1,
    pool: Pool = "cls",
    chunk: Count = 4,
    baseline: Literal["tower", "none"] = "tower",
) -> nn.Module:
    """Joint critic: one network reads both sides of every pair; about 2b times the cost of a separable one.

    `chunk` is the number of teacher examples scored at a time; each chunk is computed again in the backward pass, so
    that memory holds one. `mlp` has `layers` linear layers of width `feedforward` and reads what `pool` says.
    Source: Poole et al. 2019, arXiv:1905.06922, section 3.
    """
    tower: Tower
    if network == "transformer":
        tower = partial(TransformerTower, layers=layers, feedforward=feedforward, heads=heads, dropout=dropout)
        pair: nn.Module = TransformerPair(tower, teacher_width, student_width)
    else:
        tower = partial(MlpTower, layers=layers, hidden=feedforward, pool=pool)
        pair = MlpPair(teacher_width, student_width, layers=layers, hidden=feedforward, pool=pool)
    return JointCritic(pair, _zeroed(tower(teacher_width, 1), 0) if baseline == "tower" else None, chunk=chunk)


def projection(student_width: int, teacher_width: int) -> nn.Linear:
    """A linear map from student to teacher width: weights N(0, 0.02²), bias 0. Source: arXiv:1909.10351, eq. 8."""
    linear = nn.Linear(student_width, teacher_width)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear


class SeparableCritic(nn.Module):
    """A tower on each side; scores are inner products of what they return."""

    def __init__(
        self,
        tower: Tower,
        teacher_width: int,
        student_width: int,
        *,
        embedding: int,
        normalise: bool,
        baseline: Baseline,
    ) -> None:
        super().__init__()
        self.teacher = tower(teacher_width, embedding + (baseline == "head"))
        self.student = tower(student_width, embedding)
        self.baseline = _zeroed(tower(teacher_width, 1), 0) if baseline == "tower" else None
        if baseline == "head":
            _zeroed(self.teacher, embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0))) if normalise else None
        self.embedding = embedding

    def forward(
        self, student_hidden: HiddenStates, student_mask: Mask, teacher_hidden: HiddenStates, teacher_mask: Mask
    ) -> tuple[Scores, Tensor | None]:
        """`(scores [b, b], log_baseline [b] or None)`, see the head of this file."""
        rows, log_baseline = self.read_teacher(teacher_hidden, teacher_mask)
        return self.scores(rows, self.read_student(student_hidden, student_mask)), log_baseline

    def read_teacher(self, hidden: HiddenStates, mask: Mask) -> tuple[Tensor, Tensor | None]:
        """`(rows [b, embedding], log_baseline [b] or None)` of a teacher layer `[b, L, d_T]`."""
        hidden = hidden.detach()
        rows = at_least_float32(self.teacher(hidden, mask))
        log_baseline = None
        if self.baseline is not None:
            log_baseline = at_least_float32(self.baseline(hidden, mask)).squeeze(-1)
        elif rows.shape[-1] > self.embedding:
            rows, log_baseline = rows[:, :-1], rows[:, -1]
        return normalize(rows, dim=-1) if self.log_scale is not None else rows, log_baseline

    def read_student(self, hidden: HiddenStates, mask: Mask) -> Tensor:
        """`columns [b, embedding]` of student layer `[b, L, d_S]`."""
        columns = at_least_float32(self.student(hidden, mask))
        return normalize(columns, dim=-1) if self.log_scale is not None else columns

    def scores(self, rows: Tensor, columns: Tensor) -> Scores:
        """Scores `[b, b]` of what `read_teacher` and `read_student` returned."""
        if self.log_scale is not None:
            with torch.no_grad():  # in place, as CLIP does: beyond a clamp in the graph there is no gradient back
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
            rows = rows * self.log_scale.exp()
        with torch.autocast(rows.device.type, enabled=False):  # three digits are too few for scores up to 100
            return rows @ columns.T


class JointCritic(nn.Module):
    """One network over every pair of examples, in chunks of teacher rows."""

    def __init__(self, pair: nn.Module, baseline: nn.Module | None, *, chunk: int) -> None:
        super().__init__()
        self.pair = pair
        self.baseline = baseline
        self.chunk = chunk

    def forward(
        self, student_hidden: HiddenStates, student_mask: Mask, teacher_hidden: HiddenStates, teacher_mask: Mask
    ) -> tuple[Scores, Tensor | None]:
        """`(scores [b, b], log_baseline [b] or None)`, see the head of this file."""
        teacher_hidden = teacher_hidden.detach()
        rows = [
            checkpoint(self.pair, student_hidden, student_mask, hidden, mask, use_reentrant=False)
            for hidden, mask in zip(teacher_hidden.split(self.chunk), teacher_mask.split(self.chunk), strict=True)
        ]
        scores = at_least_float32(torch.cat(rows))
        if self.baseline is None:
            return scores, None
        return scores, at_least_float32(self.baseline(teacher_hidden, teacher_mask)).squeeze(-1)


class TransformerPair(nn.Module):
    """A Transformer over student tokens, a learnt separator and teacher tokens → a score for every pair."""

    def __init__(self, tower: Callable[[int, int], TransformerTower], teacher_width: int, student_width: int) -> None:
        super().__init__()
        width = min(teacher_width, student_width)
        self.from_student = nn.Linear(student_width, width)
        self.from_teacher = nn.Linear(teacher_width, width)
        self.separator = nn.Parameter(torch.randn(width) * 0.02)
        self.tower = tower(width, 1)

    def forward(
        self, student_hidden: HiddenStates, student_mask: Mask, teacher_hidden: HiddenStates, teacher_mask: Mask
    ) -> Scores:
        """Scores `[rows, columns]` of `rows` teacher examples with `columns` student examples."""
        rows, columns = len(teacher_hidden), len(student_hidden)
        student_hidden, student_valid = valid_tokens(student_hidden, student_mask)
        teacher_hidden, teacher_valid = valid_tokens(teacher_hidden, teacher_mask)
        student, teacher = self.from_student(student_hidden), self.from_teacher(teacher_hidden)
        # each side counts its own positions: padding of the student must not move the teacher's tokens
        student, teacher = student + sinusoids(student), teacher + sinusoids(teacher)
        separator = self.separator.to(student.dtype).expand(rows * columns, 1, -1)
        tokens = [student.repeat(rows, 1, 1), separator, teacher.repeat_interleave(columns, 0)]
        always = student_valid.new_ones(rows * columns, 1)
        masks = [student_valid.repeat(rows, 1), always, teacher_valid.repeat_interleave(columns, 0)]
        return self.tower.encode(torch.cat(tokens, 1), torch.cat(masks, 1)).view(rows, columns)


class MlpPair(nn.Module):
    """A perceptron over both pooled vectors → a score for every pair.

    The first layer is split, W[x; y] = W_x x + W_y y, so that it runs once per example and not once per pair.
    """

    def __init__(self, teacher_width: int, student_width: int, *, layers: int, hidden: int, pool: Pool) -> None:
        super().__init__()
        first = hidden if layers > 1 else 1
        self.from_student = nn.Linear(student_width, first)
        self.from_teacher = nn.Linear(teacher_width, first, bias=False)
        self.body = perceptron([hidden] * (layers - 1))
        self.output = nn.Linear(hidden, 1) if layers > 1 else nn.Identity()
        self.activation = nn.ReLU() if layers > 1 else nn.Identity()
        self.pool: Pool = pool

    def forward(
        self, student_hidden: HiddenStates, student_mask: Mask, teacher_hidden: HiddenStates, teacher_mask: Mask
    ) -> Scores:
        """Scores `[rows, columns]` of `rows` teacher examples with `columns` student examples."""
        student = self.from_student(pooled(student_hidden, student_mask, self.pool))
        teacher = self.from_teacher(pooled(teacher_hidden, teacher_mask, self.pool))
        return self.output(self.body(self.activation(student[None] + teacher[:, None]))).squeeze(-1)


def _zeroed(tower: TransformerTower | MlpTower, first: int) -> TransformerTower | MlpTower:
    """`tower` whose outputs from `first` on start at 0, i.e. log q = 0."""
    with torch.no_grad():
        tower.output.weight[first:] = 0
        tower.output.bias[first:] = 0
    return tower


CRITICS: Family[Callable[..., nn.Module]] = Family(
    "critic",
    {
        "transformer": Entry(transformer, source="arXiv:2109.11105"),
        "mlp": Entry(mlp, source="arXiv:2109.11105"),
        "joint": Entry(joint, source="arXiv:1905.06922"),
    },
)
