"""A table of rows from a file or a data set, which knows where each of its cells came from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distiller.errors import DataError, did_you_mean, warn
from distiller.tasks.labels import class_numbers
from distiller.tasks.text_files import DELIMITED, ending


@dataclass(frozen=True)
class Table:
    """Columns of equal length; every complaint about a cell names the file or data set, the line and the column."""

    where: str
    """The file, or data set and split, as an error names it."""
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int] | None = None
    """The line on which each row starts, from 1; `None` where rows have no lines, e.g. in Parquet."""
    doubled: frozenset[str] = frozenset()
    """Names that several columns have, of which none is read."""

    def __len__(self) -> int:
        return max([len(self.lines or ()), *map(len, self.columns.values())])

    def place(self, row: int) -> str:
        """Where row `row`, counted from 0, is to be found."""
        return f"`{self.where}`, " + (f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}")

    def column(self, name: str) -> Sequence[Any]:
        """The cells of one column. Raises `DataError` that lists the columns when there is none of that name."""
        if name in self.doubled:
            raise DataError(f"`{self.where}`: two columns are called `{name}`", hint="give each a name of its own")
        if name not in self.columns:
            known = list(self.columns)
            listed = ", ".join(f"`{shown(column)[1:-1]}`" for column in known[:20]) + (", …" if len(known) > 20 else "")
            hint = did_you_mean(name, known[:20])
            if ending(self.where) in DELIMITED:
                hint += "; or, if its first line is no header, task.columns=[…] names all columns in their order"
            raise DataError(f"`{self.where}` has no column `{name}`; its columns are {listed}", hint=hint)
        return self.columns[name]

    def texts(self, name: str) -> tuple[str, ...]:
        """A column of text. Raises `DataError` for a cell that is missing or not text; warns of blank ones."""
        cells = self.column(name)
        blank: list[int] = []
        for row, cell in enumerate(cells):
            if not isinstance(cell, str):
                what = "is missing" if cell is None else f"is not text but {cell!r:.40}"
                raise DataError(f"{self.place(row)}: `{name}` {what}", hint="every row needs a text, in quotes in JSON")
            if not cell.isascii():
                self._refuse_surrogates(row, name, cell)
            if not cell.strip():
                blank.append(row)
        if blank:
            warn(f"{self.place(blank[0])}: `{name}` is blank, as in {len(blank)} row(s)")
        return tuple(cells)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A column of finite numbers. Raises `DataError` for any other cell."""
        found: list[float] = []
        for row, cell in enumerate(self.column(name)):
            try:
                value = math.nan if cell is None or isinstance(cell, bool) else float(cell)
            except (TypeError, ValueError, OverflowError):
                value = math.nan
            if not math.isfinite(value):
                raise DataError(
                    f"{self.place(row)}: `{name}` should be a finite number, got {shown(cell)}",
                    hint="labels of a regression are numbers; set task.kind=classification if these are classes",
                )
            found.append(value)
        return tuple(found)

    def classes(self, name: str) -> tuple[str, ...]:
        """A column of class names as text; the number 1.0 is the class `1`. Raises `DataError` for an empty cell."""
        names = tuple(_class_name(cell) for cell in self.column(name))
        for row, label in enumerate(names):
            if not label:
                raise DataError(f"{self.place(row)}: `{name}` is empty", hint="every row here needs a label")
        return names

    def class_ids(self, name: str, labels: Sequence[str]) -> tuple[int, ...]:
        """A column of class names as ids, as `class_numbers` says. Raises `DataError` for a name outside `labels`."""
        names = self.classes(name)
        numbers = class_numbers(labels, set(names))
        for row, label in enumerate(names):
            if label not in numbers:
                known = ", ".join(f"`{one}`" for one in labels[:20]) + (", …" if len(labels) > 20 else "")
                raise DataError(
                    f"{self.place(row)}: `{name}` is {shown(label)}, which is not in the label set",
                    hint=f"the label set is {known}",
                )
        return tuple(numbers[label] for label in names)

    def _refuse_surrogates(self, row: int, name: str, cell: str) -> None:
        """JSON can spell half of a surrogate pair, which no tokenizer takes."""
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.place(row)}: `{name}` holds half of a surrogate pair at character {error.start}",
                hint="write the file again as UTF-8",
            ) from None


def shown(cell: Any) -> str:
    """A cell as an error quotes it: never more than one short line."""
    text = f"{cell!r}"
    return text if len(text) <= 40 else f"{text[:37]}…"


def _class_name(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
