"""What is compared, and how much each comparison counts."""

from typing import Annotated, Any, Literal

from pydantic import Field

from distiller.config.base import Component, Config
from distiller.config.names import CriticName, Intermediate, Mapped, Prediction
from distiller.registry import NonNegative, Number, Probability


class Projection(Config):
    """A linear map from student width to teacher width; exists only where the widths differ, or on request."""

    shared: bool = False
    """One map for all layer pairs (TinyBERT) instead of one for each (arXiv:2109.11105, authors' code)."""
    always: bool = False
    """Also where the widths are equal."""


class Critic(Config):
    """The critic of a mutual-information objective."""

    name: CriticName | None = None
    """`transformer`, `mlp` or `joint`. `null`: `transformer`, or `mlp` under the `emd` mapping (as the authors)."""
    options: dict[str, Any] = {}
    shared: bool | None = None
    """One critic for all layer pairs. `null`: shared, or one per pair under `emd` (as the authors)."""
    concat_views: bool = False
    """Score original and augmented examples together, so that they are each other's negatives, instead of each view
    for itself (as the paper). The term is then counted once, not once for each view."""
    gather: bool | None = None
    """Take negatives from the batches of all processes that train together, not only from an example's own, so that
    several learn what one does. `null`: where the critic reads student and teacher apart (all but `joint`)."""


class Share(Config):
    """A weight that follows from what a term does: its share of the gradient that reaches the student."""

    share: Annotated[float, Field(gt=0, lt=1), Number]
    """Of the sum of all terms' gradient norms; measured at the beginning and every 50 optimisation steps."""


class Term(Config):
    """One intermediate objective over the layer pairs of one mapping: `weight` · Σ m_ij · loss(H_i, H_j)."""

    loss: Intermediate
    """A row of the intermediate objectives (`mse`, `mi_alpha`, …)."""
    weight: NonNegative | Share = 1.0
    """Multiplies the loss; 0 switches the term off. `{share: 0.3}`: whatever number makes 0.3 of the gradient come from
    this term, so that neither its units nor its number of layers decide how much it counts."""
    pairs: Literal["sum", "mean"] = "sum"
    """Whether the losses of the layer pairs are added up (arXiv:2109.11105) or averaged."""
    warmup: Probability = 0.0
    """Share of the training in which the weight rises from 0."""
    fade: Probability = 0.0
    """Share of the training, at its end, in which the weight falls to 0."""
    head_start: Annotated[int, Field(ge=0), Number] = 0
    """Optimisation steps in which the projection or critic learns before the student hears of this term."""
    options: dict[str, Any] = {}
    """The loss's own options."""
    mapping: Mapped = Component(name="skip")
    """Which teacher layer each student layer is compared with."""
    projection: Projection = Projection()
    critic: Critic | None = None
    """Only for losses that have one. `null`: the published default."""

    @property
    def active(self) -> bool:
        """Whether it counts at all."""
        return isinstance(self.weight, Share) or self.weight > 0


class Objective(Config):
    """Eq. (1) of arXiv:2109.11105: two views of each example, each with a soft, a label and intermediate terms."""

    defaults: Literal["distiller", "paper"] = "distiller"
    """What the fields below mean where they are `null`: `distiller` is what did best on tasks that nobody had tuned
    for, `paper` is arXiv:2109.11105, appendix G."""
    prediction: Prediction | None = None
    """Compares student and teacher outputs. `null`: `kl` at temperature 4, for tagging 1 (paper: `ce`), or `mse`
    for regression. Switch it off with beta1 = 0."""
    beta1: NonNegative = 1.0
    """Weight of the prediction objective on the original view."""
    gamma1: NonNegative | None = None
    """Weight of the gold labels on the original view. `null`: 0.5 where there are any (paper: 0, or 0.5 with
    augmentation)."""
    beta2: NonNegative | None = None
    """Weight of the prediction objective on the augmented view. `null`: 1 with augmentation, else 0."""
    gamma2: NonNegative | None = None
    """Weight of the augmented view's labels. `null`: 0.5 with augmentation, else 0."""
    class_weights: Literal["balanced"] | dict[str, NonNegative] | None = None
    """How much rows of each class count in the label terms, also where teacher and baseline are fine-tuned: `balanced`
    is the inverse of how often a class occurs, a class that is not named counts 1. Their mean over the labelled
    training rows (of tagging, words) is 1, so that gamma keeps its meaning."""
    augmented_label: Literal["teacher_soft", "teacher_hard", "gold"] | None = None
    """Which label the augmented view has: the paper says the teacher's soft one, its code takes the argmax. `null`:
    `gold` where mixup is the only operator (the mixed labels of both examples), else `teacher_soft`."""
    intermediate: list[Term] | None = None
    """Terms on hidden states or attention. `null`: `mse` over the pairs of the `skip` mapping with half of the gradient
    (where tokens of one model have none of the other, as with mixup and another vocabulary, `pkd` with 0.3 of it; for
    tagging, with beta1 = 0, where a model has no layers that can be compared, and in the paper, none). `[]` is none."""
    intermediate_weight: NonNegative = 1.0
    """Multiplies all intermediate terms, on both views."""

    @property
    def terms(self) -> list[Term]:
        """The intermediate terms; those left open are none before a run is resolved."""
        return self.intermediate or []
