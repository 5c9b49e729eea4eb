"""Holding out development rows: of every class, and none whose text is also in a training row."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit, sample
from distiller.tasks.questions import hold_out_contexts
from distiller.tasks.table import short


class HeldOut(NamedTuple):
    """The two parts, and notes on them."""

    train: AnySplit
    dev: AnySplit
    notes: list[str]


def hold_out_rows(rows: AnySplit, task: Task, labels: Sequence[str], *, where: str) -> HeldOut:
    """Hold out `task.dev_fraction` of `rows`, chosen by `task.split_seed`; `where` is their source.

    Classes are held out in proportion, at least one row of each class that has two. No development text is also a
    training text: texts that occur more than once stay in `train`; if too few texts occur once, either all rows of a
    text are held out or none. For questions, whole contexts are held out. Raises `DataError` if no row can be held
    out, or if every class has but one row.
    """
    if len(rows) < 2:
        raise DataError(f"`{where}` has one row, too few to hold any out", hint="name a file in task.dev")
    if isinstance(rows, QuestionSplit):
        kept, aside = hold_out_contexts(rows, task.dev_fraction, seed=task.split_seed)
        return HeldOut(rows.take(kept), rows.take(aside, name="dev"), ["dev is held out of train, by context"])
    classes = _classes(rows, labels)
    if classes is not None and len(set(classes)) == len(classes):
        raise DataError(
            f"`{where}`: each of the {len(rows):,} classes has one row, and what is held out would not be learnt",
            hint="more rows of each; or name a file in task.dev",
        )
    same = _rows_of_texts(rows)
    if len(same) < 2:
        raise DataError(
            f"`{where}`: the text of all {len(rows):,} rows is the same, so there is nothing to learn",
            hint=f"task.text names the column of the text, which is `{task.text}` now",
        )
    once = [positions[0] for positions in same if len(positions) == 1]
    repeating = len(rows) - len(once)
    size = min(max(1, round(len(rows) * task.dev_fraction)), len(rows) - 1)
    if 2 * size <= len(once):
        aside = _chosen(classes, once, size, seed=task.split_seed)
        told = f"{repeating:,} rows of train repeat a text, and none of them is held out"
    else:
        texts = [text for text, positions in enumerate(same) if len(positions) <= size] or list(range(len(same)))
        count = min(max(1, round(len(same) * task.dev_fraction)), len(same) - 1, len(texts))
        first = None if classes is None else [classes[positions[0]] for positions in same]
        chosen = _chosen(first, texts, count, seed=task.split_seed)
        aside = sorted(position for text in chosen for position in same[text])
        told = f"{repeating:,} rows repeat a text, and all rows of a text are held out, or none"
    gone = set(aside)
    notes = [f"dev is held out of train{', by class' if classes else ''} (task.dev_fraction)"]
    if repeating:
        notes.append(told)
    if classes is not None:
        missing = sorted(set(classes) - {classes[row] for row in aside})
        if missing:
            named = ", ".join(
                f"`{short(labels[one])}` ({classes.count(one)} of {len(rows):,} rows)" for one in missing[:5]
            )
            named += ", …" if len(missing) > 5 else ""
            notes.append(f"no row of {len(missing)} class(es) is among the held-out ones: {named}")
    train = rows.take(row for row in range(len(rows)) if row not in gone)
    return HeldOut(train, rows.take(aside, name="dev"), notes)


def keys(rows: AnySplit) -> list[Hashable]:
    """What identifies each row (text, pair, words, question and context), regardless of case and white space."""
    if isinstance(rows, TaggedSplit):
        return [tuple(word.casefold() for word in words) for words in rows.words]
    if isinstance(rows, QuestionSplit):
        return list(zip(rows.questions, rows.contexts, strict=True))
    texts = [_plain(text) for text in rows.texts]
    return list(texts if rows.pairs is None else zip(texts, map(_plain, rows.pairs), strict=True))


def stratified(classes: Sequence[int], candidates: Sequence[int], size: int, *, seed: int) -> list[int]:
    """`size` of the `candidates` (positions in `classes`) in ascending order, from each class in proportion.

    From a class of two or more rows at least one is taken and at least one is left; if `size` is smaller than the
    number of classes, the largest classes come first. The rest goes to the classes with the largest remainders.
    """
    members: Mapping[int, list[int]] = defaultdict(list)
    for row in candidates:
        members[classes[row]].append(row)
    rows_of = Counter(classes)
    room = {one: min(len(rows), rows_of[one] - 1) for one, rows in members.items()}
    order = sorted((one for one in room if room[one] > 0), key=lambda one: (-rows_of[one], one))
    wanted = {one: size * rows_of[one] / len(classes) for one in order}
    taken = dict.fromkeys(order, 0)
    for one in order[:size]:
        taken[one] = min(room[one], max(1, int(wanted[one])))
    while sum(taken.values()) > size:  # many small classes took one: large ones give some back
        largest = max((one for one in order if taken[one] > 1), key=lambda one: taken[one] - wanted[one])
        taken[largest] -= 1
    while sum(taken.values()) < size and any(taken[one] < room[one] for one in order):
        open_ = [one for one in order if taken[one] < room[one]]
        taken[max(open_, key=lambda one: wanted[one] - taken[one])] += 1
    chosen: list[int] = []
    for one in order:
        chosen += [members[one][position] for position in sample(len(members[one]), taken[one], seed=seed)]
    if not chosen:  # every class has only one row
        return _chosen(None, candidates, size, seed=seed)
    return sorted(chosen)


def _classes(rows: AnySplit, labels: Sequence[str]) -> list[int] | None:
    """The class of each row, if each has exactly one."""
    if not isinstance(rows, Split) or not labels or rows.labels is None:
        return None
    classes = [label for label in rows.labels if isinstance(label, int)]  # several at once are tuples
    return classes if len(classes) == len(rows.labels) else None


def _chosen(classes: Sequence[int] | None, candidates: Sequence[int], size: int, *, seed: int) -> list[int]:
    """`size` of the `candidates`, stratified by `classes` if there are any."""
    if classes is None:
        return [candidates[position] for position in sample(len(candidates), size, seed=seed)]
    return stratified(classes, candidates, size, seed=seed)


def _rows_of_texts(rows: AnySplit) -> list[list[int]]:
    """The positions of the rows of each distinct text, in the order of first occurrence."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys(rows)):
        found[key].append(position)
    return list(found.values())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
