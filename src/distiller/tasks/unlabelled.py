"""Training rows without labels, from which a student learns what its teacher says.

They are training rows with an empty label, texts of other files, and training rows whose label is to be ignored.
"""

from collections.abc import Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.files import check_sums
from distiller.jobs import JOB, SUMMARY
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import UNLABELLED, AnySplit, Split, TaggedSplit, TaskData, joined, keys_of, sample
from distiller.tasks.data import without_labels as hidden
from distiller.tasks.questions import question_split
from distiller.tasks.soft_labels import SoftLabels, read_soft
from distiller.tasks.sources import table_of
from distiller.tasks.table import Table
from distiller.tasks.tagging import untagged, with_conllu_columns
from distiller.tasks.transfer import SOFT_KINDS, sure_enough
from distiller.tasks.usable import usable_rows

WRITTEN = "p(*)"
"""The columns in which this house writes the probability of each class."""


def with_unlabelled(task: Task, data: TaskData) -> TaskData:
    """`data` with all unlabelled rows that `task` asks for, after its limits, in the split `unlabelled`.

    Rows that are also in another split are left out and counted: a labelled row teaches more, and no text of the
    development set should be learnt from. Raises `DataError` for unusable files, `ConfigError` for a task that cannot
    have such rows.
    """
    splits, found = _apart(task, data)
    left_out: list[str] = []
    for name in names_of(task):
        bad = BadRows(task.skip_bad)
        found.append(_texts(task, data, name, bad))
        left_out += [error.message for error in bad.errors]
    if left_out:
        count = data.skipped.get(UNLABELLED, 0) + len(left_out)
        data = replace(data, skipped={**data.skipped, UNLABELLED: count}, left_out=(*data.left_out, *left_out))
    if task.probabilities is not None and data.kind not in SOFT_KINDS:
        raise ConfigError(
            f"task.probabilities is for classes of texts, and `{data.name}` is a {data.kind} task", hint="leave it out"
        )
    if not found:
        return sure_enough(task, data)
    rows, repeated = _distinct(_all_of(found), list(splits.values()))
    if task.unlabelled_limit is not None:
        rows = rows.take(sample(len(rows), task.unlabelled_limit, seed=task.split_seed))
    if "train" not in splits:
        if not len(rows):
            raise DataError(f"every training text of `{data.name}` is one of another split", hint="add other texts")
        splits["train"] = rows.take(range(len(rows)), name="train")
    elif len(rows):
        splits[UNLABELLED] = rows
    return sure_enough(task, replace(data, splits=splits, repeated=repeated))


def _apart(task: Task, data: TaskData) -> tuple[dict[str, AnySplit], list[AnySplit]]:
    """The splits of `data`, and the training rows that have no label, or are to have none."""
    splits = dict(data.splits)
    train = splits["train"]
    found: list[AnySplit] = [splits.pop(UNLABELLED)] if UNLABELLED in splits else []
    if task.label_limit is not None:
        if not train.labelled:
            raise ConfigError("task.label_limit is set, but no training row has a label", hint="leave it out")
        chosen = sample(len(train), task.label_limit, seed=task.split_seed)
        others = sorted(set(range(len(train))) - set(chosen))
        splits["train"] = train.take(chosen)
        found += [hidden(train.take(others))] if others else []
    if not train.labelled:  # then its rows are texts like the others
        found.insert(0, hidden(splits.pop("train")))
    return splits, found


def _all_of(parts: Sequence[AnySplit]) -> AnySplit:
    """The rows of all parts, halved again and again: so every text is copied a few times, not once for every part."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return joined(_all_of(parts[:half]), _all_of(parts[half:]))


def names_of(task: Task) -> Sequence[str]:
    """The files, or splits of a data set, that have texts without labels; for a folder of shards, every shard.

    Raises `DataError` for a folder that `distiller label` has not finished or a pattern that matches no file,
    `DamagedError` for a folder whose files have changed since they were written.
    """
    named = [task.unlabelled] if isinstance(task.unlabelled, str) else task.unlabelled or []
    found: list[str] = []
    for name in named:
        path = Path(name).expanduser()
        if (path / JOB).is_file():
            if not (path / SUMMARY).is_file():
                raise DataError(
                    f"`{name}` holds a labelling job that is not finished",
                    hint="continue it: distiller label … --resume",
                )
            check_sums(path)
            found += [str(shard) for shard in sorted(path.glob("part-*")) if shard.suffix in (".jsonl", ".parquet")]
        elif "*" in name and not path.exists():
            files = sorted(glob(str(path)))
            if not files:
                raise DataError(f"no file is called like `{name}`", hint="task.unlabelled names files or a pattern")
            found += files
        else:
            found.append(name)
    return found


def _texts(task: Task, data: TaskData, name: str, bad: BadRows) -> AnySplit:
    # a tagger reads words with spaces between them, from a list of texts too
    kind = None if Path(name).suffix.lower() == ".txt" else data.kind
    task = with_conllu_columns(task.model_copy(update={"kind": kind, "train": name}))
    table = table_of(task, name, bad)
    if not data.pairs and data.kind != "qa":
        table = table.with_texts_as(task.text)
    if data.kind == "qa":
        asked = Table(table.where, {column: cells for column, cells in table.columns.items() if column != "answers"})
        split: AnySplit = question_split(UNLABELLED, asked, bad, labelled=False, null_answers=data.null_answers)
    elif data.kind == "tagging":
        _, words = untagged(table, task, bad)
        split = TaggedSplit(UNLABELLED, tuple(row for row in words if row), source=table.where)
    else:
        if data.pairs and task.text_pair is None:
            raise ConfigError(
                f"task `{data.name}` has pairs of texts, and task.text_pair names no column of `{table.where}`",
                hint="task.text=FIRST task.text_pair=SECOND",
            )
        soft = _soft(task, table, data, bad)
        matrix = None if soft is None else soft.matrix(data.labels)
        table = usable_rows(
            table if soft is None else soft.kept(table), task, data.kind, bad, labels=None, labelled=False
        )
        if matrix is not None and table.origin is not None:
            matrix = matrix[list(table.origin)]
        pairs = table.texts(task.text_pair) if data.pairs and task.text_pair else None
        split = Split(UNLABELLED, table.texts(task.text), pairs, soft=matrix)
    bad.warn(table.where)
    if not len(split):
        raise DataError(f"`{table.where}` has no text that can be used", hint="one text a line or row")
    return split


def _soft(task: Task, table: Table, data: TaskData, bad: BadRows) -> SoftLabels | None:
    """The probabilities of the texts, as `task.probabilities` says or as `distiller label` writes them."""
    if data.kind not in SOFT_KINDS:
        return None
    several = data.kind == "multilabel"
    if task.probabilities is not None:
        return read_soft(task, table, hidden=True, several=several, bad=bad)
    written = {WRITTEN.replace("*", label) for label in data.labels}
    if not written <= table.columns.keys():
        return None
    return read_soft(task.model_copy(update={"probabilities": WRITTEN}), table, several=several, bad=bad)


def _distinct(rows: AnySplit, others: Sequence[AnySplit]) -> tuple[AnySplit, int]:
    """`rows` without those that are also in `others`, and how many were dropped."""
    known = {key for other in others for key in keys_of(other)}
    kept = [number for number, key in enumerate(keys_of(rows)) if key not in known]
    return rows.take(kept) if len(kept) < len(rows) else rows, len(rows) - len(kept)
