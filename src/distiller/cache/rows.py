"""Values by key on disk: one SQLite file for all processes, bounded in bytes; each value with its checksum."""

import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distiller.cache.folders import writable
from distiller.errors import OutputError, warn

TABLE = "CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, key BLOB UNIQUE, value BLOB)"
CHECK = 4
"""Bytes of the checksum before each value."""
AT_ONCE = 500
"""Keys of one query; SQLite takes 999 in every build."""


class RowCache:
    """Bytes by key in the file `path`, at most about `limit` bytes; the oldest are dropped first.

    Several processes may use one file, each with its own connection. A busy file or a full disk only costs time: what
    cannot be stored is computed again.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "limit": self.limit, "_connection": None, "_owner": 0}

    def open(self) -> None:
        """Create the file if it does not exist. Raises `OutputError` where that is impossible."""
        self._connected()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored values among those asked for. Raises `OutputError` for a file that is not such a cache."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            with suppress(sqlite3.OperationalError), self._renewed_if_damaged():
                rows = self._connected().execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part).fetchall()
                whole = {key: value[CHECK:] for key, value in rows if value[:CHECK] == _check(key, value[CHECK:])}
                found |= whole
                if damaged := [(key,) for key, _ in rows if key not in whole]:
                    with self._connected() as connection:
                        connection.executemany("DELETE FROM kept WHERE key = ?", damaged)
        return found

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Store these values, except for existing keys, and drop the oldest if there are too many."""
        with suppress(sqlite3.OperationalError), self._renewed_if_damaged():
            connection = self._connected()
            with connection:
                checked = [(key, _check(key, value) + value) for key, value in values.items()]
                connection.executemany("INSERT OR IGNORE INTO kept (key, value) VALUES (?, ?)", checked)
            while self.bytes > self.limit and self._drop_oldest(connection):
                pass

    @contextmanager
    def _renewed_if_damaged(self) -> Iterator[None]:
        """Report a file whose pages are damaged, and start a new one."""
        try:
            yield
        except sqlite3.OperationalError:  # busy, full, or read-only
            raise
        except sqlite3.DatabaseError as error:
            warn(f"the cache `{self.path}` is damaged ({error}); it is made again")
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            for ending in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    @property
    def bytes(self) -> int:
        """Bytes of the file that are in use."""
        connection = self._connected()
        page, pages, unused = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        return page * (pages - unused)

    def _drop_oldest(self, connection: sqlite3.Connection) -> int:
        """Drop a tenth of the rows, whose pages are reused. Returns the number dropped."""
        with connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM kept").fetchone()
            return connection.execute(
                "DELETE FROM kept WHERE id IN (SELECT id FROM kept ORDER BY id LIMIT ?)", (-(-count // 10),)
            ).rowcount

    def _connected(self) -> sqlite3.Connection:
        """The connection of this process: a connection must not be carried through a fork."""
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _open(self.path), os.getpid()
        return self._connection


def _check(key: bytes, value: bytes) -> bytes:
    """Checksum of a value under its key."""
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(CHECK, "big")


def _open(path: Path) -> sqlite3.Connection:
    try:
        if not writable(path.parent):
            return _open_read_only(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
        with suppress(sqlite3.OperationalError):  # another process is writing
            connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
        connection.execute("PRAGMA synchronous=OFF")  # what a power cut loses is computed again
        with connection:
            connection.execute(TABLE)
    except (OSError, sqlite3.DatabaseError) as error:
        raise OutputError(f"the cache `{path}` cannot be used: {error}", hint="delete it; it is made again") from None
    return connection


def _open_read_only(path: Path) -> sqlite3.Connection:
    """A read-only folder, whose content does not change; without a file, one in memory for this process."""
    if path.is_file():
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute(TABLE)
    return connection
