"""A whole training: the same seed gives the same student, interrupted or not, and the best score chooses."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainingArguments

from distiller import config
from distiller.cache.folders import FolderCache
from distiller.models.eight_bits import EightBits
from distiller.training.callbacks import ProgressBar, Stopwatch
from distiller.training.evaluate import predict_logits
from distiller.training.fit import Fit, Fitting, Job, fit, pace_of, training_arguments
from distiller.training.shared_work import fine_tune
from distiller.training.trainer import DistillationTrainer
from training.tiny import Examples, job, student, teacher, term, weights_of

WISH = config.Objective(
    gamma1=0.5,
    intermediate=[
        term("mse"),
        term("mi_alpha"),
        config.Term(loss="cos", mapping=config.Component(name="emd", options={"update_weights": True})),
    ],
)
TRAINING = config.Training(epochs=2, batch_size=8, evaluations=2, learning_rate=1e-3, log_every=2, checkpoint_minutes=0)
"""Ten steps, five an epoch; a log line after every second, a checkpoint after each."""


def run(folder: Path, *, seed: int = 0, training: config.Training = TRAINING, **given: Any) -> tuple[Any, Fit]:
    small = student(dropout=0.1)
    defaults = {"objective": WISH, "teacher": teacher(), "select_best": False}
    return small, fit(small, job(), training, folder=folder, seed=seed, title="", **defaults | given)


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """What runs inside is interrupted after step `at`, as by Ctrl-C."""

    def interrupt(watch: Stopwatch, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stopwatch, "on_step_end", interrupt)
        try:
            yield
        except KeyboardInterrupt:
            return
    pytest.fail("nothing was interrupted")


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights_of(one).values(), weights_of(other).values(), strict=True))


def test_one_seed_is_one_student(tmp_path: Path) -> None:
    first, facts = run(tmp_path / "a")
    torch.manual_seed(99)  # what came before a run has no part in it
    again, more = run(tmp_path / "b")
    other, _ = run(tmp_path / "c", seed=1)
    assert equal(first, again)
    assert facts.history == more.history
    assert not equal(first, other)


@pytest.mark.parametrize("at", [4, 5, 7])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 4 and 7 are within an epoch, one after a log line; 5 is the last of the first epoch."""
    whole, facts = run(tmp_path / "whole")

    with interrupted(monkeypatch, at):
        run(tmp_path / "cut")
    assert list((tmp_path / "cut").glob("checkpoints/checkpoint-*"))
    steps: list[int] = []
    inner = DistillationTrainer.training_step
    with monkeypatch.context() as patch:
        patch.setattr(DistillationTrainer, "training_step", lambda *a, **k: (steps.append(1), inner(*a, **k))[1])
        resumed, more = run(tmp_path / "cut", resume=True)
    assert len(steps) == 10 - (at - 1)
    assert equal(whole, resumed)
    assert more.scores == facts.scores
    assert more.history == facts.history


def test_resuming_after_an_epoch_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_epoch = TRAINING.model_copy(update={"evaluations": 1})
    whole, _ = run(tmp_path / "whole", training=by_epoch)

    with interrupted(monkeypatch, 6):
        run(tmp_path / "cut", training=by_epoch)
    kept = sorted(path.name for path in (tmp_path / "cut").glob("checkpoints/*"))
    assert kept == ["checkpoint-4", "checkpoint-5"]
    resumed, _ = run(tmp_path / "cut", training=by_epoch, resume=True)
    assert equal(whole, resumed)


@pytest.mark.parametrize("steps", [5, 7])
def test_resuming_after_the_last_step_takes_no_other(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = TRAINING.model_copy(update={"max_steps": steps, "schedule": "constant"})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        whole, facts = run(tmp_path / "one", training=constant)
    resumed, more = run(tmp_path / "one", training=constant, resume=True)
    assert equal(whole, resumed)
    assert more.steps == facts.steps == steps
    assert more.scores == facts.scores


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(tmp_path / "whole")
    with interrupted(monkeypatch, 7):
        run(tmp_path / "cut")
    half = tmp_path / "cut" / "checkpoints" / "checkpoint-9"
    half.mkdir()
    (half / "config.json").write_text("{")
    resumed, _ = run(tmp_path / "cut", resume=True)
    assert equal(whole, resumed)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_the_best_development_score_chooses_the_weights(tmp_path: Path, precision: Any, apart: float) -> None:
    seen: list[torch.Tensor] = []
    scores = iter([0.2, 0.9, 0.9, 0.1])

    def score(logits: Any, labels: Any) -> dict[str, float]:
        seen.append(torch.from_numpy(logits))
        return {"accuracy": next(scores)}

    made = job()
    small = student(dropout=0.1)
    found = fit(
        small, Job(made.train, made.dev, made.collate, score, "accuracy"),
        TRAINING.model_copy(update={"precision": precision}),
        objective=WISH, folder=tmp_path, seed=0, title="", teacher=teacher(),
    )  # fmt: skip
    assert found.scores["accuracy"] == 0.9
    assert found.best_step == 6  # the first of two that are equally good
    assert found.steps == 10
    logits = predict_logits(small, made.dev, made.collate, precision=precision)
    torch.testing.assert_close(logits, seen[1].float(), rtol=1e-4, atol=apart)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_end_in_eight_bits_chooses_among_its_own_weights_and_resumes(
    tmp_path: Path, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps, the last two in 8 bits; development scores after 2, 4, … fall, so the best before would be chosen."""
    training = TRAINING.model_copy(update={"precision": precision, "evaluations": 3})
    started: list[bool] = []

    def rounding(folder: Path, **given: Any) -> tuple[Any, Fit]:
        made, small, falling = job(), student(dropout=0.1), iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
        work = Job(made.train, made.dev, made.collate, lambda *_: {"accuracy": next(falling)}, "accuracy")
        eight = EightBits(small)
        found = fit(
            small, work, training, objective=WISH, folder=folder, seed=0, title="", teacher=teacher(),
            eight_bits=eight, **given,
        )  # fmt: skip
        started.append(eight.on)
        return small, found

    whole, facts = rounding(tmp_path / "whole")
    scored = [entry["step"] for entry in facts.history if "eval_accuracy" in entry]
    assert facts.best_step == min(step for step in scored if step > 8)
    assert facts.history[-1].keys() == {"step", "eight_bits_accuracy"}
    with interrupted(monkeypatch, 9):
        rounding(tmp_path / "cut")
    resumed, more = rounding(tmp_path / "cut", resume=True)
    assert equal(whole, resumed)
    assert more.best_step == facts.best_step
    assert started == [False, False]
    plain, _ = run(tmp_path / "plain", training=training)
    assert not equal(whole, plain)


def test_patience_ends_a_training(tmp_path: Path) -> None:
    made = job()
    flat = Job(made.train, made.dev, made.collate, lambda *_: {"accuracy": 0.5}, "accuracy")
    patient = TRAINING.model_copy(update={"patience": 1})
    found = fit(student(), flat, patient, objective=WISH, folder=tmp_path, seed=0, title="", teacher=teacher())
    assert found.steps == 6
    assert found.best_step == 3


def test_mutual_information_drops_a_last_batch_that_is_too_small(tmp_path: Path) -> None:
    for size, drops in ((16, False), (17, True), (18, True), (19, False)):
        arguments = arguments_for(tmp_path, size, WISH, epochs=3)
        assert arguments.dataloader_drop_last == drops
        assert arguments.eval_steps == (3 if size == 19 else 2)
    assert not arguments_for(tmp_path, 17, config.Objective()).dataloader_drop_last


def arguments_for(folder: Path, size: int, objective: config.Objective, **fields: Any) -> TrainingArguments:
    training, work = config.Training(batch_size=8, **fields), job(size)
    fitting = Fitting(
        student(), training, objective, folder, seed=0, title="", pace=pace_of(training, work, objective), learns=None,
        callbacks=[], teacher=None, teacher_cache=None, augmented_cache=None,
    )  # fmt: skip
    return training_arguments(fitting, work)


def test_logits_come_in_the_order_of_the_examples() -> None:
    examples, model = Examples(10), student()
    found = predict_logits(model, examples, job().collate, batch_size=3)
    for position in range(10):
        row = torch.tensor([examples.tokens[position]])
        with torch.no_grad():
            torch.testing.assert_close(found[position], model(input_ids=row).logits[0], rtol=1e-4, atol=1e-5)


def test_fine_tuning_is_done_once_for_the_same_facts(tmp_path: Path) -> None:
    made = job()
    work = Job(made.train, made.dev, made.collate, made.score, made.metric, Saved())

    def again(training: config.Training, seed: int = 0) -> Path:
        return fine_tune(
            FolderCache(tmp_path), "teachers", student, work, training, seed=seed, title="", console=None
        ).folder

    first = again(TRAINING)
    assert (first / "scores.json").is_file()
    assert (first / "model.safetensors").is_file()
    assert not (first / "checkpoints").exists()
    assert again(TRAINING.model_copy(update={"log_every": 3})) == first
    assert again(TRAINING.model_copy(update={"learning_rate": 1e-4})) != first
    assert again(TRAINING, seed=1) != first


class Saved:
    """Stands for a tokenizer: all that a training does with it is to save it."""

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / "vocab.txt").touch()


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    clock = iter([0.0, 0.0, *range(1, 400)])
    monkeypatch.setattr("distiller.training.callbacks.time.monotonic", lambda: float(next(clock)))
    bar = ProgressBar("training", "accuracy", Console(file=text, width=120))
    state = type("State", (), {"max_steps": 300, "global_step": 0})()
    bar.on_train_begin(None, state, None)
    bar.on_log(None, state, None, logs={"loss": 1.0})
    for step in range(1, 301):
        state.global_step = step
        bar.on_step_end(None, state, None)
    bar.on_log(None, state, None, logs={"eval_accuracy": 0.75})
    bar.on_log(None, state, None, logs={"eval_accuracy": 0.5})
    bar.on_train_end()
    bar.close()
    lines = text.getvalue().strip().split("\n")
    assert lines[0] == "training: at most 300 steps"
    assert lines[1].startswith("training: 10 of at most 300 steps")
    assert "left at most · loss 1.000" in lines[1]
    assert 10 < len(lines) < 30
    assert lines[-1] == "✓ training, best accuracy 0.7500"
