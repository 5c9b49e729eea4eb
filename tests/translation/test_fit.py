"""Training: the rate's formula, an interruption that leaves no trace, and a teacher that does not move."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from distiller.config import parse
from distiller.config.translation import Objective, Optimisation
from distiller.errors import RunError
from distiller.models.folders import weights_fingerprint
from distiller.training.fit import Fit, fit
from distiller.translation.batches import Examples
from distiller.translation.tokenizer import END
from distiller.translation.training_data import TranslationData, inverse_square_root
from translation.tiny import model

V = 20
WISH = {"gamma1": 0.5, "beta1": 1.0, "intermediate": [{"loss": "mse"}]}
TRAINING = {
    "batch_tokens": 60,
    "max_steps": 12,
    "accumulate": 2,
    "evaluations": 4,
    "learning_rate": 1e-3,
    "checkpoint_minutes": 0,
}


def training_data(score: Any = None) -> TranslationData:
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(4, V - 1, (length,), generator=rng).tolist() for length in range(2, 8) for _ in range(12)]
    text = [[*row, END] for row in rows]
    seen = iter(range(100))
    score = score or (lambda _: {"bleu": float(next(seen))})
    tokenizer: Any = SimpleNamespace(pad=V - 1, special=frozenset({END, V - 1}))
    return TranslationData(Examples.of(text, text, len(text)), 1.0, score, "text", tokenizer, 10)


def train(
    folder: Path, student: PreTrainedModel, given: TranslationData, *, resume: bool = False, **changes: Any
) -> Fit:
    return fit(
        student,
        given,
        parse(Optimisation, TRAINING | changes, where="training"),
        objective=parse(Objective, WISH, where="objective"),
        folder=folder,
        seed=0,
        title="test",
        teacher=model(V, seed=9, encoder_layers=2, width=16),
        resume=resume,
    )


@given(step=st.integers(0, 10_000), warmup=st.integers(0, 500))
def test_the_rate_rises_linearly_and_falls_with_the_square_root(step: int, warmup: int) -> None:
    expected = min((step + 1) / (warmup + 1), math.sqrt((warmup + 1) / (step + 1)))
    assert inverse_square_root(step, warmup) == pytest.approx(expected)


def test_an_interrupted_training_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole = model(V, dropout=0.1).train()
    first = train(tmp_path / "whole", whole, training_data())

    scores = iter([0.0, 1.0])

    def stop(_: Any) -> dict[str, float]:
        value = next(scores, None)
        if value is None:
            raise KeyboardInterrupt
        return {"bleu": value}

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", model(V, dropout=0.1).train(), training_data(stop))
    later = iter([2.0, 3.0])
    resumed = model(V, dropout=0.1).train()
    second = train(tmp_path / "stopped", resumed, training_data(lambda _: {"bleu": next(later)}), resume=True)
    assert second.scores == first.scores == {"bleu": 3.0}
    assert all(torch.equal(weight, resumed.state_dict()[name]) for name, weight in whole.state_dict().items())
    losses = [[entry for entry in one.history if "loss" in entry] for one in (first, second)]
    assert losses[0] == losses[1]
    assert {"loss/label", "loss/prediction", "loss/encoder_mse"} <= set(losses[0][-1])


def test_the_best_score_decides_which_weights_are_kept(tmp_path: Path) -> None:
    seen: list[str] = []
    values = iter([1.0, 5.0, 2.0, 3.0])

    def score(student: Any) -> dict[str, float]:
        seen.append(weights_fingerprint(student))
        return {"bleu": next(values)}

    student = model(V).train()
    done = train(tmp_path, student, training_data(score))
    assert done.best_step == 6
    assert weights_fingerprint(student) == seen[1] != seen[3]
    assert not list(tmp_path.rglob("checkpoint-*"))


def test_without_a_length_a_training_ends_when_the_model_has_learnt(tmp_path: Path) -> None:
    """By chrF, at a constant rate, and with a short fall of the rate at the end; as in every run."""
    scores = iter([(0.0, 1.0), (0.0, 2.0), (1.0, 2.0), (3.0, 1.0)])
    given = training_data(lambda _: dict(zip(("bleu", "chrf"), next(scores), strict=True)))
    changes = {"max_steps": None, "min_steps": 4, "patience": 1, "evaluations": 200, "log_every": 1}  # every 4 steps
    done = train(tmp_path, model(V).train(), given, **changes)
    assert done.steps == 16  # chrF was best after 8, was looked at once more after 12, and fell for 4
    assert done.best_step == 16
    rates = [entry["learning_rate"] for entry in done.history if "learning_rate" in entry]
    assert len(set(rates[1:12])) == 1
    assert rates[12:] == sorted(rates[12:], reverse=True)
    assert rates[-1] < rates[5]


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    student = model(V).train()
    with torch.no_grad():
        student.final_logits_bias[0, 5] = float("nan")
    with pytest.raises(RunError, match="not a number"):
        train(tmp_path, student, training_data(), log_every=1)
