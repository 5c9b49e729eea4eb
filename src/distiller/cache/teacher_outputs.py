"""The teacher's outputs on un-augmented training data, computed once and read in every epoch and by every seed.

The teacher is frozen, so its output for an example never changes. Logits and the mapped hidden states are stored only
for valid tokens, in the number format in which the teacher computed them, by example id: shuffling, re-batching and
resuming cannot change what is read.
A step never waits for them. They are on the device if they fit into a share of its memory; otherwise a thread gathers
the next batch from the file while this one is computed. A batch is one gather from each file: padding reads the row of
zeros at the end of each file.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distiller import processes
from distiller.cache.checksums import BlockChecks, CheckedWriter, DamagedFileError, damaged_file, write_checksums
from distiller.errors import DataError
from distiller.models.signals import Signals

META, INDEX = "meta.json", "index.npy"
READING = "teacher_outputs"
"""Key under which a batch carries its `Reading`."""
DEVICE_SHARE = 0.3
"""Of the device's free memory, what teacher outputs may take; the rest is the training's."""
COPIED = 1 << 26
"""Bytes that are copied to the device at a time."""

Place = Literal["device", "ahead", "file"]
"""Where outputs are read: from the device's memory, by a thread ahead of the step, or from the file in the step."""


class TeacherCache:
    """Reads what `build_teacher_cache` wrote, or some `layers` of it; files are memory-mapped, so opening is free.

    `place` is chosen by the device of the batches (see `place_for`), or given. Raises `DamagedFileError` for files that
    have changed, here or when a damaged part is first read.
    """

    def __init__(self, folder: Path, layers: Collection[int] | None = None, *, place: Place | None = None) -> None:
        self.folder = folder
        if (damaged := damaged_file(folder)) is not None:
            raise DamagedFileError(damaged)
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        self.layers: list[int] = meta["layers"] if layers is None else sorted(layers)
        self.per_token: bool = meta["per_token"]
        ids, lengths = np.load(folder / INDEX)
        self.lengths = np.zeros(meta["examples"], dtype=np.int64)
        self.lengths[ids] = lengths
        self.slots = np.full(meta["examples"], -1, dtype=np.int64)
        """Where each example comes in the files, -1 for one that was not stored."""
        self.slots[ids] = np.arange(len(ids))
        self.count, self.tokens = len(ids), int(lengths.sum())
        self.starts = np.full(meta["examples"], self.tokens + 1, dtype=np.int64)
        """First token of each example in the files; beyond their end for one that was not stored."""
        self.starts[ids] = np.cumsum(lengths) - lengths
        rows = self.tokens if self.per_token else self.count
        self._files = {"logits": _File(folder / "logits.bin", meta["dtypes"]["logits"], rows + 1, meta["classes"])}
        for layer in self.layers:
            path, dtype = folder / f"hidden-{layer}.bin", meta["dtypes"][str(layer)]
            self._files[str(layer)] = _File(path, dtype, self.tokens + 1, meta["width"])
        self._wish: Place | None = place
        self._place: Place | None = None
        self._device = torch.device("cpu")
        self._on_device: dict[str, Tensor] = {}
        self._index_on_device: tuple[Tensor, Tensor] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def __len__(self) -> int:
        """The number of stored examples."""
        return self.count

    @property
    def bytes(self) -> int:
        """Size of the files that are read."""
        return sum(file.bytes for file in self._files.values())

    def __reduce__(self) -> tuple[Any, ...]:
        """A loader's worker opens the files itself."""
        return TeacherCache, (self.folder, self.layers)

    def prepare(self, device: torch.device) -> Place:
        """Decide from where outputs for batches on `device` are read, and load them there.

        Raises `DamagedFileError`.
        """
        if self._place is None:
            self._device = device
            self._place = self._wish or place_for(self.bytes, device)
            if self._place == "device":
                try:
                    self._on_device = {name: file.copy_to(device) for name, file in self._files.items()}
                    starts, slots = (torch.from_numpy(one).to(device) for one in (self.starts, self.slots))
                    self._index_on_device = starts, slots
                except torch.OutOfMemoryError:
                    self._on_device, self._place = {}, "ahead"
            if self._place == "ahead":
                self._thread = ThreadPoolExecutor(1, "teacher-outputs", initializer=partial(_use, device))
        return self._place

    def reading(self, example_ids: Tensor, mask: Tensor) -> "Reading":
        """What `read` will be asked for, for a batch that is still on the host; a thread starts to gather it now.

        Loaders take one batch more than there are steps: what is not stored is refused only when it is read.
        """
        # a copy: a loader's worker moves the memory of its tensors when it passes a batch on
        ids, valid = example_ids.numpy().copy(), mask.numpy() > 0
        reading = Reading(ids, valid)
        # a loader's worker has a copy of this object, but not its threads
        if self._place == "ahead" and self._thread is not None and self._process == os.getpid():
            reading.found = self._thread.submit(self._gather, ids, valid)
        return reading

    def read(self, example_ids: Tensor, mask: Tensor, reading: "Reading | None" = None) -> Signals:
        """The teacher's outputs for examples `[b]`, padded with zeros like `mask` `[b, l]`, on its device.

        Without a `reading` the ids are copied to the host, unless the outputs are on the device. Raises
        `DamagedFileError`, and `DataError` for an example that is not stored, or has another number of tokens.
        """
        if self.prepare(mask.device) == "device":
            if reading is not None:
                self._check(reading.ids, reading.valid)
            return self._gather_on_device(example_ids, mask)
        if reading is None:
            reading = self.reading(example_ids.cpu(), mask.cpu())
        found = self._gather(reading.ids, reading.valid) if reading.found is None else reading.found.result()
        there = {name: rows.to(mask.device, non_blocking=True) for name, rows in found.items()}
        return Signals(there.pop("logits"), {int(layer): state for layer, state in there.items()}, {}, mask)

    def close(self) -> None:
        """Release the device's memory and the thread."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._on_device, self._index_on_device, self._thread, self._place = {}, None, None, None

    def _check(self, ids: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
        if not len(ids):
            return
        if ids.min() < 0 or ids.max() >= len(self.slots) or (self.slots[ids] < 0).any():
            raise DataError(
                f"the cached teacher outputs in `{self.folder}` do not hold all examples of this batch",
                hint="training.cache_teacher=never asks the teacher in every step",
            )
        if (self.lengths[ids] != valid.sum(1)).any():
            raise DataError(
                f"the cached teacher outputs in `{self.folder}` were made from other tokens than those of this batch",
                hint="give the training the same tokenizer and length limit, or training.cache_teacher=never",
            )

    def _gather(self, ids: NDArray[np.int64], valid: NDArray[np.bool_]) -> dict[str, Tensor]:
        """Rows of every file for a batch, on the host."""
        self._check(ids, valid)
        begin, slots = self.starts[ids], self.slots[ids]
        tokens = np.where(valid, begin[:, None] + valid.cumsum(1) - 1, self.tokens)
        found: dict[str, Tensor] = {}
        for name, file in self._files.items():
            if name != "logits" or self.per_token:
                rows, first, last = tokens, begin, begin + self.lengths[ids]
            else:
                rows, first, last = slots, slots, slots + 1
            found[name] = file.gather(rows, first, last, pinned=self._device.type == "cuda")
        return found

    def _gather_on_device(self, example_ids: Tensor, mask: Tensor) -> Signals:
        """One gather from each tensor on the device; nothing is copied to or from the host."""
        assert self._index_on_device is not None
        starts, slots = self._index_on_device
        valid = mask != 0
        tokens = torch.where(valid, starts[example_ids][:, None] + valid.cumsum(1) - 1, self.tokens).flatten()
        rows = {False: slots[example_ids], True: tokens}

        def gathered(name: str) -> Tensor:
            per_token = name != "logits" or self.per_token
            found = self._on_device[name].index_select(0, rows[per_token])
            return found.view(*mask.shape, -1) if per_token else found

        return Signals(gathered("logits"), {layer: gathered(str(layer)) for layer in self.layers}, {}, mask)


class Reading:
    """What a batch reads from a `TeacherCache`, perhaps with a thread that has started to."""

    def __init__(self, ids: NDArray[np.int64], valid: NDArray[np.bool_]) -> None:
        self.ids = ids
        self.valid = valid
        self.found: Future[dict[str, Tensor]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """From a loader's worker comes only what to read."""
        return Reading, (self.ids, self.valid)


class WithReadings:
    """A collator whose batches carry a `Reading` of `cache`, so that outputs are checked, and gathered, ahead.

    `tokens` finds the mask of the teacher's tokens `[b, l]` in a batch. In a loader's worker the batch carries only
    what to read.
    """

    def __init__(
        self,
        collate: Callable[[Any], dict[str, Any]],
        cache: TeacherCache,
        tokens: Callable[[Mapping[str, Any]], Tensor],
    ) -> None:
        self.collate = collate
        self.cache = cache
        self.tokens = tokens

    def __call__(self, features: Any) -> dict[str, Any]:
        """The batch of these features."""
        batch = self.collate(features)
        if "example_ids" in batch:
            batch[READING] = self.cache.reading(batch["example_ids"], self.tokens(batch))
        return batch


def place_for(size: int, device: torch.device) -> Place:
    """From where outputs of `size` bytes are best read for batches on `device`."""
    if device.type == "cpu":
        return "file"
    if device.type == "cuda" and size <= DEVICE_SHARE * _room_on(device):
        return "device"
    return "ahead"


def _room_on(device: torch.device) -> float:
    """Bytes of a GPU that this process can use; of one shared by a study's workers, at most its part."""
    free, total = torch.cuda.mem_get_info(device)
    own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # reserved by torch, but unused
    return min(free + own, total / max(1, int(os.environ.get(processes.SHARERS) or 1)))


def build_teacher_cache(
    folder: Path,
    signals: Callable[[dict[str, Tensor]], Signals],
    batches: Iterable[dict[str, Tensor]],
    examples: int | Sequence[int],
    layers: Sequence[int],
) -> None:
    """Fill `folder` with the teacher's outputs on `batches`, stored in that order, each example once.

    `signals` runs the teacher on one batch; `examples` is the size of the training set (or the lengths), of which
    batches may leave some out; `layers` are `hidden_states` indices. Raises `OSError` if the disk is full.
    """
    total = examples if isinstance(examples, int) else len(examples)
    ids: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    shapes: dict[str, tuple[torch.dtype, int]] = {}
    writers: dict[str, CheckedWriter] = {}
    per_token = False
    with ExitStack() as files:
        for batch in batches:
            made = signals(batch)
            valid = (made.mask != 0).cpu()
            ids.append(batch["example_ids"].cpu().numpy())
            lengths.append(valid.sum(1).numpy())
            per_token = made.logits.dim() == 3
            found = {"logits": made.logits} | {f"hidden-{layer}": made.hidden_states[layer] for layer in layers}
            keep = valid.flatten().nonzero().squeeze(1).to(made.logits.device)
            for name, values in found.items():
                rows = values if values.dim() == 2 else values.flatten(0, 1).index_select(0, keep)
                if name not in writers:
                    writers[name] = files.enter_context(CheckedWriter(folder / f"{name}.bin"))
                    shapes[name] = rows.dtype, rows.shape[1]
                # as bytes of PyTorch: numpy has no bfloat16
                writers[name].write(rows.detach().cpu().contiguous().view(torch.uint8).numpy())
        for name, writer in writers.items():
            dtype, width = shapes[name]
            writer.write(bytes(width * dtype.itemsize))  # the row of zeros that padding reads
    np.save(folder / INDEX, np.stack([np.concatenate(ids), np.concatenate(lengths)]))
    names = {"logits": "logits"} | {f"hidden-{layer}": str(layer) for layer in layers}
    meta = {
        "examples": total,
        "layers": list(layers),
        "per_token": per_token,
        "classes": shapes["logits"][1],
        "width": shapes[f"hidden-{layers[0]}"][1] if layers else 0,
        "dtypes": {names[name]: str(dtype).removeprefix("torch.") for name, (dtype, _) in shapes.items()},
    }
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")
    write_checksums(folder, {f"{name}.bin": writer.entry for name, writer in writers.items()})


class _File:
    """Numbers `[rows, width]` in a mapped file, whose blocks are checked when they are first read."""

    def __init__(self, path: Path, dtype: str, rows: int, width: int) -> None:
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.row_bytes = width * self.dtype.itemsize
        self.bytes = rows * self.row_bytes
        self.checks = BlockChecks(path, self.bytes)
        self.values = torch.from_file(str(path), size=rows * width, dtype=self.dtype).view(rows, width)

    def gather(
        self, rows: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64], *, pinned: bool
    ) -> Tensor:
        """The rows `[*shape]` as `[*shape, width]`; they lie in spans `begin` to `end`, or are the row of zeros."""
        zeros = len(self.values) - 1
        self.checks.check(np.append(begin, zeros) * self.row_bytes, np.append(end, zeros + 1) * self.row_bytes)
        chosen = torch.from_numpy(rows.ravel())
        shape = len(chosen), self.values.shape[1]
        found = torch.empty(shape, dtype=self.dtype, pin_memory=pinned)
        torch.index_select(self.values, 0, chosen, out=found)
        return found.view(*rows.shape, shape[1])

    def copy_to(self, device: torch.device) -> Tensor:
        """All of it in the memory of `device`, in pieces, so that the host never holds it twice."""
        self.checks.check_all()
        there = torch.empty(self.values.shape, dtype=self.dtype, device=device)
        step = max(1, COPIED // max(1, self.row_bytes))
        for start in range(0, len(there), step):
            there[start : start + step].copy_(self.values[start : start + step])
        return there


def _use(device: torch.device) -> None:
    """Let this thread allocate for `device`, which need not be the first of its kind."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
