"""Lists that are stored as text in a table, as Python and pandas, numpy or JSON write them."""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distiller.errors import DataError
from distiller.tasks.entities import marks_entities
from distiller.tasks.table import Table

ITEM = re.compile(
    r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)? | \w+""",
    re.VERBOSE | re.DOTALL,
)
ARRAY = re.compile(r"array\((\[[^\[\]]*\])(?:, dtype=\w+)?\)")
"""A list as numpy shows it within another object."""
WORDS: dict[str, Any] = {"None": None, "nan": None, "NaN": None, "null": None, "True": True, "False": False}


def parse_list(cell: Any) -> list[Any] | None:
    """The list that a cell spells: `['a', 'b']`, `['a' 'b']` (numpy) or `["a", "b"]` (JSON), of texts or numbers.

    `None` for anything else.
    """
    text = cell.strip() if isinstance(cell, str) else ""
    if not text.startswith("[") or not text.endswith("]"):
        return None
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        pass
    found: list[Any] = []
    position, end = 1, len(text) - 1
    while True:
        while position < end and text[position] in " ,\n\r\t":
            position += 1
        if position == end:
            return found
        item = ITEM.match(text, position, end)
        if item is None:
            return None
        try:
            found.append(WORDS[item[0]] if item[0] in WORDS else ast.literal_eval(item[0]))
        except (ValueError, SyntaxError):
            return None
        position = item.end()


def parsed_cell(cell: Any) -> Any:
    """The list or mapping that a cell is, or spells as JSON, Python or numpy do; any other cell as it is."""
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, tuple):
        return list(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    if not text.startswith(("[", "{", "(")):
        return cell
    for read in (json.loads, parse_list, lambda text: ast.literal_eval(ARRAY.sub(r"\1", text))):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list | dict):
            return value
        if isinstance(value, tuple | set):
            return sorted(value, key=str) if isinstance(value, set) else list(value)
    return cell


def with_words(table: Table, *, text: str, label: str, tagging: bool) -> Table:
    """`table` with lists in place of sentences and tags that are written as text with spaces between them.

    They are split if the task is known to be `tagging`, or if every sentence has as many words as tags, and all tags
    mark entities or sentences of three lengths or more agree. Raises `DataError` if every row then has one word: the
    table does not say which sentence it belongs to.
    """
    texts, tags = table.columns.get(text, ()), table.columns.get(label, ())
    cells = list(zip(texts, tags, strict=False))
    if not cells or not all(isinstance(cell, str) for pair in cells for cell in pair):
        return table
    marked = marks_entities(list({tag for cell in tags for tag in cell.split()}))
    counts = [(len(words.split()), len(said.split())) for words, said in cells]
    if tagging and len(counts) > 1 and max(counts) <= (1, 1):
        raise DataError(
            f"`{table.where}` has one word in every row, and a tagger learns sentences",
            hint="a column `sentence` says of which one a word is; or a .conll file has a blank line between sentences",
        )
    if not tagging:
        sure = (marked and max(counts) > (1, 1)) or len(set(counts)) >= 3
        if not sure or any(words != said for words, said in counts):
            return table
    return replace(table, columns={**table.columns, text: [*map(str.split, texts)], label: [*map(str.split, tags)]})


def with_lists(table: Table, *, text: str, label: str | None) -> Table:
    """`table` with lists in place of cells that spell them in the column `label`, and then also in `text`.

    A column counts as one of lists if most of its non-empty cells spell one. Without `label`, the column `text` decides
    for itself.
    """
    columns = dict(table.columns)
    for name in (label, text) if label is not None else (text,):
        lists = _lists(columns.get(name, ()))
        if lists is not None:
            columns[name] = lists
        elif not any(isinstance(cell, list | tuple) for cell in columns.get(name, ())[:1]):
            break  # labels that are not lists: then texts are texts, whatever they look like
    return replace(table, columns=columns)


def _lists(cells: Sequence[Any]) -> list[Any] | None:
    """The cells of a column, with lists for those that spell one, if most do."""
    if not any(isinstance(cell, str) and cell.lstrip().startswith("[") for cell in cells[:100]):
        return None
    parsed = [parse_list(cell) for cell in cells]
    filled = sum(cell is not None and cell != "" for cell in cells)
    if 2 * sum(one is not None for one in parsed) <= filled:
        return None
    return [cell if one is None else one for cell, one in zip(cells, parsed, strict=True)]
