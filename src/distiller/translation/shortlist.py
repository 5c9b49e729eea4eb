"""Shortlists: which pieces a translation may use, by the pieces of its sentence. A decoder then scores a few hundred
pieces a step instead of its whole vocabulary.

Pieces are matched by a lexical model (IBM's first), learnt from the pairs that the student learns from: no word aligner
is needed. Source: Brown et al. 1993, aclanthology.org/J93-2003, section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distiller.files import write_text
from distiller.translation.converted import VMAP, pieces_by_id

SIZE, COMMON = 50, 100
"""Candidates of each source piece, and pieces that may always be said."""
PAIRS = 50_000
"""Pairs that the lexical model learns from, at most: the first ones."""
BLOCK = 2000
"""Pairs that are counted together: all at once would take gigabytes."""
ROUNDS = 4
"""Of expectation-maximisation; more change little."""
TINY = 1e-30
"""Instead of 0 below a fraction."""


@dataclass(frozen=True)
class Shortlist:
    """What may be said."""

    common: list[int]
    """Pieces that any translation may use."""
    best: dict[int, list[int]]
    """By source piece: those that translate it, most probable first."""


def lexical_shortlist(
    sources: Sequence[Sequence[int] | np.ndarray],
    targets: Sequence[Sequence[int] | np.ndarray],
    *,
    size: int = SIZE,
    common: int = COMMON,
) -> Shortlist:
    """The `size` most probable target pieces of each source piece, and the `common` most frequent ones of all."""
    sources, targets = sources[:PAIRS], targets[:PAIRS]
    said = np.bincount(np.concatenate([np.asarray(target, dtype=np.int64) for target in targets]))
    often = [int(word) for word in np.argsort(-said, kind="stable")[:common] if said[word]]
    kinds, blocks = _table(sources, targets, len(said))
    words, candidates = kinds // len(said), kinds % len(said)
    probability = np.ones(len(kinds))
    for _ in range(ROUNDS):
        expected = np.zeros(len(kinds))
        for cells in blocks:
            weight = probability[cells.kind] * cells.source_count
            whole = np.bincount(cells.place, weights=weight)[cells.place]
            share = cells.target_count * weight / np.maximum(whole, TINY)
            expected += np.bincount(cells.kind, weights=share, minlength=len(kinds))
        probability = expected / np.maximum(np.bincount(words, weights=expected)[words], TINY)
    ranked = candidates[np.lexsort((-probability, words))]
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    best: dict[int, list[int]] = {}
    for word, found in zip(words[starts], np.split(ranked, starts[1:]), strict=True):
        best[int(word)] = found[:size].tolist()
    return Shortlist(often, best)


def write_vmap(shortlist: Shortlist, folder: Path, *, always: Sequence[int]) -> None:
    """Put a shortlist into the folder of a converted model, which uses it from then on; `always` may be said too."""
    pieces = pieces_by_id(folder)
    everywhere = list(dict.fromkeys([*always, *shortlist.common]))
    lines = ["\t" + " ".join(pieces[word] for word in everywhere)]
    for word, candidates in sorted(shortlist.best.items()):
        lines.append(pieces[word] + "\t" + " ".join(pieces[one] for one in candidates))
    write_text(folder / VMAP, "\n".join(lines) + "\n")


class _Cells(NamedTuple):
    """Each source piece beside each target piece of its pair, of a block of pairs, all `[n]`."""

    kind: np.ndarray
    """Which two pieces: a row of the table."""
    place: np.ndarray
    """Which target piece of which pair."""
    source_count: np.ndarray
    """How often the source piece stands in its sentence."""
    target_count: np.ndarray


def _table(
    sources: Sequence[Sequence[int] | np.ndarray], targets: Sequence[Sequence[int] | np.ndarray], pieces: int
) -> tuple[np.ndarray, list[_Cells]]:
    """Source piece times `pieces` plus target piece, of all that meet, in order; and where they meet."""
    met, blocks = [], []
    for start in range(0, len(sources), BLOCK):
        found, cells = _block(sources[start : start + BLOCK], targets[start : start + BLOCK], pieces)
        met.append(found)
        blocks.append(cells)
    kinds = np.unique(np.concatenate(met))
    for number, found in enumerate(met):
        row = np.searchsorted(kinds, found).astype(np.int32)
        blocks[number] = blocks[number]._replace(kind=row[blocks[number].kind])
    return kinds, blocks


def _block(
    sources: Sequence[Sequence[int] | np.ndarray], targets: Sequence[Sequence[int] | np.ndarray], pieces: int
) -> tuple[np.ndarray, _Cells]:
    """The same of a few pairs, small numbers in few bytes."""
    parts: list[tuple[np.ndarray, ...]] = []
    places = 0
    for source, target in zip(sources, targets, strict=True):
        ours, often = np.unique(np.asarray(source, dtype=np.int64), return_counts=True)
        theirs, again = np.unique(np.asarray(target, dtype=np.int64), return_counts=True)
        across, down = len(theirs), len(ours)
        keys = np.repeat(ours * pieces, across) + np.tile(theirs, down)
        place = np.tile(np.arange(places, places + across, dtype=np.int32), down)
        parts.append((keys, place, np.repeat(often.astype(np.int16), across), np.tile(again.astype(np.int16), down)))
        places += across
    keys, place, often, again = (np.concatenate(column) for column in zip(*parts, strict=True))
    found, kind = np.unique(keys, return_inverse=True)
    return found, _Cells(kind.astype(np.int32), place, often, again)
