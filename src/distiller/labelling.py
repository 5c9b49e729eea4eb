"""Labelling as a job of its own: a model says of many texts how probable each class is, shard by shard.

A shard is written beside its place and renamed when it is whole, so a job that was killed labels the shards that are
missing and nothing else; no text is lost or labelled twice. Several processes may work on one job: each takes shards
that nobody else has, those on other machines every n-th one. The shards are tables that anybody reads; a run reads
them one after the other (`task.unlabelled=FOLDER`).
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from distiller.config import Config, Run
from distiller.device import compute
from distiller.errors import ConfigError, DamagedError, DataError, ModelError, OutputError, importing, warn
from distiller.files import (
    JOB,
    LEFT_OUT,
    PART,
    SUMMARY,
    alone,
    claim_job,
    digest,
    json_text,
    write_json,
    write_last,
    write_text,
)  # fmt: skip
from distiller.inference import model_and_run
from distiller.models.folders import load_config, load_tokenizer, resolve
from distiller.models.folders import weights_fingerprint as fingerprint_of_weights
from distiller.models.heads import class_names, has_head_for, kind_of_head
from distiller.models.load import load_model, longest_input
from distiller.tasks.data import Split
from distiller.tasks.encode import Collator, encode
from distiller.tasks.new_texts import Form, NewTexts, read_new_texts
from distiller.tasks.table import Table
from distiller.tasks.unlabelled import WRITTEN
from distiller.training.evaluate import predict_logits

Format = Literal["jsonl", "parquet"]
SAID_EVERY = 15.0
"""Seconds between two lines of progress where there is no terminal."""


class Summary(Config):
    """What a job came to."""

    texts: int
    seconds: float
    """Of labelling, over all processes and all times that the job was started."""
    texts_per_second: float
    shards: int


@dataclass(frozen=True)
class Labeller:
    """A fine-tuned model, and how its outputs become columns; with `others`, what all say on average."""

    model: Any
    tokenizer: Any
    kind: str
    names: Sequence[str] | None
    max_length: int
    precision: Any
    weight: float = 1.0
    """How much it counts beside others."""
    others: Sequence["Labeller"] = ()
    """Models of the same classes, in whatever order; each reads its own tokens."""

    def rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[dict[str, Any]]:
        """The label and the probability of each class, or the number, of every text."""
        split = Split("label", tuple(texts), None if pairs is None else tuple(pairs))
        together = [self, *self.others]
        whole = sum(one.weight for one in together)
        said = torch.stack([one.weight / whole * one.shares(split, self.names) for one in together]).sum(0)
        if self.names is None:
            return [{"label": value} for value in said.squeeze(-1).tolist()]
        several = self.kind == "multilabel"
        columns = [WRITTEN.replace("*", name) for name in self.names]
        found: list[dict[str, Any]] = []
        for row in said.tolist():
            best = max(range(len(row)), key=row.__getitem__)
            label: Any = self.names[best]
            if several:
                label = [name for name, value in zip(self.names, row, strict=True) if value > 0.5]
            found.append({"label": label} | dict(zip(columns, row, strict=True)))
        return found

    def shares(self, split: Split, names: Sequence[str] | None) -> Tensor:
        """The probability of each of `names`, which are the model's own in some order, or the number: `[rows, c]`."""
        encoded = encode(split, self.tokenizer, self.max_length, True)
        logits = predict_logits(self.model, encoded, Collator(self.tokenizer), precision=self.precision)
        if names is None or self.names is None:
            return logits
        said = logits.sigmoid() if self.kind == "multilabel" else logits.softmax(-1)
        return said[:, [self.names.index(name) for name in names]]


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
    `resume` a job that was stopped is continued, and a finished one returns its summary. `part` (i, n) labels every
    n-th shard from the i-th, for n machines at once; whoever finds all shards there finishes the job, the others return
    `None`. With `skip_bad` rows that cannot be used are left out and listed in `left_out.txt`; `overrides` say how
    files are written (`task.encoding=cp1252`). `also` names more models, whose probabilities or numbers are averaged
    with those of `model`; `weights` has a number above 0 for each, `model` first, and by default all count alike.
    Raises `OutputError` when something else lies in `folder`, `ModelError` for a model without a head for texts and
    for models that do not know the same classes, `ConfigError` for weights that do not fit the models and a
    `max_length` that a model cannot take, `DataError` for a file that cannot be used.
    """
    models = [model, *also]
    weights = [1.0] * len(models) if weights is None else weights
    if len(weights) != len(models) or min(weights) <= 0:
        raise ConfigError(f"{len(models)} models have {len(weights)} weights", hint="a number above 0 for each model")
    found = [_labeller(name, max_length) for name in models]
    labeller, run = _together([one for one, _ in found], weights), found[0][1]
    reading = Form.of(run, text=text, text_pair=text_pair, overrides=overrides, skip_bad=skip_bad)
    given = _read_all(files, reading)
    first, second = given.columns
    texts, pairs = given.texts, given.pairs
    facts = {
        "model": fingerprint_of_weights(resolve(model_and_run(model)[0])),
        "files": [[file.name, rows] for file, rows in zip(files, given.sizes, strict=True)],
        "texts": _digest(texts, pairs),
        "columns": [first, second],
        "max_length": labeller.max_length,
        "shard_size": shard_size,
        "form": form,
    }
    if also:
        facts["also"] = [fingerprint_of_weights(resolve(model_and_run(name)[0])) for name in also]
        facts["weights"] = list(weights)
    if (done := claim_job(folder, facts, what="labelling", resume=resume or part[1] > 1)) is not None:
        return Summary.model_validate_json(done)
    if given.left_out:
        write_text(folder / LEFT_OUT, "".join(f"{line}\n" for line in given.left_out))
    shards = range(-(-len(texts) // shard_size))
    names = {shard: folder / f"part-{shard:06d}.{form}" for shard in shards}
    own = [shard for shard in shards if shard % part[1] == part[0]]
    missing = [shard for shard in own if _timed(names[shard]) is None]
    for shard in missing:
        if names[shard].is_file():
            warn(f"`{names[shard]}` is not what was written there: it is made again")
    size = sum(min(shard_size, len(texts) - shard * shard_size) for shard in missing)
    with _progress(console, size) as advance:
        for shard in missing:
            begin = shard * shard_size
            rows = range(begin, min(begin + shard_size, len(texts)))
            with _mine(names[shard]) as mine:
                if mine and _timed(names[shard]) is None:
                    _label_shard(labeller, names[shard], rows, given, form)
            advance(len(rows))
    with alone(folder):
        if (folder / SUMMARY).is_file():  # another process found all of them first
            return Summary.model_validate_json((folder / SUMMARY).read_text(encoding="utf-8"))
        if not all(path.is_file() for path in names.values()):
            return None
        return _finish(folder, [*names.values()], len(texts))


def _not_blank(read: NewTexts) -> Table:
    """The rows that have a text: a blank one teaches nothing. Raises `DataError` if there is none."""
    table = read.table
    blank = [row for row, text in enumerate(table.column(read.text)) if not text.strip()]
    kept = sorted(set(range(len(table))) - set(blank))
    if not kept:
        raise DataError(f"`{table.where}` has no text", hint="one text a line or row")
    if not blank:
        return table
    warn(f"{table.place(blank[0])}: `{read.text}` is blank, as in {len(blank)} row(s), which are left out")
    return table.take(kept)


def _read_all(files: Sequence[Path], form: Form) -> "_Given":
    """The texts of all files. Raises `DataError`."""
    texts: list[str] = []
    pairs: list[str] = []
    places: list[int] = []
    sizes: list[int] = []
    left_out: list[str] = []
    columns: tuple[str, str | None] = (form.task.text, form.task.text_pair)
    before = 0
    for file in files:
        read = read_new_texts(file, form)
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


def _label_shard(labeller: Labeller, path: Path, rows: range, given: _Given, form: Format) -> None:
    started = time.perf_counter()
    part = given.texts[rows.start : rows.stop]
    pairs = None if given.pairs is None else given.pairs[rows.start : rows.stop]
    said = labeller.rows(part, pairs)
    found: list[dict[str, Any]] = []
    for position, (row, one) in enumerate(zip(given.places[rows.start : rows.stop], said, strict=True)):
        read = {given.columns[0]: part[position]}
        if pairs is not None and given.columns[1] is not None:
            read[given.columns[1]] = pairs[position]
        found.append({"row": row, **read, **one})
    beside = path.with_name(path.name + PART)
    _write(beside, found, form)
    seconds = time.perf_counter() - started
    write_json(_timing(path), {"texts": len(rows), "seconds": seconds, "sha256": digest(beside)})
    beside.replace(path)


def _labeller(model: str, max_length: int | None) -> tuple[Labeller, Run | None]:
    name, run = model_and_run(model)
    shape: Any = load_config(name)
    kind = kind_of_head(shape)
    names = None if kind == "regression" else class_names(shape)
    if kind not in ("classification", "multilabel", "regression") or not has_head_for(name, kind=kind, labels=names):
        raise ModelError(
            f"`{name}` has no head that labels whole texts",
            hint="name a run's output or a fine-tuned model; `distiller predict` tags words and answers questions",
        )
    here = compute("auto", "auto")
    loaded, tokenizer = load_model(name, kind=kind, labels=names, attention=here.attention), load_tokenizer(name)
    limit = longest_input(loaded)
    wanted = max_length or (run.task.max_length if run else None) or min(tokenizer.model_max_length, 512, limit)
    if wanted > limit:
        raise ConfigError(f"--max-length is {wanted}, but the model takes {limit} tokens", hint=f"--max-length {limit}")
    return Labeller(loaded, tokenizer, kind, names, wanted, here.precision), run


def _digest(texts: Sequence[str], pairs: Sequence[str] | None) -> str:
    return Split("texts", tuple(texts), None if pairs is None else tuple(pairs)).fingerprint


def _together(labellers: Sequence[Labeller], weights: Sequence[float]) -> Labeller:
    """Several models as one. Raises `ModelError` unless they know the same classes."""
    first, *others = labellers
    for one in others:
        if one.kind != first.kind or set(one.names or ()) != set(first.names or ()):
            raise ModelError(
                f"the models do not know the same classes: {', '.join(first.names or ['a number'])}, and "
                f"{', '.join(one.names or ['a number'])}",
                hint="average models of one task",
            )
    counted = [replace(one, weight=weight) for one, weight in zip(labellers, weights, strict=True)]
    return replace(counted[0], others=counted[1:])


@contextmanager
def _mine(path: Path) -> Iterator[bool]:
    """Whether nobody else labels this shard; the lock ends with the process."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _write(path: Path, rows: Sequence[Mapping[str, Any]], form: Format) -> None:
    if form == "jsonl":
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    with importing("writing Parquet needs", extra="data", otherwise=", or --format jsonl"):
        from pyarrow import Table, parquet
    parquet.write_table(Table.from_pylist([dict(row) for row in rows]), path)


def _timing(path: Path) -> Path:
    return path.with_suffix(".time.json")


def _timed(path: Path) -> dict[str, Any] | None:
    """Texts, seconds and SHA-256 of a shard, or `None` unless it is there as it was written."""
    try:
        found = json.loads(_timing(path).read_text(encoding="utf-8"))
        return found if found["sha256"] == digest(path) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _finish(folder: Path, shards: Sequence[Path], texts: int) -> Summary:
    """Count what the shards hold, and write the summary last, with the sums of all files."""
    timings: list[dict[str, Any]] = []
    for path in shards:
        if (found := _timed(path)) is None:
            raise DamagedError(f"`{path}` is not what was written there", hint="--resume makes it again")
        timings.append(found)
    counted = round(sum(one["texts"] for one in timings))
    if counted != texts:
        raise OutputError(
            f"the shards in `{folder}` hold {counted} texts instead of {texts}", hint="start the job again elsewhere"
        )
    seconds = sum(one["seconds"] for one in timings)
    summary = Summary(texts=texts, seconds=seconds, texts_per_second=texts / max(seconds, 1e-9), shards=len(shards))
    beside = [JOB, LEFT_OUT, *(path.name for path in shards)]
    write_last(folder / SUMMARY, json_text(summary.model_dump(mode="json")), beside)
    for path in shards:
        _timing(path).unlink(missing_ok=True)
    return summary


@contextmanager
def _progress(console: Console | None, texts: int) -> Iterator[Callable[[int], None]]:
    """Texts done, texts per second and time left: a bar on a terminal, else a line now and then."""
    if console is None:
        yield lambda count: None
        return
    started = time.perf_counter()
    if console.is_terminal:
        columns = (BarColumn(bar_width=24), TextColumn("{task.completed:,} of {task.total:,}"))
        speed, left = TextColumn("{task.fields[speed]}"), TimeRemainingColumn(compact=True)
        with Progress(TextColumn("label"), *columns, speed, left, console=console, transient=True) as bar:
            task = bar.add_task("", total=texts, speed="")

            def advance(count: int) -> None:
                done = bar.tasks[0].completed + count
                bar.update(task, advance=count, speed=f"{done / (time.perf_counter() - started):.0f} texts/s")

            yield advance
        return
    done, said = 0, 0.0

    def tell(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.perf_counter() - started
        if now - said >= SAID_EVERY or done == texts:
            said = now
            speed = done / max(now, 1e-9)
            left = (texts - done) / max(speed, 1e-9)
            console.print(f"{done:,} of {texts:,} texts, {speed:.0f} texts/s, {_words(left)} left", soft_wrap=True)

    yield tell


def _words(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
