"""Probabilities of classes that rows bring along: what an LLM, an ensemble, several people or an earlier teacher said.

They stand in tables as a column of lists or of names with numbers, as one column for each class, or as several
answers to the same text, whose shares they are.
"""

import ast
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks.data import IGNORED, Split, TaskData
from distiller.tasks.labels import among, label_set
from distiller.tasks.table import Table, class_name, is_empty, shown

TOLERANCE = 0.02
"""By how much a sum may miss 1: LLMs and tables round."""


@dataclass(frozen=True)
class SoftLabels:
    """What the rows of one table say, before it is known which classes there are."""

    table: Table
    column: str
    """Where they stand, as an error names it."""
    rows: Sequence[Mapping[str, float] | Sequence[float] | None]
    """Class names or places to probabilities; `None` where a row has none."""
    classes: tuple[str, ...]
    """The class names that are written, in their order; none where there are only numbers."""

    def matrix(self, labels: Sequence[str]) -> np.ndarray:
        """Float32 `[rows, labels]`, NaN where a row has none. Raises `DataError` for rows that do not fit `labels`."""
        ids = {label: number for number, label in enumerate(labels)}
        found = np.full((len(self.rows), len(labels)), np.nan, dtype=np.float32)
        for row, said in enumerate(self.rows):
            if said is None:
                continue
            if isinstance(said, Mapping):
                strange = next((name for name in said if name not in ids), None)
                if strange is not None:
                    raise DataError(
                        f"{self.table.place(row)}: `{self.column}` names {shown(strange)}, which is no class",
                        hint=f"the classes are {_listed(labels)}",
                    )
                values = [said.get(label, 0.0) for label in labels]
            else:
                values = list(said)
            if len(values) != len(labels):
                raise DataError(
                    f"{self.table.place(row)}: `{self.column}` has {len(values)} numbers for {len(labels)} classes",
                    hint=f"one for each of {_listed(labels)}, in this order; task.labels names them otherwise",
                )
            found[row] = self._checked(row, values)
        return found

    def _checked(self, row: int, values: list[float]) -> list[float]:
        total = math.fsum(values)
        if not all(math.isfinite(value) and value >= 0 for value in values) or abs(total - 1) > TOLERANCE:
            raise DataError(
                f"{self.table.place(row)}: `{self.column}` is {shown(values)}, and probabilities sum to one",
                hint="divide each row by its sum; scores of several classes at once are task.kind=multilabel",
            )
        return [value / total for value in values]


def read_soft(task: Task, table: Table, *, hidden: bool = False) -> SoftLabels | None:
    """The probabilities of a table: where `task.probabilities` says, or in its label column, unless that is `hidden`.

    Raises `DataError` for cells that are no probabilities, or an absent column.
    """
    wish = task.probabilities
    if isinstance(wish, list) or (wish is not None and "*" in wish):
        return _columns(table, wish)
    if wish is not None:
        return _cells(table, wish, table.column(wish)) if wish in table.columns or not hidden else None
    if hidden:
        return None
    cells = table.columns.get(task.label, ())
    first = next((cell for cell in cells if not is_empty(cell)), None)
    parsed = parsed_cell(first)
    if _is_distribution(parsed):
        return _cells(table, task.label, cells)
    if isinstance(parsed, list) and repeats(table, task.label):
        return _answers(table, task.label, cells)
    return None


def read_all(task: Task, tables: Mapping[str, Table]) -> dict[str, SoftLabels]:
    """The probabilities that rows bring along, by the table that has some."""
    found = {name: soft for name, table in tables.items() if (soft := read_soft(task, table, hidden=name != "train"))}
    if task.probabilities is None:  # labels of development rows may be probabilities too
        for name in tables.keys() - found.keys():
            if soft := read_soft(task, tables[name]):
                found[name] = soft
    return found


def soft_classes(
    task: Task,
    tables: Mapping[str, Table],
    said: Mapping[str, SoftLabels],
    declared: Mapping[str, tuple[str, ...]],
    head: Sequence[str],
) -> tuple[str, ...]:
    """The classes of probabilities: `task.labels`, those of the columns, or all that are written; and where there are
    only numbers those of the teacher's `head`, or of the other rows, if there are as many."""
    if task.labels or task.label in declared:
        return tuple(task.labels or declared[task.label])
    if isinstance(task.probabilities, list) or "*" in (task.probabilities or ""):
        return next(soft.classes for soft in said.values())
    hard = [table for name, table in tables.items() if name not in said or said[name].column != task.label]
    cells = [cell for table in hard for cell in table.columns.get(task.label, ()) if not is_empty(cell)]
    written = label_set([class_name(cell) for cell in cells] + [name for one in said.values() for name in one.classes])
    known = among(written, head)
    if any(soft.classes for soft in said.values()):
        return known
    first = next(iter(said.values()))
    size = next((len(row) for row in first.rows if row is not None), 0)
    if len(known) == size:
        return known
    raise DataError(
        f"`{first.table.where}`: `{first.column}` has {size} numbers in each row, and nothing says of which classes",
        hint="task.labels=[…] names them in their order",
    )


def repeats(table: Table, column: str) -> bool:
    """Whether some list of class names in a column has one twice: then they are answers to the same question."""
    for cell in table.columns.get(column, ()):
        parsed = parsed_cell(cell)
        if isinstance(parsed, list) and all(isinstance(one, str) for one in parsed) and len(set(parsed)) < len(parsed):
            return True
    return False


def parsed_cell(cell: Any) -> Any:
    """A list or mapping, also where it is written as text: as JSON, as Python writes it, or as NumPy prints it."""
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, tuple):
        return list(cell)
    if not isinstance(cell, str) or cell.strip()[:1] not in ("[", "{", "("):
        return cell
    text = cell.strip()
    for read in (json.loads, ast.literal_eval, _numpy):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return list(value) if isinstance(value, tuple) else value
    return cell


def _numpy(text: str) -> list[float]:
    """`[0.1 0.9]`."""
    return [float(one) for one in text.strip("[]").split()]


def _is_distribution(value: Any) -> bool:
    """Whether a cell has numbers that sum to one: a list of at least two, or a mapping from names."""
    if isinstance(value, Mapping):
        value = list(value.values())
    elif not isinstance(value, list) or len(value) < 2:
        return False
    if not value or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        return False
    whole = all(one in (0, 1) for one in value) and not any(isinstance(one, float) for one in value)
    return not whole and min(value) >= 0 and abs(math.fsum(value) - 1) <= TOLERANCE


def _cells(table: Table, column: str, cells: Sequence[Any]) -> SoftLabels:
    rows: list[Any] = []
    names: dict[str, None] = {}
    for row, cell in enumerate(cells):
        said = None if is_empty(cell) else parsed_cell(cell)
        numbers = list(said.values()) if isinstance(said, Mapping) else said
        if said is not None and not (isinstance(numbers, list) and all(map(_is_number, numbers))):
            raise DataError(
                f"{table.place(row)}: `{column}` should be probabilities, got {shown(cell)}",
                hint='[0.1, 0.9] in the order of the classes, or {"no": 0.1, "yes": 0.9}',
            )
        if isinstance(said, Mapping):  # Parquet writes every key into every row
            said = {class_name(name): float(value) for name, value in said.items() if value is not None}
            names |= dict.fromkeys(said)
        rows.append(said)
    return SoftLabels(table, column, rows, tuple(names))


def _columns(table: Table, wish: str | list[str]) -> SoftLabels | None:
    if isinstance(wish, str):
        before, _, behind = wish.partition("*")
        columns = {
            name[len(before) : len(name) - len(behind)]: name
            for name in table.columns
            if name.startswith(before) and name.endswith(behind) and len(name) > len(before) + len(behind)
        }
        if not columns:
            return None
    else:
        columns = {name: name for name in wish}
        if not any(name in table.columns for name in wish):
            return None  # rows without probabilities
    values = {label: table.column(name) for label, name in columns.items()}
    rows: list[dict[str, float] | None] = []
    for row in range(len(table)):
        cells = {label: column[row] for label, column in values.items()}
        if all(map(is_empty, cells.values())):
            rows.append(None)
            continue
        said: dict[str, float] = {}
        for label, cell in cells.items():
            try:
                said[label] = float(cell)
            except (TypeError, ValueError):
                raise DataError(
                    f"{table.place(row)}: `{columns[label]}` should be a probability, got {shown(cell)}",
                    hint="a number from 0 to 1; a row without probabilities has none in every column",
                ) from None
        rows.append(said)
    return SoftLabels(table, "`, `".join(columns.values()), rows, tuple(columns))


def _answers(table: Table, column: str, cells: Sequence[Any]) -> SoftLabels:
    rows: list[dict[str, float] | None] = []
    names: dict[str, None] = {}
    for cell in cells:
        answers = None if is_empty(cell) else parsed_cell(cell)
        if not answers:
            rows.append(None)
            continue
        counts = Counter(class_name(answer) for answer in (answers if isinstance(answers, list) else [answers]))
        names |= dict.fromkeys(counts)
        rows.append({name: count / counts.total() for name, count in counts.items()})
    return SoftLabels(table, column, rows, tuple(sorted(names)))


def with_hard_labels(soft: SoftLabels, table: Table, label: str, matrix: np.ndarray, labels: Sequence[str]) -> Table:
    """`table` whose label is the most probable class wherever it is empty or is the probabilities themselves."""
    own = soft.column != label
    cells = list(table.columns.get(label, ())) or [None] * len(table)
    best = [None if np.isnan(row).any() else labels[int(row.argmax())] for row in matrix]
    hard = [cell if own and not is_empty(cell) else guess for cell, guess in zip(cells, best, strict=True)]
    return replace(table, columns={**table.columns, label: hard})


def sure_enough(task: Task, data: TaskData) -> TaskData:
    """`data` without the rows of which no class is as probable as `task.min_confidence`; they are counted.

    Raises `ConfigError` where no row has probabilities.
    """
    if task.min_confidence is None:
        return data
    if not data.soft:
        raise ConfigError(
            "task.min_confidence is set, but no training row has probabilities", hint="see task.probabilities"
        )
    splits = dict(data.splits)
    unsure = 0
    for split in data.transfer:
        if not isinstance(split, Split) or split.soft is None:
            continue
        low = np.nan_to_num(split.soft.max(-1), nan=1.0) < task.min_confidence
        unsure += int(low.sum())
        kept = np.flatnonzero(~low).tolist()
        if kept:
            splits[split.name] = split.take(kept)
        else:
            del splits[split.name]
    if "train" not in splits:
        raise DataError(
            f"in no training row a class has a probability of {task.min_confidence:g}",
            hint="lower task.min_confidence",
        )
    return replace(data, splits=splits, unsure=unsure)


def with_gold_as_soft(data: TaskData) -> TaskData:
    """`data` in which rows that have a label but no probabilities say that their label is certain.

    Raises `ConfigError` unless there are rows with probabilities, and every training row has these or a label.
    """
    if not data.soft:
        raise ConfigError(
            "the run has no teacher, and no training row has probabilities to learn from",
            hint="teacher.model=…, or task.probabilities=COLUMN",
        )
    splits = dict(data.splits)
    for split in data.transfer:
        assert isinstance(split, Split)
        classes = len(data.labels)
        soft = np.full((len(split), classes), np.nan, dtype=np.float32) if split.soft is None else split.soft.copy()
        silent = np.isnan(soft).any(-1)
        labels = np.asarray(split.labels if split.labels is not None else [IGNORED] * len(split))
        known = silent & (labels != IGNORED)
        soft[known] = np.eye(classes, dtype=np.float32)[labels[known]]
        if np.isnan(soft).any():
            raise ConfigError(
                f"{int(np.isnan(soft).any(-1).sum())} training rows have neither a label nor probabilities, and the "
                "run has no teacher",
                hint="teacher.model=…, or leave these rows out",
            )
        splits[split.name] = replace(split, soft=soft)
    return replace(data, splits=splits)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _listed(labels: Iterable[str]) -> str:
    names = [f"`{label}`" for label in labels]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
