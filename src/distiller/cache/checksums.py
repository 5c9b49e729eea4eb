"""Checksums of cached files, by block: a damaged file is reported and never silently used.

A folder holds `checksums.json` beside its files. They are checked as a whole when the folder is opened, except large
ones that end in `.bin` and are read in parts: each of their blocks is checked when it is first read.
"""

import json
import mmap
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distiller.errors import OutputError

FILE = "checksums.json"
BLOCK = 1 << 18
"""Bytes that share a checksum: a batch of long texts touches about as many blocks as it has texts."""
BY_BLOCK, SMALL = ".bin", 1 << 20
"""Ending of files whose blocks are checked when they are first read, if they have more bytes than this."""
THREADS = 8
"""Checksums of a whole file are computed so many blocks at a time; zlib lets other threads run meanwhile."""


class DamagedFileError(OutputError):
    """A cached file that has changed since it was written: truncated, changed, or gone."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"the cached file `{path}` is damaged", hint="delete its folder; it is made again")
        self.path = path


class CheckedWriter:
    """Writes a file from front to end and computes the checksums of its blocks on the way.

    It does not memory-map the file or leave holes, so a full disk is an `OSError` here and not a signal later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("wb")
        self.size = 0
        self.sums: list[int] = []
        self._last = 0
        """Checksum of the block that is not full yet."""

    def write(self, data: Any) -> None:
        """Append `data`, any object with a buffer."""
        view = memoryview(data)
        if not view.nbytes:
            return
        view = view.cast("B")
        self.file.write(view)
        while len(view):
            part = view[: BLOCK - self.size % BLOCK]
            self._last = zlib.crc32(part, self._last)
            self.size += len(part)
            view = view[len(part) :]
            if self.size % BLOCK == 0:
                self.sums.append(self._last)
                self._last = 0

    def close(self) -> None:
        """Finish the file."""
        self.file.close()

    @property
    def entry(self) -> dict[str, Any]:
        """Size and checksums, as `checksums.json` has them."""
        return {"size": self.size, "blocks": self.sums + ([self._last] if self.size % BLOCK else [])}

    def __enter__(self) -> "CheckedWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def write_checksums(folder: Path, known: dict[str, dict[str, Any]] | None = None) -> None:
    """Write `checksums.json` over all files of `folder`; sums that are `known`, or already in it, are kept."""
    entries = (_entries(folder) or {}) | (known or {})
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in entries:
            entries[name] = {"size": path.stat().st_size, "blocks": _sums(path)}
    (folder / FILE).write_text(json.dumps(entries), encoding="utf-8")


def damaged_file(folder: Path, *, whole: bool = False) -> Path | None:
    """The first file of `folder` that has changed since it was written, or `None`.

    Of large files that end in `.bin` only the size is checked, unless `whole`.
    """
    entries = _entries(folder)
    if entries is None:
        return folder / FILE
    for name, entry in entries.items():
        path = folder / name
        try:
            if path.stat().st_size != entry["size"]:
                return path
            later = name.endswith(BY_BLOCK) and entry["size"] > SMALL
            if (whole or not later) and _sums(path) != entry["blocks"]:
                return path
        except OSError:
            return path
    return None


class BlockChecks:
    """Checks each block of a file when it is first read. Without sums (`None`) nothing is checked."""

    def __init__(self, path: Path, size: int) -> None:
        """Raises `DamagedFileError` if the file is not `size` bytes long."""
        entry = (_entries(path.parent) or {}).get(path.name)
        try:
            found = path.stat().st_size
        except OSError:
            raise DamagedFileError(path) from None
        if found != size or (entry is not None and entry["size"] != size):
            raise DamagedFileError(path)
        self.path = path
        self.sums = [] if entry is None else entry["blocks"]
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        self.unread = np.ones(len(self.sums), dtype=bool)
        self.left = len(self.sums)

    def check(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """Check the blocks of some spans of bytes. Raises `DamagedFileError`."""
        if not self.left or not len(starts):
            return
        first, last = starts // BLOCK, np.maximum(stops - 1, starts) // BLOCK
        touched: list[NDArray[np.int64]] = []
        for offset in range(int((last - first).max()) + 1):
            touched.append(np.minimum(first + offset, last))
        blocks = np.unique(np.concatenate(touched))
        self._read(blocks[self.unread[blocks]])

    def check_all(self) -> None:
        """Check every block that has not been read yet. Raises `DamagedFileError`."""
        if self.left:
            self._read(np.flatnonzero(self.unread))

    def _read(self, blocks: NDArray[np.int64]) -> None:
        data = self.data
        assert data is not None
        whole = memoryview(data)

        def sound(block: int) -> bool:
            start = block * BLOCK
            same = zlib.crc32(whole[start : start + BLOCK]) == self.sums[block]
            if hasattr(data, "madvise"):  # the reader of the values maps the file too: it need not count twice
                data.madvise(mmap.MADV_DONTNEED, start, min(BLOCK, len(whole) - start))
            return same

        many = len(blocks) > THREADS
        with ThreadPoolExecutor(THREADS) if many else _Inline() as pool:
            if not all(pool.map(sound, blocks.tolist())):
                raise DamagedFileError(self.path)
        self.unread[blocks] = False
        self.left -= len(blocks)


class _Inline:
    """Runs work at once where a thread pool would cost more than it saves."""

    map = staticmethod(map)

    def __enter__(self) -> "_Inline":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _entries(folder: Path) -> dict[str, dict[str, Any]] | None:
    try:
        entries = json.loads((folder / FILE).read_text(encoding="utf-8"))
        whole = all(isinstance(entry["size"], int) and isinstance(entry["blocks"], list) for entry in entries.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return entries if whole else None


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / FILE:
            yield path


def _sums(path: Path) -> list[int]:
    sums = []
    with path.open("rb") as file:
        while part := file.read(BLOCK):
            sums.append(zlib.crc32(part))
    return sums
