"""The default objective, where fields are left open: ours, or the paper's.

Ours was chosen on tasks of several kinds (docs/results.md has the figures): soft labels at a temperature that lets the
teacher's doubts through, the gold labels where there are any, and the hidden states of every layer pair with half of
the gradient that reaches the student. Half is given as a share, so that it holds for every width, depth and task. A
tagger learns enough from the labels of its every word: the teacher's as they are, and no hidden states.
"""

from collections.abc import Sequence
from typing import Any

from distiller import config
from distiller.config import Component, Share, Term
from distiller.errors import warn
from distiller.objectives.prediction import PREDICTION as PREDICTION_LOSSES
from distiller.tasks.data import Kind
from distiller.training.objective import prediction_choice

PREDICTION = Component(name="kl", options={"temperature": 4.0})
TAGGING = Component(name="kl", options={"temperature": 1.0})
HIDDEN_SHARE = 0.5
POOLED_SHARE = 0.3


def filled_in(
    objective: config.Objective,
    kind: Kind,
    operators: Sequence[str],
    *,
    labelled: bool = True,
    layers: bool = True,
    tokens: bool = True,
    recipe: str | None = None,
) -> config.Objective:
    """`objective` with what it leaves open filled in, for a policy of these `operators`, perhaps none.

    `labelled`: some training rows have a gold label. `layers`: there is a teacher whose layers can be compared.
    `tokens`: each token of the student has one of the teacher. `recipe`: the published method that this is; what it
    says of class probabilities is said of a number by `mse`.
    """
    ours = objective.defaults == "distiller"
    augmented = bool(operators)
    mixed = labelled and list(operators) == ["mixup"]
    gold = 0.5 if labelled and (ours or augmented) else 0.0  # the paper's is 0 without augmentation: appendix G
    found: dict[str, Any] = {
        "gamma1": gold,
        "beta2": 1.0 if augmented else 0.0,
        "gamma2": 0.5 if augmented else 0.0,
        "augmented_label": "gold" if mixed else "teacher_soft",
        "intermediate": [_hidden(tokens)] if ours and layers and objective.beta1 and kind != "tagging" else [],
    }
    unset = {name: value for name, value in found.items() if getattr(objective, name) is None}
    prediction = objective.prediction
    if prediction is None and ours and kind != "regression":
        prediction = TAGGING if kind == "tagging" else PREDICTION
    if prediction is not None and recipe is not None and kind == "regression" and not _fits_numbers(prediction):
        warn(
            f"recipe `{recipe}` compares class probabilities (`{prediction.name}`), and a regression has none: "
            "`mse` compares the numbers instead"
        )
        prediction = Component(name="mse")
    if prediction is None:
        prediction = prediction_choice(objective, regression=kind == "regression")
    return objective.model_copy(update={**unset, "prediction": prediction})


def _fits_numbers(prediction: Component) -> bool:
    return prediction.name not in PREDICTION_LOSSES.entries or PREDICTION_LOSSES[prediction.name].traits["regression"]


def _hidden(tokens: bool) -> Term:
    """All layer pairs of the `skip` mapping; if tokens cannot be compared, only one token of each text."""
    if tokens:
        return Term(loss="mse", weight=Share(share=HIDDEN_SHARE), pairs="mean")
    return Term(loss="pkd", weight=Share(share=POOLED_SHARE), pairs="mean")
