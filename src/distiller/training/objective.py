"""Eq. (1) of arXiv:2109.11105: from the signals of teacher and student to one number and its components.

    L = Σ_v  beta_v · P_v  +  gamma_v · G_v  +  w · Σ_k weight_k · J_{k,v}        v = original, augmented view

Every loss gives one number per example; this module weights them and divides by totals that the trainer counts
over the whole optimisation step, so gradient accumulation and data parallelism do not change the result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import PretrainedConfig, PreTrainedModel

from distiller import config
from distiller.config import translation
from distiller.errors import ConfigError
from distiller.models.encoder_decoder import Seq2SeqReader
from distiller.models.layers import no_states, summary_token
from distiller.models.layouts import Summary
from distiller.models.signals import SignalReader, Signals
from distiller.objectives.critics import CRITICS, SeparableCritic, projection
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.objectives.mapping import MAPPING, LayerPair, attention_pairs
from distiller.objectives.prediction import PREDICTION
from distiller.objectives.transport import Transport
from distiller.training.balance import Balance, TermValue
from distiller.training.processes import BatchSlice, batch_slice, gathered, summed
from distiller.training.readout import READOUTS, Kind
from distiller.training.view import View, concatenated, of_decoder, summarised


@dataclass(frozen=True)
class ModelShape:
    """What the objective needs to know about a model: encoder layers and the width of their outputs."""

    layers: int
    width: int
    summary: Summary = "first"
    """The token that stands for a whole text: what `pkd` and the pool `cls` compare."""


ModelShapes = ModelShape | Mapping[str, ModelShape]
"""Of an encoder–decoder that of either side, by its name."""


def model_shape(shape: PretrainedConfig | PreTrainedModel) -> ModelShape:
    """Encoder layers, hidden width and summary token of a model, or of one with this configuration."""
    known = shape if isinstance(shape, PretrainedConfig) else shape.config
    for field in ("num_hidden_layers", "hidden_size"):
        if not hasattr(known, field):
            raise no_states(known, f"has a configuration without `{field}`")
    return ModelShape(known.num_hidden_layers, known.hidden_size, summary_token(shape))


def _one_side(shape: ModelShapes, side: str | None) -> ModelShape:
    if isinstance(shape, ModelShape):
        return shape
    assert side is not None
    return shape[side]


def _critic(term: config.Term) -> tuple[str, dict[str, Any]]:
    """The critic of a term that has one, and its options."""
    wish = term.critic or config.Critic()
    moves = bool(MAPPING[term.mapping.name].traits.get("transport"))
    name = wish.name or ("mlp" if moves else "transformer")
    return name, CRITICS.options(name, wish.options)


def _check_options(term: config.Term) -> None:
    """Raise `ConfigError` for an option that nothing reads, even of a term that is switched off."""
    INTERMEDIATE.options(term.loss, term.options)
    MAPPING.options(term.mapping.name, term.mapping.options)
    if INTERMEDIATE[term.loss].traits["head"] == "critic":
        _critic(term)
    elif term.critic is not None:
        raise ConfigError(
            f"intermediate objective `{term.loss}` has no critic", hint="remove `critic`, or use `mi_alpha`"
        )


class IntermediateTerm(nn.Module):
    """One intermediate objective over the layer pairs of its mapping, with its projections or critics."""

    def __init__(self, term: config.Term, *, student: ModelShapes, teacher: ModelShapes) -> None:
        super().__init__()
        self.side = term.side if isinstance(term, translation.Term) else None
        student, teacher = (_one_side(shape, self.side) for shape in (student, teacher))
        entry = INTERMEDIATE[term.loss]
        self.loss = entry.function
        self.options = INTERMEDIATE.options(term.loss, term.options)
        self.share = term.weight.share if isinstance(term.weight, config.Share) else None
        self.weight = 1.0 if isinstance(term.weight, config.Share) else term.weight
        self.averages = term.pairs == "mean"
        self.warmup, self.fade, self.head_start = term.warmup, term.fade, term.head_start
        self.reads: str = entry.traits["reads"]
        self.per: str = entry.traits["per"]
        self.head_kind: str | None = entry.traits["head"]
        self.grid = entry.traits["grid"]
        mapping_options = MAPPING.options(term.mapping.name, term.mapping.options)
        self.pairs: list[LayerPair] = MAPPING[term.mapping.name].function(
            teacher.layers, student.layers, **mapping_options
        )
        if self.reads == "attention_scores":
            self.pairs = attention_pairs(self.pairs)
        if not self.pairs:
            raise ConfigError(f"mapping `{term.mapping.name}` leaves no layer pair for `{term.loss}`")
        moves = bool(MAPPING[term.mapping.name].traits.get("transport"))
        solver = {name: value for name, value in mapping_options.items() if name != "include_embeddings"}
        self.transport = Transport(teacher.layers, student.layers, **solver) if moves else None
        self.heads = self._make_heads(term, student, teacher)
        self.separable = any(isinstance(head, SeparableCritic) for head in self.heads.values())
        self.concat_views = term.critic is not None and term.critic.concat_views
        wish = term.critic.gather if term.critic is not None else None
        self.gather = self.separable if wish is None else wish
        self.summaries = (student.summary, teacher.summary) if self._reads_summary(term) else None
        if self.gather and not self.separable:
            raise ConfigError(
                "`gather` needs a critic that reads student and teacher apart, and `joint` reads every pair",
                hint="use the critic `transformer` or `mlp`",
            )

    def _reads_summary(self, term: config.Term) -> bool:
        """Whether the term compares one token of each text rather than every token or their mean."""
        if self.head_kind != "critic":
            return self.options.get("tokens") == "cls"
        name, options = _critic(term)
        return options.get("pool") == "cls" and options.get("network", name) == "mlp"

    def _make_heads(self, term: config.Term, student: ModelShape, teacher: ModelShape) -> nn.ModuleDict:
        """Projections by student layer or critics by pair; the key `all` is shared by every pair."""
        if self.head_kind == "critic":
            wish = term.critic or config.Critic()
            name, options = _critic(term)
            if self.options.get("alpha") == 1 and options.get("baseline") == "tower":
                options["baseline"] = "none"  # alpha = 1 never reads the baseline
            shared = wish.shared if wish.shared is not None else self.transport is None
            keys = ["all"] if shared else [_pair_key(pair) for pair in self.pairs]
            return nn.ModuleDict({key: CRITICS[name].function(teacher.width, student.width, **options) for key in keys})
        if self.head_kind == "projection" and (term.projection.always or student.width != teacher.width):
            keys = ["all"] if term.projection.shared else sorted({str(pair.student) for pair in self.pairs})
            return nn.ModuleDict({key: projection(student.width, teacher.width) for key in keys})
        return nn.ModuleDict()

    @property
    def student_layers(self) -> set[int]:
        """Student `hidden_states` (or attention) indices that this term reads."""
        return {pair.student for pair in self.pairs}

    @property
    def teacher_layers(self) -> set[int]:
        """Teacher `hidden_states` (or attention) indices that this term reads."""
        return {pair.teacher for pair in self.pairs}

    def forward(self, view: View) -> Tensor:
        """The sum (or mean) over layer pairs, divided by the totals of the optimisation step: a scalar."""
        assert view.teacher is not None
        if self.summaries is not None:
            view = summarised(view, *self.summaries)
        if self.head_kind == "critic":
            size = len(view.student.mask)
            place = batch_slice(size, view.student.mask.device) if self.gather else BatchSlice(0, size, size)
            if place.total < 3:
                return view.student.logits.new_zeros(())  # leave-one-out needs three examples
            values = self._critic_losses(view, place)
        else:
            values = self._losses(view)
        losses = self._reduce(values, view)
        if self.transport is None:
            return losses.mean() if self.averages else losses.sum()
        size = self.transport.student_weights.numel() * self.transport.teacher_weights.numel()
        embeddings, cost = losses[:-size], losses[-size:].view(len(self.transport.student_weights), -1)
        return self.transport(cost, summed(cost.detach())) + embeddings.sum()

    def weight_at(self, progress: float) -> float:
        """Its weight after the fraction `progress` of the training."""
        rising = min(1.0, progress / self.warmup) if self.warmup else 1.0
        falling = min(1.0, (1 - progress) / self.fade) if self.fade else 1.0
        return self.weight * max(0.0, min(rising, falling))

    def _project(self, student: Signals) -> Mapping[int, Tensor]:
        states = getattr(student, self.reads)
        if self.head_kind != "projection" or not self.heads:
            return states
        return {
            layer: (self.heads["all"] if "all" in self.heads else self.heads[str(layer)])(states[layer])
            for layer in self.student_layers
        }

    def _losses(self, view: View) -> Tensor:
        """One number for each pair and example, `[pairs, b]`."""
        assert view.teacher is not None
        student, teacher = self._project(view.student), getattr(view.teacher, self.reads)
        mask = view.student.mask
        with without_autocast(view.student.logits):
            together = self.transport is not None and self.grid is not None
            alone = [pair for pair in self.pairs if pair.student == 0] if together else self.pairs
            each = [self.loss(student[j], teacher[i], mask, **self.options) for j, i in alone]
            if not together:
                return torch.stack(each)
            grid = self._grid_losses(student, teacher, mask)
            return torch.cat([torch.stack(each), grid]) if each else grid

    def _grid_losses(self, student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], mask: Tensor) -> Tensor:
        """All pairs that take part in the transport at once, in their order, `[N · M, b]`."""
        sides = self._stacked(student, self.student_layers), self._stacked(teacher, self.teacher_layers)
        return self.grid(*sides, mask, **self.options).flatten(0, 1)

    def _stacked(self, states: Mapping[int, Tensor], layers: set[int]) -> Tensor:
        """States of all `layers` except the embeddings, `[N, …]`."""
        chosen = [states[layer] for layer in sorted(layers - {0})]
        if self.reads != "hidden_states":
            return torch.stack(chosen)
        return torch.stack(chosen, dim=2).movedim(2, 0)  # the layers of one token side by side, as the grid wants them

    def _critic_losses(self, view: View, place: BatchSlice) -> Tensor:
        """Losses `[pairs, b]` of this process's examples; the negatives are those of all processes in `place`."""
        critics = {pair: self.heads["all" if "all" in self.heads else _pair_key(pair)] for pair in self.pairs}
        scored = self._separable_scores(view, critics, place) if self.separable else self._joint_scores(view, critics)
        with without_autocast(view.student.logits):
            return torch.stack([self._contrast(*scored[pair], place) for pair in self.pairs])

    def _joint_scores(self, view: View, critics: Mapping[LayerPair, Any]) -> dict[LayerPair, tuple[Tensor, Any]]:
        assert view.teacher is not None
        student, teacher = view.student, view.teacher
        return {
            pair: critic(
                student.hidden_states[pair.student], student.mask, teacher.hidden_states[pair.teacher], teacher.mask
            )
            for pair, critic in critics.items()
        }

    def _separable_scores(
        self, view: View, critics: Mapping[LayerPair, Any], place: BatchSlice
    ) -> dict[LayerPair, tuple[Tensor, Tensor | None]]:
        """Scores `[own, all]` and log baselines `[own]`; each tower runs once per layer, not once per pair."""
        assert view.teacher is not None
        student, teacher = view.student, view.teacher
        layers = dict.fromkeys((critics[pair], pair.teacher) for pair in sorted(self.pairs, key=itemgetter(1)))
        rows = {(critic, i): critic.read_teacher(teacher.hidden_states[i], teacher.mask) for critic, i in layers}
        layers = dict.fromkeys((critics[pair], pair.student) for pair in sorted(self.pairs))
        columns = [critic.read_student(student.hidden_states[j], student.mask) for critic, j in layers]
        everyone = dict(zip(layers, gathered(torch.stack(columns), place), strict=True))
        scored = {}
        for pair, critic in critics.items():
            row, log_baseline = rows[critic, pair.teacher]
            scored[pair] = critic.scores(row, everyone[critic, pair.student]), log_baseline
        return scored

    def _contrast(self, scores: Tensor, log_baseline: Tensor | None, place: BatchSlice) -> Tensor:
        if place.total > place.size:  # a row's loss reads that row alone, so that anything may stand in the others'
            scores = pad(scores, (0, 0, *place.around))
            log_baseline = None if log_baseline is None else pad(log_baseline, place.around)
        return self.loss(scores, log_baseline, **self.options)[place.own]

    def _reduce(self, per_example: Tensor, view: View) -> Tensor:
        """The loss of each pair, `[pairs, b]` → `[pairs]`."""
        if self.per == "token":
            return (per_example * view.student.mask.sum(1)).sum(-1) / view.totals.tokens
        there = view.student.mask.any(1)  # a critic scores an example without tokens like any other
        return (per_example * there).sum(-1) / view.totals.examples


class DistillationObjective(nn.Module):
    """Eq. (1) as a whole for one run; holds every trained part besides the student."""

    def __init__(
        self, objective: config.Objective, *, student: ModelShapes | None, teacher: ModelShapes | None, kind: Kind
    ) -> None:
        super().__init__()
        self.weights = {
            "original": (objective.beta1, objective.gamma1 or 0.0),
            "augmented": (objective.beta2 or 0.0, objective.gamma2 or 0.0),
        }
        """(beta, gamma) by view. Unset weights are 0 here: `distiller.run.plan.resolve` fills in the published ones."""
        self.prediction = prediction_choice(objective, regression=kind == "regression")
        self.prediction_options = PREDICTION.options(self.prediction.name, self.prediction.options)
        self.readout = READOUTS[kind]
        self.gold: Callable[[View], Tensor] = self.readout.gold
        """The loss of gold labels; a script may have one of its own."""
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)
        self.augmented_label = objective.augmented_label or "teacher_soft"
        self.intermediate_weight = objective.intermediate_weight
        self.term_names = _term_names(objective)
        for term in objective.terms:
            _check_options(term)
        terms = [term for term in objective.terms if term.active and objective.intermediate_weight > 0]
        if terms and (student is None or teacher is None):
            raise ConfigError("intermediate objectives need a teacher")
        self.terms = nn.ModuleList(
            IntermediateTerm(term, student=student, teacher=teacher) for term in terms if student and teacher
        )
        self.step, self.progress = 0, 0.0
        """Where the training is: optimisation steps, and the share of all of them."""
        try:
            self.balance = Balance([term.share for term in self._intermediate() if term.share is not None])
        except ValueError as error:
            raise ConfigError(str(error), hint="lower `weight.share` of the intermediate terms") from None
        if self.balance.wanted and not any(weight for pair in self.weights.values() for weight in pair):
            raise ConfigError(
                "a share of the gradient needs something else that has the rest",
                hint="set objective.beta1 or gamma1, or give the term a number as its weight",
            )

    def _intermediate(self) -> Iterator[IntermediateTerm]:
        for term in self.terms:
            assert isinstance(term, IntermediateTerm)
            yield term

    def measures(self, step: int) -> bool:
        """Whether shares of the gradient are measured in this optimisation step."""
        several = len(self.terms) + sum(weight > 0 for pair in self.weights.values() for weight in pair) > 1
        begins = any(term.head_start == step for term in self._intermediate() if term.head_start)
        return several and (begins or self.balance.due(step))

    def layers(self, side: str, reads: str = "hidden_states") -> set[int]:
        """Layers of `side` (`student` or `teacher`) whose `reads` some term needs."""
        return set().union(*(getattr(term, f"{side}_layers") for term in self.terms if term.reads == reads))

    def reader(self, student: PreTrainedModel) -> SignalReader | Seq2SeqReader:
        """A reader of everything that is compared in `student`."""
        return SignalReader(
            student, hidden_layers=self.layers("student"), attention_layers=self.layers("student", "attention_scores")
        )

    @property
    def needs_teacher(self) -> bool:
        """Whether any term compares with the teacher, or takes its labels from it."""
        return bool(self.terms) or self.reads_outputs

    @property
    def reads_outputs(self) -> bool:
        """Whether the outputs of the teacher's head are compared, or serve as labels."""
        labels = self.augmented_label != "gold" and self.weights["augmented"][1] > 0
        return labels or any(beta > 0 for beta, _ in self.weights.values())

    def forward(
        self, views: Mapping[str, View], measured: Sequence[nn.Parameter] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each unweighted component by name (`prediction`, `label`, `mi_alpha`, …).

        Components of the augmented view have the prefix `augmented_`; a term over both views at once has none. Σ weight
        · component is the first result. With parameters that are `measured`, the share of each part in their gradient
        is recorded in `balance` before weights given by share are used.
        """
        parts: list[TermValue] = []
        for name in views:
            parts += self._view_parts(name, views)
        if measured:
            self.balance.measure(parts, measured)
        total = torch.zeros((), device=next(iter(views.values())).student.logits.device)
        for part in parts:
            total = total + self.balance.weight_of(part) * part.value
        return total, {part.name: part.value.detach() for part in parts}

    def _view_parts(self, name: str, views: Mapping[str, View]) -> list[TermValue]:
        view = views[name]
        prefix = "" if name == "original" else f"{name}_"
        parts = [TermValue(prefix + label, value, weight) for label, value, weight in self.output_losses(name, view)]
        shares = 0
        for label, term in zip(self.term_names, self._intermediate(), strict=True):
            by_share = None
            if term.share is not None:
                by_share, shares = shares, shares + 1
            if term.concat_views and name != "original":
                continue  # counted with the original
            read = concatenated([*views.values()]) if term.concat_views else view
            if term.side == "decoder":
                read = of_decoder(read)
            if self.step < term.head_start:
                read = read.without_gradient()
            weight = self.intermediate_weight * term.weight_at(self.progress)
            parts.append(TermValue(prefix + label, term(read), weight, by_share))
        return parts

    def output_losses(self, name: str, view: View) -> list[tuple[str, Tensor, float]]:
        """The terms that compare the outputs of the view `name`: their names, values and weights."""
        beta, gamma = self.weights[name]
        found: list[tuple[str, Tensor, float]] = []
        with without_autocast(view.student.logits):
            if beta > 0:
                loss = partial(PREDICTION[self.prediction.name].function, **self.prediction_options)
                found.append(("prediction", self.readout.soft(loss, view), beta))
            if gamma > 0:
                found.append(("label", self._label_loss(name, view), gamma))
        return found

    def _label_loss(self, name: str, view: View) -> Tensor:
        if name != "original" and self.augmented_label != "gold":
            return self.readout.imitated(view, self.augmented_label == "teacher_hard")
        if view.labels is None:
            raise ConfigError(
                f"the {name} view has a label term but its examples have no label",
                hint="set gamma1 and gamma2 to 0, or give labels",
            )
        return self.gold(view)


def prediction_choice(objective: config.Objective, *, regression: bool) -> config.Component:
    """The prediction objective: by default MSE for regression, for which any softmax loss is refused."""
    wish = objective.prediction
    if wish is None:
        return config.Component(name="mse" if regression else "ce")
    if regression and wish.name != "mse" and (objective.beta1 or objective.beta2):
        raise ConfigError(
            f"prediction objective `{wish.name}` cannot be used for regression: one output has a constant softmax",
            hint="objective.prediction=mse",
        )
    return wish


def without_autocast(like: Tensor) -> torch.autocast:
    """Losses are computed in float32, whatever the autocast around them."""
    return torch.autocast(like.device.type, enabled=False)


def _term_names(objective: config.Objective) -> list[str]:
    """The loss names of the active terms, numbered where a loss occurs twice."""
    if objective.intermediate_weight == 0:
        return []
    losses = [
        f"{term.side}_{term.loss}" if isinstance(term, translation.Term) else term.loss
        for term in objective.terms
        if term.active
    ]
    return [
        loss if losses.count(loss) == 1 else f"{loss}_{losses[:position].count(loss) + 1}"
        for position, loss in enumerate(losses)
    ]


def _pair_key(pair: LayerPair) -> str:
    return f"{pair.student}-{pair.teacher}"
