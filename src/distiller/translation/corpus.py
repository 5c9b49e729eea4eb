"""The text of a translation run: usable pairs, those held out, and the share that a student sees."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.config.shapes import LONGEST
from distiller.config.translation import Parallel, Translation
from distiller.errors import DataError
from distiller.files import exists
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.text_files import ending
from distiller.translation.pairs import Pairs, read_lines, read_pairs, text_fingerprint

if TYPE_CHECKING:
    from distiller.translation.tokenizer import TranslationTokenizer

HELD_OUT, SHARE_HELD_OUT = 500, 0.1
"""Distinct sources that are held out by default, and the largest share of them."""


@dataclass(frozen=True)
class Splits:
    """The text of a run."""

    train: Pairs
    """All training pairs, from which teacher and vocabulary are trained."""
    dev: Pairs
    test: Pairs | None
    seen: Pairs
    """The training pairs that are available to the student."""
    monolingual: list[Pairs]
    backward: list[Pairs] = field(default_factory=list)
    """Text in the target language without sources; it is in `source`."""
    skipped: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    """SHA-256 of all sentences, before long ones are left out."""


def read_corpus(task: Translation) -> Splits:
    """Read the text of a task, check it, and hold out and choose pairs. Raises `DataError` naming file and line."""
    skipped: dict[str, int] = {}
    train = _usable_pairs(task.train, task, skipped, "train")
    dev = _usable_pairs(task.dev, task, skipped, "dev") if task.dev else None
    test = _usable_pairs(task.test, task, skipped, "test") if task.test else None
    if dev is None:
        train, dev = hold_out(train, task.held_out, seed=task.split_seed, name="dev")
    if test is None and task.hold_out_test:
        train, test = hold_out(train, task.held_out, seed=task.split_seed + 1, name="test")
    train = _limited(train, task.train.limit, task.split_seed)
    found = Splits(
        train=train,
        dev=_limited(dev, task.dev.limit if task.dev else None, task.split_seed),
        test=_limited(test, task.test.limit if task.test else None, task.split_seed) if test else None,
        seen=share(train, task.fraction, seed=task.split_seed),
        monolingual=[_usable_lines(name, task, skipped) for name in task.monolingual],
        backward=[_usable_lines(name, task, skipped) for name in task.monolingual_target],
        skipped=skipped,
    )
    tests = [found.test] if found.test else []
    texts = (found.train, found.dev, *tests, found.seen, *found.monolingual, *found.backward)
    return replace(found, fingerprint=text_fingerprint(*texts))


def read_split(parallel: Parallel, task: Translation, split: str) -> Pairs:
    """The pairs of one split, checked and limited as `task` says. Raises `DataError` naming file and line."""
    return _limited(_usable_pairs(parallel, task, {}, split), parallel.limit, task.split_seed)


def located(task: Translation) -> Translation:
    """`task` with absolute paths, so that it means the same in every folder."""

    def spelt(name: str) -> str:
        place = Path(name).expanduser()
        return str(place.resolve()) if exists(place) else name

    found: dict[str, Any] = {
        side: [spelt(name) for name in getattr(task, side)] for side in ("monolingual", "monolingual_target")
    }
    for split in ("train", "dev", "test"):
        pairs: Parallel | None = getattr(task, split)
        if pairs is not None:
            places = {"source": spelt(pairs.source), "target": pairs.target and spelt(pairs.target)}
            found[split] = pairs.model_copy(update=places)
    return task.model_copy(update=found)


def hold_out(pairs: Pairs, count: int | None, *, seed: int, name: str) -> tuple[Pairs, Pairs]:
    """(the pairs that share no side with the held-out ones; `count` distinct sources with their first translation)."""
    first: dict[str, int] = {}
    for row, source in enumerate(pairs.source):
        first.setdefault(source, row)
    if count is None:
        count = min(HELD_OUT, math.ceil(SHARE_HELD_OUT * len(first)))
    if len(first) <= count:
        raise DataError(
            f"`{pairs.name}` has {len(first)} distinct source sentences, {count} cannot be held out",
            hint="lower task.held_out, or name a file",
        )
    ranked = sorted(first, key=lambda source: hashlib.sha256(f"{seed} {source}".encode()).digest())
    held = pairs.take(sorted(first[source] for source in ranked[:count]))
    sources, targets = set(held.source), set(held.translations)
    rest = [
        row
        for row, (source, target) in enumerate(zip(pairs.source, pairs.translations, strict=True))
        if source not in sources and target not in targets
    ]
    return pairs.take(rest), Pairs(f"{pairs.name} ({name})", held.source, held.target, held.lines)


def share(pairs: Pairs, fraction: float, *, seed: int) -> Pairs:
    """A `fraction` of the pairs, at least one, chosen by `seed`; larger fractions contain the smaller ones."""
    if fraction == 1:
        return pairs
    order = random.Random(seed).sample(range(len(pairs)), len(pairs))
    return pairs.take(sorted(order[: max(1, round(fraction * len(pairs)))]))


def usable_sentences(
    name: str, vocabulary: "TranslationTokenizer | None", *, max_tokens: int, most: int = LONGEST, skip_bad: bool
) -> Pairs:
    """The sentences of a file (the first column of a .tsv file), none of them empty or too long.

    They have at most `max_tokens` tokens, and the `most` that the model takes. Raises `DataError` for the first
    unusable one; with `skip_bad`, unusable ones are left out and counted in a warning.
    """
    pairs = read_pairs(Parallel(source=name)) if ending(name) == ".tsv" else read_lines(name)
    pairs = Pairs(pairs.name, pairs.source, None, pairs.lines)
    bad = BadRows(skip_bad)
    pairs = pairs.take(_with_text(pairs, bad))
    if vocabulary is not None:
        lengths = [len(ids) for ids in vocabulary.encode(pairs.source)]
        longest = min(max_tokens, most)
        kept = check_lengths(lengths, pairs, longest=longest, most=most, bad=bad, option="--max-tokens")
        pairs = pairs.take(kept)
    bad.warn(name)
    return _some(pairs)


def check_lengths(
    lengths: Sequence[int],
    pairs: Pairs,
    *,
    longest: int,
    most: int,
    bad: BadRows,
    side: str = "source",
    option: str = "task.max_length",
) -> list[int]:
    """The rows of at most `longest` tokens; a longer one is `bad`.

    Where the model takes `most` tokens, `option` may be raised as far as that.
    """
    kept = []
    for row, length in enumerate(lengths):
        if length <= longest:
            kept.append(row)
            continue
        bad.meet(
            DataError(
                f"`{pairs.name}` line {pairs.lines[row]}: the {side} has {length} tokens, more than {longest}",
                hint=f"raise {option}" if length <= most else f"the model takes {most}: split it into sentences",
            )
        )
    return kept


def _usable_pairs(parallel: Parallel, task: Translation, skipped: dict[str, int], split: str) -> Pairs:
    """The pairs that can be read and have text on both sides. Raises `DataError` for the first other one, or counts
    them."""
    bad = BadRows(task.skip_bad)
    return _usable(read_pairs(parallel, task.encoding, bad), bad, skipped, split)


def _usable_lines(name: str, task: Translation, skipped: dict[str, int]) -> Pairs:
    return _usable(read_lines(name, task.encoding), BadRows(task.skip_bad), skipped, name)


def _usable(pairs: Pairs, bad: BadRows, skipped: dict[str, int], split: str) -> Pairs:
    """The pairs with text on both sides. Raises `DataError` for the first other one, or counts them."""
    kept = _with_text(pairs, bad)
    bad.warn(pairs.name)
    if bad.errors:
        skipped[split] = len(bad.errors)
    return _some(pairs.take(kept) if bad.errors else pairs)


def _with_text(pairs: Pairs, bad: BadRows) -> list[int]:
    """Rows with text on both sides."""
    kept = []
    for row, source in enumerate(pairs.source):
        sides = [("source", source)] + ([("target", pairs.target[row])] if pairs.target is not None else [])
        empty = next((side for side, text in sides if not text.strip()), None)
        if empty is None:
            kept.append(row)
            continue
        bad.meet(DataError(f"`{pairs.name}` line {pairs.lines[row]}: the {empty} is empty"))
    return kept


def _some(pairs: Pairs) -> Pairs:
    if not len(pairs):
        raise DataError(f"`{pairs.name}` holds no sentence", hint="one sentence a line")
    return pairs


def _limited(pairs: Pairs, limit: int | None, seed: int) -> Pairs:
    if limit is None or limit >= len(pairs):
        return pairs
    return pairs.take(sorted(random.Random(seed).sample(range(len(pairs)), limit)))
