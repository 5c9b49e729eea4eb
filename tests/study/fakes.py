"""Trials that take no time: what the engine does is the same, whatever carries a trial out."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from distiller.config import Run
from distiller.record import Cost, DataFacts, ModelFacts, Record, SeedResult

Report = Callable[[int, float], None]


def log(run: Run, word: str) -> None:
    """One line a trial beside the study's trials, also where several processes write."""
    place = next(parent for parent in Path(run.output).absolute().parents if parent.name == "trials").parent
    with (place / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{word} {run.training.epochs:g} {run.training.batch_size} {os.getpid()}\n")


def fast(run: Run, report: Report | None) -> Record:
    log(run, "ran")
    return record(run, run.training.epochs / 10 + run.training.batch_size / 1000)


def slow(run: Run, report: Report | None) -> Record:
    log(run, "began")
    time.sleep(0.4)
    return fast(run, report)


def long(run: Run, report: Report | None) -> Record:
    """Long enough for the engine to look on meanwhile."""
    time.sleep(4)
    return fast(run, report)


def stuck(run: Run, report: Report | None) -> Record:
    """Two epochs never end."""
    log(run, "began")
    if run.training.epochs == 2:
        time.sleep(600)
    return fast(run, report)


def failing(run: Run, report: Report | None) -> Record:
    if run.training.epochs == 2:
        raise ValueError("two epochs\nare too few")
    return fast(run, report)


def shot_once(run: Run, report: Report | None) -> Record:
    """The first worker that tries two epochs is killed as the kernel kills."""
    mark = Path(run.output).parent / "shot"
    if run.training.epochs == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return fast(run, report)


def deadly(run: Run, report: Report | None) -> Record:
    """Two epochs kill every worker."""
    log(run, "began")
    if run.training.epochs == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return fast(run, report)


def no_room(run: Run, report: Report | None) -> Record:
    """The disk is full from the third trial on, as it is said by `distil`, until someone makes room."""
    place = next(parent for parent in Path(run.output).parents if parent.name == "trials").parent
    done = (place / "log.txt").read_text().count("ran") if (place / "log.txt").exists() else 0
    if done >= 2 and not (place / "room").exists():
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            from distiller.errors import RunError

            raise RunError("the run stopped", hint="make room") from error
    return fast(run, report)


def reporting(run: Run, report: Report | None) -> Record:
    """Learns a little in every step."""
    assert report is not None
    for step in range(1, 9):
        report(step, step * run.training.epochs / 100)
    return fast(run, report)


def record(run: Run, score: float) -> Record:
    model = ModelFacts(name="m", parameters=5, parameters_with_head=6, megabytes=0.5, scores={"accuracy": score})
    return Record(
        created="2026-01-01T00:00:00+00:00",
        run=run,
        versions={},
        revision=None,
        machine={"threads": os.environ.get("OMP_NUM_THREADS", "unset")},
        data=DataFacts(
            task="custom",
            kind="classification",
            labels=["a", "b"],
            metric="accuracy",
            examples={"train": 4, "dev": 2},
            truncated={},
            fingerprint="f",
        ),
        teacher=model.model_copy(update={"scores": {"accuracy": 2.0}}),
        baseline=model.model_copy(update={"scores": {"accuracy": 0.1}}),
        student=model,
        seeds=[
            SeedResult(
                seed=run.seeds[0],
                scores={"accuracy": score},
                best_step=1,
                steps=1,
                history=[{"step": 1.0, "loss": 0.5}],
                fingerprint="f",
            )
        ],
        metric="accuracy",
        score=score,
        distillation_ratio=score / 2,
        cost=Cost(
            wall_seconds=1.5,
            training_seconds=[1.0],
            step_milliseconds=1.0,
            examples_per_second=4.0,
            peak_memory_megabytes=1.0,
            milliseconds_per_example={"student": 0.25, "teacher": 1.0},
        ),
    )


def no_room_for_weights(run: Run, report: Report | None) -> Record:
    """The disk is full, as safetensors says it."""
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def crowded_once(run: Run, report: Report | None) -> Record:
    """The first trial finds too little memory beside the others."""
    mark = Path(run.output).parent / "crowded"
    if not mark.exists():
        mark.touch()
        raise MemoryError
    return fast(run, report)
