"""Texts that a model is asked about: from files in any form that a run reads, from standard input, or in memory.

They need no labels, and their files may be laid out differently from those the model was trained on.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distiller.config import Run, Task, apply_override, parse
from distiller.errors import ConfigError, DataError, did_you_mean, warn
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.conll import OTHER_ENDINGS, is_conll, read_conll
from distiller.tasks.delimited import is_fasttext
from distiller.tasks.in_memory import as_list, is_pairs, table_of
from distiller.tasks.layout import Layout
from distiller.tasks.questions import in_one_form, is_squad, read_squad
from distiller.tasks.readers import read_table
from distiller.tasks.sources import refuse_layout
from distiller.tasks.table import Table
from distiller.tasks.tagging import untagged, with_conllu_columns
from distiller.tasks.text_files import (
    COLUMNAR,
    DELIMITED,
    check_there,
    decoded,
    ending,
    expanded,
    first_line,
    read_text,
)
from distiller.tasks.usable import usable_rows
from distiller.tasks.usual_columns import usual_texts
from distiller.tasks.word_rows import with_sentences
from distiller.tasks.words import MARKS
from distiller.tasks.written_lists import with_lists

FIELDS = ("text", "text_pair", "label", "encoding", "separator", "columns")
"""The fields of `config.Task` that say how new texts are to be read."""

_BETWEEN = re.compile(rf"[ \t]|[^{MARKS}][{MARKS}]|[{MARKS}][^{MARKS}]")
"""What stands between words, or parts a sentence of Chinese."""


@dataclass(frozen=True)
class Form:
    """How to read new texts: as the run says, where its files have the same form, and as the caller says."""

    task: Task
    said: frozenset[str] = frozenset()
    """The fields that the caller named, which hold whatever the files look like."""
    run_on: str | None = None
    """What the run was trained on, where that is a file."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of refusing all."""

    @classmethod
    def of(
        cls,
        run: Run | None,
        *,
        text: str | None = None,
        text_pair: str | None = None,
        overrides: Iterable[str] = (),
        skip_bad: bool = False,
    ) -> "Form":
        """The form of a run's files, changed by column names and by `task.FIELD=value`.

        Raises `ConfigError` for a field that does not say how texts are read.
        """
        task = run.task if run and run.task.name == "custom" else Task()
        plain: dict[str, Any] = {"task": task.model_dump()}
        said: set[str] = set()
        if text is not None:
            said.add("text")
            plain["task"] |= {"text": text, "text_pair": text_pair}
        elif text_pair is not None:
            plain["task"] |= {"text_pair": text_pair}
        for override in overrides:
            name = override.partition("=")[0].removeprefix("task.").split(".")[0]
            if name == "skip_bad":
                skip_bad = parse(
                    Task, apply_override({}, f"skip_bad={override.partition('=')[2]}"), where="task"
                ).skip_bad
                continue
            if name not in FIELDS:
                raise ConfigError(
                    f"`{override:.60}` says nothing about how texts are read",
                    hint=did_you_mean(f"task.{name}", [f"task.{field}" for field in FIELDS]),
                )
            said.add(name)
            plain = apply_override(plain, override)
        trained = ".tsv" if run and run.task.name == "ud-ewt" else task.train
        return cls(parse(Task, plain["task"], where="task"), frozenset(said), trained, skip_bad)


@dataclass(frozen=True)
class NewTexts:
    """The rows that can be used, and those that cannot."""

    table: Table
    text: str
    """The column of the text, or of the first of two."""
    text_pair: str | None
    words: list[tuple[str, ...]] | None
    """For a tagger: the words of every row."""
    bad: BadRows

    @property
    def left_out(self) -> list[str]:
        """Where each row that could not be used is, and why it was left out."""
        return [error.message for error in self.bad.errors]


def read_new_texts(given: Any, form: Form, *, tagging: bool = False) -> NewTexts:
    """The rows of `given`: a file, texts, pairs, lists of words, columns or a data frame.

    Every text has a row, blank ones too, so that answers line up with texts. With `tagging`, words are the items of
    lists, the lines of a CoNLL file, or those that `words_of` finds. Raises `DataError` for rows that cannot be used,
    unless `form` leaves them out.
    """
    bad = BadRows(form.skip_bad)
    task = form.task
    given = as_list(given)
    if isinstance(given, Path) or (isinstance(given, str) and Path(given).is_file()):
        task, table = _of_file(Path(given).expanduser(), form, bad, tagging=tagging)
    elif tagging and is_pairs(given):
        table = Table("the given texts", {task.text: [[str(word) for word in words] for words in given]})
    else:
        if is_pairs(given):
            if form.run_on is not None and task.text_pair is None:
                warn("the model was trained on single texts, and is given pairs")
            task = task.model_copy(update={"text_pair": task.text_pair or "text_pair"})
        table = table_of(given, text=task.text, text_pair=task.text_pair)
    if not tagging and task.text_pair is not None and list(table.columns) == [task.text]:
        raise DataError(
            f"`{table.where}` holds single texts, and the model reads pairs",
            hint=f"a .csv or .tsv file with the columns `{task.text}` and `{task.text_pair}`; in Python [(text, pair)]",
        )
    words = None
    if tagging:
        table, words = untagged(table, task, bad) if len(table) else (table, [])
    elif len(table):
        table = usable_rows(table, task, "classification", bad, labels=None, labelled=False)
    bad.warn(table.where)
    return NewTexts(table, task.text, task.text_pair, words, bad)


def read_new_questions(given: Any, form: Form) -> tuple[Table, BadRows]:
    """The questions of a SQuAD file, of pairs, or of the columns `question`, `context` and optionally `id`.

    Answers are ignored. In a table without ids, the row number is the id. Raises `DataError`.
    """
    bad = BadRows(form.skip_bad)
    if not isinstance(given, (str, Path)):
        table = in_one_form(table_of(given, text="question", text_pair="context"))
    else:
        file = Path(given).expanduser()
        encoding = _encoding(file, form)
        if is_squad(file, qa=True, encoding=encoding):
            table = read_squad(file, bad, encoding)
        else:
            table = in_one_form(read_table(file, replace(Layout.of(form.task), encoding=encoding), bad))
    columns = {name: cells for name, cells in table.columns.items() if name != "answers"}
    return replace(table, columns=columns), bad


def piped_texts(data: bytes, form: Form, *, tagging: bool = False) -> Table | list[str]:
    """The texts on standard input: one a line or, for a tagger, possibly one word a line.

    Raises `DataError` for empty input, for an unknown encoding, and for JSON, which needs a file name with an ending.
    """
    where = Path("standard input")
    text = decoded(where, expanded(where, data), form.task.encoding if "encoding" in form.said else None)
    first = first_line(text)
    if not first:
        raise DataError("`-` has no text", hint="one text a line")
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and form.task.text in row:
        raise DataError(
            "standard input holds JSON objects, and is read as one text a line", hint="write it into a .jsonl file"
        )
    if tagging and _one_word_a_line(text):
        return _sentences_of_lines(str(where), text, form.task.text)
    return _lines(str(where), text, form.task.text)


def _of_file(path: Path, form: Form, bad: BadRows, *, tagging: bool) -> tuple[Task, Table]:
    """The table in a file, and the task that names its columns."""
    check_there(path)
    task = form.task.model_copy(update={"encoding": _encoding(path, form)})
    if tagging and _is_conll(path, form, task):
        refuse_layout(_only(form), path.name, tagging=True)
        task = with_conllu_columns(task.model_copy(update={"train": path.name}))
        optional = None if "columns" in form.said and task.label not in (task.columns or ()) else task.label
        columns = task.columns
        if columns is not None and "columns" not in form.said and ending(path) == ".conllu":
            columns = None
        return task, read_conll(path, columns, bad=bad, encoding=task.encoding, text=task.text, optional=optional)
    refuse_layout(_only(form), path.name)
    if ending(path) == ".txt" and not _is_table(path, form, task):
        return task, _lines(str(path), read_text(path, task.encoding), task.text)
    layout = Layout.of(task, labelled="columns" in form.said)
    guessed = "separator" not in form.said and ending(path) in DELIMITED
    if guessed and task.separator and task.separator not in first_line(read_text(path, task.encoding)):
        layout = replace(layout, separator=None)
    table = read_table(path, layout, bad).with_inner(task.text, task.text_pair)
    if task.text_pair is None and not {"text", "columns"} & form.said:
        table = table.with_texts_as(task.text)
    if not {task.text, task.text_pair or task.text} <= table.columns.keys() and not form.said & {"text", "text_pair"}:
        taken = usual_texts(table, pairs=task.text_pair is not None)
        task = task.model_copy(update=taken)
        if taken:
            warn(f"`{path}`: columns are taken to be {' '.join(f'task.{name}={one}' for name, one in taken.items())}")
    if tagging:
        table = with_lists(with_sentences(table, text=task.text, label=None), text=task.text, label=None)
    return task, table


def _only(form: Form) -> Task:
    """A task with only what the caller named."""
    return Task(**{name: getattr(form.task, name) for name in form.said})


def _encoding(path: Path, form: Form) -> str | None:
    """The encoding that the caller named; for a file that is not UTF-8, otherwise that of the run's files."""
    wanted = form.task.encoding
    if wanted is None or "encoding" in form.said or ending(path) in COLUMNAR:
        return wanted if ending(path) not in COLUMNAR else None
    try:
        read_text(path)
    except DataError:
        return wanted
    return None


def _is_conll(path: Path, form: Form, task: Task) -> bool:
    """Whether a tagger should read a file as one word a line; .txt and .tsv files may also hold texts or tables."""
    if is_conll(path.name, tagging=False):
        return True
    if ending(path) not in OTHER_ENDINGS:
        return False
    text = read_text(path, task.encoding)
    if ending(path) == ".txt" and _one_word_a_line(text):
        return True
    named = task.text in [cell.strip() for cell in first_line(text).split("\t")]
    learnt_so = form.run_on is not None and is_conll(form.run_on, tagging=True) and ending(form.run_on) == ending(path)
    return learnt_so and not named and ("\n\n" in text.replace("\r", "") or _one_word_a_line(text))


def _one_word_a_line(text: str) -> bool:
    """Whether no line has a space or a clause in it, and some lines are divided by blank ones."""
    lines = [line.strip(" \r") for line in text.strip().split("\n")]
    return "" in lines and not any(map(_BETWEEN.search, lines))


def _sentences_of_lines(where: str, text: str, column: str) -> Table:
    """The sentences of a file with one word a line and a blank line between sentences."""
    found: list[list[str]] = []
    begins: list[int] = []
    inside = False
    for number, line in enumerate(text.split("\n"), start=1):
        word = line.strip(" \r")
        if word and not inside:
            found.append([])
            begins.append(number)
        if word:
            found[-1].append(word)
        inside = bool(word)
    return Table(where, {column: found}, begins)


def _is_table(path: Path, form: Form, task: Task) -> bool:
    """Whether a .txt file is a table: its first line names the text column, or no column needs a name."""
    if form.said & {"columns", "separator"}:
        return True
    text = read_text(path, task.encoding)
    if is_fasttext(text):
        return True
    cells = [cell.strip() for cell in first_line(text).split(task.separator or "\t")]
    return len(cells) > 1 and (task.text in cells or task.columns is not None)


def _lines(where: str, text: str, column: str) -> Table:
    """One text a line; only a line feed ends a line, since texts may contain other separators."""
    lines = [line.removesuffix("\r") for line in text.rstrip(" \r\n").split("\n")]
    if lines == [""]:
        raise DataError(f"`{where}` has no text", hint="one text a line")
    return Table(where, {column: lines}, range(1, len(lines) + 1))
