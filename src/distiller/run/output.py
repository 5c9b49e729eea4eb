"""The output folder of a run: claimed at the start, finished by the Record at the very end."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from distiller import config
from distiller.config import Run
from distiller.errors import OutputError, RunError
from distiller.models.cost import latency, megabytes, parameter_count
from distiller.models.load import load_model, weights_fingerprint
from distiller.record import (
    FILE,
    Cost,
    DataFacts,
    ModelFacts,
    Record,
    git_revision,
    load_record,
    now,
    ratio,
    spread,
    spreads,
    versions,
    write_text,
)
from distiller.run.seeds import SEEDS, STUDENT, Trained
from distiller.run.setup import Setup, machine
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.training.device import accelerator, describe_machine, peak_memory_megabytes

RUN_FILE = "run.yaml"
MARK = "# The run in full, as Distiller carries it out; student, seeds and record.json beside it are its results.\n"
"""First line of an output folder's run file: tells it from a run file that someone wrote, which is never replaced."""


def finished(folder: Path, run: Run) -> Record | None:
    """The Record of `run`, if `folder` has it. Raises `OutputError` if it is another run's."""
    if not (folder / FILE).is_file():
        return None
    record = load_record(folder)
    _refuse_other(folder, record.run, run)
    return record


def claim(folder: Path, run: Run, *, resume: bool, overwrite: bool) -> None:
    """Make the output folder this run's; what is in the way is refused, kept (`resume`) or removed (`overwrite`)."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            _make_way(folder, run, resume=resume, overwrite=overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RUN_FILE, MARK + config.to_yaml(run))
    except OSError as error:
        raise OutputError(f"cannot write `{folder}`: {error.strerror}", hint="choose another `output`") from None


def _make_way(folder: Path, run: Run, *, resume: bool, overwrite: bool) -> None:
    stored = folder / RUN_FILE
    if not (folder / FILE).is_file() and not (
        stored.is_file() and stored.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    ):
        raise OutputError(f"`{folder}` is not empty and not a run's output", hint="choose another `output`")
    results = [path for path in (folder / FILE, folder / STUDENT, folder / SEEDS) if path.exists()]
    if resume and results:
        _refuse_other(folder, config.load_run(stored), run)
    elif results and not overwrite:
        state = "a finished run" if (folder / FILE).exists() else "an interrupted run"
        raise OutputError(f"`{folder}` holds {state}", hint="continue it: --resume, or start over: --overwrite")
    elif overwrite:
        for path in results:  # the Record first: what is left of a finished run is not taken for one
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _refuse_other(folder: Path, stored: Run, run: Run) -> None:
    places = {"output", "cache", "recipe"}
    before, wanted = (one.model_dump(mode="json", exclude=places) for one in (stored, run))
    if before != wanted:
        changed = ", ".join(f"`{name}`" for name in wanted if before[name] != wanted[name])
        raise OutputError(
            f"`{folder}` was started with another run, which differs in {changed}",
            hint="choose another `output`, or start over: --overwrite",
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A full disk, or memory that is too small, becomes one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "the memory of the accelerator is too small", hint="halve training.batch_size, double training.accumulate"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, RuntimeError) and "inline_container" not in lines[0]:  # where `torch.save` writes
            raise
        place = getattr(error, "filename", None) or folder
        raise RunError(
            f"the run stopped at `{place}`: {getattr(error, 'strerror', None) or lines[0]}",
            hint="is there room, and may you write there? then continue with --resume",
        ) from error


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
    _publish(folder / SEEDS / str(best.seed) / STUDENT, folder / STUDENT)
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
            skipped=dict(data.skipped),
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
        notes=[*_data_notes(setup), *sorted({note for one in trained for note in one.notes})],
    )
    record.save(folder)
    return record


def _data_notes(setup: Setup) -> list[str]:
    """What was cut or left out, in words."""
    cut = [f"{split.cut_words} words of {name}" for name, split in setup.splits.items() if split.cut_words]
    skipped = [f"{count} rows of {name}" for name, count in setup.data.skipped.items() if count]
    return [
        *(f"{what} lie behind the longest input and are not scored" for what in cut),
        *(f"{what} could not be used and were left out" for what in skipped),
    ]


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
