"""`distil_translator(run)`: from a `TranslationRun` to a `TranslationRecord`.

The order is: text, vocabulary, teacher, its translations where they are wanted, baseline, one training per seed, sizes
and speeds. What does not depend on the seed is made once and kept, so an interrupted run goes on where it stopped.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from transformers import PreTrainedModel
from transformers.utils import logging

from distiller import processes
from distiller.cache.folders import cache_root
from distiller.cache.teacher_outputs import TeacherCache
from distiller.device import compute, describe_machine, peak_memory_megabytes
from distiller.errors import ConfigError, DamagedError, warn
from distiller.files import read_sealed, refuse_damage, write_sealed, write_sums
from distiller.models.load import weights_fingerprint
from distiller.record import Cost, ModelFacts, SeedResult, git_revision, now, ratio, spreads
from distiller.training.callbacks import OnEvaluation
from distiller.training.output_folder import SEEDS, STUDENT, claimed, finished, output_folder, publish, writing
from distiller.training.shared_work import folder_megabytes
from distiller.translation.config import TranslationRun, load_translation
from distiller.translation.efficiency import efficiency
from distiller.translation.fit import Fit, fit
from distiller.translation.model import parameter_count, stored_megabytes
from distiller.translation.record import METRIC, TextFacts, TranslationRecord, all_versions, load_translation_record
from distiller.translation.scores import Scores
from distiller.translation.setup import SHAPED, Setup, gold_training, prepare
from distiller.translation.students import load_translator, save_translator
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.translate import evaluate

RESULT = "result.json"
TEACHER = "teacher"
"""Where a teacher stands that the run trained."""


def distil_translator(
    run: TranslationRun,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    on_evaluation: OnEvaluation | None = None,
) -> TranslationRecord:
    """Carry out `run` and write its output folder: `student/`, `run.yaml` and, last of all, `record.json`.

    With `resume`, what an interrupted run finished is kept and its newest checkpoint continued; a finished run
    returns its Record. `overwrite` replaces an earlier output. `console` shows progress. `on_evaluation` hears of every
    development BLEU of the first seed, with the optimisation step; what it raises ends the run. Raises
    `DistillerError`.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    started = time.perf_counter()
    if processes.count() > 1:
        raise ConfigError("translation trains in one process", hint="start it without torchrun")
    if resume and overwrite:
        raise ConfigError("a run cannot be both continued and started over", hint="leave out --resume or --overwrite")
    if run.training.threads:
        torch.set_num_threads(run.training.threads)
    folder = output_folder(run.output)
    if resume and (record := finished(folder, run, load_translation, load_translation_record)):
        return record
    with (
        claimed(folder, run, load_translation, resume=resume, overwrite=overwrite),
        writing(folder, cache_root(run.cache)),
    ):
        setup = prepare(run, console)
        baseline = [_baseline(setup, seed) for seed in run.seeds] if run.baseline else []
        trained = [
            _train_seed(setup, seed, folder / SEEDS / str(seed), resume, on_evaluation if position == 0 else None)
            for position, seed in enumerate(run.seeds)
        ]
        return _finish(setup, folder, baseline, trained, started)


@dataclass(frozen=True)
class Trained:
    """One finished training: its model folder, how it went, and its final scores."""

    folder: Path
    fit: Fit
    scores: dict[str, float]
    signatures: dict[str, str]
    fingerprint: str


def _baseline(setup: Setup, seed: int) -> Trained:
    """The same student from the same start, trained on gold pairs alone; made once for all runs that ask for it."""
    wish = setup.run.student
    if wish.init == "teacher" and setup.teacher is not None:
        model = wish.model_dump(mode="json") | {"teacher": weights_fingerprint(setup.teacher)}
    else:
        model = {"shape": wish.shape.sizes(), "form": wish.shape.form(), **wish.shape.model_dump(include=SHAPED)}
    folder, done = gold_training(
        setup.store,
        model,
        setup.run.training,
        setup.gold_data(),
        seed=seed,
        title=f"train the student without a teacher, seed {seed}",
        console=setup.console,
        start=lambda: setup.student(seed),
    )
    return _scored(setup, load_translator(folder)[0], folder, done)


def _train_seed(setup: Setup, seed: int, folder: Path, resume: bool, on_evaluation: OnEvaluation | None) -> Trained:
    """Train one student; `folder/student` and, last, `folder/result.json` are the outcome."""
    if resume and (stored := _stored_seed(folder)):
        return stored
    run = setup.run
    student = setup.student(seed)

    def keep(_: Fit) -> None:
        save_translator(student, setup.tokenizer, folder / STUDENT)
        write_sums(folder / STUDENT)

    done = fit(
        student,
        setup.training_data,
        run.training,
        objective=run.objective,
        folder=folder,
        seed=seed,
        title=f"distil, seed {seed}",
        teacher=setup.teacher,
        teacher_cache=TeacherCache(setup.teacher_cache) if setup.teacher_cache else None,
        console=setup.console,
        resume=resume,
        on_evaluation=on_evaluation,
        keep=keep,
    )
    trained = _scored(setup, student, folder / STUDENT, done)
    write_sealed(folder / RESULT, {**asdict(trained), "folder": STUDENT})
    return trained


def _stored_seed(folder: Path) -> Trained | None:
    """What a finished seed left; `None` where there is nothing, or it is damaged."""
    if not (folder / RESULT).is_file():
        return None
    try:
        stored = read_sealed(folder / RESULT)
        refuse_damage(folder / STUDENT)
    except DamagedError as error:
        warn(f"{error.message}: this seed is trained again")
        return None
    return Trained(**{**stored, "folder": folder / STUDENT, "fit": Fit(**stored["fit"])})


def _scored(setup: Setup, model: PreTrainedModel, folder: Path, done: Fit) -> Trained:
    values, signatures = _scores(setup, model, setup.tokenizer)
    return Trained(folder, done, values, signatures, weights_fingerprint(model))


def _scores(
    setup: Setup, model: PreTrainedModel, tokenizer: TranslationTokenizer
) -> tuple[dict[str, float], dict[str, str]]:
    """Scores of the search that the run asks for on the development and, with the prefix `test_`, the test text."""
    found: dict[str, Scores] = {
        prefix: evaluate(model, tokenizer, pairs, setup.run.evaluation)
        for prefix, pairs in (("", setup.splits.dev), ("test_", setup.splits.test))
        if pairs is not None
    }
    values = {prefix + name: value for prefix, one in found.items() for name, value in one.values.items()}
    return values, found[""].signatures


def _finish(
    setup: Setup, folder: Path, baseline: Sequence[Trained], trained: Sequence[Trained], started: float
) -> TranslationRecord:
    """Put the best seed's student at the top of the output folder and write the Record."""
    run, splits = setup.run, setup.splits
    best = max(trained, key=lambda one: one.scores[METRIC])
    publish(best.folder, folder / STUDENT)
    if setup.teacher_folder is not None:
        publish(setup.teacher_folder, folder / TEACHER)
    student = load_translator(folder / STUDENT)[0]
    teacher, teacher_scores, models = None, setup.teacher_scores, {"student": (student, setup.tokenizer)}
    name = run.teacher.model or run.teacher.shape.architecture
    if setup.teacher is not None and setup.teacher_tokenizer is not None:
        teacher_scores, _ = _scores(setup, setup.teacher, setup.teacher_tokenizer)
        teacher = _facts(name, setup.teacher, [teacher_scores])
        models = {"teacher": (setup.teacher, setup.teacher_tokenizer), **models}
    elif teacher_scores:  # a service, or a file: what it weighs is not known
        name = run.teacher.model or ", ".join(run.teacher.files)
        teacher = ModelFacts(name=name, parameters=0, parameters_with_head=0, megabytes=0.0, scores=teacher_scores)
    score = statistics.fmean(one.scores[METRIC] for one in trained)
    measured = splits.test or splits.dev
    record = TranslationRecord(
        created=now(),
        run=run,
        versions=all_versions(),
        revision=git_revision(),
        machine=describe_machine() | compute(run.training.precision, "sdpa").facts(),
        data=_text_facts(setup),
        signatures=best.signatures,
        teacher=teacher,
        baseline=_facts("student without a teacher", student, [one.scores for one in baseline]) if baseline else None,
        student=_facts("student", student, [one.scores for one in trained]),
        seeds=[_seed_result(seed, one) for seed, one in zip(run.seeds, trained, strict=True)],
        score=score,
        distillation_ratio=ratio(score, teacher_scores[METRIC]) if teacher_scores else None,
        compression=parameter_count(setup.teacher) / parameter_count(student) if setup.teacher is not None else None,
        efficiency=efficiency(models, measured, run.evaluation) if run.efficiency else [],
        cost=_cost(setup, trained, started),
        notes=setup.notes,
    )
    record.save(folder)
    return record


def _text_facts(setup: Setup) -> TextFacts:
    splits = setup.splits
    counts = {"train": len(splits.train), "seen": len(splits.seen), "dev": len(splits.dev)}
    counts |= {"test": len(splits.test)} if splits.test else {}
    counts |= {"monolingual": sum(map(len, splits.monolingual))} if splits.monolingual else {}
    counts |= {"monolingual_target": sum(map(len, splits.backward))} if splits.backward else {}
    counts |= {"pseudo": setup.pseudo} if setup.pseudo else {}
    return TextFacts(
        pairs=counts,
        skipped=splits.skipped,
        fingerprint=splits.fingerprint,
        vocabulary=setup.tokenizer.fingerprint,
        vocabulary_size=len(setup.tokenizer),
    )


def _facts(name: str, model: PreTrainedModel, scores: list[dict[str, float]]) -> ModelFacts:
    by_name = spreads(scores)
    return ModelFacts(
        name=name,
        parameters=parameter_count(model),
        parameters_with_head=parameter_count(model),
        megabytes=stored_megabytes(model),
        scores={metric: value.mean for metric, value in by_name.items()},
        spread=by_name if len(scores) > 1 else {},
    )


def _seed_result(seed: int, one: Trained) -> SeedResult:
    return SeedResult(
        seed=seed,
        scores=one.scores,
        best_step=one.fit.best_step,
        steps=one.fit.steps,
        history=one.fit.history,
        fingerprint=one.fingerprint,
    )


def _cost(setup: Setup, trained: Sequence[Trained], started: float) -> Cost:
    seconds = [one.fit.seconds for one in trained]
    return Cost(
        wall_seconds=time.perf_counter() - started,
        training_seconds=seconds,
        step_milliseconds=1000 * sum(seconds) / sum(one.fit.steps for one in trained),
        examples_per_second=statistics.fmean(one.fit.examples_per_second for one in trained),
        peak_memory_megabytes=peak_memory_megabytes(),
        teacher_cache_megabytes=folder_megabytes(setup.teacher_cache) if setup.teacher_cache else 0.0,
    )
