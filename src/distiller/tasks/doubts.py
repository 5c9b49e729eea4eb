"""Notes on suspicious labels and rows, to be read before anything is trained."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from unicodedata import category, normalize

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.data import AnySplit, Split
from distiller.tasks.entities import marks_entities
from distiller.tasks.held_out import keys
from distiller.tasks.labels import TRUTHS, class_numbers, plainly
from distiller.tasks.table import Table, class_name, listed

MISSING = ("nan", "n/a", "#n/a", "na", "<na>", "null", "nil", "?", "-")
"""How missing values are written, regardless of case."""
NOTHING = "None"
"""How Python writes a missing value; `none` in lower case is a class, for nothing that applies."""

_DIGITS = re.compile(r"\d")


def doubtful_labels(column: str, labels: Sequence[str], train: Split) -> list[str]:
    """Notes on class names that may not be meant as classes, or not as different ones."""
    counts = Counter(label for label in train.labels or () if isinstance(label, int))
    notes: list[str] = []
    spelt: dict[str, list[str]] = defaultdict(list)
    seen: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        spelt[label.casefold()].append(label)
        seen[_seen(label)].append(label)
    for names, what in ((spelt, "in case only"), (seen, "in nothing that can be seen (kinds of blanks, of accents)")):
        alike = [name for same in names.values() if len(same) > 1 for name in same]
        if alike:
            notes.append(f"classes of their own, which differ {what}: {listed(alike)}")
    missing = [name for mark in MISSING for name in spelt[mark]]
    missing += [label for label in labels if label == NOTHING]
    missing += ["-1"] if labels[:2] == ("-1", "0") else []  # data sets with ids from 0 hide labels by -1
    for label in (*missing, *spelt[column.casefold()]):
        told = "the name of the column" if label.casefold() == column.casefold() else "often a missing value"
        rows = f"{counts[labels.index(label)]:,} rows"
        notes.append(f"`{label}`, {told}, is a class of {rows}; task.labels without it and --skip-bad leave them out")
    if marks_entities(labels):
        notes.append("classes look like tags of words; a tagging task has a list of words and one of tags in each row")
    if 2 * len(counts) > counts.total() > len(counts) / 2 and len(counts) > 2:
        notes.append(
            f"{len(counts):,} classes in {counts.total():,} rows: is `{column}` the column of the label? "
            "Numbers are a task.kind=regression, texts of another language a translation (distiller init nmt-hybrid)"
        )
    return notes


def _seen(name: str) -> str:
    """`name` as it looks to a reader: plain spaces, no zero-width characters, composed accents."""
    shown = "".join(letter for letter in normalize("NFC", name) if category(letter) != "Cf")
    return " ".join(shown.split())


def repeated_rows(train: AnySplit, dev: AnySplit) -> list[str]:
    """A note if rows of `dev` are also in `train`."""
    known = set(keys(train))
    count = sum(key in known for key in keys(dev))
    return [f"{count:,} of {len(dev):,} rows of dev are also in train, and their score says little"] if count else []


def refuse_header(task: Task, table: Table) -> None:
    """Raise `DataError` if the first row looks like a header: a few words with a label that no other row has, and
    without digits if the other labels have some."""
    texts, labels = table.columns.get(task.text, ()), [class_name(cell) for cell in table.columns.get(task.label, ())]
    if len(labels) < 3 or not all(isinstance(cell, str) and 0 < len(cell.split()) <= 3 for cell in texts[:1]):
        return
    counts = Counter(labels[1:])
    unlike = 2 * len(counts) <= len(labels) or all(map(_DIGITS.search, counts))
    if labels[0] and labels[0] not in counts and unlike and not _DIGITS.search(labels[0]):
        raise DataError(
            f"{table.place(0)}: {texts[0]!r}, {labels[0]!r} looks like a header, and task.columns is for files without",
            hint="leave task.columns out; or if it is a row like the others, put it further down",
        )


def taken_for_ids(
    task: Task, tables: Mapping[str, Table], labels: Sequence[str], declared: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """A note if numbers are read as ids of classes whose order was not given."""
    if task.labels or task.label in declared or any(map(str.isdigit, labels)):
        return []
    odd = [
        name
        for name, table in tables.items()
        if any(class_name(cell).isdigit() for cell in table.columns.get(task.label, ()))
    ]
    told = ", ".join(f"{number} `{label}`" for number, label in enumerate(labels[:5]))
    return [f"numbers in `{task.label}` of {', '.join(odd)} are taken for classes: {told} …"] if odd else []


def taken_for_others(task: Task, tables: Mapping[str, Table], labels: Sequence[str]) -> list[str]:
    """A note if names of classes stand for others that are written in a similar way."""
    notes: list[str] = []
    for split, table in tables.items():
        written: set[str] = set()
        for cell in table.columns.get(task.label, ()):
            written.update(map(class_name, cell if isinstance(cell, list | tuple) else [cell]))
        ids = class_numbers(labels, written)
        alike = [name for name in sorted(ids) if name not in labels and plainly(name) == plainly(labels[ids[name]])]
        alike = [name for name in alike if name.casefold() not in TRUTHS]
        if alike:
            others = listed(labels[ids[name]] for name in alike)
            notes.append(f"`{task.label}` of {split} has {listed(alike)}, taken for {others}")
    return notes
