"""`distil(run)`: from a Run to a Record.

The order is: data, teacher (fine-tuned if need be), baseline, then one training per seed. What does not depend on
the seed is done once and shared; what is finished is kept, so an interrupted run is resumed where it stopped.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from rich.console import Console
from transformers import PretrainedConfig, PreTrainedModel, set_seed
from transformers.utils import logging as transformers_logging

from distiller import config
from distiller.config import Run
from distiller.errors import ConfigError, OutputError
from distiller.models.cost import latency, megabytes, parameter_count
from distiller.models.load import has_head_for, load_model, load_tokenizer, weights_fingerprint
from distiller.models.students import build_student, same_vocabulary
from distiller.objectives.intermediate import INTERMEDIATE
from distiller.record import (
    Cost,
    DataFacts,
    ModelFacts,
    Record,
    SeedResult,
    git_revision,
    load_record,
    now,
    ratio,
    spread,
    spreads,
    versions,
    write_json,
)
from distiller.tasks import load_task
from distiller.tasks.data import TaskData
from distiller.tasks.encode import Collator, EncodedSplit, encode
from distiller.tasks.metrics import METRICS, scores
from distiller.training.batching import PairedSplit, ViewCollator
from distiller.training.device import (
    Attention,
    Precision,
    accelerator,
    choose_attention,
    choose_precision,
    describe_machine,
    peak_memory_megabytes,
)
from distiller.training.evaluate import predict_logits
from distiller.training.fit import Fit, Job, fit
from distiller.training.objective import DistillationObjective, prediction_choice
from distiller.training.shared_work import fine_tune, folder_megabytes, teacher_outputs
from distiller.training.store import Store
from distiller.training.teacher import FrozenTeacher
from distiller.training.teacher_cache import TeacherCache
from distiller.training.trainer import anatomy

RUN_FILE = "run.yaml"
STUDENT = "student"
RESULT = "result.json"


@dataclass(frozen=True)
class Setup:
    """What all seeds of a run share: data in tokens, the fine-tuned teacher, and how this machine computes."""

    run: Run
    """With every default filled in."""
    data: TaskData
    store: Store
    teacher: PreTrainedModel
    teacher_tokenizer: Any
    teacher_scores: dict[str, float]
    student_tokenizer: Any
    splits: Mapping[str, EncodedSplit]
    """In the student's tokens."""
    teacher_splits: Mapping[str, EncodedSplit]
    """In the teacher's tokens; the same objects where both share a vocabulary."""
    console: Console | None

    @property
    def paired(self) -> bool:
        """Whether teacher and student read different tokens."""
        return self.splits is not self.teacher_splits

    def new_student(self, seed: int) -> PreTrainedModel:
        """A fresh student; what is not copied is drawn from `seed`."""
        return _new_student(self.run, self.data, self.teacher, self.teacher_tokenizer, seed)[0]

    @cached_property
    def job(self) -> Job:
        """What a training of the student reads."""
        train = PairedSplit(self.splits["train"], self.teacher_splits["train"]) if self.paired else self.splits["train"]
        student = Collator(self.student_tokenizer)
        return Job(
            train=train,
            dev=self.splits["dev"],
            collate=ViewCollator(student, Collator(self.teacher_tokenizer)) if self.paired else ViewCollator(student),
            score=_scorer(self.data),
            metric=self.data.metric,
            tokenizer=self.student_tokenizer,
        )


def distil(
    run: Run, *, resume: bool = False, overwrite: bool = False, console: Console | None = None
) -> Record:
    """Carry out `run` and write its output folder: `student/`, `run.yaml` and, last of all, `record.json`.

    With `resume`, what an interrupted run finished is kept and its newest checkpoint continued; a finished run
    returns its Record. `overwrite` replaces a finished output. `console` shows progress. Raises `DistillerError`.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = Path(run.output)
    if resume and (folder / "record.json").exists():
        return load_record(folder)
    started = time.perf_counter()
    if run.training.threads:
        torch.set_num_threads(run.training.threads)
    setup = prepare(run, console)
    _claim(folder, setup.run, resume=resume, overwrite=overwrite)
    baseline = _baseline(setup) if run.baseline else None
    results = [_train_seed(setup, seed, folder / "seeds" / str(seed), resume) for seed in run.seeds]
    return _finish(setup, folder, baseline, results, started)


# --- filling in and checking a run ---------------------------------------------------------------------------


def resolve(run: Run, data: TaskData) -> Run:
    """`run` with the published defaults filled in for this task, checked for options that contradict each other."""
    augmented = bool(run.augmentation)
    if augmented:
        raise ConfigError(
            f"no augmentation operator is called `{run.augmentation[0].name}`",
            hint="this version has none yet; leave `augmentation` empty",
        )
    task = run.task.model_copy(update={"max_length": run.task.max_length or data.default_max_length})
    stages = [stage.model_copy(update={"objective": _published(stage.objective, data)}) for stage in run.stages]
    resolved = run.model_copy(
        update={"task": task, "objective": _published(run.objective, data), "stages": stages}
    )
    for stage in stages_of(resolved):
        _check_objective(stage.objective, stage.training)
    return resolved


def _published(objective: config.Objective, data: TaskData) -> config.Objective:
    """Weights of appendix G of arXiv:2109.11105, without augmentation."""
    defaults = {"gamma1": 0.0, "beta2": 0.0, "gamma2": 0.0}
    unset = {name: value for name, value in defaults.items() if getattr(objective, name) is None}
    prediction = prediction_choice(objective, regression=data.kind == "regression")
    return objective.model_copy(update={**unset, "prediction": prediction})


def _check_objective(objective: config.Objective, training: config.Training) -> None:
    active = [term for term in objective.intermediate if term.weight > 0 and objective.intermediate_weight > 0]
    if not active and objective.beta1 == 0 and not objective.gamma1:
        raise ConfigError(
            "every weight of the objective is 0, so there is nothing to learn",
            hint="set objective.beta1 (teacher) or objective.gamma1 (gold labels)",
        )
    if any(INTERMEDIATE[term.loss].traits["head"] == "critic" for term in active) and training.batch_size < 3:
        raise ConfigError(
            "mutual information needs at least three examples in a batch", hint="training.batch_size=16"
        )
    for term in active:
        if term.mapping.options.get("update_weights") and INTERMEDIATE[term.loss].traits.get("signed", False):
            raise ConfigError(
                f"mapping `emd` cannot update its weights by `{term.loss}`, which may be negative",
                hint="leave out update_weights, or use another loss",
            )


@dataclass(frozen=True)
class Stage:
    """One training of a run with everything filled in."""

    name: str
    objective: config.Objective
    training: config.Training


def stages_of(run: Run) -> list[Stage]:
    """The consecutive trainings of a run: its stages, or the one training that it is."""
    if not run.stages:
        return [Stage("distil", run.objective, run.training)]
    fields = run.training.model_dump()
    try:
        return [
            Stage(stage.name, stage.objective, config.Training.model_validate({**fields, **stage.training}))
            for stage in run.stages
        ]
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"stages: training.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def prepare(run: Run, console: Console | None = None) -> Setup:
    """Load the data and the teacher, fine-tune the teacher if need be, and put the data into tokens."""
    data = load_task(run.task)
    run = resolve(run, data)
    store = Store(Path(run.cache).expanduser() if run.cache else None)
    teacher_tokenizer = load_tokenizer(run.teacher.model, trust_remote_code=run.teacher.trust_remote_code)
    teacher_splits = _encode_all(data, teacher_tokenizer, run)
    teacher, teacher_scores = _teacher(run, data, store, teacher_tokenizer, teacher_splits, console)
    student, student_tokenizer = _new_student(run, data, teacher, teacher_tokenizer, run.seeds[0])
    shared = same_vocabulary(student_tokenizer, teacher_tokenizer)
    check_parts(run, student.config, teacher.config, shared_tokens=shared, regression=data.kind == "regression")
    return Setup(
        run=run,
        data=data,
        store=store,
        teacher=teacher,
        teacher_tokenizer=teacher_tokenizer,
        teacher_scores=teacher_scores,
        student_tokenizer=student_tokenizer,
        splits=teacher_splits if shared else _encode_all(data, student_tokenizer, run),
        teacher_splits=teacher_splits,
        console=console,
    )


def _teacher(
    run: Run,
    data: TaskData,
    store: Store,
    tokenizer: Any,
    splits: Mapping[str, EncodedSplit],
    console: Console | None,
) -> tuple[PreTrainedModel, dict[str, float]]:
    """The teacher with a head for the task and its development scores, fine-tuned here if it has none."""
    spec = run.teacher
    labels = list(data.labels) if data.kind == "classification" else None
    precision, attention = _machine(run)

    def load(name: str | Path) -> PreTrainedModel:
        return load_model(
            name,
            kind=data.kind,
            labels=labels,
            attention=attention,
            trust_remote_code=spec.trust_remote_code,
            seed=spec.seed,
        )

    ready = has_head_for(spec.model, kind=data.kind, labels=labels, trust_remote_code=spec.trust_remote_code)
    if spec.finetune == "never" and not ready:
        raise ConfigError(
            f"teacher `{spec.model}` has no head for this task, and teacher.finetune is `never`",
            hint="set teacher.finetune=auto, or name a fine-tuned teacher",
        )
    if spec.finetune == "always" or not ready:
        job = Job(splits["train"], splits["dev"], Collator(tokenizer), _scorer(data), data.metric, tokenizer)
        training = config.Training.model_validate({**run.training.model_dump(), **spec.training.model_dump()})
        tuned = fine_tune(
            store,
            "teachers",
            lambda: load(spec.model),
            job,
            training,
            seed=spec.seed,
            title="fine-tune the teacher",
            console=console,
        )
        return load(tuned.folder), tuned.scores
    teacher = load(spec.model)
    logits = predict_logits(teacher, splits["dev"], Collator(tokenizer), precision=precision)
    return teacher, _scorer(data)(logits.numpy(), splits["dev"].labels)


def _new_student(
    run: Run, data: TaskData, teacher: PreTrainedModel, teacher_tokenizer: Any, seed: int
) -> tuple[PreTrainedModel, Any]:
    return build_student(
        run.student,
        teacher_model=teacher,
        teacher_tokenizer=teacher_tokenizer,
        kind=data.kind,
        labels=list(data.labels) if data.kind == "classification" else None,
        seed=seed,
        attention=_machine(run)[1],
    )


def check_parts(
    run: Run, student: PretrainedConfig, teacher: PretrainedConfig, *, shared_tokens: bool, regression: bool
) -> None:
    """Build every stage's objective once for these models, so that what does not fit is said before any training.

    Raises `ConfigError` for names, options, layers or widths that do not fit, and for an objective that compares
    tokens of two different tokenizers.
    """
    for stage in stages_of(run):
        with torch.random.fork_rng(devices=[]):
            DistillationObjective(
                stage.objective, student=anatomy(student), teacher=anatomy(teacher), regression=regression
            )
        if shared_tokens:
            continue
        for term in stage.objective.intermediate:
            pooled = INTERMEDIATE[term.loss].traits.get("pooled", False) and term.options.get("tokens") != "all"
            if not pooled:
                raise ConfigError(
                    f"`{term.loss}` compares tokens, but teacher and student have different tokenizers",
                    hint="use `pkd` or `mi_alpha`, or a student with the teacher's tokenizer",
                )


def _machine(run: Run) -> tuple[Precision, Attention]:
    device = accelerator()
    precision = choose_precision(run.training.precision, device)
    return precision, choose_attention(run.training.attention, device, precision)


def _encode_all(data: TaskData, tokenizer: Any, run: Run) -> dict[str, EncodedSplit]:
    assert run.task.max_length is not None
    return {
        name: encode(split, tokenizer, run.task.max_length, run.task.truncate)
        for name, split in data.splits.items()
        if name != "test"
    }


def _scorer(data: TaskData) -> Callable[[Any, Any], dict[str, float]]:
    return partial(scores, data)


def _baseline(setup: Setup) -> list[dict[str, float]]:
    """Development scores, by seed, of the same student trained on the gold labels alone."""
    run = setup.run
    return [
        fine_tune(
            setup.store,
            "baselines",
            lambda seed=seed: setup.new_student(seed),
            Job(
                setup.splits["train"],
                setup.splits["dev"],
                Collator(setup.student_tokenizer),
                _scorer(setup.data),
                setup.data.metric,
                setup.student_tokenizer,
            ),
            run.training,
            seed=seed,
            title=f"fine-tune the student without a teacher, seed {seed}",
            console=setup.console,
        ).scores
        for seed in run.seeds
    ]


@dataclass(frozen=True)
class _Trained:
    """One finished seed: its result, and what its training took here."""

    result: SeedResult
    seconds: float
    examples_per_second: float
    cache_megabytes: float
    notes: list[str]


def _train_seed(setup: Setup, seed: int, folder: Path, resume: bool) -> _Trained:
    """Train one student through all stages; `folder/student` and, last, `folder/result.json` are the outcome."""
    if resume and (folder / RESULT).exists():
        return _trained_from(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    fits: list[Fit] = []
    notes: list[str] = []
    cached = 0.0
    set_seed(seed)
    student = setup.new_student(seed)
    for stage in stages_of(setup.run):
        outputs, note = _teacher_outputs(setup, student, stage)
        cached += folder_megabytes(outputs) if outputs else 0.0
        notes += [note] if note else []
        objective = stage.objective
        fits.append(
            fit(
                student,
                setup.job,
                stage.training,
                objective=objective,
                folder=folder / stage.name,
                seed=seed,
                title=f"{stage.name}, seed {seed}",
                teacher=setup.teacher,
                teacher_cache=TeacherCache(outputs) if outputs else None,
                console=setup.console,
                resume=resume,
                select_best=objective.beta1 > 0 or bool(objective.gamma1),
            )
        )
    last = fits[-1]
    student.save_pretrained(folder / STUDENT)
    setup.student_tokenizer.save_pretrained(folder / STUDENT)
    result = SeedResult(
        seed=seed,
        scores=last.scores,
        best_step=last.best_step,
        steps=sum(one.steps for one in fits),
        history=[entry for one in fits for entry in one.history],
        fingerprint=weights_fingerprint(student),
    )
    trained = _Trained(
        result,
        seconds=sum(one.seconds for one in fits),
        examples_per_second=last.examples_per_second,
        cache_megabytes=cached,
        notes=notes,
    )
    write_json(folder / RESULT, {**trained.__dict__, "result": result.model_dump(mode="json")})
    return trained


def _trained_from(data: dict[str, Any]) -> _Trained:
    return _Trained(**{**data, "result": SeedResult.model_validate(data["result"])})


def _teacher_outputs(setup: Setup, student: PreTrainedModel, stage: Stage) -> tuple[Path | None, str | None]:
    """Where the teacher's outputs on the training set lie, if this stage compares with them more than once."""
    objective = DistillationObjective(
        stage.objective,
        student=anatomy(student.config),
        teacher=anatomy(setup.teacher.config),
        regression=setup.data.kind == "regression",
    )
    passes = stage.training.epochs * len(setup.run.seeds)
    if not objective.needs_teacher or (stage.training.cache_teacher == "auto" and passes <= 1):
        return None, None
    teacher = FrozenTeacher(
        setup.teacher,
        objective.layers("teacher"),
        objective.layers("teacher", "attention_scores"),
        device=torch.device(accelerator()),
        precision=_machine(setup.run)[0],
    )
    collate = Collator(setup.teacher_tokenizer)
    try:
        return teacher_outputs(setup.store, teacher, setup.teacher_splits["train"], collate, stage.training)
    finally:
        teacher.close()


def _claim(folder: Path, run: Run, *, resume: bool, overwrite: bool) -> None:
    """Make the output folder this run's; what is in the way is refused, kept (`resume`) or removed (`overwrite`)."""
    text = config.to_yaml(run)
    stored = folder / RUN_FILE
    if folder.exists() and any(folder.iterdir()):
        ours = stored.is_file()
        if not ours:
            raise OutputError(f"`{folder}` is not empty and not a run's output", hint="choose another `output`")
        if resume and stored.read_text(encoding="utf-8") != text:
            raise OutputError(
                f"`{folder}` was started with another run", hint="choose another `output`, or start over: --overwrite"
            )
        if not resume and not overwrite:
            finished = "a finished run" if (folder / "record.json").exists() else "an interrupted run"
            raise OutputError(f"`{folder}` holds {finished}", hint="continue it: --resume, or start over: --overwrite")
        if overwrite and not resume:
            shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write `{folder}`: {error.strerror}", hint="choose another `output`") from None


def _finish(
    setup: Setup,
    folder: Path,
    baseline: list[dict[str, float]] | None,
    trained: list[_Trained],
    started: float,
) -> Record:
    """Put the best seed's student at the top of the output folder and write the Record."""
    data, metric = setup.data, setup.data.metric
    by_seed = [one.result for one in trained]
    best = max(by_seed, key=lambda result: result.scores[metric])
    _publish(folder / "seeds" / str(best.seed) / STUDENT, folder / STUDENT)
    student = load_model(
        folder / STUDENT,
        kind=data.kind,
        labels=list(data.labels) if data.kind == "classification" else None,
        attention=_machine(setup.run)[1],
    )
    example = _example(setup.splits["dev"], Collator(setup.student_tokenizer))
    teacher_example = _example(setup.teacher_splits["dev"], Collator(setup.teacher_tokenizer))
    score = spread(result.scores[metric] for result in by_seed)
    record = Record(
        created=now(),
        run=setup.run,
        versions=versions(),
        revision=git_revision(),
        machine=describe_machine(),
        data=DataFacts(
            task=data.name,
            kind=data.kind,
            labels=list(data.labels),
            metric=metric,
            examples={name: len(split) for name, split in setup.splits.items()},
            truncated={name: split.truncated for name, split in setup.splits.items()},
            fingerprint=data.fingerprint,
        ),
        teacher=_facts(setup.run.teacher.model, setup.teacher, [setup.teacher_scores]),
        baseline=_facts("student without a teacher", student, baseline, hashed=False) if baseline else None,
        student=_facts("student", student, [result.scores for result in by_seed]),
        seeds=by_seed,
        metric=metric,
        score=score.mean,
        distillation_ratio=ratio(score.mean, setup.teacher_scores.get(metric)),
        cost=Cost(
            wall_seconds=time.perf_counter() - started,
            training_seconds=[one.seconds for one in trained],
            step_milliseconds=1000 * sum(one.seconds for one in trained) / sum(result.steps for result in by_seed),
            examples_per_second=sum(one.examples_per_second for one in trained) / len(trained),
            peak_memory_megabytes=peak_memory_megabytes(),
            teacher_cache_megabytes=max(one.cache_megabytes for one in trained),
            milliseconds_per_example={
                "teacher": latency(setup.teacher, teacher_example).milliseconds,
                "student": latency(student.to(setup.teacher.device), example).milliseconds,
            },
        ),
        notes=sorted({note for one in trained for note in one.notes}),
    )
    record.save(folder)
    return record


def _publish(source: Path, target: Path) -> None:
    """Copy a finished model folder to `target` in one step."""
    temporary = target.with_name(target.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def _example(split: EncodedSplit, collate: Collator) -> dict[str, Any]:
    """The development text of median length as a batch of one, on the model's device."""
    middle = sorted(range(len(split)), key=lambda row: split.lengths[row])[len(split) // 2]
    batch = collate([split[middle]])
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: batch[name].to(accelerator()) for name in names if name in batch}


def _facts(name: str, model: PreTrainedModel, scores: list[dict[str, float]], *, hashed: bool = True) -> ModelFacts:
    by_name = spreads(scores)
    return ModelFacts(
        name=name,
        parameters=parameter_count(model, head=False),
        parameters_with_head=parameter_count(model),
        megabytes=megabytes(model),
        scores={metric: value.mean for metric, value in by_name.items()},
        spread=by_name if len(scores) > 1 else {},
        fingerprint=weights_fingerprint(model) if hashed else None,
    )
