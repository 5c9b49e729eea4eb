"""What runs share and keep: fine-tuned teachers and baselines, and the teacher's outputs on the training set."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from distiller import config
from distiller.cache.augmented_outputs import AugmentedOutputs
from distiller.cache.folders import FolderCache, fingerprint
from distiller.cache.teacher_outputs import TeacherCache, build_teacher_cache
from distiller.device import Precision, compute
from distiller.files import free_bytes, write_json
from distiller.jobs import Advance, progress
from distiller.models.folders import weights_fingerprint
from distiller.training.evaluate import predict_logits, scored_in
from distiller.training.fit import Fit, Job, TrainingData, fit
from distiller.training.several_teachers import OtherTeachers
from distiller.training.teacher import FrozenTeacher

FINE_TUNING = config.Objective(beta1=0.0, gamma1=1.0)
"""Eq. (1) with nothing but the gold labels."""
NO_MATTER = {
    *("log_every", "report_to", "checkpoint_minutes", "threads", "workers", "compile"),
    *("chunk_megabytes", "cache_teacher", "cache_gb"),
}
"""Fields of a training that change its speed and what it shows, not its result."""
OF_THE_STUDENT = {"quantization_aware", "head_learning_rate"}
"""Fields of a training that only the distilled student heeds."""
SCORES, TOOK, OUTCOME = "scores.json", "took.json", "outcome.safetensors"


@dataclass(frozen=True)
class FineTuned:
    """A model folder that was fine-tuned here, or in an earlier run, and its development scores."""

    folder: Path
    scores: dict[str, float]
    outcome: np.ndarray
    """What it says of the development set, example by example."""
    steps: int
    best_step: int
    history: list[dict[str, float]] = field(default_factory=list)
    """Training losses and development scores by step; none for what an earlier version fine-tuned."""


class TeacherOutputs(NamedTuple):
    """Where the outputs of a teacher are kept."""

    cache: TeacherCache | None = None
    """Of the training set."""
    augmented: AugmentedOutputs | None = None
    """Of augmented texts."""
    note: str | None = None
    """Why there is no `cache`, in words."""


def fine_tune(
    store: FolderCache,
    kind: str,
    build: Callable[[], PreTrainedModel],
    job: Job,
    training: config.Training,
    *,
    seed: int,
    title: str,
    console: Console | None,
) -> FineTuned:
    """Fine-tune what `build` returns, unless the same weights, data and settings were fine-tuned before."""
    model = build()
    facts = {
        "weights": weights_fingerprint(model),
        "architecture": json.loads(model.config.to_json_string()),
        "train": job.train.fingerprint,
        "dev": job.dev.fingerprint,
        "metric": job.metric,
        "training": training.model_dump(exclude=NO_MATTER | OF_THE_STUDENT) | {"torch": torch.__version__},
        "seed": seed,
        "format": 2,
    }
    if job.class_weights is not None:
        facts["class_weights"] = job.class_weights
    precision = compute(training.precision).precision
    if scored_in(model, precision) != precision:
        facts["scored in"] = "fp32"

    def keep(trained: PreTrainedModel, done: Fit, folder: Path) -> None:
        trained.save_pretrained(folder)
        job.tokenizer.save_pretrained(folder)
        logits = predict_logits(trained, job.dev, job.collate, precision=precision)
        write_outcome(folder / OUTCOME, job.outcome(logits.numpy()))
        write_json(folder / TOOK, {"steps": done.steps, "best_step": done.best_step, "history": done.history})
        write_json(folder / SCORES, done.scores)

    folder = kept_training(
        store,
        kind,
        facts,
        lambda: model,
        job,
        training,
        objective=FINE_TUNING,
        keep=keep,
        seed=seed,
        title=title,
        console=console,
    )
    scores, took = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (SCORES, TOOK))
    return FineTuned(folder, scores, read_outcome(folder / OUTCOME), **took)


def kept_training(
    store: FolderCache,
    kind: str,
    facts: Mapping[str, Any],
    start: Callable[[], PreTrainedModel],
    data: TrainingData,
    training: Any,
    *,
    objective: Any,
    keep: Callable[[PreTrainedModel, Fit, Path], None],
    seed: int,
    title: str,
    console: Console | None,
) -> Path:
    """The folder of a training that runs with the same `facts` share; `keep` writes its outcome."""

    def make(folder: Path) -> None:
        model = start()
        fit(
            model,
            data,
            training,
            objective=objective,
            folder=folder,
            seed=seed,
            title=title,
            console=console,
            resume=True,
            keep=lambda done: keep(model, done, folder),
        )

    return store.get(kind, facts, make, resumes=True)


def teacher_scores(
    store: FolderCache,
    teacher: PreTrainedModel,
    job: Job,
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]],
    *,
    precision: Precision,
    decoding: Mapping[str, Any],
    others: OtherTeachers | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """Development scores of a teacher that was already fine-tuned, and its outcome on each example.

    With `others`, those of all together. Computed once for all runs on the same data. `decoding` is what else turns
    logits into scores.
    """
    facts = {
        "teacher": weights_fingerprint(teacher),
        "dev": job.dev.fingerprint,
        "metric": job.metric,
        "precision": scored_in(teacher, precision),
        "decoding": decoding,
        "torch": torch.__version__,
        "format": 2,
    }
    if others is not None:
        facts["other teachers"] = others.facts

    def make(folder: Path) -> None:
        logits = predict_logits(teacher, job.dev, collate, precision=precision)
        if others is not None:
            said = [predict_logits(one, job.dev, collate, precision=precision) for one in others.models]
            logits = others.average(logits, *said, mask=_tokens(job.dev, logits))
        write_outcome(folder / OUTCOME, job.outcome(logits.numpy()))
        write_json(folder / SCORES, job.score(logits.numpy(), job.dev.gold))

    folder = store.get("teacher-scores", facts, make)
    return json.loads((folder / SCORES).read_text(encoding="utf-8")), read_outcome(folder / OUTCOME)


def _tokens(split: Any, logits: torch.Tensor) -> torch.Tensor | None:
    """Which positions of a row's outputs are tokens, `[rows, L]`; `None` if a row has one output."""
    if logits.dim() < 3:
        return None
    return torch.arange(logits.shape[1]) < torch.as_tensor(split.lengths)[:, None]


def write_outcome(path: Path, outcome: np.ndarray) -> None:
    """Store what a model predicted on the development set."""
    save_file({"dev": np.ascontiguousarray(outcome)}, path)


def read_outcome(path: Path) -> np.ndarray:
    """What `write_outcome` stored."""
    return load_file(path)["dev"]


def teacher_outputs(
    store: FolderCache,
    teacher: FrozenTeacher,
    split: Any,
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]],
    training: config.Training,
    rows: Sequence[int] | None = None,
    console: Console | None = None,
) -> tuple[Path | None, str | None]:
    """The folder of the teacher's outputs on `split` (in the teacher's tokens), computed if it does not exist yet.

    `rows` are those that will be read, by default all. `console` shows progress. Where there is no folder, the second
    result says why, in words.
    """
    if training.cache_teacher == "never":
        return None, None
    if teacher.attention_layers:
        return None, "teacher outputs were not cached: attention maps are computed in every step"
    shape: Any = teacher.model.config
    chosen = torch.as_tensor(split.lengths) if rows is None else torch.as_tensor(split.lengths)[list(rows)]
    tokens = int(chosen.sum())
    size = 4 * (tokens * shape.hidden_size * len(teacher.hidden_layers) + len(chosen) * shape.num_labels)
    if training.cache_teacher == "auto" and (why_not := no_room(store, size, training.cache_gb)):
        return None, why_not
    facts = _outputs_of(teacher) | {
        "data": split.fingerprint,
        "layers": teacher.hidden_layers,
        "rows": None if rows is None else fingerprint(list(rows)),
    }
    besides_layers = fingerprint({**facts, "layers": None})

    def serves(other: dict[str, Any]) -> bool:
        """More layers than needed will do: the trials of a study ask for different ones.

        More rows will not: in other batches a text has other padding, by which the last digits differ, and what a run
        gives would depend on what was run before it.
        """
        return {*other["layers"]} >= {*facts["layers"]} and fingerprint({**other, "layers": None}) == besides_layers

    def make(folder: Path) -> None:
        _write_outputs(folder, teacher, split, collate, rows, console)

    return store.get("teacher-outputs", facts, make, serves=serves), None


def augmented_outputs(store: FolderCache, teacher: FrozenTeacher, training: config.Training) -> AugmentedOutputs | None:
    """Where the teacher's outputs on augmented texts are kept; nowhere if attention maps are needed."""
    if training.cache_teacher == "never" or teacher.attention_layers:
        return None
    path = store.root / "augmented-outputs.sqlite"
    return AugmentedOutputs(path, round(_room(store, training.cache_gb)), _outputs_of(teacher), teacher.hidden_layers)


def what_decides_outputs(teacher: PreTrainedModel, precision: Precision, device: str) -> dict[str, Any]:
    """What the teacher's outputs depend on besides the text."""
    return {
        "teacher": weights_fingerprint(teacher),
        "precision": precision,
        "device": device,
        "torch": torch.__version__,
    }


def no_room(store: FolderCache, size: float, gigabytes: float) -> str | None:
    """Why outputs of `size` bytes are not kept, in words; `None` if they fit into `gigabytes` and onto the disk."""
    room = _room(store, gigabytes)
    if size <= room:
        return None
    return f"teacher outputs were not cached: {size / 1e9:.1f} GB do not fit into {room / 1e9:.1f} GB"


def _outputs_of(teacher: FrozenTeacher) -> dict[str, Any]:
    facts = what_decides_outputs(teacher.original, teacher.precision, teacher.device.type)
    if teacher.others is not None:
        facts["other teachers"] = teacher.others.facts
    return facts | {"attention": getattr(teacher.original.config, "_attn_implementation", None)}


def _room(store: FolderCache, gigabytes: float) -> float:
    """Bytes that a teacher's outputs may take: `gigabytes`, or what is free on the disk."""
    return min(gigabytes * 1e9, 0.8 * free_bytes(store.root))


def _write_outputs(
    folder: Path,
    teacher: FrozenTeacher,
    split: Any,
    collate: Callable[[list[Mapping[str, Any]]], Mapping[str, Any]],
    rows: Sequence[int] | None,
    console: Console | None,
) -> None:
    """The longest texts first: memory runs out at once or never."""
    lengths = torch.as_tensor(split.lengths)
    chosen = torch.arange(len(split)) if rows is None else torch.as_tensor(list(rows))
    order = chosen[lengths[chosen].argsort(descending=True)]

    def batches(advance: Advance) -> Iterator[dict[str, torch.Tensor]]:
        for part in order.split(64):
            batch = collate([split[int(i)] for i in part])
            yield {key: value.to(teacher.device) for key, value in batch.items()}
            tokens = int(lengths[part].sum())  # not rows: the first ones are the longest
            advance(tokens, tokens)

    with progress(
        console, "ask the teacher once", int(lengths[chosen].sum()), rows="tokens", amount="tokens"
    ) as advance:
        build_teacher_cache(folder, teacher, batches(advance), len(split), teacher.hidden_layers)


def folder_megabytes(folder: Path) -> float:
    """Size of a folder's files in 10^6 bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
