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
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], *, size: int = SIZE, common: int = COMMON
) -> Shortlist:
    """The `size` most probable target pieces of each source piece, and the `common` most frequent ones of all."""
    sources, targets = sources[:PAIRS], targets[:PAIRS]
    said = np.bincount(np.concatenate([np.asarray(target, dtype=np.int64) for target in targets]))
    often = [int(word) for word in np.argsort(-said, kind="stable")[:common] if said[word]]
    cells = _cells(sources, targets)
    kinds, kind_of = np.unique(cells.source * len(said) + cells.target, return_inverse=True)
    words, candidates = kinds // len(said), kinds % len(said)
    place_of = np.unique(cells.row * len(said) + cells.target, return_inverse=True)[1]
    probability = np.ones(len(kinds))
    for _ in range(ROUNDS):
        weight = probability[kind_of] * cells.source_count
        share = cells.target_count * weight / np.maximum(np.bincount(place_of, weights=weight)[place_of], TINY)
        expected = np.bincount(kind_of, weights=share, minlength=len(kinds))
        probability = expected / np.maximum(np.bincount(words, weights=expected)[words], TINY)
    best: dict[int, list[int]] = {}
    for kind in np.lexsort((-probability, words)):
        found = best.setdefault(int(words[kind]), [])
        if len(found) < size:
            found.append(int(candidates[kind]))
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
    """Each source piece beside each target piece of its pair, all `[n]`."""

    row: np.ndarray
    source: np.ndarray
    target: np.ndarray
    source_count: np.ndarray
    """How often the source piece stands in its sentence."""
    target_count: np.ndarray


def _cells(sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> _Cells:
    parts: list[list[np.ndarray]] = []
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        ours, often = np.unique(np.asarray(source, dtype=np.int64), return_counts=True)
        theirs, again = np.unique(np.asarray(target, dtype=np.int64), return_counts=True)
        across, down = len(theirs), len(ours)
        parts.append(
            [
                np.full(across * down, row, dtype=np.int64),
                np.repeat(ours, across),
                np.tile(theirs, down),
                np.repeat(often, across),
                np.tile(again, down),
            ]
        )
    return _Cells(*(np.concatenate(column) for column in zip(*parts, strict=True)))
