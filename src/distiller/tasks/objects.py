"""Tables of JSON objects as programs write them: one a line, in a list, or as columns."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from distiller.errors import DataError
from distiller.tasks.annotations import with_answers
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.layout import Layout
from distiller.tasks.table import NAMED, Table, places_of, shown
from distiller.tasks.text_files import ending, first_line, numbered_lines, read_text

BETWEEN = re.compile(r"[\s,]*")
"""What may stand between objects that follow each other."""


def read_json(path: Path, text: str) -> Any:
    """The value in a JSON file. Raises `DataError` for text that is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"`{path}`: not JSON: {error}", hint="one object a line is .jsonl") from None


def read_objects(path: Path, layout: Layout, bad: BadRows) -> Table:
    """One object a line, or one value for the whole file: the content decides, not the file's ending."""
    text = read_text(path, layout.encoding)
    whole = not _is_json(first_line(text)) or "\n" not in text.strip()
    if (text.lstrip().startswith("[") and whole) or (ending(path) == ".json" and not _has_object_lines(text)):
        rows = _in_a_row(text) or _objects(path, read_json(path, text), layout.text)
        return _of_objects(path, _only_objects(path, rows, layout, bad), None)
    if not _is_json(first_line(text)) and (rows := _in_a_row(text)):
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


def _in_a_row(text: str) -> list[Any]:
    """Several objects one after the other, each on some lines or all on one, perhaps with commas between; else none."""
    found: list[Any] = []
    decoder, place = json.JSONDecoder(), 0
    while (place := BETWEEN.match(text, place).end()) < len(text):  # pyright: ignore[reportOptionalMemberAccess]
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(value)
    return found if len(found) > 1 else []


def _has_object_lines(text: str) -> bool:
    """Whether each of the first two lines is an object, as in many files that are called .json."""
    several = text.count("\n", 0, len(text.rstrip())) > 0
    return several and all(_is_json(line, dict) for _, line in islice(numbered_lines(text), 2))


def _is_json(line: str, wanted: type = object) -> bool:
    try:
        return isinstance(json.loads(line), wanted)
    except (ValueError, RecursionError):
        return False


def _objects(path: Path, value: Any, text: str) -> list[Any]:
    """The rows in a JSON value: a list, whose first row may name the columns, or an object.

    In an object either one name has a list of objects, or every name is a column: a list as long as the others, or an
    object from row to cell, as pandas writes them. Pandas also writes lists of cells beside `columns`, and objects from
    row to object, which are recognised by the `text` column.
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
    """Rows of cells as objects; a row whose number of cells is not that of `names` stays as it is."""
    found: list[Any] = []
    for row in rows:
        fits = isinstance(row, list) and len(row) == len(names)
        found.append(dict(zip(map(str, names), row, strict=True)) if fits else row)
    return found


def _columns(value: Mapping[str, Any]) -> list[list[Any]] | None:
    """The cells of each column in an object of columns; `None` for any other object."""
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1:
        columns = [list(column.values()) for column in columns]
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        return columns
    return None


def _named(row: Any, layout: Layout) -> Any:
    """A list of cells as an object if `layout` names as many columns; any other value as it is."""
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
    return Table(str(path), columns, lines, places=places_of([place for place, _ in placed]))
