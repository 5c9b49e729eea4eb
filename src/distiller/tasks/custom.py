"""The task `custom`: data from the user's own files, or from any data set."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import UNLABELLED, AnySplit, Kind, Split, TaskData
from distiller.tasks.doubts import doubtful_labels, repeated_rows, taken_for_ids, taken_for_others
from distiller.tasks.held_out import hold_out_rows
from distiller.tasks.kinds import infer_kind
from distiller.tasks.labels import among, label_set
from distiller.tasks.multilabel import holds_names, made_of_others, mark_between, memberships, names_in, without_lists
from distiller.tasks.multilabel import with_lists as with_memberships
from distiller.tasks.questions import (
    COLUMNS,
    IMPOSSIBLE,
    has_answers,
    in_one_form,
    is_null,
    nulls,
    question_split,
    refuse_other_fields,
)
from distiller.tasks.questions import METRICS as QUESTION_METRICS
from distiller.tasks.soft_labels import order_taken, read_all, repeats, soft_classes, with_hard_labels
from distiller.tasks.sources import SPLITS, check_names, name_of, read_tables
from distiller.tasks.table import Table, is_empty
from distiller.tasks.tagging import metrics_of, places_taken, sentences, tagged_split, with_conllu_columns, written_tags
from distiller.tasks.usable import usable_rows
from distiller.tasks.written_numbers import Reading, reading_of

METRICS_OF: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "f1_macro"),
    "multilabel": ("micro_f1", "macro_f1", "subset_accuracy", "average_precision"),
    "regression": ("spearman", "pearson", "rmse"),
}


def load_custom(task: Task, *, head: Sequence[str] = ()) -> TaskData:
    """Your own CSV, TSV, JSON, JSON Lines, Parquet, CoNLL or SQuAD files, or any data set that `datasets` resolves.

    The label set is `task.labels`, else the one that the data set declares, else the sorted labels of the training
    rows; if some rows have no label it is `head`, the classes of the teacher's head, provided that these include all
    labels. Without a development split, `task.dev_fraction` of the training rows is held out, chosen by
    `task.split_seed`. Raises `DataError` for unusable rows or columns, `ConfigError` if no data is named.
    """
    task = with_conllu_columns(task)
    check_names(task)
    if task.labels and len(set(task.labels)) < len(task.labels):
        raise ConfigError(f"task.labels names a label twice: {', '.join(task.labels)}", hint="each class has one place")
    bad = {name: BadRows(task.skip_bad) for name in (*SPLITS, UNLABELLED)}
    columns, tables = read_tables(task, bad)
    data = _of_tables(task.model_copy(update=columns), tables, bad, head)
    if not columns:
        return data
    taken = " ".join(f"task.{field}={name}" for field, name in columns.items())
    return replace(data, columns=columns, notes=(f"columns are taken to be {taken}", *data.notes))


def _of_tables(task: Task, tables: dict[str, Table], bad: Mapping[str, BadRows], head: Sequence[str]) -> TaskData:
    """The task in these tables, whose columns `task` names."""
    declared = tables["train"].declared
    reading = _reading(task, tables, declared)
    kind, notes = _kind(task, tables, declared, reading)
    if kind == "qa":
        return _questions(task, tables, bad, notes)
    tables, said = _in_form(kind, task, tables, bad, reading)
    notes = [*notes, *said]
    soft: dict[str, np.ndarray] = {}
    if kind in ("classification", "multilabel"):
        task, soft, said = _with_probabilities(kind, task, tables, bad, declared, head)
        notes += said
    known = _labelled_table(task, tables)
    tables, said = _scored(task, _divided(tables, task))
    notes += said
    if kind == "tagging":
        return _tagging(task, tables, declared, bad, notes, head)
    tables = {**tables, "train": _usable(task, "train", tables["train"], kind, bad["train"], task.labels)}
    labels: tuple[str, ...] = ()
    if kind != "regression":
        rows = tables["train"] if UNLABELLED in tables or known.where == tables["train"].where else known
        written = names_in(rows, task.label) if kind == "multilabel" else ()
        labels = _label_set(task, rows, declared, written, head=_head(task, tables, head))
    for name in tables.keys() - {"train"}:
        tables[name] = _usable(task, name, tables[name], kind, bad[name], labels)
    splits: dict[str, AnySplit] = {name: _split(task, name, table, kind, labels) for name, table in tables.items()}
    train = splits["train"]
    assert isinstance(train, Split)
    if "train" in soft:
        splits["train"] = train = replace(train, soft=soft["train"][list(train.ids)])
    if train.labelled:
        _refuse_constant(task, tables["train"], train, labels)
    dev = splits.get("dev")
    if kind == "regression" and isinstance(dev, Split) and dev.labels and len(set(dev.labels)) == 1:
        notes.append(f"`{task.label}` is {dev.labels[0]:g} in all rows of dev, so no correlation says what was learnt")
    if kind == "classification":
        notes += doubtful_labels(task.label, labels, train)
        notes += made_of_others(labels) if task.kind is None else []
        notes += taken_for_ids(task, tables, labels, declared)
    return _task_data(task, kind, labels, METRICS_OF[kind], tables, splits, bad, notes)


def _reading(task: Task, tables: Mapping[str, Table], declared: Mapping[str, tuple[str, ...]]) -> Reading | None:
    """How numbers are written in the label column, if it may be one of numbers."""
    if task.kind not in (None, "regression") or task.labels or task.label in declared:
        return None
    return reading_of([without_lists(table, task.label) for table in tables.values()], task.label)


def _kind(
    task: Task, tables: Mapping[str, Table], declared: Mapping[str, tuple[str, ...]], reading: Reading | None
) -> tuple[Kind, list[str]]:
    """The kind of task, and if it is guessed, a note on the reason."""
    if task.kind is not None:
        return task.kind, []
    if task.probabilities is not None:
        several = holds_names(tables["train"], task.label) and not repeats(tables["train"], task.label)
        return "multilabel" if several else "classification", []
    if task.label not in tables["train"].columns and task.labels and tables["train"].columns.keys() >= set(task.labels):
        return "multilabel", ["task.kind is taken to be multilabel, from a column for each of task.labels"]
    guess = infer_kind(task, _labelled_table(task, tables), declared, reading)
    return guess.kind, [f"task.kind is taken to be {guess.kind}, from {guess.why}"]


def _in_form(
    kind: Kind, task: Task, tables: Mapping[str, Table], bad: Mapping[str, BadRows], reading: Reading | None
) -> tuple[dict[str, Table], list[str]]:
    """`tables` with labels in the standard form of their kind, and notes on what was converted."""
    if kind in ("classification", "regression"):
        tables = {name: without_lists(table, task.label) for name, table in tables.items()}
    if kind == "regression" and reading is not None:
        return {name: reading.of(table, task.label) for name, table in tables.items()}, [reading.note(task.label)]
    if kind != "multilabel":
        return dict(tables), []
    if not task.labels and not any(task.label in table.columns for table in tables.values()):
        raise DataError(
            f"`{tables['train'].where}` has no column `{task.label}` of lists of class names",
            hint="task.label names it; or task.labels=[…] names columns of 1 and 0, one for each class",
        )
    mark = mark_between([cell for table in tables.values() for cell in table.columns.get(task.label, ())])
    notes = [f"`{mark}` separates class names in `{task.label}`"] if mark and task.kind else []
    return {name: with_memberships(task, table, bad[name], mark) for name, table in tables.items()}, notes


def _with_probabilities(
    kind: Kind,
    task: Task,
    tables: dict[str, Table],
    bad: Mapping[str, BadRows],
    declared: Mapping[str, tuple[str, ...]],
    head: Sequence[str],
) -> tuple[Task, dict[str, np.ndarray], list[str]]:
    """(`task` with the classes of the probabilities in the data; these probabilities, `[rows, classes]`, by table;
    notes on the order of the classes if it was guessed).

    Missing labels in `tables` are replaced by the most probable classes. Without probabilities nothing changes.
    """
    said = read_all(task, tables, bad, several=kind == "multilabel")
    if not said:
        return task, {}, []
    labels = soft_classes(task, tables, said, declared, head)
    soft = {name: one.matrix(labels) for name, one in said.items()}
    for name, one in said.items():
        tables[name] = one.kept(with_hard_labels(one, tables[name], task.label, soft[name], labels))
    notes = order_taken(task, said, declared, labels)
    return task.model_copy(update={"labels": list(labels)}), soft, notes


def _scored(task: Task, tables: Mapping[str, Table]) -> tuple[dict[str, Table], list[str]]:
    """`tables` without unlabelled rows in `dev` and `test`, and notes on their number.

    Raises `DataError` if the development rows lack the label column that the training rows have.
    """
    if "dev" in tables and task.label not in tables["dev"].columns and task.label in tables["train"].columns:
        raise DataError(
            f"`{tables['dev'].where}` has no column `{task.label}`, and development rows are scored",
            hint="leave task.dev out, and some of the training rows are held out; or name labelled rows",
        )
    found, notes = dict(tables), list[str]()
    for name in ("dev", "test"):
        if name in found:
            found[name], note = _with_label(task, name, found[name])
            notes += note
    return found, notes


def _usable(task: Task, name: str, table: Table, kind: Kind, bad: BadRows, labels: Sequence[str] | None) -> Table:
    """The usable rows of `table`; labels are checked if the rows have any."""
    labelled = kind in ("classification", "multilabel", "regression") and not _hidden(task, name, table)
    known = labels if kind != "regression" and labels else None
    return usable_rows(table, task, kind, bad, labels=known, labelled=labelled)


def _with_label(task: Task, name: str, table: Table) -> tuple[Table, list[str]]:
    """The labelled rows of `dev` or `test`, and a note if some have no label; all rows if none has one."""
    cells = table.columns.get(task.label, ())
    kept = [row for row, cell in enumerate(cells) if not is_empty(cell)]
    if len(kept) in (0, len(table)):
        return table, []
    return table.take(kept), [
        f"{len(table) - len(kept):,} of {len(table):,} rows of {name} have no label, and no score"
    ]


def _with_answers(name: str, table: Table, *, null_answers: bool) -> tuple[Table, list[str]]:
    """The questions of `dev` or `test` with a known answer, and a note if some have none; all if none has one.

    With `null_answers`, no answer is a known answer too.
    """
    answers = table.columns.get("answers", ())
    impossible = table.columns.get(IMPOSSIBLE) or [None] * len(table)
    kept = [
        row
        for row, (cell, null) in enumerate(zip(answers, impossible, strict=False))
        if (is_null(cell, null) and null_answers) or (has_answers(cell) and not null)
    ]
    if len(kept) in (0, len(table)):
        return table, []
    left = f"{len(table) - len(kept):,} of {len(table):,} questions of {name} have no answer"
    return table.take(kept), [left if null_answers else f"{left}, and are left out (task.null_answers=true keeps them)"]


def _task_data(
    task: Task,
    kind: Kind,
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    tables: Mapping[str, Table],
    splits: Mapping[str, AnySplit],
    bad: Mapping[str, BadRows],
    notes: Sequence[str],
) -> TaskData:
    """The task with these splits; development rows are held out if there are none."""
    for name, table in tables.items():
        bad[name].warn(table.where)
    if labels:
        notes = [*notes, *taken_for_others(task, tables, labels)]
    if "dev" not in splits:
        train, dev, more = hold_out_rows(splits["train"], task, labels, where=tables["train"].where)
        splits, notes = {**splits, "train": train, "dev": dev}, [*notes, *more]
    else:
        notes = [*notes, *repeated_rows(splits["train"], splits["dev"])]
        if task.dev_fraction != Task.model_fields["dev_fraction"].default:
            raise ConfigError(
                "task.dev_fraction would hold out rows, and there are development rows already", hint="leave it out"
            )
    order = [name for name in ("train", "dev", *splits) if name in splits]
    return TaskData(
        name=name_of(task),
        kind=kind,
        labels=labels,
        metrics=metrics,
        splits={name: splits[name] for name in order},
        skipped={name: len(bad[name].errors) for name in tables if bad[name].errors},
        left_out=tuple(error.message for name in tables for error in bad[name].errors),
        notes=tuple(notes),
    )


def _tagging(
    task: Task,
    tables: Mapping[str, Table],
    declared: Mapping[str, tuple[str, ...]],
    bad: Mapping[str, BadRows],
    notes: list[str],
    head: Sequence[str],
) -> TaskData:
    if task.text_pair is not None:
        raise ConfigError(f"task.text_pair is `{task.text_pair}`, but tagging has no pairs", hint="leave it out")
    found = {
        name: sentences(table, task, bad[name], labelled=name == "dev" or (name == "train" and _any_label(task, table)))
        for name, table in tables.items()
    }
    notes = [*notes, *places_taken(tables["train"], task)]
    written = written_tags(found["train"]) or written_tags(found["dev"])
    labels = _label_set(task, _labelled_table(task, tables), declared, written, head=_head(task, tables, head))
    metrics = metrics_of(labels)
    if all(map(str.isdecimal, labels)):
        notes.append("tags are numbers: task.labels=[…] names them in their order, and entities among them are scored")
    splits: dict[str, AnySplit] = {
        name: tagged_split(name, tables[name], rows, labels, bad[name], label=task.label)
        for name, rows in found.items()
    }
    if len(tags := written_tags(found["train"])) == 1:
        raise DataError(
            f"`{tables['train'].where}`: every `{task.label}` is `{tags.pop()}`, so there is nothing to learn",
            hint="a tagger needs words of at least two tags; task.label names the column of the tags",
        )
    return _task_data(task, "tagging", labels, metrics, tables, splits, bad, notes)


def _questions(task: Task, tables: Mapping[str, Table], bad: Mapping[str, BadRows], notes: list[str]) -> TaskData:
    refuse_other_fields(task)
    tables = {name: in_one_form(table) for name, table in tables.items()}
    answered = any(map(has_answers, tables["train"].columns.get("answers", ())))
    known = tables["train"] if answered else tables.get("dev", tables["train"])
    null_answers = task.null_answers
    if null_answers is None and (null_answers := nulls(known) > 0):
        notes = [
            *notes,
            f"{nulls(known):,} of {len(known):,} questions of `{known.where}` have no answer, and a model learns to "
            "say so (task.null_answers=false refuses them)",
        ]
    for name in ("dev", "test"):
        if name in tables:
            tables[name], note = _with_answers(name, tables[name], null_answers=null_answers)
            notes = [*notes, *note]
    splits: dict[str, AnySplit] = {
        name: question_split(
            name, table, bad[name], labelled=name == "dev" or (name == "train" and answered), null_answers=null_answers
        )
        for name, table in tables.items()
    }
    if not splits["train"].labelled and "dev" not in splits:
        raise DataError(
            f"no question of `{tables['train'].where}` has an answer",
            hint='the column `answers` has {"text": […], "answer_start": […]}; or name labelled rows in task.dev',
        )
    return _task_data(task, "qa", (), QUESTION_METRICS, tables, splits, bad, notes)


def _labelled_table(task: Task, tables: Mapping[str, Table]) -> Table:
    """The rows that define the labels: the training rows, or the development rows if no training row has a label."""
    train = tables["train"]
    if _any_label(task, train) or set(COLUMNS[1:3]) <= train.columns.keys():
        return train
    if "dev" not in tables:
        if task.kind != "qa":
            train.column(task.label)  # raises an error for an absent column
        if task.label in train.columns and task.kind != "qa":
            raise DataError(
                f"`{train.where}`: `{task.label}` is empty in every row", hint="name labelled rows in task.dev"
            )
        return train
    return tables["dev"]


def _any_label(task: Task, table: Table) -> bool:
    return not all(map(is_empty, table.columns.get(task.label, ())))


def _divided(tables: Mapping[str, Table], task: Task) -> dict[str, Table]:
    """`tables` in which training rows without a label, if others have one, are a table of their own.

    Completely empty rows, as spreadsheets leave them at the end, stay among the training rows, to be left out as bad.
    """
    train = tables["train"]
    empty = {row for row, cell in enumerate(train.columns.get(task.label, ())) if is_empty(cell)}
    if task.skip_bad and task.text in train.columns:
        texts = train.columns[task.text]
        empty = {row for row in empty if not is_empty(texts[row]) and str(texts[row]).strip()}
    if not empty or len(empty) == len(train):
        return dict(tables)
    kept = [row for row in range(len(train)) if row not in empty]
    return {**tables, "train": train.take(kept), UNLABELLED: train.take(sorted(empty))}


def _head(task: Task, tables: Mapping[str, Table], head: Sequence[str]) -> Sequence[str]:
    """The classes of the teacher's head if there are rows without a label, else nothing."""
    unlabelled = task.unlabelled is not None or UNLABELLED in tables or not _any_label(task, tables["train"])
    return head if unlabelled else ()


def _label_set(
    task: Task,
    train: Table,
    declared: Mapping[str, tuple[str, ...]],
    found: Collection[str] = (),
    *,
    head: Sequence[str] = (),
) -> tuple[str, ...]:
    """The label set. `found` are the labels of the training rows, if they are not simply the cells of the label column;
    `head` is used if it includes all of them."""
    train.column(task.label)  # raises an error for an absent column
    if task.labels:
        return tuple(task.labels)
    if task.label in declared:
        return declared[task.label]
    return among(label_set(found or train.classes(task.label)), head)


def _split(task: Task, name: str, table: Table, kind: Kind, labels: tuple[str, ...]) -> Split:
    return Split(
        name=name,
        texts=table.texts(task.text),
        pairs=table.texts(task.text_pair) if task.text_pair else None,
        labels=_labels(task, name, table, kind, labels),
        ids=tuple(table.origin or ()),
    )


def _labels(
    task: Task, name: str, table: Table, kind: Kind, labels: tuple[str, ...]
) -> tuple[int, ...] | tuple[float, ...] | tuple[tuple[float, ...], ...] | None:
    if _hidden(task, name, table):
        return None
    if kind == "regression":
        return table.numbers(task.label)
    if kind == "multilabel":
        return memberships(table, task.label, labels)
    return table.class_ids(task.label, labels)


def _hidden(task: Task, name: str, table: Table) -> bool:
    """Whether the rows have no labels: no label column, or an empty one."""
    return name in ("train", "test", UNLABELLED) and not _any_label(task, table)


def _refuse_constant(task: Task, train: Table, split: Split, labels: tuple[str, ...]) -> None:
    values = set(split.labels or ())
    if len(values) > 1:
        return
    only = next(iter(values))
    shown = f"{only:g}" if isinstance(only, float) else "list"
    if isinstance(only, int):
        shown = f"`{labels[only]}`"
    raise DataError(
        f"`{train.where}`: all {len(train)} rows have the one `{task.label}` {shown}, so there is nothing to learn",
        hint="a classifier needs rows of at least two labels, a regression at least two different numbers",
    )
