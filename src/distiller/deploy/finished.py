"""A finished student and what is known about its task: the start of every export, measurement and page."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from distiller.config import Run, load_run
from distiller.config.translation import TranslationRun
from distiller.errors import DistillerError, ModelError, OutputError
from distiller.files import check_sums
from distiller.models.folders import load_config, load_tokenizer, resolve, weights_fingerprint
from distiller.models.heads import NAMED, kind_of_head
from distiller.models.load import follow_tokenizer, load_model, usual_input
from distiller.record import FILE, Record, load_record
from distiller.run.changed_data import changed
from distiller.tasks import load_task
from distiller.tasks.data import AnySplit, TaskData
from distiller.tasks.encode import Collator, EncodedSplit
from distiller.tasks.tokens import encode_split, readable
from distiller.training.output_folder import RUN_FILE, STUDENT


@dataclass(frozen=True)
class Finished:
    """A fine-tuned model and, where it is known, the run that made it or that describes its task."""

    name: str
    """As the user wrote it."""
    folder: Path
    """The model folder."""
    kind: str
    labels: list[str] | None
    """Names of the outputs; `None` where an output is none of a set."""
    output: Path | None = None
    """The output folder of the run that made it."""
    run: Run | None = None
    record: Record | None = None
    rows: int | None = None
    """At most so many rows of each split are read."""
    notes: list[str] = field(default_factory=list)
    """What was not as it should be, in words; grows while the data are read."""

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model in float32 on the processor, its outputs in the order of `labels`, padded as its tokenizer pads."""
        model = load_model(self.folder, kind=self.kind, labels=self.labels)
        return follow_tokenizer(model, self.tokenizer).eval()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's own tokenizer."""
        return load_tokenizer(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's weight files."""
        return weights_fingerprint(self.folder)

    @cached_property
    def max_length(self) -> int:
        """Longest input in tokens: what it was trained with, else what the model takes, 512 at most."""
        said = self.run.task.max_length if self.run else None
        return said or usual_input(self.model, self.tokenizer)

    @cached_property
    def data(self) -> TaskData | None:
        """The task's rows; `None`, with a note, where no run names them or they no longer exist."""
        if self.run is None:
            self.notes.append("no run says what the task is (--run), so there are no texts to compare on")
            return None
        limits = {"train_limit": self.rows, "dev_limit": self.rows} if self.rows else {}
        fewer = {name: min(limit, getattr(self.run.task, name) or limit) for name, limit in limits.items()}
        try:
            data = load_task(self.run.task.model_copy(update=fewer))
        except DistillerError as error:
            self.notes.append(f"the data of the run cannot be read: {error.message}")
            return None
        if self.record is not None and (said := changed(self.record.data, data, whole=not limits)):
            self.notes.append(said)
            if self.labels is not None and set(self.labels) != set(data.labels):
                return None
        return readable(data, self.run.task, list(self._readers()))

    def _readers(self) -> Iterator[tuple[str, Any, Any]]:
        """The models that read the data of the run, those of which are left that can be loaded."""
        yield "the model", self.tokenizer, load_config(self.folder)
        if self.run is not None and self.run.teacher is not None:
            spec = self.run.teacher
            with suppress(DistillerError):
                shape = load_config(spec.model, trust_remote_code=spec.trust_remote_code)
                yield "the teacher", load_tokenizer(spec.model, trust_remote_code=spec.trust_remote_code), shape

    @property
    def about(self) -> dict[str, Any]:
        """The task, metric and number of development rows, as a benchmark states them."""
        if self.data is None:
            return {"task": "", "metric": None, "rows": 0}
        return {"task": self.data.name, "metric": self.data.metric, "rows": len(self.data.splits["dev"])}

    @property
    def pairs(self) -> bool:
        """Whether an input is two texts."""
        if self.kind == "qa":
            return True
        return self.data.pairs if self.data else bool(self.run and self.run.task.text_pair)

    def tokens(self, name: str) -> tuple[AnySplit, EncodedSplit] | None:
        """The split `name` as rows and in tokens; `None` where there is none."""
        if self.data is None or self.run is None or name not in self.data.splits:
            return None
        split = self.data.splits[name]
        task = self.run.task.model_copy(update={"truncate": True})
        return split, encode_split(split, self.tokenizer, task, self.max_length)

    @property
    def collate(self) -> Collator:
        """Pads rows of tokens to a batch and no further: exported forms get what their `use.py` would give them."""
        return Collator(self.tokenizer, pad_to_multiple_of=1)


def open_finished(
    name: str, *, run: Path | None = None, overrides: Sequence[str] = (), rows: int | None = None
) -> Finished:
    """The student in the output folder `name`, or any fine-tuned model, with the task of the file `run`.

    Raises `OutputError` for a run that is not finished, and `ModelError` for a model that is not fine-tuned or that
    translates (`open_translator` opens those).
    """
    transformers_logging.disable_progress_bar()
    output = Path(name)
    if (output / RUN_FILE).is_file() or (output / FILE).is_file():
        return _of_run(output, run, overrides, rows)
    described = _described(run, overrides) if run else None
    place = resolve(name)
    if not isinstance(place, Path):
        raise ModelError(f"there is no folder `{name}`", hint="name a run's output, or a model folder")
    kind, labels = _task_of(place, name)
    return Finished(name, place, kind, labels, run=described, rows=rows)


def _of_run(output: Path, run: Path | None, overrides: Sequence[str], rows: int | None) -> Finished:
    if not (output / FILE).is_file():
        raise OutputError(f"`{output}` holds no finished run", hint="continue it: distiller run … --resume")
    if not (output / STUDENT).is_dir():
        raise OutputError(f"`{output}` has a {FILE}, but no {STUDENT} folder", hint="copy it again, or run it again")
    load_config(output / STUDENT)
    check_sums(output / STUDENT)  # what takes minutes comes after it
    record = load_record(output)
    described = _described(run or output / RUN_FILE, overrides)
    labels = record.data.labels if record.data.kind in NAMED else None
    return Finished(
        str(output), output / STUDENT, record.data.kind, labels, output=output, run=described, record=record, rows=rows
    )


def _described(file: Path, overrides: Sequence[str]) -> Run:
    """The run in `file`. Raises `ModelError` for one that translates."""
    run = load_run(file, overrides)
    if isinstance(run, TranslationRun):
        raise ModelError(
            f"`{file}` is a translation, and this compares models of encoders only",
            hint=f"`distiller show {file.parent}` has its scores and speeds, `distiller predict` asks it",
        )
    return run


def _task_of(folder: Path, name: str) -> tuple[str, list[str] | None]:
    """What a model folder without a run says about its task: the kind, and the names of the outputs."""
    shape: Any = load_config(folder)
    kind = kind_of_head(shape)
    if kind is None:
        raise ModelError(
            f"`{name}` is not fine-tuned for a task: it is a `{(shape.architectures or [shape.model_type])[0]}`",
            hint="name a run's output, or a fine-tuned model",
        )
    labels = [shape.id2label[index] for index in range(shape.num_labels)] if kind in NAMED else None
    return kind, labels
