"""Edits of expensive operators on disk, shared by all loader workers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distiller.augment.passage import Edit, Passage
from distiller.cache.rows import RowCache

FORMAT = 1
"""Raised when the same key may mean another edit."""


def cache_key(facts: Mapping[str, Any], passage: Passage, drawn_from: str | None) -> bytes:
    """SHA-256 of what determines an edit: the operator, the passage and, for random edits, the seed."""
    about = [passage.words, passage.gaps, sorted(passage.protected), passage.fenced, passage.context]
    text = json.dumps([FORMAT, facts, about, drawn_from], sort_keys=True, default=str)  # ASCII: surrogates are escaped
    return hashlib.sha256(text.encode()).digest()


class EditCache:
    """Edits by key in the file `path`, at most about `limit` bytes: see `RowCache`."""

    def __init__(self, path: Path, limit: int) -> None:
        self.file = RowCache(path, limit)

    def open(self) -> None:
        """Create the file if it does not exist. Raises `OutputError` where that is impossible."""
        self.file.open()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Edit]:
        """The stored edits among those asked for. Raises `OutputError` for a file that is not such a cache."""
        return {key: _edit(json.loads(text)) for key, text in self.file.get(keys).items()}

    def put(self, edits: Mapping[bytes, Edit]) -> None:
        """Store these edits, and drop the oldest if there are too many."""
        self.file.put({key: json.dumps(edit).encode() for key, edit in edits.items()})


def _edit(stored: Any) -> Edit:
    return tuple(tuple(words) for words in stored) if isinstance(stored, list) else stored
