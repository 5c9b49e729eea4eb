"""Finds, in the loader, the positions whose outputs count in a model that generates: asking the device would block.

Vocabularies are large, so scores are computed, or compared, only at tokens with a label. Their number decides the size
of tensors, which the host must know. What the loader found travels with a batch until a step takes it, so that no
script finds it among the inputs that it passes to a model.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distiller.errors import ConfigError
from distiller.training.batching import Batch, views_of
from distiller.training.view import places_of

PLACES = "output_places"
"""Key of the places: of a batch by view, of a view its own, `[n]` in the flattened `[b · l]`."""


class WithPlaces:
    """A collator whose batches carry the positions of outputs that count, by view.

    `form` gives a batch its `output_mask`.
    """

    def __init__(self, collate: Callable[[Any], Any], form: Callable[[Batch], Batch]) -> None:
        self.collate = collate
        self.form = form

    def __call__(self, features: Any) -> Any:
        """The batch of these features."""
        batch = self.collate(features)
        if isinstance(batch, MutableMapping):
            try:
                views = views_of(self.form(batch))  # type: ignore[arg-type]
            except ConfigError:  # raised in the step, not in a loader's worker
                return batch
            batch[PLACES] = {name: places_of(view["output_mask"]) for name, view in views.items()}
        return batch


class KnownPlaces:
    """The positions in the micro-batches of one optimisation step; a batch that was changed since has none."""

    def __init__(self) -> None:
        self._known: list[tuple[dict[tuple[str, str], tuple[Tensor, int]], dict[str, Tensor]]] = []

    def take(self, batches: Sequence[Batch], device: torch.device) -> None:
        """Take the positions out of what the loader returned, and forget those of the step before."""
        self._known.clear()
        for batch in batches:
            found = batch.pop(PLACES, None)
            if found is not None:
                places = {name: value.to(device, non_blocking=True) for name, value in found.items()}
                self._known.append((_as_it_is(batch), places))

    def of(self, batch: Batch) -> dict[str, Tensor]:
        """The positions by view, for one of these batches."""
        now = _as_it_is(batch)
        for before, places in self._known:
            if all(name in now and _same(now[name], then) for name, then in before.items()):
                return places
        return {}


def _as_it_is(batch: Batch) -> dict[tuple[str, str], tuple[Tensor, int]]:
    """The tensors of a batch by view and name, and how often each was written to."""
    found: dict[tuple[str, str], tuple[Tensor, int]] = {}
    for view, columns in views_of(batch).items():
        for name, value in columns.items():
            if isinstance(value, Tensor):
                found[view, name] = value, value._version
    return found


def _same(one: tuple[Tensor, int], other: tuple[Tensor, int]) -> bool:
    return one[0] is other[0] and one[1] == other[1]
