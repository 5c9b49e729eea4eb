"""The kind of task of a table if `task.kind` is not set: the rules are in `infer_kind`, one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distiller.config import Task
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.conll import is_conll
from distiller.tasks.data import Kind
from distiller.tasks.labels import finite_number
from distiller.tasks.multilabel import divides_names, holds_flags, holds_names, one_name_each, without_lists
from distiller.tasks.questions import COLUMNS
from distiller.tasks.soft_labels import read_soft
from distiller.tasks.table import Table
from distiller.tasks.tagging import holds_lists
from distiller.tasks.word_rows import numbering
from distiller.tasks.written_numbers import Reading


class Guess(NamedTuple):
    """A kind of task, and the reason for the guess."""

    kind: Kind
    why: str


def infer_kind(task: Task, train: Table, declared: Mapping[str, Sequence[str]], reading: Reading | None) -> Guess:
    """The kind of task of the training rows.

    `declared` are the class names that a data set states, by column; `reading` is how numbers are written in the label
    column. A column of mostly numbers, some of them fractions or quantities with units, is a regression: other cells
    are then reported as errors instead of becoming classes. Numbers that are all whole (1.0, 0.0) are classes.
    """
    if set(COLUMNS[1:3]) <= set(train.columns) and task.label not in train.columns:
        return Guess("qa", "questions and contexts")
    if is_conll(train.where, tagging=False):
        return Guess("tagging", "a CoNLL file")
    if holds_lists(train, task.text) and holds_lists(train, task.label):  # before votes, which repeat like tags
        column = numbering(train.columns, task.text, task.label)
        why = f"the words of each `{column}`" if column else f"lists in `{task.label}`"
        return Guess("tagging", why)
    if read_soft(task, train, bad=BadRows(leave_out=True)):  # bad rows are reported when they are read
        return Guess("classification", "probabilities of classes")
    if not task.labels and task.label not in declared:
        single = without_lists(train, task.label)
        cells = (single if reading is None else reading.of(single, task.label)).columns.get(task.label, ())
        numbers, words = _numbers(cells)
        if len(numbers) > words and not all(number.is_integer() for number in numbers):
            return Guess("regression", f"numbers with fractions in `{task.label}`")
        if len(numbers) > words and reading is not None and reading.measures:
            return Guess("regression", f"numbers such as `{reading.example}` in `{task.label}`")
    if one_name_each(train, task.label):
        return Guess("classification", f"lists of one name each in `{task.label}`; several need task.kind=multilabel")
    if holds_flags(train, task.label):
        return Guess("multilabel", f"true and false for each class in `{task.label}`")
    if holds_names(train, task.label):
        return Guess("multilabel", f"lists of class names in `{task.label}`")
    if holds_lists(train, task.label):
        return Guess("multilabel", f"lists in `{task.label}`")
    if mark := divides_names(train.columns.get(task.label, ())):
        return Guess("multilabel", f"class names between `{mark}` in `{task.label}`")
    if task.labels:
        return Guess("classification", "task.labels")
    if task.label in declared:
        return Guess("classification", "the classes that the data set declares")
    train.column(task.label)  # raises an error for an absent column
    return Guess("classification", f"words or whole numbers in `{task.label}`")


def _numbers(cells: Sequence[Any]) -> tuple[list[float], int]:
    """The finite numbers in a column, and the number of other non-empty cells."""
    numbers: list[float] = []
    words = 0
    for cell in cells:
        number = finite_number(cell)
        if number is not None:
            numbers.append(number)
        elif cell is not None and not isinstance(cell, float) and str(cell).strip():
            words += 1
    return numbers, words
