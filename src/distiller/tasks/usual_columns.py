"""Which columns hold the texts and the label, where `task.text` and `task.label` name none that is there."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from distiller.config import Task
from distiller.tasks.labels import finite_number
from distiller.tasks.questions import COLUMNS as QUESTION_COLUMNS
from distiller.tasks.table import Table, is_empty
from distiller.tasks.written_lists import parsed_cell

PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
)
"""What data sets of this field call the two texts of a pair."""

SINGLES = ("text", "sentence", "review", "comment", "content", "tweet", "message", "utterance", "tokens", "words")
"""What they call a single text."""

LABELS = (
    *("label", "labels", "gold_label", "target", "class", "category", "sentiment", "polarity", "emotion", "intent"),
    *("topic", "stars", "rating", "score", "similarity", "is_duplicate", "tags", "ner_tags"),
)
"""What they call the label."""

USUAL = (*SINGLES, *(name for pair in PAIRS for name in pair), *LABELS)

LOOKED_AT = 1_000
"""Cells of a column that decide whether it is one of texts."""


def usual_columns(task: Task, tables: Mapping[str, Table]) -> dict[str, str]:
    """The columns to read as `text`, `text_pair` and `label`, where `task` leaves them open and there is one choice.

    A column called `text` or `label` is the one, in any case. Else the label is the only column whose name is one of
    `LABELS`, and the texts are the only pair of `PAIRS`, or the only column of texts beside the label. Where several
    would do, and for questions that a context answers, nothing is taken.
    """
    train = tables["train"]
    names = {name.strip().casefold(): name for name in train.columns if name not in train.doubled}
    if set(QUESTION_COLUMNS[1:3]) <= names.keys() and task.label not in names:
        return {}
    found: dict[str, str] = {}
    flags = task.labels if task.labels and set(task.labels) <= train.columns.keys() else []
    if _is_open(task, "label") and not flags and not any(task.label in table.columns for table in tables.values()):
        called = [names[name] for name in LABELS if name in names]
        if task.label in names or len(called) == 1:
            found["label"] = called[0]
    if not _is_open(task, "text") or task.text_pair is not None:
        return found
    beside = {found.get("label", task.label), *flags}
    known = any(beside & table.columns.keys() for table in tables.values())
    found |= _texts(task, train, names, beside, single=known)
    order = [field for field in ("text", "text_pair", "label") if field in found]
    return {field: found[field] for field in order if found[field] != Task.model_fields[field].default}


def usual_texts(table: Table, *, pairs: bool) -> dict[str, str]:
    """The columns to read as `text` and `text_pair` of texts without labels, for a model that reads `pairs` or not.

    A header that does not look like one may be the first text of a file without a header: then there are none.
    """
    if not all(map(str.isidentifier, table.columns)):
        return {}
    names = {name.strip().casefold(): name for name in table.columns if name not in table.doubled}
    found = _texts(Task(), table, names, set(), single=not pairs)
    return found if ("text_pair" in found) == pairs else {}


def _texts(
    task: Task, train: Table, names: Mapping[str, str], beside: Collection[str], *, single: bool
) -> dict[str, str]:
    """The columns of the texts; `single` admits any one column of texts, other than those `beside` it."""
    pairs = [(names[one], names[other]) for one, other in PAIRS if one in names and other in names]
    if pairs and (len(pairs) == 1 or pairs[0][0] == task.text):
        return dict(zip(("text", "text_pair"), pairs[0], strict=True))
    if task.text in names:
        return {"text": names[task.text]}
    if pairs or not single:
        return {}
    only = [name for name in train.columns if name not in beside and _mostly(train, name, _is_worded)]
    if len(only) > 1:  # identifiers and names of authors have words, but no sentences
        only = [name for name in only if _mostly(train, name, _is_sentence)]
    return {"text": only[0]} if len(only) == 1 else {}


def _is_open(task: Task, field: str) -> bool:
    return getattr(task, field) == Task.model_fields[field].default


def _mostly(table: Table, name: str, holds: Callable[[Any], bool]) -> bool:
    """Whether more than half of the cells of a column, empty ones aside, are so."""
    cells = [cell for cell in table.columns[name][:LOOKED_AT] if not is_empty(cell)]
    return 2 * sum(map(holds, cells)) > len(cells)


def _is_worded(cell: Any) -> bool:
    return (isinstance(cell, str) and finite_number(cell) is None) or _is_list_of_words(cell)


def _is_sentence(cell: Any) -> bool:
    return _is_list_of_words(cell) or len(cell.split()) > 1


def _is_list_of_words(cell: Any) -> bool:
    cell = parsed_cell(cell)
    return isinstance(cell, list) and bool(cell) and all(isinstance(word, str) for word in cell)
