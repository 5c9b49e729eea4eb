"""Reading of tables: .csv, .tsv, .txt, .json, .jsonl, .ndjson and .parquet files, compressed or not."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from distiller.config import Task
from distiller.errors import DataError, did_you_mean, importing, warn
from distiller.tasks.annotations import with_answers
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.table import NAMED, Table, class_of, shown
from distiller.tasks.text_files import check_there, ending, first_line, numbered_lines, read_bytes, read_text

SEPARATORS = (",", "\t", ";", "|")
"""What may stand between the cells of a line; which it is, is read off the header."""

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""A first line by which spreadsheets say what separates cells."""

FASTTEXT = "__label__"
"""What labels begin with in files of fastText, where they stand before the text."""

NOTHING = "\x1f"
"""What separates the cells of a file with one column, where every character is text."""

LOOKED_AT = 20
"""Rows that are tried to find the separator."""

Record = tuple[int, list[str] | DataError]
"""The line on which a row starts, and its cells, or why they cannot be read."""


@dataclass(frozen=True)
class Layout:
    """How files are written, where they do not say it themselves."""

    encoding: str | None = None
    """`None`: UTF-8, or what a byte order mark says."""
    separator: str | None = None
    """Between cells; `None`: that of the header line."""
    columns: Sequence[str] | None = None
    """Names of the columns of a file without a header line."""
    text: str = "text"
    """What the one column of a .txt file of texts is called."""
    label: str = "label"
    """What the labels of a file of fastText are called."""
    optional: str | None = None
    """The one of `columns` that a file may lack: the labels, where they are not known."""

    @classmethod
    def of(cls, task: Task, *, labelled: bool = True) -> "Layout":
        """How the files of `task` are written; those that are not `labelled` may lack the column of labels."""
        optional = None if labelled else task.label
        return cls(task.encoding, task.separator, task.columns, task.text, task.label, optional)


def read_table(path: str | Path, layout: Layout | None = None, bad: BadRows | None = None) -> Table:
    """The rows of a file with named columns; its ending, before one like .gz, says how it is written.

    .csv, .tsv and .txt have a header, between whose names stands the separator of the file (`,`, tab, `;` or `|`), and
    may quote cells as spreadsheets do; tabs with quotes that make no sense so are plain text between tabs. A .txt
    without a tab in its first line has one text a line, perhaps behind labels of fastText. .jsonl and .ndjson have one
    object a line, .json a list of objects, alone or under one name (`{"data": […]}`); an absent key is a missing cell.
    Rows that cannot be read are `bad`. Raises `DataError` that names the file and the line.
    """
    path = Path(path).expanduser()
    read = READERS.get(ending(path))
    if read is None:
        raise DataError(f"`{path}` has an ending that is not read", hint=did_you_mean(path.suffix, list(READERS)))
    check_there(path)
    return _filled(read(path, layout or Layout(), BadRows() if bad is None else bad))


def read_plain_tsv(path: str | Path, *, header: Sequence[str] | None = None, skip_ragged: bool = False) -> Table:
    """A tab-separated file in which a quote is a character like any other, as in the official GLUE files.

    Without `header` the first line is one. A row with a wrong number of cells raises `DataError`; with
    `skip_ragged` such rows are left out, with a warning.
    """
    path = Path(path)
    bad = BadRows(skip_ragged)
    table = _table(path, header, list(_plain_records(read_text(path), "\t")), bad)
    bad.warn(str(path))
    return _filled(table)


def is_file_name(name: str) -> bool:
    """Whether `name` ends like a file that `read_table` reads, rather than being the name of a split."""
    return ending(name) in READERS


def read_json(path: Path, text: str) -> Any:
    """The value that a JSON file holds. Raises `DataError` for text that is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"`{path}`: not JSON: {error}", hint="one object a line is .jsonl") from None


# --- cells between separators ----------------------------------------------------------------------------------------


def _read_delimited(path: Path, layout: Layout, bad: BadRows) -> Table:
    text = read_text(path, layout.encoding)
    told = SEPARATOR_LINE.match(text)
    if told:
        text = "\n" + text[told.end() :]  # an empty line in its place, so that lines keep their numbers
    usual = "," if ending(path) == ".csv" else "\t"
    layout = _fitted(text, layout, usual)
    separator = layout.separator or (told[1] if told else _separator(text, usual, layout.columns))
    if separator in ("\t", NOTHING):
        return _read_perhaps_quoted(path, text, separator, layout, bad)
    return _table(path, layout.columns, list(_quoted_records(path, text, separator)), bad)


def _read_txt(path: Path, layout: Layout, bad: BadRows) -> Table:
    """A table if the first line has a tab, or names the text among other columns; else one text a line.

    Before it may stand labels as fastText knows them: `__label__good a lovely film`.
    """
    text = read_text(path, layout.encoding)
    labelled = is_fasttext(text) and layout.columns is None
    if labelled and first_line(text).startswith(FASTTEXT):
        return _of_fasttext(path, text, layout)
    if layout.separator is not None or "\t" in first_line(text) or _names_text(text, layout):
        return _read_delimited(path, layout, bad)
    if labelled:
        return _of_fasttext(path, text, layout)
    rows: list[Record] = [(line, [row]) for line, row in numbered_lines(text)]
    return _table(path, layout.columns or [layout.text], rows, bad)


def is_fasttext(text: str) -> bool:
    """Whether some line begins with a label as fastText knows it; that of the first line may not be known."""
    return text.startswith(FASTTEXT) or f"\n{FASTTEXT}" in text


def _of_fasttext(path: Path, text: str, layout: Layout) -> Table:
    """Lines with one label are classes, with several lists of names; lines without one have no label."""
    lines: list[int] = []
    texts: list[str] = []
    labels: list[list[str]] = []
    for line, row in numbered_lines(text):
        words = row.split()
        count = next((place for place, word in enumerate(words) if not word.startswith(FASTTEXT)), len(words))
        lines.append(line)
        texts.append(row.split(maxsplit=count)[count] if count < len(words) else "")
        labels.append([word.removeprefix(FASTTEXT) for word in words[:count]])
    cells: list[Any] = [names or None for names in labels]
    if max(map(len, labels)) == 1:
        cells = [names[0] if names else None for names in labels]
    return Table(str(path), {layout.text: texts, layout.label: cells}, lines)


def _read_perhaps_quoted(path: Path, text: str, separator: str, layout: Layout, bad: BadRows) -> Table:
    """Spreadsheets quote cells; most TSV files of this field do not, so there a text may begin with a quote.

    Of the two ways to read the file the one with fewer bad rows is right; quotes count as such where both have none.
    """
    quoted, plain = BadRows(leave_out=True), BadRows(leave_out=True)
    table = _table(path, layout.columns, list(_quoted_records(path, text, separator)), quoted)
    if quoted.errors:
        other = _table(path, layout.columns, list(_plain_records(text, separator)), plain)
        if len(plain.errors) < len(quoted.errors):
            table, quoted = other, plain
    for error in quoted.errors:
        bad.meet(error)
    joined = 0 if quoted is plain else sum(1 for _ in numbered_lines(text)) - 1 - len(table) - len(quoted.errors)
    if joined > 0:
        warn(f"`{path}`: quotes join {joined} line(s) to the one before; if they are part of the text, use .jsonl")
    return table


def _separator(text: str, usual: str, columns: Sequence[str] | None) -> str:
    """What separates cells: it divides the header, and as many of the first rows as possible into as many cells.

    The `usual` one where several do; `columns` says how many cells there should be.
    """
    best, best_score = usual if columns and len(columns) > 1 else NOTHING, (0.0, False, 0)
    for separator in SEPARATORS:
        widths = [len(cells) for cells in _first_rows(text, separator)]
        wanted = len(columns) if columns else next(iter(widths), 0)
        if wanted < 2 or (columns is None and widths[0] < 2):
            continue
        agreeing = sum(width == wanted for width in widths) / len(widths)
        score = (agreeing, separator == usual, wanted)
        if score > best_score:
            best, best_score = separator, score
    return best


def _first_rows(text: str, separator: str) -> list[list[str]]:
    """The header and some rows, as far as they can be read."""
    with _unlimited_cells():
        return list(
            islice(
                filter(None, csv.reader(io.StringIO(text[:100_000], newline=""), delimiter=separator)), LOOKED_AT + 1
            )
        )


def _fitted(text: str, layout: Layout, usual: str) -> Layout:
    """`layout` for a file that may have a header although others have none, or lack its optional column."""
    if layout.optional is None or layout.columns is None:
        return layout
    if _names_text(text, layout):
        return replace(layout, columns=None)
    fewer = [name for name in layout.columns if name != layout.optional]
    for columns in (layout.columns, fewer):
        separator = layout.separator or _separator(text, usual, columns)
        if all(len(cells) == len(columns) for cells in _first_rows(text, separator)):
            return replace(layout, columns=columns)
    return layout


def _names_text(text: str, layout: Layout) -> bool:
    """Whether the first line is a header that has the column of the text among others."""
    for separator in (layout.separator,) if layout.separator else SEPARATORS:
        rows = _first_rows(text, separator)
        if rows and layout.text in [cell.strip() for cell in rows[0]] and len(rows[0]) > 1:
            return True
    return False


def _plain_records(text: str, separator: str) -> Iterator[Record]:
    for line, row in numbered_lines(text):
        yield line, row.split(separator)


def _quoted_records(path: Path, text: str, separator: str) -> Iterator[Record]:
    """The rows of a file whose cells may be quoted. After a row that is broken the next line starts anew."""
    lines = io.StringIO(text, newline="").readlines()
    start = 0
    while start < len(lines):
        reader = csv.reader(map(lines.__getitem__, range(start, len(lines))), delimiter=separator, strict=True)
        begin = start
        try:
            with _unlimited_cells():
                for cells in reader:
                    if cells and (len(cells) > 1 or not cells[0].isspace()):  # a blank line is no row
                        yield begin + 1, cells
                    begin = start + reader.line_num
            return
        except csv.Error as error:
            yield (
                begin + 1,
                DataError(
                    f"`{path}`, line {begin + 1}: {error}",
                    hint='put a cell that holds quotes into quotes and double those inside: "a ""b"" c", or use .jsonl',
                ),
            )
            start = begin + 1


def _table(path: Path, columns: Sequence[str] | None, records: Sequence[Record], bad: BadRows) -> Table:
    """Rows under the names of `columns`, or of the first row; columns without a name are passed over.

    Cells behind the last name count only if something stands in them.
    """
    first = next((cells for _, cells in records if isinstance(cells, list)), [])
    header = [name.strip() for name in columns or first]
    found_names, names = ([name.strip().casefold() for name in names] for names in (first, header))
    if found_names == names:
        records = [record for record in records if record[1] is not first]
    elif sorted(found_names) == sorted(names):
        raise DataError(
            f"the first line of `{path}` names its columns {', '.join(first)}, task.columns {', '.join(header)}",
            hint="leave task.columns out",
        )
    named = max((position + 1 for position, name in enumerate(header) if name), default=0)
    lines: list[int] = []
    rows: list[list[str]] = []
    places: list[int] = []
    for place, (line, cells) in enumerate(records):
        if isinstance(cells, DataError):
            bad.meet(cells)
            continue
        if not (len(cells) >= named and (len(cells) <= len(header) or not any(cells[len(header) :]))):
            bad.meet(_ragged(path, line, len(cells), len(header), named=columns is not None))
            continue
        lines.append(line)
        rows.append(cells)
        places.append(place)
    found: dict[str, Sequence[str]] = {}
    for position, name in enumerate(header):
        if name and header.count(name) == 1:
            found[name] = tuple(cells[position] for cells in rows)
    doubled = {name for name in header if name and header.count(name) > 1}
    return Table(str(path), found, lines, doubled=frozenset(doubled), places=_places(places))


def _places(kept: Sequence[int]) -> Sequence[int] | None:
    """Positions of rows in their file as a `Table` has them: `None` where all before the last were kept."""
    return None if not kept or kept[-1] == len(kept) - 1 else kept


def _ragged(path: Path, line: int, found: int, expected: int, *, named: bool) -> DataError:
    return DataError(
        f"`{path}`, line {line}: {found} cells, where there should be {expected}",
        hint="task.columns names every column of the file"
        if named
        else "look for an unquoted separator or a line break inside a text",
    )


@contextmanager
def _unlimited_cells() -> Iterator[None]:
    """The csv module refuses cells of more than 131,072 characters; a long document has more."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


# --- objects ---------------------------------------------------------------------------------------------------------


def _read_json(path: Path, layout: Layout, bad: BadRows) -> Table:
    """One object a line, or one value in the whole file; which it is, the file says, whatever its ending."""
    text = read_text(path, layout.encoding)
    whole = not _is_json(first_line(text)) or "\n" not in text.strip()
    if (text.lstrip().startswith("[") and whole) or (ending(path) == ".json" and not _has_object_lines(text)):
        rows = _objects(path, read_json(path, text), layout.text)
        return _of_objects(path, _only_objects(path, rows, layout, bad), None)
    parsed: list[tuple[int, dict[str, Any]]] = []
    lines: list[int] = []
    for place, (line, row) in enumerate(numbered_lines(text)):
        try:
            value = json.loads(row)
        except (ValueError, RecursionError) as error:
            bad.meet(DataError(f"`{path}`, line {line}: not JSON: {error}", hint="one JSON object a line"))
            continue
        value = _named(value, layout)
        if not isinstance(value, dict):
            bad.meet(_no_object(f"`{path}`, line {line}", value, layout, '{"text": "…"} a line'))
            continue
        parsed.append((place, value))
        lines.append(line)
    return _of_objects(path, parsed, lines)


def _has_object_lines(text: str) -> bool:
    """Whether the first two lines are objects of their own, as in many files that are called .json."""
    several = text.count("\n", 0, len(text.rstrip())) > 0
    return several and all(_is_json(line, dict) for _, line in islice(numbered_lines(text), 2))


def _is_json(line: str, wanted: type = object) -> bool:
    try:
        return isinstance(json.loads(line), wanted)
    except (ValueError, RecursionError):
        return False


def _objects(path: Path, value: Any, text: str) -> list[Any]:
    """The rows in a JSON value: a list, whose first row may name columns, or an object.

    In an object one name has a list of objects, or every name a column: a list as long as the others, or an object from
    row to cell, as pandas writes them. Pandas also writes rows of cells beside the `columns`, and objects from row to
    object, which are told by the column of the `text`.
    """
    if isinstance(value, list):
        header = value[0] if value else None
        return _split(header, value[1:]) if isinstance(header, list) and text in header else value
    if isinstance(value, dict):
        if value.keys() >= {"columns", "data"} and all(isinstance(value[name], list) for name in ("columns", "data")):
            return _split(value["columns"], value["data"])
        if text not in value and value and all(isinstance(row, dict) and text in row for row in value.values()):
            return list(value.values())
        lists = [
            item for item in value.values() if isinstance(item, list) and any(isinstance(one, dict) for one in item)
        ]
        if len(lists) == 1:
            return lists[0]
        if not lists and value and (columns := _columns(value)) is not None:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    raise DataError(f"`{path}`: not a list of objects", hint='[{"text": "…", "label": "…"}, …]')


def _split(names: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    """Rows of cells as objects; one that has not a cell for each of the `names` stays what it is."""
    found: list[Any] = []
    for row in rows:
        fits = isinstance(row, list) and len(row) == len(names)
        found.append(dict(zip(map(str, names), row, strict=True)) if fits else row)
    return found


def _columns(value: Mapping[str, Any]) -> list[list[Any]] | None:
    """The cells of each column of an object of columns; `None` for any other object."""
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1:
        columns = [list(column.values()) for column in columns]
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        return columns
    return None


def _named(row: Any, layout: Layout) -> Any:
    """A list of cells as an object, where `layout` names as many columns; another value as it is."""
    if not isinstance(row, list) or layout.columns is None:
        return row
    for columns in (layout.columns, [name for name in layout.columns if name != layout.optional]):
        if len(columns) == len(row):
            return dict(zip(columns, row, strict=True))
    return row


def _no_object(place: str, row: Any, layout: Layout, usual: str) -> DataError:
    if isinstance(row, list):
        usual = f"{usual}; {NAMED}"
        if layout.columns is not None:
            usual = f"a cell for each of {len(layout.columns)} names in task.columns"
    return DataError(f"{place}: not a JSON object but {shown(row)}", hint=usual)


def _only_objects(path: Path, rows: Sequence[Any], layout: Layout, bad: BadRows) -> list[tuple[int, dict[str, Any]]]:
    """The objects among `rows`, each with its position; spaCy writes pairs of a text and an object about it."""
    found: list[tuple[int, dict[str, Any]]] = []
    for row, item in enumerate(rows):
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], dict):
            item = {layout.text: item[0], **item[1]}
        item = _named(item, layout)
        if isinstance(item, dict):
            found.append((row, item))
        else:
            bad.meet(_no_object(f"`{path}`, row {row + 1}", item, layout, '[{"text": "…", "label": "…"}, …]'))
    return found


def _of_objects(path: Path, placed: Sequence[tuple[int, dict[str, Any]]], lines: Sequence[int] | None) -> Table:
    rows = with_answers(str(path), [row for _, row in placed])
    names: Iterable[str] = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(str(path), columns, lines, places=_places([place for place, _ in placed]))


def _read_parquet(path: Path, _layout: Layout, _bad: BadRows) -> Table:
    with importing(f"reading `{path}` needs", extra="data"):
        from pyarrow import ArrowException, BufferReader, parquet
    source = path if path.suffix.lower() == ".parquet" else BufferReader(read_bytes(path))
    try:
        table = _with_texts(parquet.read_table(source))
        columns: dict[str, Sequence[Any]] = table.to_pydict()
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"`{path}` cannot be read as Parquet: {reason}", hint="is it written so?") from None
    declared = _declared(table.schema.metadata or {})
    for name in declared.keys() & columns.keys():
        try:
            columns[name] = [class_of(cell, declared[name]) for cell in columns[name]]
        except (IndexError, TypeError):  # what changes a column may leave the words about it
            classes = shown(list(declared[name]))
            warn(f"`{path}`: `{name}` is read as it is, not as ids of the classes that the file names: {classes}")
            del declared[name]
    return Table(str(path), columns, declared=declared)


def _declared(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The class names of columns of ids, which `datasets` writes into every Parquet file, those of the hub too."""
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
    """A table of `pyarrow` with texts for bytes, as which some programs write them. Raises `ArrowException`."""
    import pyarrow

    for number, field in enumerate(table.schema):
        if pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):
            table = table.set_column(number, field.name, table.column(number).cast(pyarrow.string()))
    return table


Reader = Callable[[Path, Layout, BadRows], Table]

READERS: dict[str, Reader] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".txt": _read_txt,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""A file's ending to the function that reads it."""


def _filled(table: Table) -> Table:
    if not len(table):
        has = "only a header" if table.columns else "nothing in it"
        raise DataError(f"`{table.where}` is empty: there is {has}", hint="a data file needs at least one row")
    return table
