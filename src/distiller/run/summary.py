"""The data of a run in words, before anything is trained: kind, classes and their shares, lengths, rows left out."""

import textwrap
from collections import Counter
from collections.abc import Mapping

import numpy as np

from distiller.tasks.data import NO_ANSWER, AnySplit, QuestionSplit, Split, TaggedSplit, TaskData
from distiller.tasks.encode import IGNORED, EncodedSplit
from distiller.tasks.table import short

SHOWN = 8
"""Classes that are named; of more the largest."""


def data_lines(data: TaskData, splits: Mapping[str, EncodedSplit], max_length: int) -> list[str]:
    """Lines for people: one for the task, one for each split, one for each note. `splits` are tokenized."""
    classes = f" of {len(data.labels)} classes" if data.labels else ""
    lines = [f"data      {data.name}: {data.kind}{classes}, scored by {', '.join(data.metrics)}"]
    for name, split in data.splits.items():
        parts = [f"{len(split):,} {'row' if len(split) == 1 else 'rows'}", _labels_of(split, data.labels)]
        if name in splits:
            parts.append(_lengths(splits[name], max_length))
        lines.append(f"{name:9} " + "; ".join(part for part in parts if part))
        skipped = data.skipped.get(name, 0) + (splits[name].skipped if name in splits else 0)
        if skipped:
            lines.append(f"{'':10}{skipped:,} more could not be used and {'is' if skipped == 1 else 'are'} left out")
    return [*lines, *(f"{'':10}{note}" for note in data.notes)]


def folded(line: str, width: int) -> str:
    """A line of `data_lines`, wrapped to `width` characters; paths and numbers stay whole."""
    return textwrap.fill(line, width, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False)


def _labels_of(split: AnySplit, labels: tuple[str, ...]) -> str:
    """Shares of the classes, or the range of the numbers."""
    if isinstance(split, QuestionSplit):
        none = sum(right == (NO_ANSWER,) for right in split.answers or ())
        return f"about {len(set(split.contexts)):,} contexts" + (f", {none:,} without an answer" if none else "")
    given = split.tags if isinstance(split, TaggedSplit) else split.labels
    if given is None:
        return "without labels"
    if isinstance(split, Split) and not labels:
        numbers = np.asarray(given, dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        return f"from {numbers.min():g} to {numbers.max():g}, {numbers.mean():.3g} on average" if len(numbers) else ""
    counts: Counter[int] = Counter()
    if isinstance(split, TaggedSplit):
        for tags in split.tags or ():
            counts.update(tags)
    else:
        for label in split.labels or ():
            if isinstance(label, tuple):  # several at once
                counts.update(number for number, there in enumerate(label) if there > 0.5)
            else:
                counts[int(label)] += 1
    del counts[IGNORED]
    several = isinstance(split, Split) and isinstance(next(iter(split.labels or ()), 0), tuple)
    total = len(split) if several else counts.total()  # of rows: the shares may add up to more than 100 %
    named = counts.most_common(SHOWN)
    shares = [f"{short(labels[int(one)])} {_percent(count / total)}" for one, count in named]
    rest = len(counts) - len(named)
    absent = [short(label) for number, label in enumerate(labels) if number not in counts]
    more = [f"{rest} more, the smallest {_percent(min(counts.values()) / total)}"] if rest else []
    none = [f"none of {', '.join(absent[:SHOWN])}{', …' if len(absent) > SHOWN else ''}"] if absent else []
    return ", ".join([*shares, *more, *none])


def _lengths(split: EncodedSplit, max_length: int) -> str:
    middle, longest = int(np.median(split.lengths)), max(split.lengths)
    cut = f", {split.truncated:,} cut at {max_length}" if split.truncated else ""
    return f"{middle} tokens in the middle, {longest} at most{cut}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
