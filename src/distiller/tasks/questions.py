"""Questions about contexts, from SQuAD files and tables, and what makes a row usable."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distiller.config import Task
from distiller.errors import ConfigError, DataError, warn
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import NO_ANSWER, Answer, QuestionSplit, hold_out
from distiller.tasks.objects import read_json
from distiller.tasks.table import Table, is_empty, refuse_surrogates, shown
from distiller.tasks.text_files import ending, read_text
from distiller.tasks.written_lists import parsed_cell

COLUMNS = ("id", "question", "context", "answers")
"""What a table of questions has, as the data set `squad` of `datasets` names it."""

IMPOSSIBLE = "is_impossible"
"""SQuAD 2 marks with it the questions that their context does not answer."""

START = "answer_start"
"""Where an answer begins, in characters of its context."""

ANSWER = ("answer", "answer_text")
"""Columns of tables that have one answer in a row, perhaps beside one called `START`."""

PART_HINT = "answers are parts of contexts, written as they are there"
NO_ANSWER_HINT = "an empty list of answers, or `is_impossible`, marks a question that its context does not answer"
ALWAYS_HINT = "task.null_answers=true teaches to say so"

METRICS = ("answer_f1", "exact_match")

MEANINGLESS = ("text", "text_pair", "label", "labels", "columns")
"""Fields of `config.Task` that question answering would ignore."""

SQUAD_START = re.compile(r'\s*\{\s*("version"\s*:\s*"[^"]*"\s*,\s*)?"data"\s*:\s*\[')
"""How a SQuAD file begins."""

SQUAD_HINT = '{"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …, "answers": […]}]}]}]}'


def is_squad(path: Path, *, qa: bool, encoding: str | None = None) -> bool:
    """Whether the file `path` is a SQuAD file or, where questions are expected (`qa`), an object that is no table."""
    if ending(path) != ".json" or not path.is_file():
        return False
    text = read_text(path, encoding)
    paragraphs = '"paragraphs"' in text
    if qa and text.lstrip().startswith("{"):
        return paragraphs or '"question"' not in text
    return paragraphs and SQUAD_START.match(text) is not None


def refuse_other_fields(task: Task) -> None:
    """Raise `ConfigError` for a field of another kind of task, which would be ignored here."""
    for field in MEANINGLESS:
        if getattr(task, field) != Task.model_fields[field].default:
            raise ConfigError(
                f"task.{field} has no meaning for question answering",
                hint=f"leave it out; the columns of a table are {', '.join(f'`{name}`' for name in COLUMNS)}",
            )


def read_squad(path: Path, bad: BadRows, encoding: str | None = None) -> Table:
    """The questions of a SQuAD file as a table with `COLUMNS` and `IMPOSSIBLE`.

    Parts of the file in another format are reported to `bad`. Raises `DataError` for a file that is not SQuAD at all.
    """
    value = read_json(path, read_text(path, encoding))
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise DataError(f"`{path}` is not a SQuAD file: it has no list `data`", hint=SQUAD_HINT)
    names = (*COLUMNS, IMPOSSIBLE)
    rows = list(_rows(path, value["data"], bad))
    return Table(str(path), {name: [row.get(name) for row in rows] for name in names})


def in_one_form(table: Table) -> Table:
    """A table of questions in the form that a SQuAD file is read into: with ids, and a column `answers`.

    Where there are no ids, row numbers are used. Answers that a cell spells as text, as pandas writes them, are parsed;
    a column of single answers, `ANSWER`, replaces `answers`. Raises `DataError` without questions or contexts.
    """
    for name in COLUMNS[1:3]:
        table.column(name)
    columns = dict(table.columns)
    if "id" not in columns:
        columns["id"] = [str(row + 1) for row in range(len(table))]
    if "answers" in columns:
        columns["answers"] = [_parsed(cell) for cell in columns["answers"]]
    elif single := next((name for name in ANSWER if name in columns), None):
        starts = columns.get(START, [None] * len(table))
        columns["answers"] = [
            _parsed(cell) if is_empty(start) or not isinstance(cell, str) else [{"text": cell, START: _whole(start)}]
            for cell, start in zip(columns[single], starts, strict=True)
        ]
    if IMPOSSIBLE in columns:
        columns[IMPOSSIBLE] = [str(cell).strip().lower() in ("true", "1", "1.0") for cell in columns[IMPOSSIBLE]]
    return replace(table, columns=columns)


def _parsed(cell: Any) -> Any:
    """The value that a cell spells; text that spells none is itself the answer."""
    if is_empty(cell):
        return None
    if not isinstance(cell, str):
        return cell
    parsed = parsed_cell(cell) if cell.lstrip().startswith(("{", "[")) else cell
    return [cell] if isinstance(parsed, str) else parsed


def _whole(cell: Any) -> Any:
    """A whole number written as text or with a fraction of zero, as in tables that also have empty cells."""
    try:
        return int(float(cell)) if float(cell).is_integer() else cell
    except (TypeError, ValueError, OverflowError):
        return cell


def is_null(answers: Any, impossible: Any) -> bool:
    """Whether a row says that its context does not answer its question, by an empty list or by `IMPOSSIBLE`."""
    return bool(impossible) or (isinstance(answers, list | dict) and not has_answers(answers))


def nulls(table: Table) -> int:
    """How many questions of `table` are marked as having no answer."""
    impossible = table.columns.get(IMPOSSIBLE) or [None] * len(table)
    return sum(map(is_null, table.columns.get("answers", ()), impossible))


def question_split(
    name: str, table: Table, bad: BadRows, *, labelled: bool = True, null_answers: bool = False
) -> QuestionSplit:
    """The questions of `table` that can be used; the others are reported to `bad`.

    A question has a unique id, a text, a context and at least one answer, which stands in the context at its
    `answer_start` (in characters) or, without one, where it first occurs. Answers are `{"text": […], "answer_start":
    […]}`, a list of `{"text": …, "answer_start": …}`, or a list of texts. Unless `labelled`, all answers may be absent;
    with `null_answers` a question may have none (`is_null`).
    Raises `DataError` that names file and row if no question is left.
    """
    cells = [table.column(column) for column in COLUMNS[:3]]
    hidden = not labelled and not any(map(has_answers, table.columns.get("answers", ())))
    answers = [None] * len(table) if hidden else table.column("answers")
    impossible = table.columns.get(IMPOSSIBLE) or [None] * len(table)
    seen: dict[str, int] = {}
    contexts: dict[str, str] = {}
    found: list[tuple[int, str, str, str, tuple[Answer, ...]]] = []
    guessed = 0
    for row in range(len(table)):
        try:
            key = _id(table, row, cells[0][row], seen)
            place = f"{table.place(row)}, question `{shown(key)[1:-1]}`"
            question, context = (
                _text(place, column, values[row])
                for column, values in zip(("question", "context"), cells[1:], strict=True)
            )
            context = contexts.setdefault(context, context)
            null = not hidden and is_null(answers[row], impossible[row])
            if null:
                _check_null(place, answers[row], impossible[row], null_answers)
            pairs = [] if hidden or null else _pairs(place, answers[row])
            right = (NO_ANSWER,) if null else tuple(_answer(place, context, text, start) for text, start in pairs)
        except DataError as error:
            bad.meet(error)
        else:
            seen[key] = row
            found.append((row, key, question, context, right))
            guessed += any(start is None and context.count(text) > 1 for text, start in pairs)
    if not found:
        raise DataError(f"`{table.where}` has no question that can be used", hint=bad.first)
    if guessed:
        warn(
            f"`{table.where}`: answers to {guessed:,} question(s) have no `{START}` and stand several times in the "
            "context; the first place counts"
        )
    rows, keys, questions, texts, golds = zip(*found, strict=True)
    return QuestionSplit(name, questions, texts, None if hidden else golds, rows, keys, table.where, null_answers)


def hold_out_contexts(split: QuestionSplit, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """(kept, held out) positions of questions on at least two contexts, a `fraction` of which is held out.

    No context is on both sides, so the score is on unseen contexts. Raises `DataError` for a single context.
    """
    number = {context: n for n, context in enumerate(dict.fromkeys(split.contexts))}
    if len(number) < 2:
        raise DataError("all training questions are about one context, so none can be held out", hint="set task.dev")
    aside = set(hold_out(len(number), fraction, seed=seed)[1])
    held_out = [row for row, context in enumerate(split.contexts) if number[context] in aside]
    return [row for row, context in enumerate(split.contexts) if number[context] not in aside], held_out


def _rows(path: Path, articles: list[Any], bad: BadRows) -> Iterator[dict[str, Any]]:
    for a, article in enumerate(articles, start=1):
        for p, paragraph in enumerate(_listed(path, article, "paragraphs", f"article {a}", bad), start=1):
            place = f"article {a}, paragraph {p}"
            for q, question in enumerate(_listed(path, paragraph, "qas", place, bad), start=1):
                if isinstance(question, dict):
                    yield {**question, "context": paragraph.get("context")}
                else:
                    bad.meet(DataError(f"`{path}`, {place}: question {q} is not an object but {shown(question)}"))


def _listed(path: Path, parent: Any, name: str, place: str, bad: BadRows) -> list[Any]:
    """The list `name` of an object of the file."""
    if isinstance(parent, dict) and isinstance(parent.get(name), list):
        return parent[name]
    bad.meet(DataError(f"`{path}`, {place}: there is no list `{name}`", hint=SQUAD_HINT))
    return []


def _id(table: Table, row: int, cell: Any, seen: Mapping[str, int]) -> str:
    whole = isinstance(cell, int) and not isinstance(cell, bool)
    key = _text(table.place(row), "id", str(cell) if whole else cell)
    if key in seen:
        raise DataError(
            f"{table.place(row)}: the id `{shown(key)[1:-1]}` is also that of row {seen[key] + 1}",
            hint="every question needs an id of its own, by which its prediction is found",
        )
    return key


def _text(place: str, name: str, cell: Any) -> str:
    if not isinstance(cell, str) or not cell.strip():
        what = "is missing" if cell is None else "is empty" if isinstance(cell, str) else f"is {shown(cell)}"
        raise DataError(f"{place}: `{name}` {what}", hint="every question needs an id, a text and a context")
    refuse_surrogates(place, name, cell)
    return cell


def has_answers(cell: Any) -> bool:
    """Whether a cell of the column `answers` has any, in one of its forms."""
    return bool(cell.get("text") if isinstance(cell, dict) else cell)


def _pairs(place: str, cell: Any) -> list[tuple[Any, Any]]:
    """The text and start of each answer of a question; no start where the cell has none."""
    if isinstance(cell, dict):
        texts, starts = cell.get("text"), cell.get(START)
        if starts is None and isinstance(texts, list):
            starts = [None] * len(texts)
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError(
                f"{place}: `answers` is {shown(cell)}", hint='{"text": […], "answer_start": […]}, two lists as long'
            )
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(cell, list) and all(isinstance(one, dict | str) for one in cell):
        pairs = [(one, None) if isinstance(one, str) else (one.get("text"), one.get(START)) for one in cell]
    elif cell is None:
        pairs = []
    else:
        raise DataError(f"{place}: `answers` is {shown(cell)}", hint='[{"text": …, "answer_start": …}]')
    if not pairs:
        raise DataError(f"{place} has no answer", hint=NO_ANSWER_HINT)
    return pairs


def _check_null(place: str, answers: Any, impossible: Any, null_answers: bool) -> None:
    if not null_answers:
        marked = f" (`{IMPOSSIBLE}`), as in SQuAD 2" if impossible else ""
        raise DataError(f"{place} has no answer{marked}", hint=ALWAYS_HINT)
    if impossible and has_answers(answers):
        raise DataError(f"{place}: `{IMPOSSIBLE}` is true, and there are answers", hint="one of both is wrong")


def _answer(place: str, context: str, text: Any, start: Any) -> Answer:
    _text(place, "answer text", text)
    if start is None:
        if text not in context:
            raise DataError(f"{place}: the answer {shown(text)} is not in its context", hint=PART_HINT)
        return Answer(text, context.index(text))
    if not isinstance(start, int) or isinstance(start, bool):
        raise DataError(f"{place}: `{START}` is {shown(start)}", hint="the number of a character, from 0")
    if start < 0 or not context.startswith(text, start):
        there = context[start : start + len(text)] if start >= 0 else ""
        raise DataError(
            f"{place}: the answer {shown(text)} is not at character {start} of its context, where "
            + (f"{shown(there)} stands" if there else "there is nothing"),
            hint="answer_start counts characters, not bytes, from 0",
        )
    return Answer(text, start)
