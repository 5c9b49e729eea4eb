"""Reading of .csv, .tsv, .jsonl, .json and .parquet files into tables. Text is UTF-8, strictly; a BOM is accepted."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distiller.errors import DataError, MissingPackageError, did_you_mean, warn
from distiller.tasks.table import Table, shown


def read_table(path: str | Path) -> Table:
    """The rows of a file with named columns; its ending says how it is written.

    .csv and .tsv have a header and may quote cells as spreadsheets do; a .tsv whose quotes make no sense so is read
    as plain text between tabs. .jsonl has one object a line, .json a list of objects, in which an absent key is a
    missing cell. Raises `DataError` that names the file and the line.
    """
    path = Path(path).expanduser()
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(f"`{path}` has an ending that is not read", hint=did_you_mean(path.suffix, list(READERS)))
    _check_there(path)
    return _filled(read(path))


def read_plain_tsv(path: str | Path, *, header: Sequence[str] | None = None, skip_ragged: bool = False) -> Table:
    """A tab-separated file in which a quote is a character like any other, as in the official GLUE files.

    Without `header` the first line is one. A row with a wrong number of cells raises `DataError`; with
    `skip_ragged` such rows are left out, with a warning.
    """
    path = Path(path)
    _check_there(path)
    return _filled(_plain(path, _text(path), header, skip_ragged=skip_ragged))


def read_text(path: str | Path) -> str:
    """The whole file as text, without a BOM. Raises `DataError` for one that is absent or not UTF-8."""
    path = Path(path)
    _check_there(path)
    return _text(path)


def _read_csv(path: Path) -> Table:
    return _quoted(path, _text(path), ",")


def _read_tsv(path: Path) -> Table:
    """Spreadsheets quote cells; most TSV files of this field do not, so there a text may begin with a quote."""
    text = _text(path)
    try:
        table = _quoted(path, text, "\t")
    except DataError:
        return _plain(path, text)
    joined = sum(1 for _ in _lines(text)) - 1 - len(table)
    if joined > 0:
        warn(f"`{path}`: quotes join {joined} line(s) to the one before; if they are part of the text, use .jsonl")
    return table


def _plain(path: Path, text: str, header: Sequence[str] | None = None, *, skip_ragged: bool = False) -> Table:
    lines = _lines(text)
    if header is None:
        first = next(lines, None)
        if first is None:
            return Table(str(path), {})
        header = first[1].split("\t")
    whole: list[tuple[int, list[str]]] = []
    skipped: list[int] = []
    for line, row in lines:
        cells = row.split("\t")
        if len(cells) == len(header):
            whole.append((line, cells))
        elif not skip_ragged:
            raise _ragged(path, line, len(cells), len(header))
        else:
            skipped.append(line)
    if skipped:
        warn(f"`{path}`: left out {len(skipped)} broken row(s), the first on line {skipped[0]}")
    return _table(path, header, whole)


def _quoted(path: Path, text: str, delimiter: str) -> Table:
    rows: list[tuple[int, list[str]]] = []
    with _unlimited_cells():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        start = 1
        try:
            for cells in reader:
                if cells:  # a blank line is no row
                    rows.append((start, cells))
                    if len(cells) != len(rows[0][1]):
                        raise _ragged(path, start, len(cells), len(rows[0][1]))
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"`{path}`, line {start}: {error}",
                hint='put a cell that holds quotes into quotes and double those inside: "a ""b"" c", or use .jsonl',
            ) from None
    return _table(path, rows[0][1] if rows else [], rows[1:])


def _read_jsonl(path: Path) -> Table:
    parsed: list[tuple[int, dict[str, Any]]] = []
    for line, text in _lines(_text(path)):
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"`{path}`, line {line}: not JSON: {error}", hint="one JSON object a line") from None
        if not isinstance(value, dict):
            raise DataError(f"`{path}`, line {line}: not a JSON object but {shown(value)}", hint='{"text": "…"} a line')
        parsed.append((line, value))
    return _of_objects(path, [value for _, value in parsed], [line for line, _ in parsed])


def _read_json(path: Path) -> Table:
    try:
        value = json.loads(_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"`{path}`: not JSON: {error}", hint="one object a line is .jsonl") from None
    if not isinstance(value, list):
        raise DataError(f"`{path}`: not a list of objects", hint='[{"text": "…", "label": "…"}, …]')
    for row, item in enumerate(value):
        if not isinstance(item, dict):
            raise DataError(f"`{path}`, row {row + 1}: not a JSON object but {shown(item)}")
    return _of_objects(path, value, None)


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise MissingPackageError(
            f"reading `{path}` needs the package `pyarrow`", hint='pip install "distiller-nlp[data]"'
        ) from None
    try:
        return Table(str(path), parquet.read_table(path).to_pydict())
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"`{path}` cannot be read as Parquet: {reason}") from None


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""A file's ending to the function that reads it."""


def is_file_name(name: str) -> bool:
    """Whether `name` ends like a file that `read_table` reads, rather than being the name of a split."""
    return Path(name).suffix.lower() in READERS


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"`{path}` is a folder, not a file", hint="name a file, or set task.data to the folder")
    if not path.exists():
        near = sorted(file.name for file in path.parent.glob("*.*")) if path.parent.is_dir() else []
        raise DataError(f"there is no file `{path}`", hint=did_you_mean(path.name, near[:20]) if near else None)


def _text(path: Path) -> str:
    """The whole file as text. Raises `DataError` with byte and line of the first byte that is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # with the signature the codec counts from behind the BOM
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            f"`{path}`, line {line}: byte {start} (0x{data[start]:02x}) is not UTF-8 text",
            hint="save the file as UTF-8, e.g. iconv -f latin1 -t utf-8 OLD > NEW",
        ) from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank; only a line feed ends one, since texts may hold other separators."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip(" \r"):  # tabs alone are a row of empty cells
            yield number, line.removesuffix("\r")


def _table(path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> Table:
    names = [name.strip() for name in header]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"`{path}`, line 1: two columns are called `{doubled}`", hint="the first line names columns")
    columns = zip(*(cells for _, cells in rows), strict=True) if rows else ((),) * len(names)
    return Table(str(path), dict(zip(names, columns, strict=True)), [line for line, _ in rows])


def _of_objects(path: Path, rows: Sequence[dict[str, Any]], lines: Sequence[int] | None) -> Table:
    names: Iterable[str] = dict.fromkeys(name for row in rows for name in row)
    return Table(str(path), {name: [row.get(name) for row in rows] for name in names}, lines)


def _filled(table: Table) -> Table:
    if not len(table):
        has = "only a header" if table.columns else "nothing in it"
        raise DataError(f"`{table.where}` is empty: there is {has}", hint="a data file needs at least one row")
    return table


def _ragged(path: Path, line: int, found: int, expected: int) -> DataError:
    return DataError(
        f"`{path}`, line {line}: {found} cells, where there should be {expected}",
        hint="look for an unquoted separator or a line break inside a text",
    )


@contextmanager
def _unlimited_cells() -> Iterator[None]:
    """The csv module refuses cells of more than 131,072 characters; a long document has more."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
