"""Multi-label data: lists of class names, or a yes/no column for each class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.labels import class_numbers
from distiller.tasks.soft_labels import holds_shares
from distiller.tasks.table import Table, class_name, is_empty, listed, shown
from distiller.tasks.written_lists import parsed_cell

MARKS = (";", "|", ",")
"""Separators of class names in one cell."""

WEAK_MARKS = ("/", "+", "&", " ")
"""Separators that may also be part of a name."""

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


def holds_names(table: Table, column: str) -> bool:
    """Whether the first non-empty cell of a column is a list of class names."""
    for cell in table.columns.get(column, ()):
        value = parsed_cell(cell)
        if isinstance(value, list) and value:
            return all(isinstance(one, str) for one in value)
        if not is_empty(cell) and not isinstance(value, list):
            return False
    return False


def holds_flags(table: Table, column: str) -> bool:
    """Whether the first non-empty cell of a column maps class names to true or false."""
    first = next((cell for cell in table.columns.get(column, ()) if not is_empty(cell)), None)
    return _is_flags(parsed_cell(first))


def one_name_each(table: Table, column: str) -> bool:
    """Whether a column has lists of exactly one class name each: then classes exclude each other."""
    return without_lists(table, column) is not table


def without_lists(table: Table, column: str) -> Table:
    """`table` with the names themselves, if its column has a list of one name in each row."""
    names: list[Any] = []
    for cell in map(parsed_cell, table.columns.get(column, ())):
        if is_empty(cell):
            names.append(None)
        elif isinstance(cell, list) and len(cell) == 1:
            names.append(cell[0])
        else:
            return table
    if all(name is None for name in names):
        return table
    return replace(table, columns={**table.columns, column: names})


def divides_names(cells: Sequence[Any], marks: Sequence[str] = MARKS) -> str | None:
    """The one of `marks` that separates class names in a column of text, if any.

    The parts must be fewer than the distinct cells, and some part must be a cell of its own; for a weak mark, every
    part.
    """
    distinct = {class_name(cell) for cell in cells if isinstance(cell, str)}
    for mark in marks:
        written = {cell.strip(f" {mark}") for cell in distinct} - {""}  # some tools end every name with it
        names = {part for cell in written for part in _parts(cell, mark)}
        alone = names <= written if mark in WEAK_MARKS else bool(names & written)
        if any(mark in cell for cell in written) and len(names) < len(written) and alone:
            return mark
    return None


def made_of_others(labels: Sequence[str]) -> list[str]:
    """A note if some class names are others joined by a weak mark; each of them is read as one class."""
    if not (mark := divides_names(labels, WEAK_MARKS)):
        return []
    whole = next(label for label in labels if len(_parts(label, mark)) > 1)
    return [f"classes such as `{whole}` are others with `{mark}` between: task.kind=multilabel reads several at once"]


def mark_between(cells: Sequence[Any]) -> str | None:
    """The separator of class names in a column whose cells may hold several."""
    written = [cell for cell in cells if isinstance(parsed_cell(cell), str)]
    return next((mark for mark in MARKS if any(mark in cell for cell in written)), divides_names(written, WEAK_MARKS))


def with_lists(task: Task, table: Table, bad: BadRows, mark: str | None = None) -> Table:
    """`table` with lists of names in its label column, also if they are written as text or in yes/no columns.

    An empty cell stays empty (unlabelled); an empty list means that no class applies. Probabilities stay unchanged.
    `mark` separates names in one cell. Rows with words other than yes and no are `bad`. Raises `DataError` for 1 and 0
    of classes that have no names.
    """
    if holds_shares(table.columns.get(task.label, ())):
        return table
    if task.label in table.columns or not task.labels or not all(name in table.columns for name in task.labels):
        cells = [_listed(task, cell, mark) for cell in table.columns.get(task.label, ())]
        lists = [cell for cell in cells if isinstance(cell, list)]
        bits = len({*map(len, lists)}) == 1 and all(_is_bit(one) for cell in lists for one in cell)
        if bits and len(lists[0]) > 1 and not task.labels:
            raise DataError(
                f"`{table.where}`: `{task.label}` has 1 and 0 for {len(lists[0])} classes without names",
                hint="task.labels=[…] names them in their order",
            )
        return replace(table, columns={**table.columns, task.label: cells}) if cells else table
    kept: list[int] = []
    found: list[Any] = []
    for row in range(len(table)):
        try:
            found.append(_names_of(task.labels, table, row))
        except DataError as error:
            bad.meet(error)
        else:
            kept.append(row)
    table = table if len(kept) == len(table) else table.take(kept)
    return replace(table, columns={**table.columns, task.label: found})


def names_in(table: Table, column: str) -> set[str]:
    """All class names in a column of lists."""
    return {name for row, cell in enumerate(table.column(column)) for name in _checked(table, column, row, cell)}


def memberships(table: Table, column: str, labels: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """For each row, 1.0 or 0.0 for each of `labels`. Raises `DataError` for a name that is not in `labels`."""
    numbers = class_numbers(labels, names_in(table, column))
    found: list[tuple[float, ...]] = []
    for row, cell in enumerate(table.column(column)):
        names = check_names(table, column, row, cell, labels, numbers)
        there = {numbers[name] for name in names}
        found.append(tuple(float(number in there) for number in range(len(labels))))
    return tuple(found)


def check_names(
    table: Table,
    column: str,
    row: int,
    cell: Any,
    labels: Sequence[str] | None,
    numbers: Mapping[str, int] | None = None,
) -> list[str]:
    """The class names in a cell. Raises `DataError` if it is not a list of names, or for a name not in `labels`.

    `numbers` are the ids of the class names.
    """
    names = _checked(table, column, row, cell)
    if labels is None:
        return names
    known = class_numbers(labels, set(names)) if numbers is None else numbers
    strange = next((name for name in names if name not in known), None)
    if strange is not None:
        raise DataError(
            f"{table.place(row)}: `{column}` has {shown(strange)}, which is not in the label set",
            hint=f"the label set is {listed(labels)}",
        )
    return names


def _parts(cell: str, mark: str) -> list[str]:
    return [part.strip() for part in cell.split(mark) if part.strip()]


def _listed(task: Task, cell: Any, mark: str | None) -> Any:
    """A cell as a list of names, if it can be read as one (also from yes/no by class, or a single name)."""
    value = parsed_cell(cell)
    if isinstance(value, Mapping):
        return [class_name(name) for name, one in value.items() if one] if _is_flags(value) else value
    if isinstance(value, list):
        if task.labels and len(value) == len(task.labels) and value and all(_is_bit(one) for one in value):
            return [name for name, one in zip(task.labels, value, strict=True) if one]
        return value
    if isinstance(value, str) and mark is not None:
        value = _parts(value, mark)
        return value or None
    return value if is_empty(value) else [value]


def _is_bit(value: Any) -> bool:
    return isinstance(value, bool | int | float) and value in (0, 1)


def _is_flags(value: Any) -> bool:
    """Whether a cell maps class names to true or false, or to `None`: Parquet writes every name into every row."""
    return isinstance(value, Mapping) and all(one is None or isinstance(one, bool) for one in value.values())


def _names_of(labels: Sequence[str], table: Table, row: int) -> list[str] | None:
    cells = {name: table.columns[name][row] for name in labels}
    if all(map(is_empty, cells.values())):
        return None
    for name, cell in cells.items():
        if class_name(cell).casefold() not in (*YES, *NO):
            raise DataError(
                f"{table.place(row)}: `{name}` should be 1 or 0, got {shown(cell)}",
                hint="a column for each class says whether it applies",
            )
    return [name for name, cell in cells.items() if class_name(cell).casefold() in YES]


def _checked(table: Table, column: str, row: int, cell: Any) -> list[str]:
    if is_empty(cell):
        raise DataError(f"{table.place(row)}: `{column}` is empty", hint="[] where no class applies")
    if not isinstance(cell, list) or not all(isinstance(one, str | int | float) for one in cell):
        raise DataError(
            f"{table.place(row)}: `{column}` should be a list of class names, got {shown(cell)}",
            hint='["sound", "plot"]; 1 and 0 for each class need task.labels',
        )
    names = [class_name(one) for one in cell]
    if not all(name.strip() for name in names):
        raise DataError(
            f"{table.place(row)}: `{column}` has a class without a name, {shown(cell)}",
            hint="[] where no class applies",
        )
    return names
