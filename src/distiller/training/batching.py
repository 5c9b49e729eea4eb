"""Batches: examples of similar length together, and all views and tokenizations of an example in one nested batch."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, Sampler
from transformers import TrainerCallback

from distiller.augment.mixup import Mixup
from distiller.models.layouts import Summary
from distiller.training.correspondence import paired
from distiller.training.mixing import draw, label_weights, mixed
from distiller.training.view import Totals

Batch = dict[str, Any]
COUNTS = "augmentation"
"""Part of a batch: what happened while its texts were augmented, by name."""
NESTED = ("augmented", "teacher", "epoch", COUNTS)
"""Parts of a feature that are no column of the student's batch."""
POOL = 50
"""Batches whose examples are sorted together: enough for little padding, few enough for random company."""


class LengthBucketSampler(Sampler[Any]):
    """A random order of examples in which each run of `batch_size` has similar lengths.

    The order depends only on (seed, epoch), so an interrupted epoch is resumed exactly. Batches come in random order;
    only the last, smaller one keeps its place. With `epochs` it yields `(epoch, example)`, which a data set needs that
    makes something new of each example in every epoch, in whichever process it is read.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, epochs: bool = False) -> None:
        self.lengths = torch.as_tensor(lengths)
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order = torch.randperm(len(self), generator=generator)
        pools = [pool[self.lengths[pool].argsort()] for pool in order.split(POOL * self.batch_size)]
        batches = [batch for pool in pools for batch in pool.split(self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]
        shuffled = [full[i] for i in torch.randperm(len(full), generator=generator)]
        rows = torch.cat([*shuffled, *rest]).tolist()
        return iter([(self.epoch, row) for row in rows] if self.epochs else rows)


class FollowsEpoch(TrainerCallback):
    """Tells a sampler which epoch begins.

    A data loader does so too, but not through every wrapper: the one that skips the batches of a resumed epoch hides
    the sampler in some versions of transformers, and behind a shard of processes.
    """

    def __init__(self, sampler: LengthBucketSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Choose the order of the epoch, which a resumed training may enter in the middle."""
        self.sampler.set_epoch(int(state.epoch or 0))


def rows_read(lengths: Sequence[int], *, batch_size: int, steps: int | None, seeds: Sequence[int]) -> list[int] | None:
    """The examples that trainings of `steps` steps of `batch_size` examples read, one training for each seed.

    `None` means all of them, as when a training reads at least one epoch.
    """
    if steps is None or steps * batch_size >= len(lengths):
        return None
    rows: set[int] = set()
    for seed in seeds:
        rows.update(islice(LengthBucketSampler(lengths, batch_size, seed), steps * batch_size))
    return sorted(rows) if len(rows) < len(lengths) else None


class ShareOfBatches(BatchSampler):
    """This process's part of every batch that several processes share, including the last, smaller one.

    Parts differ by at most one example. Where a batch has fewer examples than there are processes, each example is
    taken equally often, which leaves every mean unchanged.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool, *, processes: int, rank: int) -> None:
        super().__init__(sampler, batch_size * processes, drop_last)
        self.processes = processes
        self.rank = rank

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in super().__iter__():
            if len(batch) < self.processes:
                batch = batch * (math.lcm(len(batch), self.processes) // len(batch))
            first, last = (len(batch) * part // self.processes for part in (self.rank, self.rank + 1))
            yield batch[first:last]


def shared_evenly(loader: Any, processes: int, rank: int) -> Any:
    """`loader`, as `accelerate` prepared it for one of several processes, with batches in even parts.

    `accelerate` fills up the last batch with examples from the first, which would then count twice.
    """
    sharded = loader.batch_sampler
    if processes > 1 and isinstance(inner := getattr(sharded, "batch_sampler", None), BatchSampler):
        sharded.batch_sampler = ShareOfBatches(
            inner.sampler, inner.batch_size, inner.drop_last, processes=processes, rank=rank
        )
        # from now on it passes on what it gets
        sharded.num_processes, sharded.process_index, sharded.even_batches, sharded.batch_size = 1, 0, False, None
    return loader


class SortedByLength:
    """A data set in order of decreasing length: evaluation pads little, and runs out of memory at once or never."""

    def __init__(self, dataset: Any, lengths: Sequence[int]) -> None:
        self.dataset = dataset
        self.order = torch.as_tensor(lengths).argsort(descending=True).tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> Mapping[str, Any]:
        return self.dataset[self.order[position]]

    def restore(self, rows: Any) -> Any:
        """An array whose rows are in this order, back in the order of the data set."""
        restored = np.empty_like(rows)
        restored[self.order] = rows
        return restored


class PairedSplit:
    """The same examples in the student's and the teacher's tokens; `summaries`: which token stands for a text."""

    def __init__(self, student: Any, teacher: Any, summaries: tuple[Summary, Summary] = ("first", "first")) -> None:
        self.student = student
        self.teacher = teacher
        self.summaries = summaries
        self.lengths = student.lengths
        self.questions = getattr(student, "questions", None)
        """The question of each window; `None` for other kinds of task."""

    def __len__(self) -> int:
        return len(self.student)

    def __getitem__(self, position: int) -> dict[str, Any]:
        answers = self.questions is not None
        return paired(self.student[position], self.teacher[position], self.summaries, answers=answers)


class ViewCollator:
    """Pads each view with the student's collator; the key `teacher` holds the teacher's own tokens, if they differ.

    A feature may carry `augmented`, a second feature of the same form: the augmented view. With `mixup`, the examples
    of that view are mixed, at random but depending only on `seed`, the epoch and the examples. What was counted during
    augmentation is passed on.
    """

    def __init__(
        self,
        student: Callable[..., Batch],
        teacher: Callable[..., Batch] | None = None,
        *,
        mixup: Mixup | None = None,
        seed: int = 0,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.mixup = mixup
        self.seed = seed

    def __call__(self, features: list[Mapping[str, Any]]) -> Batch:
        """The nested batch of these features."""
        batch = self._tokens(features)
        if "augmented" in features[0]:
            batch["augmented"] = self._augmented(features)
        if COUNTS in features[0]:
            batch[COUNTS] = features[0][COUNTS]
        return batch

    def _tokens(self, features: Sequence[Mapping[str, Any]], **options: bool) -> Batch:
        own = [{k: v for k, v in feature.items() if k not in NESTED} for feature in features]
        batch = self.student(own, **options)
        if "teacher" in features[0] and self.teacher is not None:
            batch["teacher"] = self.teacher([feature["teacher"] for feature in features], **options)
        return batch

    def _augmented(self, features: Sequence[Mapping[str, Any]]) -> Batch:
        options = {"align_segments": True} if self.mixup is not None and self.mixup.align_segments else {}
        batch = self._tokens([feature["augmented"] for feature in features], **options)
        if self.mixup is None:
            return batch
        examples = [feature["example_id"] for feature in features]
        mix = draw(len(features), self.mixup, (self.seed, features[0].get("epoch", 0), *examples))
        batch = mixed(batch, mix, mask=self.mixup.mask)
        if "teacher" in batch:
            batch["teacher"] = mixed(batch["teacher"], mix, mask=self.mixup.mask)
        return batch


def views_of(batch: Batch) -> dict[str, Batch]:
    """The batch's views by name; the augmented one is removed from the original's dictionary."""
    original = {key: value for key, value in batch.items() if key != "augmented"}
    return {"original": original} | ({"augmented": batch["augmented"]} if "augmented" in batch else {})


def count(batches: Sequence[Batch]) -> dict[str, Totals]:
    """What each view's losses are divided by, summed over the micro-batches of one optimisation step."""
    counted: dict[str, Totals] = {}
    for batch in batches:
        for name, view in views_of(batch).items():
            found = _counted(view)
            before = counted.get(name)
            counted[name] = found if before is None else Totals(*map(torch.add, before, found))
    return counted


def _counted(view: Batch) -> Totals:
    mask = view.get("attention_mask")
    mask = mask if mask is not None else torch.ones_like(view["input_ids"])
    outputs, labels = view.get("output_mask"), view.get("labels")
    examples = torch.full_like(mask.sum(), len(mask))
    return Totals(
        examples=examples,
        tokens=mask.sum(),
        outputs=mask.sum() if outputs is None else outputs.sum(),
        labels=examples if labels is None else label_weights(view).sum(),
    )
