"""Tables with one word in each row, and a column that says which sentence the word belongs to."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distiller.tasks.entities import marks_entities
from distiller.tasks.table import Table, is_empty

NUMBERING = re.compile(r"sent(ence)?s?([\W_]|id|$)", re.IGNORECASE)
"""How the column begins that says of which sentence a word is: `Sentence #`, `sentence_id`, `sent_idx`."""

UNIVERSAL = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
PENN = (
    "CC CD DT EX FW IN JJ JJR JJS LS MD NN NNS NNP NNPS PDT POS PRP PRP$ RB RBR RBS RP SYM TO UH VB VBD VBG VBN VBP "
    "VBZ WDT WP WP$ WRB"
)
PARTS_OF_SPEECH = {*UNIVERSAL.split(), *PENN.split()}
"""Of Universal Dependencies and of the Penn Treebank."""


def tags_words(labels: Collection[str]) -> bool:
    """Whether labels are those of words: they mark entities, or are at least three parts of speech."""
    parts = {label for label in labels if any(map(str.isalpha, label))}
    return marks_entities(list(labels)) or (len(parts) >= 3 and parts <= PARTS_OF_SPEECH)


def numbering(columns: Mapping[str, Sequence[Any]], *read: str | None) -> str | None:
    """The column of `columns`, besides those that are `read`, that says which sentence each word belongs to."""
    return next((name for name in columns if NUMBERING.match(name) and name not in read), None)


def with_sentences(table: Table, *, text: str, label: str | None, tagging: bool = True) -> Table:
    """`table` with one row a sentence, whose cells are lists, where each of its rows is a word.

    Rows are taken for words if a column gives the sentence of each word (or of the first), sentences have several
    words, and the task is known to be `tagging` or the tags are those of words (`tags_words`). A sentence's line is
    that of its first word.
    """
    column = numbering(table.columns, text, label)
    words, tags = table.columns.get(text, ()), table.columns.get(label or "", ())
    if column is None or not words or any(isinstance(cell, str) and len(cell.split()) > 1 for cell in (*words, *tags)):
        return table
    if not tagging and not tags_words({str(tag) for tag in tags if not is_empty(tag)}):
        return table
    starts: list[int] = []
    last: Any = None
    for row, cell in enumerate(table.columns[column]):
        if row == 0 or not (is_empty(cell) or cell == last):
            starts.append(row)
        last = last if is_empty(cell) else cell
    if 2 * len(starts) > len(table):
        return table
    ends = [*starts[1:], len(table)]
    columns = {
        name: [tuple(cells[start:end]) for start, end in zip(starts, ends, strict=True)]
        for name, cells in table.columns.items()
        if cells
    }
    lines = None if table.lines is None else [table.lines[start] for start in starts]
    return replace(table, columns=columns, lines=lines, origin=None, places=None)
