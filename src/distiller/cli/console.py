"""How the commands print: tables and sentences to stdout, errors and progress to stderr."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

GAP = 2
"""Blanks between two columns."""
NARROWEST = 20
WHOLE = 26
"""Characters of a name, a number or a word that stay together; what is longer may be folded to let a table fit."""


def width() -> int:
    """Characters in a line of stdout: `$COLUMNS` if set, else the width of the terminal; 80 in a file or a pipe."""
    wished = os.environ.get("COLUMNS", "")
    if wished.isdecimal() and int(wished) > 0:
        return max(NARROWEST, int(wished))
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80)


def console() -> "Console":
    """Standard output."""
    from rich.console import Console

    return Console(width=width(), highlight=False)


def progress() -> "Console":
    """Standard error, for people."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def complain(message: str, hint: str | None) -> None:
    """One error on stderr."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"\nhint: {hint}", file=sys.stderr)


def print_words(text: str) -> None:
    """A sentence, wrapped between words; a path stays whole however long it is."""
    print(textwrap.fill(text, width(), break_long_words=False, break_on_hyphens=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table as wide as stdout; columns after the first are right-aligned if their cells are numbers.

    Columns that do not fit follow in a second part, after a copy of the first column.
    """
    from rich.console import Console
    from rich.text import Text

    listed = [[str(cell) for cell in row] for row in rows]
    room = width()
    least = _least_widths(columns, listed)
    out = Console(width=room, highlight=False)
    for number, part in enumerate(_parts(least, room)):
        names = [columns[place] for place in part]
        cells = [[row[place] for place in part] for row in listed]
        with out.capture() as drawn:
            if title and not number:
                out.print(Text(title, style="table.title"))  # as wide as the page, however narrow the table is
            out.print(_table(names, cells, [least[place] for place in part], room))
        print()
        for line in drawn.get().splitlines():
            print(line.rstrip())
    print()


def fits(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """Whether all columns of a table fit side by side."""
    return len(_parts(_least_widths(columns, list(rows)), width())) == 1


def _table(names: list[str], rows: list[list[str]], least: list[int], room: int) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    widths = _widths(names, rows, least, room)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for position, name in enumerate(names):
        numeric = position > 0 and any(_is_number(row[position]) for row in rows)
        justify = "right" if numeric else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", width=widths[position])
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _widths(names: list[str], rows: list[list[str]], least: list[int], room: int) -> list[int]:
    """The width of each column: as wide as its cells where there is room, else the most crowded gains first."""
    wanted = [
        max(_length(cell) for cell in (names[place], *(row[place] for row in rows))) for place in range(len(names))
    ]
    widths = [min(floor, full) for floor, full in zip(least, wanted, strict=True)]
    spare = room - GAP * (len(names) - 1) - sum(widths)
    while spare > 0 and widths != wanted:
        crowded = max(range(len(names)), key=lambda place: wanted[place] / widths[place])
        widths[crowded] += 1
        spare -= 1
    if spare < 0:  # one column is wider than the page: it is folded
        widest = max(range(len(names)), key=lambda place: widths[place])
        widths[widest] = max(1, widths[widest] + spare)
    return widths


def _parts(least: Sequence[int], room: int) -> list[list[int]]:
    """Columns that fit side by side; each part starts with the first column of all."""
    parts: list[list[int]] = [[0]] if least else []
    used = least[0] if least else 0
    for place in range(1, len(least)):
        if used + GAP + least[place] > room and len(parts[-1]) > 1:
            parts.append([0])
            used = least[0]
        parts[-1].append(place)
        used += GAP + least[place]
    return parts


def _least_widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [_least(name, [row[place] for row in rows], names=place == 0) for place, name in enumerate(columns)]


def _least(name: str, cells: Sequence[str], *, names: bool) -> int:
    """The narrowest that a column can be: names of rows and numbers are whole, and so are words of ordinary length."""
    whole = [cell for cell in cells if names or _is_number(cell)]
    words = [word for text in (name, *cells) for word in text.split()]
    return max((min(_length(text), WHOLE) for text in (*whole, *words)), default=1)


def _length(text: str) -> int:
    from rich.cells import cell_len

    return max(1, *(cell_len(line) for line in text.split("\n")))


def _is_number(cell: str) -> bool:
    return re.match(r"[-+]{0,2}\d", cell) is not None
