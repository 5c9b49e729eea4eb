"""The trainings of a run: the baseline, and one student for each seed through all stages."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedModel, set_seed

from distiller import processes
from distiller.errors import DamagedError, warn
from distiller.files import digest, read_sealed, refuse_damage, replace_folder, write_sealed
from distiller.models.folders import weights_fingerprint
from distiller.record import SeedResult
from distiller.run.stages import Stage, stages_of
from distiller.training.callbacks import OnEvaluation
from distiller.training.checkpoints import load_weights
from distiller.training.fit import Fit, fit
from distiller.training.output_folder import STUDENT
from distiller.training.shared_work import (
    OUTCOME,
    folder_megabytes,
    read_outcome,
    write_outcome,
)

if TYPE_CHECKING:
    from distiller.run.setup import Setup
    from distiller.run.translation import TranslationWork

    Shared = Setup | TranslationWork
    """What all seeds of a run share; the methods of the two are what differs between kinds of task."""

RESULT, FIT = "result.json", "fit.json"


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Several counts by name, added up."""
    return dict(sum(map(Counter, counts), Counter()))


def mean_shares(history: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every term's share of the gradient, by name, over the log lines that have one."""
    found: dict[str, list[float]] = {}
    for entry in history:
        for name, value in entry.items():
            if name.startswith("share/"):
                found.setdefault(name.removeprefix("share/"), []).append(value)
    return {name: fmean(values) for name, values in found.items()}


@dataclass(frozen=True)
class Trained:
    """One finished seed: its result, and what its training took here."""

    result: SeedResult
    outcome: np.ndarray
    """What the student says of the development set."""
    seconds: float
    examples_per_second: float
    seconds_waited: float
    augmentation: dict[str, int]
    cache_megabytes: float
    notes: list[str]


def train_seed(
    setup: "Shared", seed: int, folder: Path, resume: bool, on_evaluation: OnEvaluation | None = None
) -> Trained:
    """Train one student through all stages; `folder/student` and, last, `folder/result.json` are the outcome.

    With `resume`, finished seeds and stages are kept as they are, unless their files are damaged.
    """
    if resume and (stored := processes.from_first(lambda: _stored_seed(folder))):
        return stored
    done: list[_Stage] = []
    set_seed(seed)
    student = setup.new_student(seed)
    stages = stages_of(setup.run)
    for stage in stages:
        place = folder if stage is stages[-1] else folder / stage.name
        found = _stored_stage(folder / stage.name / FIT, place / STUDENT, student) if resume else None
        if found is None:
            before = sum(one.fit.steps for one in done)
            heard = on_evaluation and partial(_later, on_evaluation, before)
            found = _train_stage(setup, stage, student, seed, folder / stage.name, place / STUDENT, resume, heard)
        done.append(found)
    return processes.from_first(lambda: _written(setup, student, seed, folder, done))


def _written(setup: "Shared", student: PreTrainedModel, seed: int, folder: Path, done: list["_Stage"]) -> Trained:
    """What became of a seed, and its last file."""
    fits = [one.fit for one in done]
    last = fits[-1]
    scores, outcome = setup.examine(student, last.scores)
    result = SeedResult(
        seed=seed,
        scores=scores,
        best_step=last.best_step,
        steps=sum(one.steps for one in fits),
        history=[entry for one in fits for entry in one.history],
        fingerprint=weights_fingerprint(student),
        shares=mean_shares(one for stage in fits for one in stage.history),
    )
    trained = Trained(
        result,
        outcome,
        seconds=sum(one.seconds for one in fits),
        examples_per_second=last.examples_per_second,
        seconds_waited=sum(one.seconds_waited for one in fits),
        augmentation=total(one.augmentation for one in fits),
        cache_megabytes=sum(one.cache_megabytes for one in done),
        notes=[one.note for one in done if one.note],
    )
    write_outcome(folder / OUTCOME, trained.outcome)
    kept = {name: value for name, value in trained.__dict__.items() if name != "outcome"}
    kept |= {"result": result.model_dump(mode="json"), OUTCOME: digest(folder / OUTCOME)}
    write_sealed(folder / RESULT, kept)
    for stage in stages_of(setup.run)[:-1]:
        shutil.rmtree(folder / stage.name / STUDENT, ignore_errors=True)
    return trained


@dataclass(frozen=True)
class _Stage:
    """One finished stage of a seed."""

    fit: Fit
    note: str | None
    cache_megabytes: float


def _train_stage(
    setup: "Shared",
    stage: Stage,
    student: PreTrainedModel,
    seed: int,
    folder: Path,
    model: Path,
    resume: bool,
    on_evaluation: OnEvaluation | None,
) -> _Stage:
    """Train `student` in place; the folder `model` and, last, `folder/fit.json` are the outcome."""
    setup.teach_words(student)
    outputs = setup.outputs(stage)
    megabytes = folder_megabytes(outputs.cache.folder) if outputs.cache else 0.0
    objective = stage.objective

    def keep(fit: Fit) -> None:
        replace_folder(lambda place: setup.save(student, place), model)
        write_sealed(folder / FIT, asdict(_Stage(fit, outputs.note, megabytes)))

    fitted = fit(
        student,
        setup.job(seed),
        stage.training,
        objective=objective,
        folder=folder,
        seed=seed,
        title=f"{stage.name}, seed {seed}",
        teacher=setup.teacher,
        other_teachers=setup.other_teachers,
        teacher_cache=outputs.cache,
        augmented_cache=outputs.augmented,
        console=setup.console,
        resume=resume,
        select_best=objective.beta1 > 0 or bool(objective.gamma1),
        eight_bits=setup.eight_bits(student) if stage.training.quantization_aware else None,
        on_evaluation=on_evaluation,
        keep=keep,
    )
    return _Stage(fitted, outputs.note, megabytes)


def _stored_stage(file: Path, model: Path, student: PreTrainedModel) -> _Stage | None:
    """The outcome of a finished stage, with its weights in `student`; `None` if there is none, or it is damaged."""
    if not file.is_file():
        return None
    try:
        found = read_sealed(file)
        refuse_damage(model)
    except DamagedError as error:
        warn(f"{error.message}: this stage is trained again")
        return None
    load_weights(student, model)
    return _Stage(**{**found, "fit": Fit(**found["fit"])})


def _stored_seed(folder: Path) -> Trained | None:
    """The outcome of a finished seed; `None` if there is none, or it is damaged."""
    if not (folder / RESULT).is_file():
        return None
    try:
        found = read_sealed(folder / RESULT)
        refuse_damage(folder / STUDENT)
        if not (folder / OUTCOME).is_file() or digest(folder / OUTCOME) != found.pop(OUTCOME, None):
            raise DamagedError(f"`{folder / OUTCOME}` is not what was written there")
    except DamagedError as error:
        warn(f"{error.message}: this seed is trained again")
        return None
    outcome = read_outcome(folder / OUTCOME)
    return Trained(**{**found, "result": SeedResult.model_validate(found["result"]), "outcome": outcome})


def _later(on_evaluation: OnEvaluation, before: int, step: int, score: float) -> None:
    on_evaluation(before + step, score)
