"""Tables in Parquet and Arrow files, with the class names that `datasets` stores beside them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distiller.errors import DataError, importing, warn
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.layout import Layout
from distiller.tasks.table import Table, class_of, shown
from distiller.tasks.text_files import read_bytes


def read_parquet(path: Path, _layout: Layout, _bad: BadRows) -> Table:
    """The table in a file, which may be compressed. Raises `DataError`, or `MissingPackageError` without `pyarrow`."""
    with importing(f"reading `{path}` needs", extra="data"):
        from pyarrow import ArrowException, BufferReader, parquet
    source = path if path.suffix.lower() == ".parquet" else BufferReader(read_bytes(path))
    try:
        return _of_arrow(path, parquet.read_table(source))
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "Parquet", error) from None


def read_arrow(path: Path, _layout: Layout, _bad: BadRows) -> Table:
    """The same for a file in Arrow's own format, as Feather and `datasets` write it, whole or as a stream."""
    with importing(f"reading `{path}` needs", extra="data"):
        from pyarrow import ArrowException, ArrowInvalid, ipc
    data = read_bytes(path)
    try:
        try:
            found = ipc.open_file(data).read_all()
        except ArrowInvalid:
            found = ipc.open_stream(data).read_all()
        return _of_arrow(path, found)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, "Arrow", error) from None


def _unreadable(path: Path, form: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"`{path}` cannot be read as {form}: {reason}", hint="is it written so?")


def _of_arrow(path: Path, table: Any) -> Table:
    """The rows of a `pyarrow` table. Raises `ArrowException`."""
    table = _with_texts(table)
    columns: dict[str, Sequence[Any]] = table.to_pydict()
    declared = _declared(table.schema.metadata or {})
    for name in declared.keys() & columns.keys():
        try:
            columns[name] = [class_of(cell, declared[name]) for cell in columns[name]]
        except (IndexError, TypeError):  # a program that changes a column may leave its description behind
            classes = shown(list(declared[name]))
            warn(f"`{path}`: `{name}` is read as it is, not as ids of the classes that the file names: {classes}")
            del declared[name]
    return Table(str(path), columns, declared=declared)


def _declared(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The class names of id columns, which `datasets` stores in every Parquet file, including those on the hub."""
    try:
        features = dict(json.loads(metadata[b"huggingface"])["info"]["features"])
    except (KeyError, ValueError, TypeError):
        return {}
    declared: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items():
        inner = feature[0] if isinstance(feature, list) and feature else feature  # as older versions write lists
        inner = inner.get("feature", inner) if isinstance(inner, dict) else inner
        match inner:
            case {"names": [*names]}:
                declared[column] = tuple(map(str, names))
    return declared


def _with_texts(table: Any) -> Any:
    """A `pyarrow` table in which texts that some programs store as bytes are text. Raises `ArrowException`."""
    import pyarrow

    for number, field in enumerate(table.schema):
        if pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pyarrow.string()))
    return table
