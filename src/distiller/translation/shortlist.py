"""Shortlists: which target pieces may be used, given the source pieces. A decoder then scores a few hundred pieces per
step instead of its whole vocabulary.

The candidates come from a lexical model (IBM model 1), trained on the student's own training pairs: no word aligner is
needed. Source: Brown et al. 1993, aclanthology.org/J93-2003, section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distiller.files import write_text
from distiller.translation.converted import VMAP, pieces_by_id

SIZE, COMMON = 50, 100
"""Candidates for each source piece, and frequent pieces that are always allowed."""
PAIRS = 50_000
"""The lexical model is trained on at most so many pairs, the first ones."""
BLOCK = 2000
"""Pairs counted at a time: all at once would take gigabytes."""
ROUNDS = 4
"""Rounds of expectation-maximisation; more change little."""
TINY = 1e-30
"""Lower bound of denominators."""


@dataclass(frozen=True)
class Shortlist:
    """The target pieces that may be generated."""

    common: list[int]
    """Pieces that are always allowed."""
    best: dict[int, list[int]]
    """Source piece → its translations, most probable first."""


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
    """Write a shortlist into the folder of a converted model, which then uses it; `always` are further allowed ids."""
    pieces = pieces_by_id(folder)
    everywhere = list(dict.fromkeys([*always, *shortlist.common]))
    lines = ["\t" + " ".join(pieces[word] for word in everywhere)]
    for word, candidates in sorted(shortlist.best.items()):
        lines.append(pieces[word] + "\t" + " ".join(pieces[one] for one in candidates))
    write_text(folder / VMAP, "\n".join(lines) + "\n")


class _Cells(NamedTuple):
    """Every combination of a source and a target piece within each pair of a block; all `[n]`."""

    kind: np.ndarray
    """The two pieces, as a row of the table."""
    place: np.ndarray
    """The target piece, numbered over all pairs."""
    source_count: np.ndarray
    """How often the source piece occurs in its sentence."""
    target_count: np.ndarray


def _table(
    sources: Sequence[Sequence[int] | np.ndarray], targets: Sequence[Sequence[int] | np.ndarray], pieces: int
) -> tuple[np.ndarray, list[_Cells]]:
    """The keys (source piece · `pieces` + target piece) of all combinations, ascending; and where they occur."""
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
    """The same for a block of pairs, in small integer types."""
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
