"""Rows of a table that can be used: those with a text and, where one is needed, a meaningful label."""

from collections.abc import Sequence

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import Kind
from distiller.tasks.labels import class_numbers
from distiller.tasks.multilabel import check_names
from distiller.tasks.table import Table, class_name


def usable_rows(
    table: Table, task: Task, kind: Kind, bad: BadRows, *, labels: Sequence[str] | None, labelled: bool
) -> Table:
    """The rows of `table` with a usable text and, with `labelled`, a usable label; the others are reported to `bad`.

    A label is a finite number (regression), a list of names (multi-label) or a name, one of `labels` where these are
    known. A text may be blank; where bad rows are left out, entirely empty rows are too. Raises `DataError` for an
    absent column, or if no row is left.
    """
    texts = [task.text, *([task.text_pair] if task.text_pair else [])]
    columns = [(name, table.column(name, labelled=labelled)) for name in texts]
    marks = table.column(task.label) if labelled else None
    several = kind == "multilabel"
    written: set[str] = set()
    for cell in marks or ():
        written.update(map(class_name, cell if several and isinstance(cell, list) else [cell]))
    numbers = class_numbers(labels or (), written)
    kept: list[int] = []
    for row in range(len(table)):
        try:
            for name, cells in columns:
                table.check_text(row, name, cells[row])
                if bad.leave_out and not cells[row].strip():
                    raise DataError(f"{table.place(row)}: `{name}` is blank")
            if marks is not None:
                if kind == "regression":
                    table.number(row, task.label, marks[row])
                elif several:
                    check_names(table, task.label, row, marks[row], labels, numbers)
                elif labels is not None:
                    table.check_class(row, task.label, marks[row], labels, numbers)
                else:
                    table.class_name(row, task.label, marks[row])
        except DataError as error:
            bad.meet(error)
        else:
            kept.append(row)
    if not kept:
        raise DataError(f"`{table.where}` has no row that can be used", hint=bad.first)
    return table if len(kept) == len(table) else table.take(kept)
