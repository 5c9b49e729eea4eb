"""Reading CoNLL-style files: one word per line, annotations in columns, a blank line between sentences."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.entities import marks_entities
from distiller.tasks.table import Table, check_columns
from distiller.tasks.text_files import ending, read_text

ENDINGS = (".conll", ".conllu", ".bio", ".iob", ".iob2")
"""Endings of files that are always in this format."""

OTHER_ENDINGS = (".tsv", ".txt")
"""Endings of files that are in this format if the task is known to be tagging."""

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""The columns of .conllu files, https://universaldependencies.org/format.html."""

COMMENT = re.compile(r"# ?[\w.:]+ = |#(begin|end) document\b")
"""The beginning of a comment line; any other line that begins with `#` and has the columns of a word is a word."""

HEADER = ("token", "tokens", "word", "words", "form", "text")
"""First words of a header line, if no other word has its tag."""

START = "-DOCSTART-"
"""The beginning of lines between documents."""

NUMBER = re.compile(r"\d{1,9}([-.]\d{1,9})?", re.ASCII)
"""The position of a word, or a range or empty node of CoNLL-U."""

MOST_TAGS = 50
"""A column with more different values than this, and than there are words, holds no tags."""

NOT_A_WORD = re.compile(r"\d+[-.]\d+")
"""The id of a CoNLL-U range of words (1-2) or of an empty node (1.1)."""


def is_conll(name: str, *, tagging: bool) -> bool:
    """Whether the file `name` is read by `read_conll`. `tagging`: the task is known to be tagging."""
    return ending(name) in (*ENDINGS, *(OTHER_ENDINGS if tagging else ()))


def read_conll(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    bad: BadRows | None = None,
    encoding: str | None = None,
    text: str = "text",
    optional: str | None = None,
) -> Table:
    """The sentences of a file as a table: one row per sentence, whose cells are tuples with one entry per word.

    `columns` names the columns; by default they are those of CoNLL-U in a .conllu file, else those of `guessed_names`.
    The column of a file with one column is `text`. The file may lack the column `optional`. Columns are separated by
    tabs, or by spaces in a file without tabs. Comments, `-DOCSTART-` lines and, if a column is called `id`, ranges of
    words and empty nodes are skipped. A line with a wrong number of columns or an empty cell makes its sentence a `bad`
    row. Raises `DataError` naming file and line.
    """
    path = Path(path).expanduser()
    bad = BadRows() if bad is None else bad
    lines = [line.strip(" \r") for line in read_text(path, encoding).split("\n")]
    written = [line for line in lines if line.strip("\t") and not line.startswith("#")]
    if not written:
        raise DataError(f"`{path}` is empty: there is no word in it", hint="one word a line, with its tag")
    tabs = 2 * sum("\t" in line for line in written) >= len(written)
    rows = [_cells(line, tabs) for line in written if not line.startswith(START)]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 1
    if columns is not None and optional in columns and width == len(columns) - 1:
        columns = [name for name in columns if name != optional]
    if width == 1 and (columns is None or optional in columns):
        names = (text,)
    elif columns is None and ending(path) != ".conllu":
        names = guessed_names(path, [row for row in rows if len(row) == width], text)
    else:
        names = CONLLU if columns is None else tuple(columns)
        check_columns(names)
    sentences: list[list[list[str]]] = []
    starts: list[int] = []
    for block in _blocks(lines):
        try:
            words = _words(path, block, names, tabs)
        except DataError as error:
            bad.meet(error)
            continue
        if words:
            sentences.append([cells for _, cells in words])
            starts.append(words[0][0])
    if not sentences:
        raise DataError(
            f"`{path}` has no sentence that can be used", hint=bad.errors[0].message if bad.errors else None
        )
    first = sentences[0][0]
    if first[0].casefold() in HEADER and sum(word[-1] == first[-1] for one in sentences for word in one) == 1:
        raise DataError(
            f"`{path}`, line {starts[0]}: {' '.join(first)!r:.60} names the columns",
            hint="delete this line; task.columns names columns",
        )
    by_column = zip(*(zip(*sentence, strict=True) for sentence in sentences), strict=True)
    return Table(str(path), dict(zip(names, by_column, strict=True)), starts)


def guessed_names(path: Path, rows: Sequence[Sequence[str]], text: str = "text") -> tuple[str, ...]:
    """Column names for the lines `rows`: `text` for the words, `label` for the tags, `id` for positions of words.

    The tags are in the last column, and the words in the first column that has not only numbers. If only the first
    column marks entities it has the tags, and the most varied other column has the words. The remaining columns are
    named by their position. Raises `DataError` if there would be more different tags than words, and more than
    `MOST_TAGS`.
    """
    columns = [dict.fromkeys(cells) for cells in zip(*rows, strict=True)]
    names = [str(position) for position in range(1, len(columns) + 1)]
    numbers = [all(map(NUMBER.fullmatch, cells)) for cells in columns]
    tag = len(columns) - 1
    if marks_entities(list(columns[0])) and not marks_entities(list(columns[-1])):
        tag = 0
    if numbers[0] and tag > 0 and _counts_words([cells[0] for cells in rows]):
        names[0] = "id"
        if len(columns) == 2:  # words alone, and their positions
            return ("id", text)
    words = [position for position in range(len(columns)) if position != tag and not numbers[position]]
    if tag == 0:
        words.sort(key=lambda position: -len(columns[position]))
    word = words[0] if words else 0
    names[tag] = "label"
    names[word] = text
    if len(columns[tag]) > max(MOST_TAGS, len(columns[word])):
        raise DataError(
            f"`{path}` has {len(columns[tag]):,} different tags in its column {tag + 1}, more than words in its column "
            f"{word + 1}",
            hint=f"task.columns=[…] names all columns in their order; the words are `{text}`, the tags `label`",
        )
    return tuple(names)


def _counts_words(cells: Sequence[str]) -> bool:
    """Whether the numbers count up by one and start again at 0 or 1, like positions of words in sentences."""
    numbers = [int(cell.partition("-")[0].partition(".")[0]) for cell in cells]
    steps = zip([0, *numbers], numbers, strict=False)
    return max(numbers) > 1 and all(after in (0, 1, before, before + 1) for before, after in steps)


def _blocks(lines: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Blocks of numbered lines between blank lines and starts of documents."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip("\t") and not line.startswith(START):
            block.append((number, line))
        elif block:
            yield block
            block = []


def _words(
    path: Path, block: Sequence[tuple[int, str]], names: Sequence[str], tabs: bool
) -> list[tuple[int, list[str]]]:
    """Line number and cells of every word of a block. Raises `DataError` for a line that cannot be used."""
    words: list[tuple[int, list[str]]] = []
    identity = names.index("id") if "id" in names else None
    for number, line in block:
        cells = _cells(line, tabs)
        if _is_comment(line, cells, names, tabs=tabs, first=not words):
            continue
        if len(cells) != len(names):
            raise DataError(
                f"`{path}`, line {number}: {len(cells)} column(s), where there should be {len(names)}",
                hint=f"the columns {', '.join(names)} are separated by {'tabs' if tabs else 'spaces'}, and a blank "
                "line ends a sentence; task.columns names other columns",
            )
        if "" in cells:
            raise DataError(
                f"`{path}`, line {number}: the column `{names[cells.index('')]}` is empty",
                hint="every word needs all its columns; `_` marks an empty one",
            )
        if identity is None or not NOT_A_WORD.fullmatch(cells[identity]):
            words.append((number, cells))
    return words


def _is_comment(line: str, cells: Sequence[str], names: Sequence[str], *, tabs: bool, first: bool) -> bool:
    if not line.startswith("#"):
        return False
    if names[0] == "id":  # words begin with their number
        return True
    alone = len(cells) == 1 if tabs else first
    return alone and bool(COMMENT.match(line) or (len(cells) != len(names) and (line + " ").startswith("# ")))


def _cells(line: str, tabs: bool) -> list[str]:
    if tabs:
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in re.split("[ \t]", line) if cell]  # other white space may be a word
