"""Sentences of tagged words from tables whose cells are lists: what makes a row usable, and what the tags are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.conll import is_conll
from distiller.tasks.data import TaggedSplit
from distiller.tasks.entities import check_installed, marks_entities
from distiller.tasks.labels import class_numbers
from distiller.tasks.table import Table, listed, refuse_surrogates, shown
from distiller.tasks.text_files import ending
from distiller.tasks.usable import usable_rows
from distiller.tasks.words import words_of


@dataclass(frozen=True)
class Sentence:
    """One usable row of a table."""

    row: int
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    """As they are written, one for each word; `None`: unlabelled."""


def with_conllu_columns(task: Task) -> Task:
    """`task` with FORM for the words and UPOS for the tags of .conllu files, unless it names the columns itself."""
    if task.columns is not None or ending(task.train or "") != ".conllu":
        return task
    default = Task.model_fields
    columns = {"text": "form", "label": "upos"}
    return task.model_copy(
        update={name: column for name, column in columns.items() if getattr(task, name) == default[name].default}
    )


def places_taken(table: Table, task: Task) -> list[str]:
    """A note on which columns of a CoNLL file were assumed to be words and tags, where nobody named them."""
    names = list(table.columns)
    guessed = task.columns is None and is_conll(table.where, tagging=True) and ending(table.where) != ".conllu"
    if not guessed or names == [task.text, task.label] or not {task.text, task.label} <= set(names):
        return []
    word, tag = names.index(task.text) + 1, names.index(task.label) + 1
    return [f"words are taken from column {word} of {len(names)}, tags from column {tag} (task.columns names others)"]


def holds_lists(table: Table, column: str) -> bool:
    """Whether a column exists and its first cell is a list, as tags are."""
    return isinstance(next((cell for cell in table.columns.get(column, ()) if cell is not None), None), list | tuple)


def sentences(table: Table, task: Task, bad: BadRows, *, labelled: bool = True) -> list[Sentence]:
    """The rows of `table` whose words and tags can be used; the others are reported to `bad`.

    A row has at least one word, no empty word or tag, and one tag for each word. Unless `labelled`, the tags may be
    hidden: no such column, or nothing in it. Raises `DataError` that names file and row if no row is left.
    """
    words = table.column(task.text)
    tags = None if not labelled and _hidden(table, task.label) else table.column(task.label)
    found: list[Sentence] = []
    for row in range(len(table)):
        try:
            texts = _entries(table, row, task.text, words[row])
            names = None if tags is None else _tags(table, row, task.label, tags[row], len(texts))
        except DataError as error:
            bad.meet(error)
        else:
            found.append(Sentence(row, texts, names))
    if not found:
        raise DataError(f"`{table.where}` has no sentence that can be used", hint=bad.first)
    return found


def untagged(table: Table, task: Task, bad: BadRows) -> tuple[Table, list[tuple[str, ...]]]:
    """The rows whose words can be used, and their words, from a column of lists or of texts."""
    column = task.text
    if not holds_lists(table, column):
        single = task.model_copy(update={"text_pair": None})
        table = usable_rows(table, single, "tagging", bad, labels=None, labelled=False)
        return table, [tuple(words_of(line)) for line in table.texts(column)]
    listed = replace(table, columns={column: table.column(column)})
    found = sentences(listed, task, bad, labelled=False)
    kept = [one.row for one in found]
    return (table if len(kept) == len(table) else table.take(kept)), [one.words for one in found]


def written_tags(found: Sequence[Sentence]) -> set[str]:
    """Every tag in the sentences, as written."""
    return {tag for sentence in found for tag in sentence.tags or ()}


def tagged_split(
    name: str, table: Table, found: Sequence[Sentence], labels: Sequence[str], bad: BadRows, *, label: str
) -> TaggedSplit:
    """The sentences with their tags as ids; a sentence with a tag outside `labels` is reported to `bad`.

    A tag may also be written as its id, where `labels` are words. Raises `DataError` if no sentence is left.
    """
    ids = class_numbers(labels, written_tags(found))
    kept: list[Sentence] = []
    for sentence in found:
        word = next((word for word, tag in enumerate(sentence.tags or ()) if tag not in ids), None)
        if word is None or sentence.tags is None:
            kept.append(sentence)
            continue
        bad.meet(
            DataError(
                f"{table.place(sentence.row)}, word {word + 1}: `{label}` is {shown(sentence.tags[word])}, which is "
                "not in the tag set",
                hint=f"the tag set, that of the training data or of task.labels, is {listed(labels)}",
            )
        )
    if not kept:
        raise DataError(f"`{table.where}` has no sentence that can be used", hint=bad.first)
    tags = tuple(None if one.tags is None else tuple(ids[tag] for tag in one.tags) for one in kept)
    return TaggedSplit(
        name=name,
        words=tuple(one.words for one in kept),
        tags=None if kept[0].tags is None else tuple(row for row in tags if row is not None),
        ids=tuple(one.row for one in kept),
        source=table.where,
    )


def metrics_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Entity metrics where tags mark entities, word metrics otherwise. Raises `MissingPackageError` without seqeval."""
    if marks_entities(labels):
        check_installed()
        return ("entity_f1", "entity_precision", "entity_recall", "token_accuracy")
    return ("token_accuracy", "token_f1_macro")


def _hidden(table: Table, label: str) -> bool:
    """Whether there are no tags at all, as in the test splits of competitions."""
    return all(
        cell is None or (isinstance(cell, list | tuple) and all(tag is None for tag in cell))
        for cell in table.columns.get(label, ())
    )


def _tags(table: Table, row: int, column: str, cell: Any, words: int) -> tuple[str, ...]:
    tags = _entries(table, row, column, cell, numbers=True)
    if len(tags) != words:
        raise DataError(
            f"{table.place(row)}: {words} word(s) but {len(tags)} tag(s) in `{column}`", hint="each word has one tag"
        )
    return tags


def _entries(table: Table, row: int, column: str, cell: Any, *, numbers: bool = False) -> tuple[str, ...]:
    """A cell as a list of non-empty texts. With `numbers`, whole numbers count as texts too."""
    if not isinstance(cell, list | tuple):
        what = "is missing" if cell is None else f"is not a list but {shown(cell)}"
        raise DataError(
            f"{table.place(row)}: `{column}` {what}", hint='a list for each sentence: ["one", "word", "each"]'
        )
    if not cell:
        raise DataError(f"{table.place(row)}: `{column}` is an empty list", hint="every sentence needs a word")
    texts: list[str] = []
    for position, entry in enumerate(cell, start=1):
        text = str(entry) if numbers and isinstance(entry, int) and not isinstance(entry, bool) else entry
        if not isinstance(text, str) or not text:
            raise DataError(
                f"{table.place(row)}, word {position}: `{column}` is {shown(entry)}",
                hint="every word and every tag is a text of at least one character",
            )
        refuse_surrogates(f"{table.place(row)}, word {position}", column, text)
        texts.append(text)
    return tuple(texts)
