"""How long and how fast a model is trained where a run does not say: until it has stopped improving.

One rule for teachers, baselines and students, so that models that are compared were trained alike. After a warm-up the
rate stays constant until the development score has not improved for `patience` evaluations; then it falls linearly to 0
over a quarter of the steps so far, and the weights of the best evaluations are averaged. A floor and a ceiling in
optimisation steps bound it. `docs/concepts/training.md` explains how the numbers were chosen.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig, TrainerCallback

from distiller import config

COOLING = 0.25
"""Steps in which the rate falls to 0, as a share of those before."""
EPOCHS = (3, 20)
"""Passes over the training data at floor and ceiling …"""
FLOOR = (200, 1000)
"""… and the least and most steps that they may come to."""
CEILING = (800, 6000)
PATIENT = (10, 5000)
"""Passes and steps that a small student takes at least of texts which its teacher alone has answered: nothing there is
wrong, so it does not overfit, and it goes on learning long after its development score stands still (docs/results.md)
…"""
SMALLER = 20
"""… where it is so many times smaller than its teacher; fewer in proportion, for its steps cost more then."""
PATIENCE = 6
LOOKS = 40
"""Development scores up to the ceiling."""
APART = (20, 500)
"""Fewest and most steps between two of them, where they cost little."""
LOOKING = 0.2
"""Most of the training's own time that development scores may take."""
AVERAGED = 3
"""Evaluations whose weights are averaged."""


@dataclass(frozen=True)
class Pace:
    """The numbers of one training, in optimisation steps."""

    floor: int
    """Patience counts from here."""
    ceiling: int
    every: int
    """Steps between two development scores."""
    warmup: int
    patience: int | None = None
    """Evaluations without a better score after which it has learnt; `None`: the ceiling alone decides."""
    averaged: int = 1
    """Most evaluations whose weights are averaged …"""
    dev_examples: int = 0
    """… where their scores do not differ by more than so many examples can tell."""

    def error(self, score: float) -> float:
        """About one standard error of a development score `score`, taken as a share of the development examples."""
        share = min(max(score, 0.0), 1.0)
        return math.sqrt(share * (1 - share) / max(1, self.dev_examples))

    def cooling_from(self, scores: Iterable[tuple[int, float]]) -> int | None:
        """The step from which the rate falls, given the (step, development score) so far; `None` while it is constant.

        The fall begins early enough to end at the ceiling.
        """
        latest = math.floor(self.ceiling / (1 + COOLING))
        best, waited = -math.inf, 0
        for step, score in scores:
            if step > latest:
                break
            if score > best:
                best, waited = score, 0
            else:
                waited += 1
            if self.patience is not None and waited >= self.patience and step >= self.floor:
                return step
        return None

    def falls_from(self, cooling_from: int | None) -> int:
        """The step from which the rate falls, or would fall if it stayed constant for as long as it can."""
        return cooling_from if cooling_from is not None else math.floor(self.ceiling / (1 + COOLING))

    def end(self, cooling_from: int | None) -> int:
        """The last step."""
        if cooling_from is None:
            return self.ceiling
        return min(self.ceiling, cooling_from + max(self.every, math.ceil(COOLING * cooling_from)))

    def rate(self, step: int, cooling_from: int | None) -> float:
        """The factor of the learning rate at `step` (counted from 0)."""
        start = self.falls_from(cooling_from)
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if step < start:
            return 1.0
        end = self.end(cooling_from)
        return max(0.0, (end - step) / max(1, end - start))


def patient_steps(teacher: PretrainedConfig, student: PretrainedConfig) -> int:
    """The fewest steps for `student` where the `teacher` alone has labelled most of its texts."""
    times = _layers_size(teacher) / _layers_size(student)
    return math.floor(PATIENT[1] * min(1.0, times / SMALLER))


def pace(training: config.Optimisation, *, steps_per_epoch: int, dev_examples: int, patient: int = 0) -> Pace:
    """What `training` means for a training set with this many steps an epoch.

    `patient` is the least number of steps, unless that makes too many passes, where a run sets neither `min_steps` nor
    `max_steps`.
    """
    if training.epochs is None:
        fewest, most = EPOCHS
        floor = training.min_steps or _between(FLOOR, fewest * steps_per_epoch)
        if training.min_steps is None and training.max_steps is None:
            floor = max(floor, min(patient, PATIENT[0] * steps_per_epoch))
        top = max(CEILING[1], 2 * steps_per_epoch)
        ceiling = training.max_steps or _between((CEILING[0], top), most * steps_per_epoch)
        ceiling = max(ceiling, training.min_steps or 0)
        floor = min(floor, ceiling)
        patience = training.patience or PATIENCE
        averaged = training.average_best or AVERAGED
    else:
        floor = ceiling = training.max_steps or math.ceil(steps_per_epoch * training.epochs)
        patience = training.patience
        averaged = training.average_best or 1
    if training.evaluations is not None or training.epochs is not None:
        every = math.ceil(min(steps_per_epoch, ceiling) / (training.evaluations or 1))
    else:
        # a development example costs about a third of a training one
        affordable = math.ceil(dev_examples / (3 * LOOKING * training.batch_size * training.accumulate))
        usual = _between(APART, math.ceil(ceiling / LOOKS))
        every = min(max(usual, affordable), max(1, ceiling // 4))
    warmup = round((floor if training.epochs is None else ceiling) * training.warmup)
    return Pace(floor, ceiling, max(1, every), warmup, patience, averaged, dev_examples)


def learning_rate(shape: PretrainedConfig, *, pretrained: bool) -> float:
    """The rate for a kind of model: narrow ones tolerate more, deep ones less, and random weights need more.

    5e-5 for pretrained weights of BERT-base's width (Devlin et al. 2019, appendix A.3, searches 2e-5 to 5e-5), and in
    proportion 1e-4 for width 384 and 3e-4 for 128; three times that, at most 1e-3, from random weights.
    """
    rate = 5e-5 * 768 / getattr(shape, "hidden_size", 768)
    if getattr(shape, "num_hidden_layers", 12) >= 24:
        rate /= 2
    return float(f"{min(rate if pretrained else 3 * rate, 1e-3):.2g}")


class UntilLearnt(TrainerCallback):
    """Carries out a `Pace`: the factor of the learning rate by step, and the end of the training.

    It depends only on the development scores in the trainer's state, which checkpoints hold: a resumed training goes on
    as if nothing had happened.
    """

    def __init__(self, pace: Pace, metric: str) -> None:
        self.pace = pace
        self.metric = f"eval_{metric}"
        self.cooling_from: int | None = None

    def __call__(self, step: int) -> float:
        """The factor of the learning rate."""
        return self.pace.rate(step, self.cooling_from)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Read the scores of an interrupted training."""
        self.cooling_from = self.pace.cooling_from(self._scores(state.log_history))

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Decide whether the training has stopped improving."""
        self.cooling_from = self.pace.cooling_from(self._scores(state.log_history))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when the rate reaches 0, with a last development score."""
        if state.global_step >= self.pace.end(self.cooling_from):
            control.should_evaluate = control.should_log = True
            control.should_training_stop = True

    def _scores(self, history: Sequence[dict[str, float]]) -> list[tuple[int, float]]:
        return [(int(entry["step"]), entry[self.metric]) for entry in history if self.metric in entry]


def _layers_size(shape: PretrainedConfig) -> int:
    """A number proportional to the size of the weights in all layers."""
    return max(1, shape.num_hidden_layers) * shape.hidden_size**2


def _between(limits: tuple[int, int], value: int) -> int:
    return min(max(value, limits[0]), limits[1])
