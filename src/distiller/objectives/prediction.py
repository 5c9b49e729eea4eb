"""Losses on outputs: against the teacher's logits (`PREDICTION`) and against labels (`LABEL`)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from distiller.errors import ShapeError
from distiller.objectives.shapes import Logits, Mask, PerExample, at_least_float32, same_shape
from distiller.registry import Entry, Family, Positive

IGNORED = -100
"""The label id that counts for nothing, as in `torch` and `transformers`."""
MASKED_LOGIT = -1e4
"""Zero after any softmax, and still a finite number in float16."""


def mask_positions(logits: Logits, valid: Mask) -> Logits:
    """`logits` `[*b, c]` with -1e4 wherever `valid` `[*b, c]` is false, for start and end scores of extractive QA.

    Padding, and on request question and special tokens, then have probability 0. Apply it to both sides.
    Raises `ShapeError` if the shapes differ.
    """
    if logits.shape != valid.shape:
        raise ShapeError(f"logits {list(logits.shape)} and valid positions {list(valid.shape)} should agree in shape")
    return logits.masked_fill(~valid.bool(), MASKED_LOGIT)


def ce(
    student: Logits,
    teacher: Logits,
    valid: Mask | None = None,
    *,
    temperature: Positive = 1.0,
    scale_T2: bool = True,
    class_mean: bool = False,
) -> PerExample:
    """Cross-entropy of the student's softened class probabilities under the teacher's.

    `student`, `teacher` `[*b, c]`, c > 1; `valid` `[*b, c]` names the classes that exist (positions of QA), all by
    default. The result is nats `[*b]`, times `temperature`² with `scale_T2`, which keeps gradients of one size over
    temperatures. `class_mean` divides by the number of classes, as TinyBERT's and BERT-EMD's code does.
    Raises `ShapeError` for different shapes or a single class. Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    log_guess, log_target = _softened(student, teacher, valid, temperature)
    total = -(log_target.exp() * log_guess).sum(-1)
    return total * _factor(student, valid, temperature, scale_T2, class_mean)


def kl(
    student: Logits,
    teacher: Logits,
    valid: Mask | None = None,
    *,
    temperature: Positive = 1.0,
    scale_T2: bool = True,
    class_mean: bool = False,
) -> PerExample:
    """KL(teacher ‖ student) of softened class probabilities: `ce` less the teacher's entropy.

    Shapes, options and errors as for `ce`, whose gradient it shares; the result is never negative and 0 at equality.
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    log_guess, log_target = _softened(student, teacher, valid, temperature)
    total = (log_target.exp() * (log_target - log_guess)).sum(-1)
    return total * _factor(student, valid, temperature, scale_T2, class_mean)


def mse(student: Logits, teacher: Logits, valid: Mask | None = None, *, divide_by: Positive = 1.0) -> PerExample:
    """Squared difference of raw logits, averaged over classes; the one that also serves regression.

    `student`, `teacher` and `valid` `[*b, c]`; the average is over valid classes, and 0 where there are none.
    `divide_by` divides both logits first: the authors' code puts its temperature there, the paper does not.
    Raises `ShapeError` if the shapes differ. Source: Ba and Caruana 2014, arXiv:1312.6184.
    """
    same_shape(student, teacher)
    squared = ((at_least_float32(student) - at_least_float32(teacher).detach()) / divide_by) ** 2
    if valid is None:
        return squared.mean(-1)
    valid = valid.bool()
    return squared.masked_fill(~valid, 0.0).sum(-1) / valid.sum(-1).clamp(min=1)


def cross_entropy(logits: Logits, labels: Tensor) -> PerExample:
    """Cross-entropy of `logits` `[*b, c]`, c > 1, with class ids `[*b]` or class probabilities `[*b, c]`.

    The id -100 gives 0. Result in nats `[*b]`. Raises `ShapeError` for a single class, labels of another shape
    or, on a processor, another id. Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    _several_classes(logits)
    logits = at_least_float32(logits)
    if labels.is_floating_point() and labels.shape == logits.shape:
        return -(at_least_float32(labels).detach() * logits.log_softmax(-1)).sum(-1)
    if labels.is_floating_point() or labels.shape != logits.shape[:-1]:
        raise ShapeError(
            f"labels {labels.dtype} {list(labels.shape)} do not fit logits {list(logits.shape)}",
            hint="class ids are integers without the last dimension, class probabilities have the shape of the logits",
        )
    try:
        flat = F.cross_entropy(logits.flatten(0, -2), labels.flatten().long(), ignore_index=IGNORED, reduction="none")
    except IndexError as error:  # a GPU reports it in its own way, and later
        raise ShapeError(
            f"a label is no class of the {logits.shape[-1]} that logits {list(logits.shape)} are of: {error}",
            hint=f"class ids go from 0 to {logits.shape[-1] - 1}; -100 is no label",
        ) from None
    return flat.view(labels.shape)


def binary_cross_entropy(logits: Logits, labels: Tensor) -> Tensor:
    """Cross-entropy of each label on its own: `logits` and `labels` `[*b, c]` give nats `[*b, c]`.

    A label is 1, 0 or a probability between; -100 and NaN are none and give 0. Raises `ShapeError` if the shapes
    differ.
    Source: the multi-label loss of `transformers` (`BCEWithLogitsLoss`).
    """
    if logits.shape != labels.shape:
        raise ShapeError(
            f"labels {list(labels.shape)} do not fit logits {list(logits.shape)}",
            hint="several labels at once are a number, 0 or 1, for every class of every example",
        )
    targets = at_least_float32(labels).detach()
    missing = targets.isnan() | (targets == IGNORED)
    given = targets.masked_fill(missing, 0.0).clamp(0, 1)
    losses = F.binary_cross_entropy_with_logits(at_least_float32(logits), given, reduction="none")
    return losses.masked_fill(missing, 0.0)


def squared_error(logits: Logits, targets: Tensor) -> PerExample:
    """Squared error of one regression output, `logits` `[*b, 1]` or `[*b]`, against `targets` `[*b]`.

    Raises `ShapeError` if there is more than one output or a target is missing.
    Source: the STS-B head of Devlin et al. 2019, arXiv:1810.04805.
    """
    values = logits.squeeze(-1) if logits.dim() == targets.dim() + 1 and logits.shape[-1] == 1 else logits
    if values.shape != targets.shape:
        raise ShapeError(
            f"regression outputs {list(logits.shape)} do not fit targets {list(targets.shape)}",
            hint="a regression model has one output per example: `num_labels: 1`",
        )
    return (at_least_float32(values) - at_least_float32(targets).detach()) ** 2


def _softened(student: Logits, teacher: Logits, valid: Mask | None, temperature: float) -> tuple[Logits, Logits]:
    """Log-probabilities of both sides at `temperature`."""
    same_shape(student, teacher)
    _several_classes(student)
    sides = [at_least_float32(student), at_least_float32(teacher).detach()]
    if temperature != 1:  # over a vocabulary each division is a pass through memory
        sides = [side / temperature for side in sides]
    if valid is not None:  # after the division: a high temperature would bring -1e4 back into play
        sides = [mask_positions(side, valid) for side in sides]
    return sides[0].log_softmax(-1), sides[1].log_softmax(-1)


def _factor(logits: Logits, valid: Mask | None, temperature: float, scale_T2: bool, class_mean: bool) -> Tensor | float:
    factor = temperature**2 if scale_T2 else 1.0
    if not class_mean:
        return factor
    return factor / (logits.shape[-1] if valid is None else valid.sum(-1).clamp(min=1))


def _several_classes(logits: Logits) -> None:
    if logits.dim() < 2 or logits.shape[-1] < 2:
        raise ShapeError(
            f"logits {list(logits.shape)} hold fewer than two classes: their cross-entropy is always 0",
            hint="regression needs the prediction objective `mse` and the label loss `squared_error`",
        )


PREDICTION: Family[Callable[..., PerExample]] = Family(
    "prediction objective",
    {
        "ce": Entry(ce, source="arXiv:1503.02531", traits={"regression": False}),
        "kl": Entry(kl, source="arXiv:1503.02531", traits={"regression": False}),
        "mse": Entry(mse, source="arXiv:1312.6184", traits={"regression": True}),
    },
)

LABEL: Family[Callable[..., PerExample]] = Family(
    "label loss",
    {
        "cross_entropy": Entry(cross_entropy, source="arXiv:1503.02531", traits={"regression": False}),
        "binary_cross_entropy": Entry(
            binary_cross_entropy, source="torch `BCEWithLogitsLoss`", traits={"regression": False}
        ),
        "squared_error": Entry(squared_error, source="arXiv:1810.04805", traits={"regression": True}),
    },
)
