"""Class probabilities that come with the rows: from an LLM, an ensemble, several annotators or an earlier teacher.

In a table they are a column of lists or of mappings from names to numbers, one column for each class, or several
answers to the same text, whose shares they are.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.labels import among, class_numbers, label_set
from distiller.tasks.table import Table, class_name, is_empty, listed, shown
from distiller.tasks.written_lists import parsed_cell

LOOKED_AT = 1000
"""Rows that are looked at to tell probabilities of several classes from yes and no."""

TOLERANCE = 0.02
"""By how much a sum may miss 1: LLMs and tables round."""


@dataclass(frozen=True)
class SoftLabels:
    """The probabilities in one table, before it is known which classes there are."""

    table: Table
    column: str
    """Where they stand, as an error names it."""
    rows: Sequence[Mapping[str, float] | Sequence[float] | None]
    """Class names or places to probabilities; `None` where a row has none."""
    classes: tuple[str, ...]
    """The class names that are written, in their order; none where there are only numbers."""
    several: bool = False
    """Several classes may apply at once: each probability stands for itself, and they sum to anything."""
    bad: BadRows = field(default_factory=BadRows)
    """What is done about rows that are no probabilities."""
    left_out: set[int] = field(default_factory=set)
    """These rows, where they are left out; those that do not fit the classes join them in `matrix`."""

    def matrix(self, labels: Sequence[str]) -> np.ndarray:
        """Float32 `[rows, labels]`, NaN where a row has none. Raises `DataError` for rows that do not fit `labels`."""
        ids = {label: number for number, label in enumerate(labels)}
        found = np.full((len(self.rows), len(labels)), np.nan, dtype=np.float32)
        for row, said in enumerate(self.rows):
            if said is None:
                continue
            try:
                found[row] = self._checked(row, self._values(row, said, labels, ids))
            except DataError as error:
                self.bad.meet(error)
                self.left_out.add(row)
        return found

    def kept(self, table: Table) -> Table:
        """`table`, whose rows correspond to these, without the rows that are left out."""
        if not self.left_out:
            return table
        return table.take([row for row in range(len(table)) if row not in self.left_out])

    def _values(
        self, row: int, said: Mapping[str, float] | Sequence[float], labels: Sequence[str], ids: Mapping[str, int]
    ) -> list[float]:
        """A number for each of `labels`."""
        if isinstance(said, Mapping):
            strange = next((name for name in said if name not in ids), None)
            if strange is not None:
                raise DataError(
                    f"{self.table.place(row)}: `{self.column}` names {shown(strange)}, which is no class",
                    hint=f"the classes are {listed(labels)}",
                )
            return [said.get(label, 0.0) for label in labels]
        if len(said) != len(labels):
            raise DataError(
                f"{self.table.place(row)}: `{self.column}` has {len(said)} numbers for {len(labels)} classes",
                hint=f"one for each of {listed(labels)}, in this order; task.labels names them otherwise",
            )
        return list(said)

    def _checked(self, row: int, values: list[float]) -> list[float]:
        if self.several:
            if not all(math.isfinite(value) and 0 <= value <= 1 for value in values):
                raise DataError(
                    f"{self.table.place(row)}: `{self.column}` is {shown(values)}, and probabilities are from 0 to 1",
                    hint="give each class a number from 0 to 1; scores of a model need its sigmoid",
                )
            return values
        total = math.fsum(values)
        if not all(math.isfinite(value) and value >= 0 for value in values) or abs(total - 1) > TOLERANCE:
            raise DataError(
                f"{self.table.place(row)}: `{self.column}` is {shown(values)}, and probabilities sum to one",
                hint="divide each row by its sum; scores of several classes at once are task.kind=multilabel",
            )
        return [value / total for value in values]


ENOUGH = 4
"""Rows whose numbers have the same sum not by chance."""


def read_soft(
    task: Task, table: Table, *, hidden: bool = False, several: bool = False, bad: BadRows | None = None
) -> SoftLabels | None:
    """The probabilities in a table: where `task.probabilities` says, or in its label column unless that is `hidden`.

    With `several` they need not sum to one. Raises `DataError` for an absent column, and for cells that are not
    probabilities unless `bad` leaves their rows out.
    """
    reading = partial(SoftLabels, table, several=several, bad=BadRows() if bad is None else bad)
    wish = task.probabilities
    if isinstance(wish, list) or (wish is not None and "*" in wish):
        return _columns(reading, table, wish)
    if wish is not None:
        return _cells(reading, table, wish, table.column(wish)) if wish in table.columns or not hidden else None
    if hidden:
        return None
    cells = table.columns.get(task.label, ())
    _refuse_scaled(table, task.label)
    if holds_shares(cells) if several else _holds_distributions(cells):
        return _cells(reading, table, task.label, cells)
    first = next((cell for cell in cells if not is_empty(cell)), None)
    if isinstance(parsed_cell(first), list) and not several and repeats(table, task.label):
        return _answers(reading, task.label, cells)
    return None


def read_all(
    task: Task, tables: Mapping[str, Table], bad: Mapping[str, BadRows], *, several: bool
) -> dict[str, SoftLabels]:
    """The probabilities that come with rows, for each table that has any."""
    found: dict[str, SoftLabels] = {}
    for name, table in tables.items():
        # labels of development rows may be probabilities too
        hidden = task.probabilities is not None and name != "train"
        if soft := read_soft(task, table, hidden=hidden, several=several, bad=bad[name]):
            found[name] = soft
    return found


def soft_classes(
    task: Task,
    tables: Mapping[str, Table],
    said: Mapping[str, SoftLabels],
    declared: Mapping[str, tuple[str, ...]],
    head: Sequence[str],
) -> tuple[str, ...]:
    """The classes of the probabilities.

    They are `task.labels`, the classes that columns are named after, or all that are written; where there are only
    numbers, those of the teacher's `head` or of the other rows, if the count is right.
    """
    if task.labels or task.label in declared:
        return tuple(task.labels or declared[task.label])
    if isinstance(task.probabilities, list) or "*" in (task.probabilities or ""):
        classes = next(soft.classes for soft in said.values())
        _check_written(task, tables, classes)
        return classes
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


def order_taken(
    task: Task, said: Mapping[str, SoftLabels], declared: Mapping[str, tuple[str, ...]], labels: Sequence[str]
) -> list[str]:
    """A note on the classes that lists of numbers are assumed to mean, where neither they nor the task name any."""
    if task.labels or task.label in declared or any(soft.classes for soft in said.values()):
        return []
    column = next(iter(said.values())).column
    return [f"numbers in `{column}` are taken for {listed(labels)}, in this order; task.labels=[…] says another"]


def _check_written(task: Task, tables: Mapping[str, Table], classes: Sequence[str]) -> None:
    """Raise `DataError` where no label is one of the classes that the probability columns are named after."""
    cells = [cell for table in tables.values() for cell in table.columns.get(task.label, ()) if not is_empty(cell)]
    written = {class_name(cell) for cell in cells if not isinstance(parsed_cell(cell), list | dict)}
    if not written or class_numbers(classes, written):
        return
    pattern = _pattern(classes, written)
    hint = f"task.probabilities='{pattern}' names each class by what replaces the *" if pattern else None
    raise DataError(
        f"`{tables['train'].where}`: no `{task.label}` is one of the columns of probabilities, {listed(classes)}",
        hint=hint or "give these columns the names of the classes",
    )


def _pattern(columns: Sequence[str], written: Collection[str]) -> str | None:
    """What turns the `written` classes, in place of `*`, into the names of these columns."""
    for name in columns:
        for label in written:
            before, found, behind = name.partition(label)
            if found and {f"{before}{one}{behind}" for one in written} <= set(columns):
                return f"{before}*{behind}"
    return None


def repeats(table: Table, column: str) -> bool:
    """Whether some list of class names in a column repeats a name: then lists are answers to the same question."""
    for cell in table.columns.get(column, ()):
        parsed = parsed_cell(cell)
        if isinstance(parsed, list) and all(isinstance(one, str) for one in parsed) and len(set(parsed)) < len(parsed):
            return True
    return False


def _holds_distributions(cells: Sequence[Any]) -> bool:
    """Whether most cells are at least two numbers that sum to one, lists or mappings from names, and some have others
    than the whole numbers 0 and 1."""
    looked = [parsed_cell(cell) for cell in cells[:LOOKED_AT] if not is_empty(cell)]
    found = [numbers for one in looked if (numbers := _numbers_in(one)) and abs(math.fsum(numbers) - 1) <= TOLERANCE]
    found = [numbers for numbers in found if min(numbers) >= 0]
    shares = any(isinstance(one, float) or one not in (0, 1) for numbers in found for one in numbers)
    return shares and 2 * len(found) > len(looked)


def _numbers_in(value: Any) -> list[float] | None:
    """The numbers of a list of two or more, or of a mapping from names; `None` for anything else."""
    numbers = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(numbers, list) or len(numbers) < (1 if isinstance(value, Mapping) else 2):
        return None
    return numbers if all(_is_number(one) and one is not None for one in numbers) else None


def _refuse_scaled(table: Table, column: str) -> None:
    """Raise `DataError` for percentages or counts in place of probabilities: numbers with the same sum in every row."""
    looked = [parsed_cell(cell) for cell in table.columns.get(column, ())[:LOOKED_AT] if not is_empty(cell)]
    rows = [numbers for one in looked if (numbers := _numbers_in(one))]
    if len(rows) < max(len(looked), ENOUGH) or len({tuple(row) for row in rows}) < 2:
        return
    total = math.fsum(rows[0])
    same = all(len(row) == len(rows[0]) and abs(math.fsum(row) - total) <= TOLERANCE * abs(total) for row in rows)
    if same and total > 1 + TOLERANCE and max(map(max, rows)) > 1 and min(map(min, rows)) >= 0:
        raise DataError(
            f"`{table.where}`: the numbers in `{column}` sum to {total:g} in every row, and probabilities sum to one",
            hint=f"divide them by {total:g}",
        )


def holds_shares(cells: Sequence[Any]) -> bool:
    """Whether a column has probabilities of classes that may apply together: lists or mappings with fractions."""
    return any(map(_is_shares, map(parsed_cell, cells[:LOOKED_AT])))


def _is_shares(value: Any) -> bool:
    """Whether a cell is numbers from 0 to 1, some strictly between, or a mapping from names to such numbers."""
    numbers = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(numbers, list) or not numbers or not all(map(_is_number, numbers)) or None in numbers:
        return False
    return all(0 <= one <= 1 for one in numbers) and (isinstance(value, Mapping) or any(0 < one < 1 for one in numbers))


Reading = Callable[..., SoftLabels]
"""`SoftLabels` of one table, which takes the rest."""


def _cells(reading: Reading, table: Table, column: str, cells: Sequence[Any]) -> SoftLabels:
    rows: list[Any] = []
    names: dict[str, None] = {}
    found = reading(column, rows, ())
    for row, cell in enumerate(cells):
        said = None if is_empty(cell) else parsed_cell(cell)
        numbers = list(said.values()) if isinstance(said, Mapping) else said
        if said is not None and not (isinstance(numbers, list) and all(map(_is_number, numbers))):
            found.bad.meet(
                DataError(
                    f"{table.place(row)}: `{column}` should be probabilities, got {shown(cell)}",
                    hint='[0.1, 0.9] in the order of the classes, or {"no": 0.1, "yes": 0.9}',
                )
            )
            found.left_out.add(row)
            said = None
        if isinstance(said, Mapping):  # Parquet writes every key into every row
            said = {class_name(name): float(value) for name, value in said.items() if value is not None}
            names |= dict.fromkeys(said)
        elif said is not None and None in said:
            said = [math.nan if one is None else one for one in said]  # refused like any other non-number
        rows.append(said)
    return replace(found, classes=tuple(names))


def _columns(reading: Reading, table: Table, wish: str | list[str]) -> SoftLabels | None:
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
    found = reading("`, `".join(columns.values()), rows, tuple(columns))
    for row in range(len(table)):
        cells = {label: column[row] for label, column in values.items()}
        if all(map(is_empty, cells.values())):
            rows.append(None)
            continue
        try:
            rows.append({label: _probability(table, row, columns[label], cell) for label, cell in cells.items()})
        except DataError as error:
            found.bad.meet(error)
            found.left_out.add(row)
            rows.append(None)
    return found


def _probability(table: Table, row: int, column: str, cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise DataError(
            f"{table.place(row)}: `{column}` should be a probability, got {shown(cell)}",
            hint="a number from 0 to 1; a row without probabilities has none in every column",
        ) from None


def _answers(reading: Reading, column: str, cells: Sequence[Any]) -> SoftLabels:
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
    return reading(column, rows, tuple(sorted(names)))


def with_hard_labels(soft: SoftLabels, table: Table, label: str, matrix: np.ndarray, labels: Sequence[str]) -> Table:
    """`table` with the most probable class as the label wherever that is empty or is the probabilities themselves.

    Where several classes may apply, the label is a list of all that are more likely than not.
    """
    own = soft.column != label
    cells = list(table.columns.get(label, ())) or [None] * len(table)
    best: list[Any] = []
    for row in matrix:
        if np.isnan(row).any():
            best.append(None)
        elif soft.several:
            best.append([name for name, share in zip(labels, row, strict=True) if share > 0.5])
        else:
            best.append(labels[int(row.argmax())])
    hard = [cell if own and not is_empty(cell) else guess for cell, guess in zip(cells, best, strict=True)]
    return replace(table, columns={**table.columns, label: hard})


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
