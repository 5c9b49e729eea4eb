"""Reads tables: .csv, .tsv, .txt, .json, .jsonl, .ndjson, .parquet, .arrow and .feather files, compressed or not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.delimited import plain_records, read_delimited, read_txt, table_of_records
from distiller.tasks.layout import Layout
from distiller.tasks.objects import read_objects
from distiller.tasks.parquet import read_arrow, read_parquet
from distiller.tasks.table import Table, filled
from distiller.tasks.text_files import check_there, ending, read_text, unread


def read_table(path: str | Path, layout: Layout | None = None, bad: BadRows | None = None) -> Table:
    """The rows of a file with named columns; the ending, before one like .gz, decides how it is read.

    .csv, .tsv and .txt files have a header, which shows their separator (`,`, tab, `;` or `|`), and may quote cells as
    spreadsheets do; in a tab-separated file whose quotes do not match up, quotes are ordinary characters. A .txt file
    without a tab in its first line has one text a line, perhaps after labels in fastText's form. .jsonl and .ndjson
    have one object a line, .json a list of objects, alone or under one name (`{"data": […]}`); an absent key is a
    missing cell.
    Rows that cannot be read are reported to `bad`. Raises `DataError` that names the file and the line.
    """
    path = Path(path).expanduser()
    read = READERS.get(ending(path))
    if read is None:
        raise DataError(f"`{path}` has an ending that is not read", hint=unread(path, [*READERS]))
    check_there(path)
    return filled(read(path, layout or Layout(), BadRows() if bad is None else bad))


def read_plain_tsv(path: str | Path, *, header: Sequence[str] | None = None, skip_ragged: bool = False) -> Table:
    """A tab-separated file in which quotes are ordinary characters, as in the official GLUE files.

    Without `header`, the first line is the header. A row with the wrong number of cells raises `DataError`; with
    `skip_ragged` such rows are left out with a warning.
    """
    path = Path(path)
    bad = BadRows(skip_ragged)
    table = table_of_records(path, header, plain_records(read_text(path), "\t"), bad)
    bad.warn(str(path))
    return filled(table)


def is_file_name(name: str) -> bool:
    """Whether `name` has the ending of a file that `read_table` reads, and so is not the name of a split."""
    return ending(name) in READERS


Reader = Callable[[Path, Layout, BadRows], Table]

READERS: dict[str, Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_txt,
    ".jsonl": read_objects,
    ".ndjson": read_objects,
    ".json": read_objects,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}
"""A file's ending to the function that reads it."""
