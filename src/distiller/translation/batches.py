"""Batches by number of tokens: which examples are in batch k, and how they become tensors.

Batch k of a training depends on (seed, k) alone, so an interrupted training can be continued exactly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distiller.objectives.prediction import IGNORED
from distiller.translation.token_rows import TokenRows

POOL = 100
"""Batches whose examples are sorted together: enough for little padding, few enough to keep batches random."""
FEATURE = Mapping[str, Any]


@dataclass(frozen=True)
class Examples:
    """Sentence pairs as token ids, gold pairs first; both sides end with the end token."""

    source: TokenRows
    target: TokenRows
    gold: int
    """The first so many pairs are gold; the others are pseudo-labels."""

    @classmethod
    def of(cls, source: Sequence[Sequence[int]], target: Sequence[Sequence[int]], gold: int) -> "Examples":
        """Examples from lists of token ids."""
        return cls(TokenRows.of(source), TokenRows.of(target), gold)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of the longer side of each pair, `[pairs]`."""
        return np.maximum(self.source.lengths, self.target.lengths)


class BatchStream:
    """All batches of one training, in order: item k holds the features of the k-th micro-batch.

    An epoch has as many examples as the larger of the two sets, gold and pseudo-labels. If there are both, each example
    comes from the gold set with probability `gold_ratio`; each set is passed through in shuffled rounds.
    `source_dropout` is the share of source tokens that are left out, except `special` ones (ends and languages).
    """

    def __init__(
        self,
        examples: Examples,
        *,
        batch_tokens: int,
        seed: int,
        gold_ratio: float = 1.0,
        epochs: float = 1.0,
        batches: int | None = None,
        source_dropout: float = 0.0,
        special: frozenset[int] = frozenset(),
    ) -> None:
        self.examples = examples
        self.special = special
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.gold_ratio = gold_ratio
        self.source_dropout = source_dropout
        self.lengths = examples.lengths
        self._starts = [0]  # first batch of each epoch that has been planned
        self._epoch: tuple[int, list[np.ndarray]] = (0, self._plan(0))
        self.per_epoch = len(self._epoch[1])
        self.examples_per_batch = sum(map(len, self._epoch[1])) / self.per_epoch
        self.count = batches or max(1, math.ceil(epochs * self.per_epoch))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list[FEATURE]:
        epoch, position = self._where(index)
        rows = self._batches(epoch)[position]
        rng = np.random.default_rng([self.seed, index, 1])
        return [self._feature(int(row), rng) for row in rows]

    def draw(self, epoch: int) -> np.ndarray:
        """The examples of an epoch, in random order."""
        rng = np.random.default_rng([self.seed, epoch])
        gold, pseudo = self.examples.gold, len(self.examples) - self.examples.gold
        if not pseudo or not gold or self.gold_ratio in (0.0, 1.0):
            start, stop = (0, gold) if (gold and self.gold_ratio > 0) or not pseudo else (gold, gold + pseudo)
            return start + rng.permutation(stop - start)
        size = max(gold, pseudo)
        from_gold = rng.random(size) < self.gold_ratio
        rows = np.empty(size, dtype=np.int64)
        rows[from_gold] = _rounds(gold, int(from_gold.sum()), rng)
        rows[~from_gold] = gold + _rounds(pseudo, int((~from_gold).sum()), rng)
        return rows

    @property
    def rows(self) -> np.ndarray:
        """The examples that occur in its batches, in ascending order, each once."""
        held = np.zeros(len(self.examples), dtype=bool)
        left, epoch = self.count, 0
        while left > 0 and not held.all():
            batches = self._batches(epoch)[:left]
            held[np.concatenate(batches)] = True
            left, epoch = left - len(batches), epoch + 1
        return held.nonzero()[0]

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch in random order: sorted by length within pools, at most `batch_tokens` each."""
        order = self.draw(epoch)
        rng = np.random.default_rng([self.seed, epoch, 2])
        pool = POOL * max(1, int(self.batch_tokens / max(1.0, float(self.lengths.mean()))))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), pool):
            batches += by_length(order[start : start + pool], self.lengths, self.batch_tokens)
        return [batches[index] for index in rng.permutation(len(batches))]

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._plan(epoch))
        return self._epoch[1]

    def _where(self, index: int) -> tuple[int, int]:
        """Epoch and position of batch `index`; epochs differ a little in their number of batches."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        while self._starts[-1] <= index:
            self._starts.append(self._starts[-1] + len(self._batches(len(self._starts) - 1)))
        epoch = next(e for e in range(len(self._starts) - 2, -1, -1) if self._starts[e] <= index)
        return epoch, index - self._starts[epoch]

    def _feature(self, row: int, rng: np.random.Generator) -> FEATURE:
        source = self.examples.source[row]
        if self.source_dropout:
            kept = [word for word in source.tolist() if word in self.special or rng.random() >= self.source_dropout]
            source = np.array(kept) if any(word not in self.special for word in kept) else source
        return {"id": row, "source": source, "target": self.examples.target[row]}


def collate(features: Sequence[Any], *, pad: int = 0) -> dict[str, Tensor]:
    """The tensors of one batch, `[B, L]`; the list around it that `Trainer` hands over is unpacked.

    `labels` are the target tokens, -100 at padding; each model derives its decoder inputs from them. `output_mask` is 1
    at every position with a label, including the first. `example_ids` `[B]` are the rows of `Examples`.
    """
    rows: Sequence[FEATURE] = features[0] if len(features) == 1 and isinstance(features[0], list) else features
    source, read = _padded([row["source"] for row in rows], pad)
    labels, said = _padded([row["target"] for row in rows], IGNORED)
    return {
        "input_ids": source,
        "attention_mask": read,
        "labels": labels,
        "output_mask": said,
        "example_ids": torch.tensor([row["id"] for row in rows]),
    }


def by_length(rows: np.ndarray, lengths: np.ndarray, limit: int) -> list[np.ndarray]:
    """`rows` in batches of similar length, each of at most `limit` tokens including padding.

    `lengths` are those of all examples.
    """
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    return _cut(rows, lengths[rows], limit)


def _padded(rows: Sequence[Sequence[int] | np.ndarray], fill: int) -> tuple[Tensor, Tensor]:
    """`rows`, padded with `fill` to `[B, L]`, and the mask of their tokens; both int64."""
    lengths = np.array([len(row) for row in rows])
    there = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(there.shape, fill, dtype=np.int64)
    padded[there] = np.concatenate(rows)
    return torch.from_numpy(padded), torch.from_numpy(there.astype(np.int64))


def _rounds(size: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """`wanted` numbers below `size` in shuffled rounds: none is repeated before all have occurred."""
    rounds = [rng.permutation(size) for _ in range(math.ceil(wanted / size))]
    return np.concatenate(rounds)[:wanted] if rounds else np.empty(0, dtype=np.int64)


def _cut(rows: np.ndarray, lengths: np.ndarray, limit: int) -> list[np.ndarray]:
    """Runs of `rows` (in ascending order of length) whose padded size is at most `limit`; a longer row is alone."""
    cuts, start = [], 0
    for end in range(1, len(rows)):
        if (end + 1 - start) * lengths[end] > limit:
            cuts.append(end)
            start = end
    return np.split(rows, cuts)
