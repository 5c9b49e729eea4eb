"""Numbers as people write them: `1,234.5`, `1.234,5`, `1 234,5`, `37 %`, `$5`, `(3.20)`, `2.2K`, `7.5/10`."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from distiller.errors import DataError
from distiller.tasks.table import Table, shown

BLANKS = " \u00a0\u2009\u202f"
"""What may stand between groups of digits, and between a number and its unit."""

_UNIT = r"(?:[%‰$€£¥₹₩₽]|USD|EUR|GBP|CHF|JPY|CNY|INR)"
_TIMES = {"": 1, "K": 1e3, "k": 1e3, "M": 1e6, "m": 1e6, "B": 1e9, "b": 1e9}
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+\u2212])?(?P<before>{_UNIT})?[{BLANKS}]*(?P<inner>[-+\u2212])?"
    rf"(?P<number>[\d.,'’{BLANKS}]*\d(?:[eE][-+]?\d+)?)(?P<times>[KkMmBb])?"
    rf"[{BLANKS}]*(?P<behind>{_UNIT}|/[{BLANKS}]*\d+)?(?P<close>\))?",
    re.ASCII,  # Python reads other digits itself
)


@dataclass(frozen=True)
class Style:
    """What separates the fraction of a number, and what may divide its digits into groups."""

    fraction: str
    groups: str

    def number(self, digits: str) -> float | None:
        """The number that `digits`, without sign and unit, stand for in this style."""
        parts = re.fullmatch(
            rf"([^{re.escape(self.fraction)}eE]*)(?:{re.escape(self.fraction)}(\d*))?([eE].*)?", digits
        )
        if parts is None:
            return None
        whole, fraction, power = parts[1], parts[2] or "", parts[3] or ""
        divided = re.fullmatch(rf"\d{{1,3}}(?:([{re.escape(self.groups)}])\d{{3}}(?:\1\d{{3}})*)?", whole)
        indian = self.groups.startswith(",") and re.fullmatch(r"\d{1,2}(,\d\d)+,\d{3}", whole)
        if whole and not (whole.isdigit() or divided or indian):
            return None
        return float(f"{re.sub(r'[^0-9]', '', whole) or '0'}.{fraction or '0'}{power}")


STYLES = (Style(".", ",'’" + BLANKS), Style(",", ".'’" + BLANKS))


@dataclass(frozen=True)
class Written:
    """The parts of a cell that is a number."""

    digits: str
    times: str
    """`K` for thousands, `M`, `B`, or nothing."""
    negative: bool
    unit: str
    """A currency, a percent sign, or of how many it is: `/10`."""


@dataclass(frozen=True)
class Reading:
    """How the numbers of a column are written, the same way in every table."""

    style: Style
    unit: str
    example: str
    """A cell that Python would not take for a number."""
    measures: bool
    """Whether numbers are written as of something that is measured: with a unit, or rounded, as in `2.2K`."""

    def number(self, cell: Any) -> Any:
        """The number in a cell; any other cell as it is."""
        written = parts_of(cell)
        value = None if written is None or written.unit != self.unit else self.style.number(written.digits)
        if written is None or value is None:
            return cell
        return (-value if written.negative else value) * _TIMES[written.times]

    def of(self, table: Table, column: str) -> Table:
        """`table` with the numbers of its column."""
        if column not in table.columns:
            return table
        return replace(table, columns={**table.columns, column: [self.number(cell) for cell in table.columns[column]]})

    def note(self, column: str) -> str:
        """What a user should know about how the numbers were read."""
        return f"`{self.example}` in `{column}` is read as the number {self.number(self.example):.12g}"


def parts_of(cell: Any) -> Written | None:
    """The parts of a text that is a number with or without a unit; `None` for any other cell."""
    found = _CELL.fullmatch(cell.strip()) if isinstance(cell, str) else None
    if found is None or bool(found["open"]) != bool(found["close"]) or (found["before"] and found["behind"]):
        return None
    signs = [sign for sign in (found["sign"], found["inner"]) if sign]
    if len(signs) + bool(found["open"]) > 1:
        return None
    negative = bool(found["open"]) or bool(signs and signs[0] != "+")
    unit = (found["before"] or found["behind"] or "").translate(dict.fromkeys(map(ord, BLANKS)))
    return Written(found["number"].strip(BLANKS), found["times"] or "", negative, unit)


def reading_of(tables: Sequence[Table], column: str) -> Reading | None:
    """How the numbers in a column of several tables are written; `None` if Python reads them or there are none.

    More than half of the non-empty cells must be numbers. Raises `DataError` if they are written in several ways,
    unless Python reads most, or if a comma could either group thousands or begin the fraction.
    """
    cells = Counter(cell for table in tables for cell in _texts(table, column))
    numbers: dict[str, Written] = {}
    for cell in cells:
        written = parts_of(cell)
        if written is not None and any(style.number(written.digits) is not None for style in STYLES):
            numbers[cell] = written
    example = next((cell for cell in numbers if not _is_plain(cell)), None)
    if example is None or 2 * sum(cells[cell] for cell in numbers) <= cells.total():
        return None
    plain = sum(count for cell, count in cells.items() if _is_plain(cell))

    def refuse(cell: str, why: str) -> DataError:
        table = next(table for table in tables if cell in _texts(table, column))
        place = table.place(list(table.columns[column]).index(cell))
        hint = "write numbers as 1234 or 1.234, without units; task.kind=classification if they are classes"
        return DataError(f"{place}: `{column}` is {shown(cell)}, {why}", hint=hint)

    unit = numbers[example].unit
    other = next((cell for cell, written in numbers.items() if written.unit != unit), None)
    styles = [style for style in STYLES if all(style.number(one.digits) is not None for one in numbers.values())]
    if (other is not None or not styles) and 2 * plain > cells.total():
        return None  # rows of their own, which are no numbers where the others are
    if other is not None and all(one.unit.startswith("/") for one in numbers.values()):
        return None  # fractions or dates, which people use as classes
    if other is not None:
        raise refuse(other, f"and elsewhere {shown(example)}: numbers of different units")
    if not styles:
        other = next(cell for cell, one in numbers.items() if STYLES[0].number(one.digits) is None)
        raise refuse(other, "and elsewhere a point begins the fraction")
    unclear = next((cell for cell in numbers if "," in cell), None)
    if len(styles) > 1 and unclear is not None:
        raise refuse(unclear, "where the comma may group thousands or begin a fraction")
    rounded = any(one.times and styles[0].fraction in one.digits for one in numbers.values())
    return Reading(styles[0], unit, example.strip(), measures=rounded or unit[:1] not in ("", "/"))


def _texts(table: Table, column: str) -> list[str]:
    """The non-empty text cells of a column."""
    return [cell for cell in table.columns.get(column, ()) if isinstance(cell, str) and cell.strip()]


def _is_plain(cell: str) -> bool:
    """Whether Python reads a text as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
