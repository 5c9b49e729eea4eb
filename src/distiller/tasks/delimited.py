"""Tables with separated cells (.csv, .tsv, .txt), quoted or plain, and files with one text per line."""

import csv
import io
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from distiller.errors import DataError, warn
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.layout import Layout
from distiller.tasks.table import Table, places_of
from distiller.tasks.text_files import ending, first_line, numbered_lines, read_text

SEPARATORS = (",", "\t", ";", "|")
"""Possible separators of cells; the header shows which one is used."""

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""A first line in which spreadsheets state the separator."""

FASTTEXT = "__label__"
"""Prefix of labels in fastText files, where they precede the text."""

NOTHING = "\x1f"
"""The separator of a file with one column, in which every character is text."""

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""A line with its line break, or the last one without."""

LOOKED_AT = 20
"""Rows that are examined to find the separator."""

Record = tuple[int, list[str] | DataError]
"""The line on which a row starts, and its cells or the reason why they cannot be read."""


def read_delimited(path: Path, layout: Layout, bad: BadRows) -> Table:
    """A table with a header, or with the columns of `layout`; rows that cannot be read are `bad`."""
    text = read_text(path, layout.encoding)
    told = SEPARATOR_LINE.match(text)
    if told:
        text = "\n" + text[told.end() :]  # an empty line in its place keeps the line numbers
    usual = "," if ending(path) == ".csv" else "\t"
    text = _without_comments(path, text, usual)
    layout = _fitted(text, layout, usual)
    separator = layout.separator or (told[1] if told else _separator(text, usual, layout.columns))
    if separator in ("\t", NOTHING):
        return _read_perhaps_quoted(path, text, separator, layout, bad)
    if '\\"' in text:
        return _read_perhaps_escaped(path, text, separator, layout, bad)
    return table_of_records(path, layout.columns, _quoted_records(path, text, separator), bad)


def _without_comments(path: Path, text: str, usual: str) -> str:
    """`text` with empty lines in place of remarks above its header: lines that begin with `#` and have no cells."""
    place = 0
    while text.startswith("#", place):
        found = LINE.match(text, place)
        place = len(text) if found is None else found.end()
    above, rest = text[:place], text[place:]
    separator = _separator(rest, usual, None) if above and rest else NOTHING
    if separator == NOTHING or separator in above:
        return text
    warn(f"`{path}`: lines above the header that begin with `#` are left out")
    return "\n" * above.count("\n") + rest


def read_txt(path: Path, layout: Layout, bad: BadRows) -> Table:
    """A table if the first line has a tab, or names the text among other columns; else one text per line.

    Texts may have fastText labels: `__label__good a lovely film`.
    """
    text = read_text(path, layout.encoding)
    labelled = is_fasttext(text) and layout.columns is None
    if labelled and first_line(text).startswith(FASTTEXT):
        return _of_fasttext(path, text, layout)
    if layout.separator is not None or "\t" in first_line(text) or _names_text(text, layout):
        return read_delimited(path, layout, bad)
    if labelled:
        return _of_fasttext(path, text, layout)
    rows: list[Record] = [(line, [row]) for line, row in numbered_lines(text)]
    return table_of_records(path, layout.columns or [layout.text], rows, bad)


def is_fasttext(text: str) -> bool:
    """Whether any line begins with a fastText label; the first line may have none."""
    return text.startswith(FASTTEXT) or f"\n{FASTTEXT}" in text


def _of_fasttext(path: Path, text: str, layout: Layout) -> Table:
    """A table of texts and labels: class names, or lists of names if any line has several labels."""
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
    """Read a file whose cells may be quoted: spreadsheets quote them, most TSV files of this field do not.

    Of the two readings the one with fewer bad rows is used; with equally many, cells are taken to be quoted.
    """
    quoted, plain = BadRows(leave_out=True), BadRows(leave_out=True)
    table = table_of_records(path, layout.columns, _quoted_records(path, text, separator), quoted)
    if quoted.errors:
        other = table_of_records(path, layout.columns, plain_records(text, separator), plain)
        if len(plain.errors) < len(quoted.errors):
            table, quoted = other, plain
    for error in quoted.errors:
        bad.meet(error)
    joined = 0 if quoted is plain else sum(1 for _ in numbered_lines(text)) - 1 - len(table) - len(quoted.errors)
    if joined > 0:
        warn(f"`{path}`: quotes join {joined} line(s) to the one before; if they are part of the text, use .jsonl")
    return table


def _read_perhaps_escaped(path: Path, text: str, separator: str, layout: Layout, bad: BadRows) -> Table:
    """Read a file in which quotes inside quotes are doubled, or have a backslash before them, as databases write it.

    Of the two readings the one with fewer bad rows is used; with equally many, quotes are taken to be doubled.
    """
    doubled, escaped = BadRows(leave_out=True), BadRows(leave_out=True)
    table = table_of_records(path, layout.columns, _quoted_records(path, text, separator), doubled)
    if doubled.errors:
        other = table_of_records(path, layout.columns, _quoted_records(path, text, separator, escape="\\"), escaped)
        if len(escaped.errors) < len(doubled.errors):
            warn(f"`{path}`: a backslash stands before quotes inside quotes, and is left out")
            table, doubled = other, escaped
    for error in doubled.errors:
        bad.meet(error)
    return table


def _separator(text: str, usual: str, columns: Sequence[str] | None) -> str:
    """The separator that splits the header, and as many of the first rows as possible, into equally many cells.

    If several do, the `usual` one. `columns` says how many cells there should be.
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
    """`layout` adapted to a file that has a header although others have none, or that lacks the optional column."""
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
    """Whether the first line is a header with the text column and others."""
    for separator in (layout.separator,) if layout.separator else SEPARATORS:
        rows = _first_rows(text, separator)
        if rows and layout.text in [cell.strip() for cell in rows[0]] and len(rows[0]) > 1:
            return True
    return False


def plain_records(text: str, separator: str) -> Iterator[Record]:
    """The rows of a file without quoting."""
    for line, row in numbered_lines(text):
        yield line, row.split(separator)


def _quoted_records(path: Path, text: str, separator: str, escape: str | None = None) -> Iterator[Record]:
    """The rows of a file with quoting, where a quote is doubled, or `escape` stands before it.

    After a broken row, reading continues with the next line.
    """
    number, begin = 1, 0  # line number and offset of the next row
    while begin < len(text):
        lines = _Lines(text, begin)
        reader = csv.reader(lines, delimiter=separator, strict=True, escapechar=escape, doublequote=escape is None)
        before = number - 1
        try:
            with _unlimited_cells():
                for cells in reader:
                    if cells and (len(cells) > 1 or not cells[0].isspace()):  # a blank line is no row
                        yield number, cells
                    number, begin = before + reader.line_num + 1, lines.place
            return
        except csv.Error as error:
            yield (
                number,
                DataError(
                    f"`{path}`, line {number}: {error}",
                    hint='put a cell that holds quotes into quotes and double those inside: "a ""b"" c", or use .jsonl',
                ),
            )
            broken = _Lines(text, begin)
            next(broken)
            number, begin = number + 1, broken.place


class _Lines(Iterator[str]):
    """The lines of `text` from the offset `place` on, with their line breaks; `place` moves along."""

    def __init__(self, text: str, place: int) -> None:
        self.text = text
        self.place = place

    def __next__(self) -> str:
        found = LINE.match(self.text, self.place)
        if found is None:
            raise StopIteration
        self.place = found.end()
        return found[0]


def table_of_records(path: Path, columns: Sequence[str] | None, records: Iterable[Record], bad: BadRows) -> Table:
    """A table with the names of `columns`, or of the first row; columns without a name are ignored.

    Cells beyond the last name are ignored if they are empty.
    """
    records = iter(records)
    begin: list[Record] = []
    first: list[str] = []
    for record in records:
        begin.append(record)
        if isinstance(record[1], list):
            first = record[1]
            break
    header = [name.strip() for name in columns or first]
    found_names, names = ([name.strip().casefold() for name in names] for names in (first, header))
    if found_names == names:
        begin = begin[:-1]
    elif sorted(found_names) == sorted(names):
        raise DataError(
            f"the first line of `{path}` names its columns {', '.join(first)}, task.columns {', '.join(header)}",
            hint="leave task.columns out",
        )
    named = max((position + 1 for position, name in enumerate(header) if name), default=0)
    positions = {name: position for position, name in enumerate(header) if name and header.count(name) == 1}
    found: dict[str, list[str]] = {name: [] for name in positions}
    filling = [(position, found[name]) for name, position in positions.items()]
    lines, places = array("q"), array("q")  # 8 bytes each; numbers in a list take 36
    for place, (line, cells) in enumerate(chain(begin, records)):
        if isinstance(cells, DataError):
            bad.meet(cells)
            continue
        if not (len(cells) >= named and (len(cells) <= len(header) or not any(cells[len(header) :]))):
            bad.meet(_ragged(path, line, len(cells), len(header), named=columns is not None))
            continue
        lines.append(line)
        places.append(place)
        for position, column in filling:
            column.append(cells[position])
    doubled = frozenset(name for name in header if name and header.count(name) > 1)
    cells_of = {name: tuple(column) for name, column in found.items()}
    return Table(str(path), cells_of, lines, doubled=doubled, places=places_of(places))


def _ragged(path: Path, line: int, found: int, expected: int, *, named: bool) -> DataError:
    return DataError(
        f"`{path}`, line {line}: {found} cells, where there should be {expected}",
        hint="task.columns names every column of the file"
        if named
        else "look for an unquoted separator or a line break inside a text",
    )


@contextmanager
def _unlimited_cells() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters per cell, which long documents exceed."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
