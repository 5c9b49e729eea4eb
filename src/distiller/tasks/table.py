"""A table of rows from a file or a data set that knows where each of its cells came from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distiller.errors import ConfigError, DataError, did_you_mean, warn
from distiller.tasks.labels import class_numbers, finite_number
from distiller.tasks.text_files import DELIMITED, ending

LISTED = 20
"""Names that an error lists."""
LONG_NAME = 3
"""Words of the longest name of a column; what has more is a text."""
NAMED = "task.columns=[…] names all columns in their order"


@dataclass(frozen=True)
class Table:
    """Columns of equal length; every error about a cell names the file or data set, the line and the column."""

    where: str
    """The file, or data set and split, as an error names it."""
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int] | None = None
    """The line on which each row starts, from 1; `None` where rows have no lines, e.g. in Parquet."""
    origin: Sequence[int] | None = None
    """Position of each row in the file or data set, from 0; `None`: 0, 1, 2, …"""
    doubled: frozenset[str] = frozenset()
    """Names that several columns have, of which none is read."""
    places: Sequence[int] | None = None
    """Position of each row in the file, from 0, where reading left out some; `None`: `origin` says it."""
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The class names that a file or data set states itself, by column, in the order of their ids."""

    def __len__(self) -> int:
        return max([len(self.lines or ()), *map(len, self.columns.values())])

    def place(self, row: int) -> str:
        """Where row `row`, counted from 0, is in its file or data set."""
        if self.lines is not None:
            return f"`{self.where}`, line {self.lines[row]}"
        return f"`{self.where}`, row {self.position(row) + 1}"

    def position(self, row: int) -> int:
        """Position of row `row` in the file, from 0, rows that could not be used included."""
        known = self.origin if self.places is None else self.places
        return row if known is None else known[row]

    def column(self, name: str, *, labelled: bool = True) -> Sequence[Any]:
        """The cells of one column. Raises `DataError` that lists the columns if there is none of that name.

        Its hint names a column for the label too if the rows should be `labelled`.
        """
        if name in self.doubled:
            raise DataError(f"`{self.where}`: two columns are called `{name}`", hint="give each a name of its own")
        if name not in self.columns:
            known = list(self.columns)
            hint = did_you_mean(name, list(dict.fromkeys([*self.leaves(), *known]))[:LISTED])
            if name in ("text", "label"):
                hint = f"{hint} task.{name} names it" if "mean" in hint else f"task.{name} names {hint}"
                inner = {one: leaf for leaf in self.leaves() for one in ("text", "label") if leaf.endswith(f".{one}")}
                if name in inner:
                    hint = " ".join(f"task.{one}={leaf}" for one, leaf in inner.items())
                elif len(known) == 2 and not {"text", "label"} & set(known):
                    text, label = sorted(known, key=self._variety, reverse=True)
                    hint = f"task.text={text} task.label={label}" if labelled else f"task.text={text}"
                    if len(text.split()) > LONG_NAME and ending(self.where) in DELIMITED:
                        order = ",".join("text" if column == text else "label" for column in known)
                        hint = f"task.columns=[{order}], if its first line is a row like the others"
            if ending(self.where) in DELIMITED and len(known) == 1:
                hint = (
                    "task.separator says what separates columns; words and tags on lines are task.kind=tagging; of a "
                    f"file without a header {NAMED}"
                )
            elif ending(self.where) in DELIMITED and not hint.startswith("task.columns"):
                hint += f"; or, if its first line is no header, {NAMED}"
            if name in ("question", "context"):
                hint = f"call its columns `question` and `context`; of a file without a header {NAMED}"
            columns = listed(shown(column)[1:-1] for column in known)
            if name == "label" and len(flags := [one for one in known if self._is_flag(one)]) > 1:
                hint += f"; or task.labels=[{', '.join(flags)}], where each class has a column"
            if name == "label" and {"target", "translation"} & {
                part for leaf in self.leaves() for part in leaf.split(".")
            }:
                hint += "; translations are a task.kind=translation: distiller init nmt-hybrid"
            raise DataError(f"`{self.where}` has no column `{name}`; its columns are {columns}", hint=hint)
        return self.columns[name]

    def _variety(self, name: str) -> tuple[bool, int]:
        """How like texts a column's cells are: words rather than numbers, and many of them."""
        cells = [cell for cell in self.columns[name] if cell is not None]
        return any(finite_number(cell) is None for cell in cells), len(set(map(str, cells)))

    def with_inner(self, *names: str | None) -> "Table":
        """The table with columns `outer.inner` for the objects in a column `outer`, at any depth."""
        columns = dict(self.columns)
        for name in names:
            outer, _, inner = (name or "").partition(".")
            if (
                name
                and name not in columns
                and inner
                and any(isinstance(cell, dict) for cell in columns.get(outer, ()))
            ):
                columns[name] = [_inside(cell, inner.split(".")) for cell in columns[outer]]
        return replace(self, columns=columns)

    def leaves(self) -> list[str]:
        """The column names; for a column of objects, the names of its inner cells, as in the first row."""
        first = {name: next((cell for cell in cells if cell is not None), None) for name, cells in self.columns.items()}
        return [one for name, cell in first.items() for one in _leaves(name, cell)]

    def _is_flag(self, name: str) -> bool:
        """Whether a column has only 0 and 1, or only 0, where its class never applies."""
        flags = ("0", "1"), ("0.0", "1.0"), ("False", "True")
        cells = {str(cell) for cell in self.columns[name]}
        return any(cells in ({no}, {no, yes}) for no, yes in flags)

    def with_texts_as(self, name: str) -> "Table":
        """The table with its only column also called `name`, if it has another header: then that is the text column.

        A header that does not look like one (`A fine film.`) is the first text of a file without a header; `column`
        refuses it.
        """
        if name in self.columns or len(self.columns) != 1:
            return self
        (only,) = self.columns
        return replace(self, columns={name: self.columns[only]}) if only.isidentifier() else self

    def take(self, rows: Sequence[int]) -> "Table":
        """The rows at these positions, which keep their places. Columns that were not read stay empty."""
        columns = {name: [cells[row] for row in rows] if cells else cells for name, cells in self.columns.items()}
        lines = None if self.lines is None else [self.lines[row] for row in rows]
        origin = [row if self.origin is None else self.origin[row] for row in rows]
        places = None if self.places is None else [self.places[row] for row in rows]
        return replace(self, columns=columns, lines=lines, origin=origin, places=places)

    def texts(self, name: str) -> tuple[str, ...]:
        """A column of text. Raises `DataError` for a cell that is missing or not text; warns of blank ones."""
        cells = self.column(name)
        blank: list[int] = []
        for row, cell in enumerate(cells):
            self.check_text(row, name, cell)
            if not cell.strip():
                blank.append(row)
        if blank:
            warn(f"{self.place(blank[0])}: `{name}` is blank, as in {len(blank)} row(s)")
        return tuple(cells)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A column of finite numbers. Raises `DataError` for any other cell."""
        return tuple(self.number(row, name, cell) for row, cell in enumerate(self.column(name)))

    def classes(self, name: str) -> tuple[str, ...]:
        """A column of class names as text; the number 1.0 is the class `1`. Raises `DataError` for an empty cell."""
        cells = self.column(name)
        first = next((row for row, cell in enumerate(cells) if isinstance(cell, list | tuple | dict)), None)
        if first is not None and isinstance(cells[first], dict):
            leaves = " or ".join(f"task.label={leaf}" for leaf in self.leaves() if leaf.startswith(f"{name}."))
            raise DataError(
                f"{self.place(first)}: `{name}` is an object, {shown(cells[first])}, and no name of a class",
                hint=leaves or '"label": "plot", or a list of names where several classes may apply',
            )
        if first is not None:
            raise DataError(
                f"{self.place(first)}: `{name}` is a list, {shown(cells[first])}, and classes exclude each other",
                hint="task.kind=multilabel, where several may apply; or the column of one label in task.label",
            )
        return tuple(self.class_name(row, name, cell) for row, cell in enumerate(cells))

    def class_ids(self, name: str, labels: Sequence[str]) -> tuple[int, ...]:
        """A column of class names as ids, by `class_numbers`. Raises `DataError` for a name outside `labels`."""
        cells = self.column(name)
        numbers = class_numbers(labels, {class_name(cell) for cell in cells})
        for row, cell in enumerate(cells):
            self.check_class(row, name, cell, labels, numbers)
        return tuple(numbers[class_name(cell)] for cell in cells)

    def check_text(self, row: int, name: str, cell: Any) -> None:
        """Raise `DataError` for a cell that is missing or not text."""
        if not isinstance(cell, str):
            what = "is missing" if cell is None else f"is not text but {cell!r:.40}"
            raise DataError(f"{self.place(row)}: `{name}` {what}", hint="every row needs a text, in quotes in JSON")
        refuse_surrogates(self.place(row), name, cell)

    def number(self, row: int, name: str, cell: Any) -> float:
        """The number in a cell. Raises `DataError` for one that is not finite."""
        value = finite_number(cell)
        if value is None:
            raise DataError(
                f"{self.place(row)}: `{name}` should be a finite number, got {shown(cell)}",
                hint="labels of a regression are numbers; set task.kind=classification if these are classes",
            )
        return value

    def class_name(self, row: int, name: str, cell: Any) -> str:
        """The class name in a cell. Raises `DataError` for an empty one."""
        if not (label := class_name(cell)):
            raise DataError(f"{self.place(row)}: `{name}` is empty", hint="every row here needs a label")
        return label

    def check_class(self, row: int, name: str, cell: Any, labels: Sequence[str], numbers: Mapping[str, int]) -> None:
        """Raise `DataError` for a cell that is empty or not in `labels`; `numbers` maps names to their ids."""
        label = self.class_name(row, name, cell)
        if label not in numbers:
            raise DataError(
                f"{self.place(row)}: `{name}` is {shown(label)}, which is not in the label set",
                hint=f"the label set is {listed(labels)}",
            )


def refuse_surrogates(place: str, name: str, cell: str) -> None:
    """Raise `DataError` for half a surrogate pair, which JSON can contain and no tokenizer accepts."""
    if cell.isascii():
        return
    try:
        cell.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: `{name}` holds half of a surrogate pair at character {error.start}",
            hint="write the file again as UTF-8",
        ) from None


def check_columns(columns: Sequence[str]) -> None:
    """Raise `ConfigError` if `task.columns` is empty or has a name twice."""
    doubled = next((name for name in columns if name and columns.count(name) > 1), None)
    if doubled is not None or not columns:
        said = f"names `{doubled}` twice" if doubled else "is an empty list"
        raise ConfigError(f"task.columns {said}", hint="one name for each column of the file, e.g. [text, label]")


def shown(cell: Any) -> str:
    """A cell as an error quotes it: never more than one short line."""
    text = f"{cell!r}"
    return text if len(text) <= 40 else f"{text[:37]}…"


def short(name: str) -> str:
    """The name of a class, shortened to fit in a line with others."""
    return name if len(name) <= 40 else f"{name[:39]}…"


def listed(names: Iterable[str]) -> str:
    """Names as an error lists them: the first `LISTED`, and a sign that there are more."""
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:LISTED]) + (", …" if len(quoted) > LISTED else "")


def is_empty(cell: Any) -> bool:
    """Whether a cell is empty: no value, NaN, only spaces, or a list of only missing values."""
    if isinstance(cell, list | tuple):
        return bool(cell) and all(one is None for one in cell)
    return not class_name(cell)


def class_name(cell: Any) -> str:
    """A cell as the name of a class: the number 1.0 is `1`; an empty cell gives an empty name."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def class_of(value: Any, classes: Sequence[str]) -> Any:
    """The name of a class id, or the names of a list of ids; `None` for a negative id, which hides a label."""
    if isinstance(value, list):
        return [class_of(one, classes) for one in value]
    return None if value is None or value < 0 else classes[value]


def places_of(kept: Sequence[int]) -> Sequence[int] | None:
    """Positions of rows in their file, as `Table` stores them: `None` if no row before the last was dropped."""
    return None if not kept or kept[-1] == len(kept) - 1 else kept


def filled(table: Table) -> Table:
    """`table` itself. Raises `DataError` if it has no rows."""
    if not len(table):
        has = "only a header" if table.columns else "nothing in it"
        raise DataError(f"`{table.where}` is empty: there is {has}", hint="a data file needs at least one row")
    return table


def _inside(cell: Any, path: Sequence[str]) -> Any:
    for name in path:
        cell = cell.get(name) if isinstance(cell, dict) else None
    return cell


def _leaves(name: str, cell: Any) -> list[str]:
    if not isinstance(cell, dict):
        return [name]
    return [leaf for key, inner in cell.items() for leaf in _leaves(f"{name}.{key}", inner)]
