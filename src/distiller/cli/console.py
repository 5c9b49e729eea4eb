"""How the commands print: tables to stdout, errors and progress to stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> "Console":
    """Standard output; wide enough for a table when it is a file or a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def progress() -> "Console":
    """Standard error, for people."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def complain(message: str, hint: str | None) -> None:
    """One error on stderr."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"\nhint: {hint}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table; columns after the first are right-aligned where their cells are numbers."""
    from rich import box
    from rich.table import Table

    listed = [list(row) for row in rows]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for position, name in enumerate(columns):
        cells = [row[position] for row in listed]
        numeric = position > 0 and any(_is_number(cell) for cell in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*row)
    console().print(table)


def _is_number(cell: str) -> bool:
    return cell[:1].lstrip("-+").isdigit() or cell[:2].lstrip("-+").isdigit()
