"""The objective of translation: from what both models made of a batch to one number and its components.

    L = nll · L_NLL + word_kd · L_WORD + cosine · L_cos + Σ_k weight_k · J_k

L_NLL and L_WORD are means over target tokens, L_cos over tokens and matched layers; the intermediate terms are those
of every other run, over the layers of the encoder or of the decoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.config import Component
from distiller.errors import ConfigError
from distiller.models import encoder_decoder
from distiller.models.encoder_decoder import SIDES, layers_of, read, width_of
from distiller.models.signals import Signals
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING
from distiller.objectives.prediction import IGNORED, PREDICTION
from distiller.training.balance import Balance, TermValue
from distiller.training.objective import IntermediateTerm, ModelShape
from distiller.training.view import View
from distiller.translation.config import TranslationObjective, TranslationTerm
from distiller.translation.vocabulary_loss import Head, TokenStates, vocabulary_losses


@dataclass(frozen=True)
class Seq2SeqOutput:
    """What one forward pass of a translation model gave."""

    last_hidden_state: Tensor
    """The decoder's output before its head, `[B, L_target, width]`: the scores of all tokens are never held at once."""
    hidden: dict[str, tuple[Tensor, ...]]
    """Layers of `encoder` and `decoder`, 0 the embeddings, each `[B, L, width]`; empty unless asked for."""
    head: Head
    mask: Tensor
    """`[B, L_source]`, 1 at real tokens."""


class Seq2SeqReader:
    """Runs a model teacher-forced on a batch, without its vocabulary-sized scores.

    `rows` are the ids that a student with a cut vocabulary keeps of this model's: the batch is in the student's ids,
    and the scores are those of the tokens that both know.
    """

    def __init__(self, model: PreTrainedModel, *, hidden: bool, rows: Tensor | None = None) -> None:
        self.model = model
        self.hidden = hidden
        self.rows = rows
        self._kept: Head | None = None

    def __call__(self, batch: Mapping[str, Any]) -> Seq2SeqOutput:
        """What the model makes of a batch, with all its layers where they are wanted."""
        mine = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
        if self.rows is not None:
            rows = self.rows.to(batch["input_ids"].device)
            labels = batch["labels"]
            mine["input_ids"] = rows[batch["input_ids"]]
            mine["labels"] = torch.where(labels == IGNORED, labels, rows[labels.clamp(min=0)])
        out = read(self.model, mine, hidden=self.hidden)
        layers = {"encoder": out.encoder, "decoder": out.decoder} if self.hidden else {}
        return Seq2SeqOutput(out.last, layers, self.head(), batch["attention_mask"])

    def head(self) -> Head:
        """What makes scores from the last decoder states; of a model that does not train, its kept rows once."""
        if self.rows is None:
            return head_of(self.model)
        if self._kept is None:
            weight, bias = (part.detach() for part in head_of(self.model))
            rows = self.rows.to(weight.device)
            self._kept = Head(weight[rows], bias[rows])
        return self._kept

    def close(self) -> None:
        """Nothing to take off the model: it has no hooks."""


class Objective(nn.Module):
    """All losses of one translation run; holds every trained part beside the student (projections, critics)."""

    def __init__(
        self,
        objective: TranslationObjective,
        *,
        student: Mapping[str, ModelShape],
        teacher: Mapping[str, ModelShape] | None,
        label_smoothing: float = 0.0,
        chunk_megabytes: float = 256.0,
    ) -> None:
        super().__init__()
        self.nll = objective.nll
        self.word_kd = objective.word_kd
        self.prediction = objective.prediction.name
        self.options = PREDICTION.options(self.prediction, objective.prediction.options)
        self.label_smoothing = label_smoothing
        self.chunk_megabytes = chunk_megabytes
        self.weights = {"original": (objective.word_kd, objective.nll), "augmented": (0.0, 0.0)}
        wanted = [term for term in objective.intermediate if term.active]
        named = [(f"{term.side}_{term.loss}", 1.0, 1.0, term) for term in wanted]
        if teacher is not None:
            shared = cosine_terms(student, teacher) if objective.cosine else []
            named += [("cosine", objective.cosine, share, term) for share, term in shared]
        elif wanted or objective.cosine or objective.word_kd:
            raise ConfigError("this objective compares with a teacher, and there is none", hint="set its weights to 0")
        _check_terms(wanted)
        self.parts = [(name, factor, share, term.side) for name, factor, share, term in named]
        self.terms = nn.ModuleList(
            IntermediateTerm(term, student=student[term.side], teacher=teacher[term.side])
            for *_, term in named
            if teacher is not None
        )
        self.step, self.progress = 0, 0.0
        """Where the training is: optimisation steps, and the share of all of them."""
        try:
            self.balance = Balance([term.share for term in self._intermediate() if term.share is not None])
        except ValueError as error:
            raise ConfigError(str(error), hint="lower `weight.share` of the intermediate terms") from None

    def _intermediate(self) -> Iterator[IntermediateTerm]:
        for term in self.terms:
            assert isinstance(term, IntermediateTerm)
            yield term

    @property
    def needs_teacher(self) -> bool:
        """Whether anything is compared with the teacher at each step."""
        return bool(self.terms) or self.word_kd > 0

    def measures(self, step: int) -> bool:
        """Whether shares of the gradient are measured in this optimisation step."""
        several = len(self.terms) + (self.nll > 0) + (self.word_kd > 0) > 1
        begins = any(term.head_start == step for term in self._intermediate() if term.head_start)
        return several and (begins or self.balance.due(step))

    def forward(
        self, views: Mapping[str, View], measured: Sequence[nn.Parameter] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each unweighted component by name: `nll`, `word`, `cosine`, `encoder_mi_alpha`, …

        With parameters that are `measured`, the share of each part in their gradient is noted in `balance`.
        """
        view: Any = views["original"]
        valid = view.labels != IGNORED
        student, teacher = (
            TokenStates(output.last_hidden_state[valid], output.head) if output is not None else None
            for output in (view.student, view.teacher)
        )
        assert student is not None
        both = vocabulary_losses(
            student,
            view.labels[valid],
            teacher if self.word_kd else None,
            prediction=self.prediction,
            options=self.options,
            label_smoothing=self.label_smoothing,
            chunk_megabytes=self.chunk_megabytes,
        )
        parts = [TermValue("nll", both.nll / view.totals.labels, self.nll)]
        if self.word_kd:
            parts.append(TermValue("word", both.word / view.totals.labels, self.word_kd))
        shares = 0
        for (name, factor, share, side), term in zip(self.parts, self._intermediate(), strict=True):
            by_share = None
            if term.share is not None:
                by_share, shares = shares, shares + 1
            read = _one_side(side, view)
            if self.step < term.head_start:
                read = read.without_gradient()
            parts.append(TermValue(name, share * term(read), factor * term.weight_at(self.progress), by_share))
        if measured:
            self.balance.measure(parts, measured)
        total = torch.zeros((), device=valid.device)
        components: dict[str, Tensor] = {}
        for part in parts:
            weight = self.balance.weight_of(part)
            total = total + weight * part.value if part.term is not None or weight else total
            components[part.name] = components.get(part.name, 0) + part.value.detach()
        return total, components


def head_of(model: PreTrainedModel) -> Head:
    """What makes scores from the last decoder states of `model`."""
    return Head(*encoder_decoder.head_of(model))


def model_shapes(model: PreTrainedModel) -> dict[str, ModelShape]:
    """Layers and width of encoder and decoder."""
    return {side: ModelShape(len(layers_of(model, side)), width_of(model)) for side in SIDES}


def cosine_terms(
    student: Mapping[str, ModelShape], teacher: Mapping[str, ModelShape]
) -> list[tuple[float, TranslationTerm]]:
    """L_cos of the triple loss: a term for each side, with the factor that makes their sum a mean over all layers."""
    mapping = Component(name="skip", options={"include_embeddings": False})
    matched = sum(
        len(MAPPING["skip"].function(teacher[side].layers, student[side].layers, **mapping.options)) for side in SIDES
    )
    return [(1 / matched, TranslationTerm(loss="cos", side=side, mapping=mapping)) for side in SIDES]


def _check_terms(terms: list[TranslationTerm]) -> None:
    for term in terms:
        if INTERMEDIATE[term.loss].traits["reads"] != "hidden_states":
            raise ConfigError(
                f"intermediate objective `{term.loss}` reads attention scores, which translation does not offer",
                hint="choose one on hidden states: mse, cos, ce, mi_alpha, …",
            )
        if term.critic is not None and term.critic.concat_views:
            raise ConfigError(
                "`concat_views` needs an augmented view, and translation has none", hint="leave it out of `critic`"
            )


def _one_side(side: str, view: Any) -> View:
    """Encoder or decoder of both models as an intermediate objective sees them."""
    mask = view.student.mask if side == "encoder" else view.output_mask
    ours, theirs = (
        Signals(output.last_hidden_state, dict(enumerate(output.hidden[side])), {}, mask)
        for output in (view.student, view.teacher)
    )
    totals = view.totals if side == "encoder" else view.totals._replace(tokens=view.totals.outputs)
    return View(student=ours, teacher=theirs, labels=None, totals=totals)
