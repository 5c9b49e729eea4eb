"""The teacher's outputs on augmented texts, stored by their tokens: the teacher reads each text only once.

An augmented text may last for several epochs (`augmentation_refresh`), and the trials of a study augment alike. Tokens
are the key, so the output is the same for every epoch, seed, run or batch in which a text occurs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from distiller.cache.rows import RowCache
from distiller.models.signals import Signals


class AugmentedOutputs:
    """Logits and hidden `layers` by text in the file `path`, at most about `limit` bytes.

    `facts` distinguish this teacher, and how it computes, from others. Each layer is stored separately: readers of
    other layers find those that both need.
    """

    def __init__(self, path: Path, limit: int, facts: Mapping[str, Any], layers: Sequence[int]) -> None:
        self.file = RowCache(path, limit)
        self.facts = json.dumps(dict(facts), sort_keys=True).encode()
        self.parts = ["logits", *map(str, sorted(layers))]

    def outputs(self, inputs: Mapping[str, Any], teacher: Callable[[Mapping[str, Any]], Signals]) -> Signals:
        """The outputs of `teacher` for a batch; the teacher runs only on texts with something missing."""
        mask = inputs["attention_mask"]
        keys = [self._keys(row) for row in _texts(inputs)]
        found = self.file.get([key for row in keys for key in row])
        missing = [n for n, row in enumerate(keys) if any(key not in found for key in row)]
        if missing:
            made = teacher({name: value[missing] for name, value in inputs.items() if isinstance(value, Tensor)})
            new = {
                key: save({"": value})
                for place, n in enumerate(missing)
                for key, value in zip(keys[n], self._valid(made, place), strict=True)
            }
            self.file.put(new)
            if len(missing) == len(keys):
                return made
            found |= new
        logits, *states = ([load(found[key])[""] for key in part] for part in zip(*keys, strict=True))
        per_token = logits[0].dim() == 2
        return Signals(
            _padded(logits, mask) if per_token else torch.stack(logits).to(mask.device),
            {int(layer): _padded(state, mask) for layer, state in zip(self.parts[1:], states, strict=True)},
            {},
            mask,
        )

    def _keys(self, text: bytes) -> list[bytes]:
        return [hashlib.sha256(b"\0".join([self.facts, part.encode(), text])).digest() for part in self.parts]

    def _valid(self, made: Signals, row: int) -> list[Tensor]:
        """The logits and states of one text, without padding."""
        valid = made.mask[row].bool()
        logits = made.logits[row]
        states = (made.hidden_states[int(layer)][row] for layer in self.parts[1:])
        values = [logits[valid] if logits.dim() == 2 else logits, *(state[valid] for state in states)]
        return [value.cpu().contiguous() for value in values]


def _texts(inputs: Mapping[str, Any]) -> list[bytes]:
    """What the teacher reads of each text, without its padding."""
    columns = [inputs[name].cpu() for name in ("input_ids", "token_type_ids") if name in inputs]
    valid = inputs["attention_mask"].bool().cpu()
    return [torch.cat([column[row][keep] for column in columns]).numpy().tobytes() for row, keep in enumerate(valid)]


def _padded(rows: Sequence[Tensor], mask: Tensor) -> Tensor:
    """The tokens of each text `[n, d]` at their positions in `mask` `[b, l]`, with zeros elsewhere."""
    valid = mask.bool().cpu()
    padded = rows[0].new_zeros(*valid.shape, rows[0].shape[1])
    padded[valid] = torch.cat(list(rows))
    return padded.to(mask.device)
