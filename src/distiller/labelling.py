"""Labelling as a job of its own: a model gives class probabilities for many texts, shard by shard.

The shards are ordinary tables; a run reads them one after the other (`task.unlabelled=FOLDER`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from distiller.config import Config
from distiller.errors import ConfigError, DataError, ModelError, importing, warn
from distiller.files import LEFT_OUT, list_left_out, write_text
from distiller.inference import Predictor, named
from distiller.jobs import Done, Job
from distiller.models.folders import resolve
from distiller.models.folders import weights_fingerprint as fingerprint_of_weights
from distiller.tasks.data import Split
from distiller.tasks.new_texts import Form, NewTexts, read_new_texts
from distiller.tasks.table import Table
from distiller.tasks.unlabelled import WRITTEN

Format = Literal["jsonl", "parquet"]


class Summary(Config):
    """The totals of a job."""

    texts: int
    seconds: float
    """Of labelling, over all processes and all times that the job was started."""
    texts_per_second: float
    shards: int


@dataclass(frozen=True)
class Labeller:
    """Fine-tuned models with the same classes, in any order, and their weights; answers with their average."""

    models: Sequence[Predictor]
    weights: Sequence[float]

    def rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[dict[str, Any]]:
        """The label and the probability of each class, or the number, of every text."""
        first = self.models[0]
        parts: list[Tensor] = []
        for model, weight in zip(self.models, self.weights, strict=True):
            said = model.probabilities(texts, pairs) * (weight / sum(self.weights))
            if first.names is not None:
                said = said[:, [model.classes.index(name) for name in first.names]]
            parts.append(said)
        average = torch.stack(parts).sum(0)
        if first.names is None:
            return [{"label": value} for value in average.squeeze(-1).tolist()]
        columns = [WRITTEN.replace("*", name) for name in first.names]
        several = first.kind == "multilabel"
        found: list[dict[str, Any]] = []
        for row in average.tolist():
            label = {"label": named(row, first.names, several=several)}
            found.append(label | dict(zip(columns, row, strict=True)))
        return found


def label(
    model: str,
    files: Sequence[Path],
    folder: Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    max_length: int | None = None,
    shard_size: int = 2000,
    part: tuple[int, int] = (0, 1),
    form: Format = "jsonl",
    resume: bool = False,
    skip_bad: bool = False,
    overrides: Sequence[str] = (),
    also: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    console: Console | None = None,
) -> Summary | None:
    """Label the texts of `files` with `model`, a fine-tuned model or a run's output, into shards in `folder`.

    Columns of a shard: `row` (counted from 0 over all files), the texts, `label`, and `p(NAME)` for every class. With
    `resume` a stopped job is continued, and a finished one returns its summary. `part` (i, n) labels every n-th shard
    from the i-th, for n machines at once; the one that finds all shards complete finishes the job, the others return
    `None`. With `skip_bad`, unusable rows are left out and listed in `left_out.txt`; `overrides` say how files are
    written (`task.encoding=cp1252`). `also` names more models, whose probabilities or numbers are averaged with those
    of `model`; `weights` has a positive number for each, `model` first; by default all count equally.
    Raises `OutputError` when something else is in `folder`, `ModelError` for a model without a head for texts and for
    models with different classes, `ConfigError` for weights that do not fit the models and a `max_length` that a model
    cannot take, `DataError` for an unusable file.
    """
    models = [model, *also]
    weights = [1.0] * len(models) if weights is None else weights
    if len(weights) != len(models) or min(weights) <= 0:
        raise ConfigError(f"{len(models)} models have {len(weights)} weights", hint="a number above 0 for each model")
    labeller = Labeller([_load(name, max_length) for name in models], weights)
    _check_classes(labeller.models)
    first = labeller.models[0]
    reading = first.form(text=text, text_pair=text_pair, overrides=overrides, skip_bad=skip_bad)
    given = _read_all(files, reading, labeller.models)
    facts = {
        "model": fingerprint_of_weights(resolve(first.name)),
        "files": [[file.name, rows] for file, rows in zip(files, given.sizes, strict=True)],
        "texts": Split("texts", tuple(given.texts), None if given.pairs is None else tuple(given.pairs)).fingerprint,
        "columns": list(given.columns),
        "max_length": first.max_length,
        "shard_size": shard_size,
        "form": form,
    }
    if also:
        facts["also"] = [fingerprint_of_weights(resolve(one.name)) for one in labeller.models[1:]]
        facts["weights"] = list(weights)
    count = len(given.texts)
    job = Job(folder, facts, count, shard_size, f"part-{{:06d}}.{form}", what="labelling", summary=Summary, part=part)
    if (done := job.claim(resume=resume)) is not None:
        return done
    list_left_out(folder / LEFT_OUT, given.left_out)
    job.make_shards(partial(_write_labels, labeller, given, form), console=console, rows="texts", amount="texts")

    def summary(done: Done) -> Summary:
        return Summary(texts=count, seconds=done.seconds, texts_per_second=done.speed, shards=len(job.shards))

    return job.finish(summary, [LEFT_OUT, *(path.name for path in job.shards)])


def _not_blank(read: NewTexts) -> Table:
    """The rows with a text: a blank one teaches nothing. Raises `DataError` if there is none."""
    table = read.table
    blank = [row for row, text in enumerate(table.column(read.text)) if not text.strip()]
    kept = sorted(set(range(len(table))) - set(blank))
    if not kept:
        raise DataError(f"`{table.where}` has no text", hint="one text a line or row")
    if not blank:
        return table
    warn(f"{table.place(blank[0])}: `{read.text}` is blank, as in {len(blank)} row(s), which are left out")
    return table.take(kept)


def _read_all(files: Sequence[Path], form: Form, models: Sequence[Predictor]) -> "_Given":
    """The texts of all files that all models can read. Raises `DataError`."""
    texts: list[str] = []
    pairs: list[str] = []
    places: list[int] = []
    sizes: list[int] = []
    left_out: list[str] = []
    columns: tuple[str, str | None] = (form.task.text, form.task.text_pair)
    before = 0
    for file in files:
        read = read_new_texts(file, form)
        for model in models:
            read = model.readable(read)
        columns = (read.text, read.text_pair)
        table = _not_blank(read)
        texts += table.texts(read.text)
        pairs += table.texts(read.text_pair) if read.text_pair else ()
        places += [before + table.position(row) for row in range(len(table))]
        before += len(read.table) + len(read.left_out)
        sizes.append(len(table))
        left_out += read.left_out
    return _Given(texts, pairs if columns[1] else None, columns, places, sizes, left_out)


@dataclass(frozen=True)
class _Given:
    """The texts of a job."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    columns: tuple[str, str | None]
    places: Sequence[int]
    """The row of each text, counted from 0 over all files."""
    sizes: Sequence[int]
    """Texts of each file."""
    left_out: Sequence[str]
    """Where each row stands that could not be used, and why."""


def _write_labels(labeller: Labeller, given: _Given, form: Format, rows: range, path: Path) -> int:
    """Write the texts of `rows` and what the model predicts for each to `path`; returns their number."""
    texts = given.texts[rows.start : rows.stop]
    pairs = None if given.pairs is None else given.pairs[rows.start : rows.stop]
    said = labeller.rows(texts, pairs)
    found: list[dict[str, Any]] = []
    for position, (row, one) in enumerate(zip(given.places[rows.start : rows.stop], said, strict=True)):
        read = {given.columns[0]: texts[position]}
        if pairs is not None and given.columns[1] is not None:
            read[given.columns[1]] = pairs[position]
        found.append({"row": row, **read, **one})
    _write(path, found, form)
    return len(rows)


def _load(model: str, max_length: int | None) -> Predictor:
    found = Predictor(model, max_length=max_length, precision="auto")
    if found.kind not in ("classification", "multilabel", "regression"):
        raise ModelError(
            f"`{model}` has no head that labels whole texts",
            hint="name a run's output or a fine-tuned model; `distiller predict` tags words and answers questions, "
            "`distiller pseudo-label` translates",
        )
    return found


def _check_classes(models: Sequence[Predictor]) -> None:
    """Raise `ModelError` unless all models have the same classes."""
    first, *others = models
    for one in others:
        if one.kind != first.kind or set(one.names or ()) != set(first.names or ()):
            raise ModelError(
                f"the models do not know the same classes: {', '.join(first.names or ['a number'])}, and "
                f"{', '.join(one.names or ['a number'])}",
                hint="average models of one task",
            )


def _write(path: Path, rows: Sequence[Mapping[str, Any]], form: Format) -> None:
    if form == "jsonl":
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    with importing("writing Parquet needs", extra="data", otherwise=", or --format jsonl"):
        from pyarrow import Table, parquet
    parquet.write_table(Table.from_pylist([dict(row) for row in rows]), path)
