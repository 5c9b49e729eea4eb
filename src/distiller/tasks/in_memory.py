"""Tables from Python objects: texts, pairs of texts, columns, a data frame, a data set."""

from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from distiller.errors import DataError
from distiller.tasks.readers import read_table
from distiller.tasks.table import Table

GIVEN = "the given texts"
"""The name of such a table in errors."""


def table_of(given: Any, *, text: str = "text", text_pair: str | None = None) -> Table:
    """`given` as a table; the columns of plain texts or pairs are called `text` and `text_pair`.

    A path is a file; a list, an array, a column of a data frame or an iterator holds texts or pairs; a mapping, a
    `pandas` data frame and a `datasets` data set have columns. Raises `DataError` for anything else, and for a single
    string that is not the name of a file.
    """
    if isinstance(given, Path) or (isinstance(given, str) and Path(given).is_file()):
        return read_table(Path(given))
    if isinstance(given, str):
        raise DataError(f"`{given:.60}` is no file", hint="give texts as a list: [text, …]")
    if isinstance(given, Table):
        return given
    columns = _columns(given)
    if columns is not None:
        if len({*map(len, columns.values())}) > 1:
            sizes = ", ".join(f"`{name}` {len(cells)}" for name, cells in columns.items())
            raise DataError(f"the columns of {GIVEN} have different numbers of rows: {sizes}")
        return Table(GIVEN, columns)
    given = as_list(given)
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise DataError(
            f"texts cannot be read from a {type(given).__name__}", hint="give a list of texts, a file or a frame"
        )
    if not given or isinstance(given[0], str):
        return Table(GIVEN, {text: list(given)})
    odd = [row for row, pair in enumerate(given) if isinstance(pair, str) or not isinstance(pair, Sequence)]
    odd += [row for row, pair in enumerate(given) if row not in odd and len(pair) != 2]
    if odd:
        raise DataError(f"entry {odd[0] + 1} of {GIVEN} is neither a text nor a pair of texts")
    first, second = zip(*given, strict=True)
    return Table(GIVEN, {text: list(first), text_pair or "text_pair": list(second)})


def as_list(given: Any) -> Any:
    """`given` as a list if it is an array, a column of a data frame or data set, or an iterator; else unchanged."""
    if hasattr(given, "tolist"):
        return given.tolist()
    whole = isinstance(given, Sequence | Mapping | Set) or _columns(given) is not None
    return list(given) if isinstance(given, Iterable) and not whole else given


def is_pairs(given: Any) -> bool:
    """Whether `given` is a list of pairs of texts."""
    return (
        isinstance(given, Sequence) and bool(given) and isinstance(given[0], Sequence) and not isinstance(given[0], str)
    )


def _columns(given: Any) -> dict[str, Sequence[Any]] | None:
    """The columns of a mapping, data frame or data set, by name; `None` for other objects."""
    if isinstance(given, Mapping):
        for name, cells in given.items():
            if hasattr(cells, "column_names"):
                raise DataError(
                    f"{GIVEN} are splits of a data set: {', '.join(map(str, given))}", hint="give one of them"
                )
            if isinstance(cells, str) or not isinstance(cells, Iterable):
                raise DataError(f"the column `{name}` of {GIVEN} is one cell, {cells!r:.40}", hint="a list: [text, …]")
        return {str(name): list(cells) for name, cells in given.items()}
    if hasattr(given, "column_names") and hasattr(given, "to_dict"):  # `datasets.Dataset`
        return dict(given.to_dict())
    if hasattr(given, "columns") and hasattr(given, "to_dict"):  # `pandas.DataFrame`, in which missing values are NaN
        return {str(name): [None if cell != cell else cell for cell in given[name]] for name in given.columns}
    return None
