"""The output folder of a run: claimed at the start, finished by the Record at the very end."""

import shutil
import time
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from distiller import config
from distiller.config import Run
from distiller.errors import OutputError
from distiller.models.cost import latency, megabytes, parameter_count
from distiller.models.load import load_model, weights_fingerprint
from distiller.record import (
    FILE,
    Cost,
    DataFacts,
    ModelFacts,
    Record,
    git_revision,
    now,
    ratio,
    spread,
    spreads,
    versions,
)
from distiller.run.seeds import STUDENT, Trained
from distiller.run.setup import Setup, machine
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.training.device import accelerator, describe_machine, peak_memory_megabytes

RUN_FILE = "run.yaml"


def claim(folder: Path, run: Run, *, resume: bool, overwrite: bool) -> None:
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
            finished = "a finished run" if (folder / FILE).exists() else "an interrupted run"
            raise OutputError(f"`{folder}` holds {finished}", hint="continue it: --resume, or start over: --overwrite")
        if overwrite and not resume:
            shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write `{folder}`: {error.strerror}", hint="choose another `output`") from None


def finish(
    setup: Setup,
    folder: Path,
    baseline: list[dict[str, float]] | None,
    trained: list[Trained],
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
        labels=setup.plan.labels,
        attention=machine(setup.run)[1],
    )
    example = _example(setup.splits["dev"], Collator(setup.plan.student_tokenizer))
    teacher_example = _example(setup.teacher_splits["dev"], Collator(setup.plan.teacher_tokenizer))
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
                "student": latency(nn.Module.to(student, accelerator()), example).milliseconds,
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
