"""The teacher's outputs on un-augmented training data, computed once and read in every epoch and by every seed.

The teacher is frozen, so what it says of an example never changes. Logits and the mapped hidden states are stored
for valid tokens only, in the number format in which the teacher made them, addressed by example id: shuffling,
re-batching and resuming cannot change what is read.
"""

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import torch
from torch import Tensor

from distiller.models.signals import Signals

META = "meta.json"


class TeacherCache:
    """Reads what `build_teacher_cache` wrote, or some `layers` of it; files are memory-mapped, so opening is free."""

    def __init__(self, folder: Path, layers: Collection[int] | None = None) -> None:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        self.layers: list[int] = meta["layers"] if layers is None else sorted(layers)
        self.offsets = torch.tensor([0, *meta["lengths"]]).cumsum(0)
        examples, tokens = len(meta["lengths"]), int(self.offsets[-1])
        self.per_token: bool = meta["per_token"]
        rows = tokens if self.per_token else examples
        self.logits = _open(folder / "logits.bin", meta["dtypes"]["logits"], (rows, meta["classes"]))
        self.hidden_states = {
            layer: _open(folder / f"hidden-{layer}.bin", meta["dtypes"][str(layer)], (tokens, meta["width"]))
            for layer in self.layers
        }

    def read(self, example_ids: Tensor, mask: Tensor) -> Signals:
        """The teacher's outputs for examples `[b]`, padded with zeros like `mask` `[b, l]`, on its device."""
        ids = example_ids.cpu()
        valid = mask.bool().cpu()
        starts = self.offsets[ids]
        positions = (starts[:, None] + valid.cumsum(1) - 1)[valid]

        def padded(stored: Tensor) -> Tensor:
            rows = stored.new_zeros(*valid.shape, stored.shape[1])
            rows[valid] = stored[positions]
            return rows.to(mask.device, non_blocking=True)

        logits = padded(self.logits) if self.per_token else self.logits[ids].to(mask.device)
        return Signals(logits, {layer: padded(stored) for layer, stored in self.hidden_states.items()}, {}, mask)


def build_teacher_cache(
    folder: Path,
    signals: Callable[[dict[str, Tensor]], Signals],
    batches: Iterable[dict[str, Tensor]],
    lengths: list[int],
    layers: list[int],
) -> None:
    """Fill `folder`. `batches` cover every example id in `range(len(lengths))` once, in any order.

    `signals` runs the teacher on one batch; `lengths` are valid tokens per example; `layers` are `hidden_states`
    indices.
    """
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    files: dict[str, Tensor] = {}
    per_token = False
    for batch in batches:
        ids = batch["example_ids"].cpu()
        made = signals(batch)
        valid = made.mask.bool()
        positions = (offsets[ids][:, None] + valid.cpu().cumsum(1) - 1)[valid.cpu()]
        if not files:
            per_token = made.logits.dim() == 3
            rows = int(offsets[-1]) if per_token else len(lengths)
            files["logits"] = _create(folder / "logits.bin", made.logits.dtype, (rows, made.logits.shape[-1]))
            for layer in layers:
                state = made.hidden_states[layer]
                shape = (int(offsets[-1]), state.shape[2])
                files[str(layer)] = _create(folder / f"hidden-{layer}.bin", state.dtype, shape)
        if made.logits.dim() == 3:
            files["logits"][positions] = made.logits[valid].cpu()
        else:
            files["logits"][ids] = made.logits.cpu()
        for layer in layers:
            files[str(layer)][positions] = made.hidden_states[layer][valid].cpu()
    meta = {
        "lengths": lengths,
        "layers": layers,
        "per_token": per_token,
        "classes": files["logits"].shape[1],
        "width": files[str(layers[0])].shape[1] if layers else 0,
        "dtypes": {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in files.items()},
    }
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")


def _create(path: Path, dtype: torch.dtype, shape: tuple[int, int]) -> Tensor:
    with path.open("wb") as file:
        file.truncate(max(1, shape[0] * shape[1] * dtype.itemsize))
    return _open(path, str(dtype).removeprefix("torch."), shape, write=True)


def _open(path: Path, dtype: str, shape: tuple[int, int], *, write: bool = False) -> Tensor:
    size = shape[0] * shape[1]
    return torch.from_file(str(path), shared=write, size=size, dtype=getattr(torch, dtype)).view(shape)
