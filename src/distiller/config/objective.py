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
    """Score original and augmented examples in one batch, so that each view provides negatives for the other. By
    default each view is scored separately, as in the paper. The term then counts once instead of once per view."""
    gather: bool | None = None
    """Take negatives from the batches of all data-parallel processes, not only from the local batch, so that the
    result does not depend on the number of processes. `null`: yes for every critic that encodes student and teacher
    separately (all but `joint`)."""


class Share(Config):
    """A term's weight, given as the share of the student's gradient that this term provides."""

    share: Annotated[float, Field(gt=0, lt=1), Number]
    """The term's gradient norm divided by the sum of all terms' gradient norms. The weight that gives this share is
    measured at the beginning and again every 50 optimisation steps."""


class Term(Config):
    """One intermediate objective over the layer pairs of one mapping: `weight` · Σ m_ij · loss(H_i, H_j)."""

    loss: Intermediate
    """A row of the intermediate objectives (`mse`, `mi_alpha`, …)."""
    weight: NonNegative | Share = 1.0
    """Factor of the loss; 0 switches the term off. With `{share: 0.3}` the factor is chosen so that the term provides
    0.3 of the gradient, whatever the scale of its loss and the number of its layer pairs."""
    pairs: Literal["sum", "mean"] = "sum"
    """Whether the losses of the layer pairs are added up (arXiv:2109.11105) or averaged."""
    warmup: Probability = 0.0
    """Share of the training in which the weight rises from 0."""
    fade: Probability = 0.0
    """Share of the training, at its end, in which the weight falls to 0."""
    head_start: Annotated[int, Field(ge=0), Number] = 0
    """Optimisation steps in which only the projection or critic is trained by this term; its gradient reaches the
    student afterwards."""
    options: dict[str, Any] = {}
    """Keyword arguments of the loss function."""
    mapping: Mapped = Component(name="skip")
    """Which teacher layer each student layer is compared with."""
    projection: Projection = Projection()
    critic: Critic | None = None
    """The critic of a mutual-information loss. `null`: the published default. Other losses have none."""

    @property
    def active(self) -> bool:
        """Whether the weight is not 0."""
        return isinstance(self.weight, Share) or self.weight > 0


class Objective(Config):
    """Eq. (1) of arXiv:2109.11105: two views of each example, each with a soft, a label and intermediate terms."""

    defaults: Literal["distiller", "paper"] = "distiller"
    """Which defaults replace the fields below that are `null`. `distiller`: the settings that did best on tasks which
    they had not been tuned on. `paper`: those of arXiv:2109.11105, appendix G."""
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
    """Weight of each class in the label terms, also when teacher and baseline are fine-tuned. `balanced`: inversely
    proportional to the class frequency. Classes that a mapping leaves out have weight 1. Weights are scaled to a mean
    of 1 over the labelled training rows (for tagging, words), so that gamma keeps its meaning."""
    augmented_label: Literal["teacher_soft", "teacher_hard", "gold"] | None = None
    """Label of the augmented view: the teacher's probabilities (as in the paper), their argmax (as in the authors'
    code), or the gold label. `null`: `gold` where mixup is the only operator (the mixed labels of both examples), else
    `teacher_soft`."""
    intermediate: list[Term] | None = None
    """Terms on hidden states or attention; `[]` for none. `null`: `mse` over the layer pairs of the `skip` mapping,
    with half of the gradient. Where the tokens of teacher and student cannot be aligned (mixup with two vocabularies),
    `pkd` with 0.3 of the gradient instead. No term for tagging, with beta1 = 0, for a model whose layers cannot be
    compared, and with `defaults: paper`."""
    intermediate_weight: NonNegative = 1.0
    """Multiplies all intermediate terms, on both views."""

    @property
    def terms(self) -> list[Term]:
        """The intermediate terms. Empty where `intermediate` is `null`, until the run is resolved."""
        return self.intermediate or []
