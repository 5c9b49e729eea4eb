"""What a task hands to the rest of the house: splits of texts and labels, and the facts that score them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Kind = Literal["classification", "regression"]
"""What a label is: one of a set of classes, or a number."""


@dataclass(frozen=True)
class Split:
    """Rows of one split, in the order of their source."""

    name: str
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None
    """The second text of each row, for tasks over pairs."""
    labels: tuple[int, ...] | tuple[float, ...] | None = None
    """Class ids (classification) or numbers (regression); `None`: unlabelled, as the official GLUE tests are."""
    ids: tuple[int, ...] = ()
    """Position of each row among the rows of its source, from 0; by default 0, 1, 2, …"""

    def __post_init__(self) -> None:
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self.texts))))
        for name, column in (("pairs", self.pairs), ("labels", self.labels), ("ids", self.ids)):
            if column is not None and len(column) != len(self.texts):
                raise ValueError(f"{len(self.texts)} texts, but {len(column)} {name}")

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Iterable[int], *, name: str | None = None) -> "Split":
        """The rows at these positions, in this order, optionally under another name."""
        rows = list(rows)

        def chosen(column: Sequence[Any] | None) -> Any:
            return None if column is None else tuple(column[row] for row in rows)

        return Split(name or self.name, *(chosen(c) for c in (self.texts, self.pairs, self.labels, self.ids)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over texts, pairs and labels."""
        content = json.dumps([self.texts, self.pairs, self.labels])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class TaskData:
    """A task ready to be learnt: `splits` has `train` and `dev`, perhaps `test`, and for MNLI the mismatched ones."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Class names in the order of the class ids; empty for regression."""
    metrics: tuple[str, ...]
    """Rows of the metric table; the first one chooses the best checkpoint."""
    splits: Mapping[str, Split]

    @property
    def metric(self) -> str:
        """The score that chooses the best checkpoint."""
        return self.metrics[0]

    @property
    def pairs(self) -> bool:
        """Whether each row has two texts."""
        return self.splits["train"].pairs is not None

    @property
    def default_max_length(self) -> int:
        """128 tokens for pairs, 64 for single texts (arXiv:2109.11105, appendix G)."""
        return 128 if self.pairs else 64

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the kind, the label set and the content of all splits."""
        splits = sorted((name, split.fingerprint) for name, split in self.splits.items())
        return hashlib.sha256(json.dumps([self.kind, self.labels, splits]).encode()).hexdigest()


def sample(rows: int, size: int, *, seed: int) -> list[int]:
    """`size` of the positions 0 … `rows` - 1, in ascending order; all of them when there are no more.

    The choice follows the SHA-256 of (seed, position) and not a library's generator, so it is the same on every
    machine and version, and a smaller sample is part of a larger one.
    """
    if size >= rows:
        return list(range(rows))
    order = sorted(range(rows), key=lambda row: hashlib.sha256(f"{seed}:{row}".encode()).digest())
    return sorted(order[:size])


def hold_out(rows: int, fraction: float, *, seed: int) -> tuple[list[int], list[int]]:
    """(kept, held out) positions of `rows` ≥ 2 rows: `fraction` of them, at least one and never all."""
    size = min(max(1, round(rows * fraction)), rows - 1)
    held_out = sample(rows, size, seed=seed)
    aside = set(held_out)
    return [row for row in range(rows) if row not in aside], held_out
