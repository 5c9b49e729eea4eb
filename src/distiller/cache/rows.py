"""Values by key on disk: one SQLite file for all processes, bounded in bytes."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from distiller.errors import OutputError

AT_ONCE = 500
"""Keys of one query; SQLite takes 999 in every build."""


class RowCache:
    """Bytes by key in the file `path`, at most about `limit` bytes; the oldest are dropped first.

    Several processes may use one file, each with a connection of its own. A file that is busy or a disk that is full
    costs time and no more: what cannot be kept is made again.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "limit": self.limit, "_connection": None, "_owner": 0}

    def open(self) -> None:
        """Make the file if it is not there. Raises `OutputError` where that is not possible."""
        self._connected()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is kept of that which is asked for. Raises `OutputError` for a file that is not such a cache."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            with suppress(sqlite3.OperationalError):
                rows = self._connected().execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part)
                found |= dict(rows)
        return found

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep these, and forget the oldest if there are too many."""
        with suppress(sqlite3.OperationalError):
            connection = self._connected()
            with connection:
                connection.executemany("INSERT OR IGNORE INTO kept (key, value) VALUES (?, ?)", values.items())
            while self.bytes > self.limit and self._drop_oldest(connection):
                pass

    @property
    def bytes(self) -> int:
        """Bytes of the file that are in use."""
        connection = self._connected()
        page, pages, unused = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return page * (pages - unused)

    def _drop_oldest(self, connection: sqlite3.Connection) -> int:
        """Drop a tenth of what is kept; its pages are used again. The number dropped."""
        with connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM kept").fetchone()
            return connection.execute(
                "DELETE FROM kept WHERE id IN (SELECT id FROM kept ORDER BY id LIMIT ?)", (-(-count // 10),)
            ).rowcount

    def _connected(self) -> sqlite3.Connection:
        """The connection of this process: one must not be carried through a fork."""
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _open(self.path), os.getpid()
        return self._connection


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
        with suppress(sqlite3.OperationalError):  # another process is at it
            connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
        connection.execute("PRAGMA synchronous=OFF")  # after a power cut what is lost is made again
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, key BLOB UNIQUE, value BLOB)")
    except (OSError, sqlite3.DatabaseError) as error:
        raise OutputError(f"the cache `{path}` cannot be used: {error}", hint="delete it; it is made again") from None
    return connection
