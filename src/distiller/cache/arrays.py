"""Arrays that runs share, one file each, mapped into memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distiller.cache.folders import FolderCache, writable

KEPT = 100_000
"""So many texts are tokenized once for all runs; fewer are sooner tokenized than looked up."""


def kept_arrays(
    store: FolderCache, kind: str, facts: Mapping[str, Any], make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """The arrays that `make` returns, by name: made once for all runs, and mapped from `store`.

    What a cache that may only be read does not hold is made again. Raises as `FolderCache.get` does.
    """
    if not writable(store.root) and store.find(kind, facts) is None:
        return make()

    def write(folder: Path) -> None:
        for name, array in make().items():
            np.save(folder / f"{name}.npy", array)

    folder = store.get(kind, facts, write)
    return {file.stem: np.load(file, mmap_mode="r") for file in folder.glob("*.npy")}
