"""The weights of several good evaluations are averaged: which ones, by whose arithmetic, and when that is refused."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback

from distiller import config
from distiller.training.checkpoints import BestWeights, mean_weights
from distiller.training.evaluate import predict_logits
from distiller.training.fit import Fit, Fitting, Job, fit
from distiller.training.pace import pace
from training.tiny import job, student, teacher


class Copies(TrainerCallback):
    """The weights at every evaluation."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.found: list[dict[str, Tensor]] = []

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self.found.append({name: value.detach().clone() for name, value in self.model.state_dict().items()})


class WatchedJob(Job):
    """A job whose development scores are made up, and whose evaluations leave copies of the weights."""

    copies: Copies

    def trainer(self, fitting: Fitting) -> Any:
        found = super().trainer(fitting)
        object.__setattr__(self, "copies", Copies(fitting.model))
        found.add_callback(self.copies)
        return found


def trained(
    folder: Path, scores: Iterable[float], *, precision: Any = "fp32", console: Console | None = None, **given: Any
) -> tuple[Fit, Any, WatchedJob]:
    made, said = job(), iter(scores)
    work = WatchedJob(made.train, made.dev, made.collate, lambda *_: {"accuracy": next(said)}, "accuracy")
    training = config.Training(
        min_steps=6, max_steps=6, batch_size=8, evaluations=5, precision=precision, **given
    )  # fmt: skip
    small = student()
    done = fit(
        small, work, training, objective=config.Objective(gamma1=0.5), folder=folder, seed=0, title="",
        teacher=teacher(), console=console,
    )  # fmt: skip
    return done, small, work


def equal(model: Any, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_mean_is_that_of_torch() -> None:
    models = [student(dropout=0.0) for _ in range(3)]
    for place, model in enumerate(models):
        torch.manual_seed(place)
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter)
    oracle = AveragedModel(models[0])
    for model in models:
        oracle.update_parameters(model)
    mean = mean_weights([model.state_dict() for model in models])
    for name, value in oracle.module.state_dict().items():
        torch.testing.assert_close(mean[name], value)


def test_whole_numbers_stay_and_formats_too() -> None:
    models = [{"count": torch.tensor(n), "half": torch.tensor([n / 2], dtype=torch.bfloat16)} for n in (1, 4)]
    mean = mean_weights(models)
    assert mean["count"] == 1
    assert mean["half"].dtype == torch.bfloat16
    assert mean["half"].item() == 1.25


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_best_evaluations_are_averaged(tmp_path: Path, precision: Any) -> None:
    """With 20 development examples a standard error is 0.10: 0.3 is too far from 0.7 to be averaged."""
    scores = [0.65, 0.3, 0.7, 0.6, 0.62, 0.66]
    done, small, work = trained(tmp_path, [*scores, 0.68], precision=precision)
    averaged = [work.copies.found[place] for place in (0, 2, 5)]
    for name, value in small.state_dict().items():
        torch.testing.assert_close(value, torch.stack([one[name] for one in averaged]).mean(0))
    assert done.scores == {"accuracy": 0.68}  # of the mean
    assert done.best_step == 3
    assert done.history[-1] == {"step": 6.0, "averaged": 3.0, "averaged_accuracy": 0.68}
    assert not (tmp_path / "checkpoints").exists()


def test_who_watches_reads_the_score_of_the_mean(tmp_path: Path) -> None:
    heard = StringIO()
    trained(tmp_path, [0.65, 0.3, 0.7, 0.6, 0.62, 0.66, 0.68], console=Console(file=heard, width=120))
    said = heard.getvalue()
    assert "best accuracy 0.7000" in said
    assert "accuracy 0.6800, the mean of the weights of its 3 best evaluations" in said


def test_a_mean_worse_than_each_is_not_taken(tmp_path: Path) -> None:
    done, small, work = trained(tmp_path, [0.65, 0.3, 0.7, 0.6, 0.62, 0.66, 0.64])
    assert equal(small, work.copies.found[2])
    assert done.scores == {"accuracy": 0.7}
    assert "averaged" not in done.history[-1]


def test_what_is_clearly_worse_is_not_averaged(tmp_path: Path) -> None:
    done, small, work = trained(tmp_path, [0.1, 0.2, 0.9, 0.3, 0.4, 0.5])  # a seventh score would be one too many
    assert equal(small, work.copies.found[2])
    assert done.scores == {"accuracy": 0.9}


def test_one_alone_where_that_is_asked_for(tmp_path: Path) -> None:
    done, small, work = trained(tmp_path, [0.65, 0.3, 0.7, 0.6, 0.62, 0.66], average_best=1)
    assert equal(small, work.copies.found[2])
    assert done.best_step == 3


def test_trainings_of_a_given_length_keep_the_best_unless_asked() -> None:
    def averaged(**given: Any) -> int:
        return pace(config.Training(**given), steps_per_epoch=10, dev_examples=100).averaged

    assert averaged(epochs=3) == 1
    assert averaged(epochs=3, average_best=5) == 5
    assert averaged() == 3
    assert averaged(average_best=2) == 2


def test_the_scores_are_those_of_the_model_that_is_left(tmp_path: Path) -> None:
    made = job()

    def accuracy(logits: Any, labels: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(logits.argmax(1) == labels))}

    small = student()
    done = fit(
        small, Job(made.train, made.dev, made.collate, accuracy, "accuracy"),
        config.Training(min_steps=60, max_steps=60, batch_size=8, evaluations=1, precision="fp32"),
        objective=config.Objective(gamma1=0.5), folder=tmp_path, seed=0, title="", teacher=teacher(),
    )  # fmt: skip
    logits = predict_logits(small, made.dev, made.collate, precision="fp32").numpy()
    labels = np.array([made.dev[place]["labels"] for place in range(len(made.dev))])
    assert done.scores == accuracy(logits, labels)


def test_a_checkpoint_holds_all_of_them(tmp_path: Path) -> None:
    def state(step: int) -> Any:
        return type("State", (), {"global_step": step})()

    model = student()
    best = BestWeights(model, "accuracy", most=2)
    for step, score in enumerate((0.5, 0.7, 0.4, 0.6), start=1):
        for parameter in model.parameters():
            parameter.data += 1
        best.on_evaluate(None, state(step), None, metrics={"eval_accuracy": score})
    best.write(tmp_path, step=4)
    again = BestWeights(model, "accuracy", most=2)
    again.read(tmp_path)
    assert [(one.score, one.step) for one in again.found] == [(0.7, 2), (0.6, 4)]
    for one, other in zip(best.found, again.found, strict=True):
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
