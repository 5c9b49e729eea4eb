"""The objective of translation: Eq. (1) over the vocabulary at every target token, and over layers of either side.

Label loss and prediction objective are means over target tokens, computed together and in chunks; the intermediate
terms are those of every other run, over the layers of the encoder or of the decoder.
"""

from collections.abc import Mapping

from torch import Tensor
from transformers import PreTrainedModel

from distiller.config import Component
from distiller.config.translation import Objective, Term
from distiller.errors import ConfigError
from distiller.models.encoder_decoder import SIDES, Seq2SeqReader, Side, layers_of, width_of
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.objectives.vocabulary import TokenStates, vocabulary_losses
from distiller.training.objective import DistillationObjective, ModelShape
from distiller.training.view import View

ModelShapes = Mapping[str, ModelShape]
"""Layers and width of `encoder` and `decoder`."""


class TranslationObjective(DistillationObjective):
    """All losses of one translation run, with the trained parts beside the student (projections, critics)."""

    def __init__(
        self,
        objective: Objective,
        *,
        student: ModelShapes,
        teacher: ModelShapes | None,
        label_smoothing: float = 0.0,
        chunk_megabytes: float = 256.0,
    ) -> None:
        if objective.compares and teacher is None:
            raise ConfigError("this objective compares with a teacher, and there is none", hint="set its weights to 0")
        _check_terms(objective)
        if objective.cosine and teacher is not None:
            terms = [*objective.intermediate, *cosine_terms(objective.cosine, student, teacher)]
            objective = objective.model_copy(update={"intermediate": terms})
        super().__init__(objective, student=student, teacher=teacher, kind="generation")
        self.label_smoothing = label_smoothing
        self.chunk_megabytes = chunk_megabytes

    def reader(self, student: PreTrainedModel) -> Seq2SeqReader:
        """A reader of encoder and decoder, teacher-forced."""
        return Seq2SeqReader(student, hidden=bool(self.terms))

    def output_losses(self, name: str, view: View) -> list[tuple[str, Tensor, float]]:
        """The label loss and the prediction loss over the vocabulary; the label loss is logged even with weight 0."""
        assert view.labels is not None
        beta, gamma = self.weights[name]
        sides = []
        for signals in (view.student, view.teacher if beta else None):
            if signals is None:
                continue
            assert signals.head is not None
            sides.append(TokenStates(view.at_outputs(signals.logits), signals.head))
        both = vocabulary_losses(
            sides[0],
            view.at_outputs(view.labels),
            sides[1] if beta else None,
            prediction=self.prediction.name,
            options=self.prediction_options,
            label_smoothing=self.label_smoothing,
            chunk_megabytes=self.chunk_megabytes,
        )
        label = both.nll / view.totals.labels
        found = [("label", label if gamma else label.detach(), gamma)]
        if beta:
            found.append(("prediction", both.word / view.totals.labels, beta))
        return found


def model_shapes(model: PreTrainedModel) -> ModelShapes:
    """Layers and width of encoder and decoder."""
    return {side: ModelShape(len(layers_of(model, side)), width_of(model)) for side in SIDES}


def cosine_terms(weight: float, student: ModelShapes, teacher: ModelShapes) -> list[Term]:
    """L_cos of the triple loss, a mean over the matched layers of both sides, as one term per side."""
    mapping = Component(name="skip", options={"include_embeddings": False})
    matched: dict[Side, int] = {
        side: len(MAPPING["skip"].function(teacher[side].layers, student[side].layers, **mapping.options))
        for side in SIDES
    }
    return [
        Term(loss="cos", side=side, mapping=mapping, pairs="mean", weight=weight * count / sum(matched.values()))
        for side, count in matched.items()
    ]


def _check_terms(objective: Objective) -> None:
    for term in objective.intermediate:
        if not term.active:
            continue
        if INTERMEDIATE[term.loss].traits["reads"] != "hidden_states":
            raise ConfigError(
                f"intermediate objective `{term.loss}` reads attention scores, which translation does not offer",
                hint="choose one on hidden states: mse, cos, ce, mi_alpha, …",
            )
        if term.critic is not None and term.critic.concat_views:
            raise ConfigError(
                "`concat_views` needs an augmented view, and translation has none", hint="leave it out of `critic`"
            )
