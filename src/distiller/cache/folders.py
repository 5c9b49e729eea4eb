"""Folders that runs share: fine-tuned teachers, baselines, teacher outputs.

Each is found by the facts that determine its content. It is built in a temporary folder and renamed once complete, so
an interrupted build is never mistaken for a finished one; a lock keeps two processes from building it twice. Its files
have checksums: a damaged folder is reported and rebuilt. If the cache has a limit, folders that were not used for
longest make room for new ones; what a process is using stays.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distiller import processes
from distiller.cache.checksums import FILE as CHECKSUMS
from distiller.cache.checksums import damaged_file, write_checksums
from distiller.errors import ConfigError, DistillerError, OutputError, RunError, warn
from distiller.files import is_full, nearest, open_like, unwritable

FACTS = "facts.json"
LIMIT = "DISTILLER_CACHE_GB"
"""The environment variable that limits the folder, in 10^9 bytes."""
USERS = ".users"
"""Ending of the folder beside a cached one in which each process that uses it holds a lock, which ends with it."""
BUILDING, RESUMABLE = ".building-", ".resumable-"
"""Beginnings of the names of folders that are being built, followed by the name they will have."""
KEPT_SECONDS = 7 * 24 * 3600
"""How long an interrupted build that can be continued is kept."""
ELSEWHERE = "set `cache` in the run, or DISTILLER_CACHE, to a folder with room that you may write"


def default_folder() -> Path:
    """`$DISTILLER_CACHE`, or `~/.cache/distiller`."""
    return Path(os.environ.get("DISTILLER_CACHE") or Path.home() / ".cache" / "distiller").expanduser()


def cache_root(wish: str | None) -> Path:
    """The folder that a run's `cache` names, or the default."""
    return Path(wish).expanduser().absolute() if wish else default_folder()


def default_limit() -> float | None:
    """`$DISTILLER_CACHE_GB`, or `None` for no limit. Raises `ConfigError` for a value that is not a size."""
    text = os.environ.get(LIMIT)
    if not text:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise ConfigError(f"{LIMIT} should be a number of 10^9 bytes, got `{text}`", hint=f"e.g. {LIMIT}=20") from None
    return limit


def fingerprint(facts: Any) -> str:
    """A short, stable name for JSON data: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CachedFolder:
    """One finished folder of a store."""

    path: Path
    size: int
    """Bytes of its files."""
    used: float
    """When it was last asked for, in seconds since 1970."""


class FolderCache:
    """Folders by kind and facts below `root`, of at most `gigabytes` (10^9 bytes) in all where possible.

    What `get` returns stays until this object is closed or forgotten, or its process ends.
    """

    def __init__(self, root: Path | None = None, *, gigabytes: float | None = None) -> None:
        self._held: dict[Path, FileLock] = {}
        self._checked: set[Path] = set()
        self._swept: set[Path] = set()
        self._process = os.getpid()
        self.root = root or default_folder()
        self.gigabytes = gigabytes if gigabytes is not None else default_limit()

    def path(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Where the folder with these facts is, or would be."""
        return self.root / kind / fingerprint(facts)

    def find(self, kind: str, facts: Mapping[str, Any]) -> Path | None:
        """The finished folder with exactly these facts, if there is one. It may be removed at any time: see `get`."""
        path = self.path(kind, facts)
        return path if _facts(path) == json.loads(json.dumps(facts, default=str)) else None

    def get(
        self,
        kind: str,
        facts: Mapping[str, Any],
        make: Callable[[Path], None],
        *,
        serves: Callable[[dict[str, Any]], bool] | None = None,
        resumes: bool = False,
    ) -> Path:
        """The folder with these facts; `make` fills a new one if there is none yet, or only a damaged one.

        A folder of the same kind with other facts is used too if `serves` accepts these. Of several processes the first
        calls `make` and the others wait. With `resumes`, `make` is a training: every process calls it with the same
        folder, and after an interruption the next one finds what was written. A read-only cache gives what it has.
        Raises `OutputError` if the cache cannot be written, `RunError` if its disk is full.
        """
        path = self.path(kind, facts)
        if resumes and processes.count() > 1:
            return self._get_together(path, kind, facts, make)
        return processes.from_first(lambda: self._get(path, kind, facts, make, serves=serves, resumes=resumes))

    def _get(
        self,
        path: Path,
        kind: str,
        facts: Mapping[str, Any],
        make: Callable[[Path], None],
        *,
        serves: Callable[[dict[str, Any]], bool] | None,
        resumes: bool,
    ) -> Path:
        if not writable(self.root):
            return self._get_read_only(kind, path, facts, serves)
        self._ready(path)
        if serves and (other := self._other(kind, path, serves)):
            return other
        with _lock(path):
            if not self._has(path, kind, facts):
                self._build(path, facts, make, resumes=resumes)
            self._hold(path)
        self.make_room()
        return path

    def _get_together(self, path: Path, kind: str, facts: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """As `_get`: the first process decides, locks and renames, and all of them call `make`."""
        lock = _lock(path)

        def begin() -> Path | None:
            if not writable(self.root):
                self._get_read_only(kind, path, facts, None)
                return None
            self._ready(path)
            lock.acquire()
            if self._has(path, kind, facts):
                return None
            folder = path.with_name(RESUMABLE + path.name)
            _open(folder)
            return folder

        def end() -> None:
            if folder is not None:
                self._finish(folder, path, facts)
            if writable(self.root):
                self._hold(path)
                self.make_room()

        try:
            folder = processes.from_first(begin)
            if folder is not None:
                make(folder)
            processes.from_first(end)
        finally:
            lock.release()
        return path

    def _ready(self, path: Path) -> None:
        with unwritable(self.root, ELSEWHERE):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._sweep(path.parent)

    def _has(self, path: Path, kind: str, facts: Mapping[str, Any]) -> bool:
        return self.find(kind, facts) is not None and self._sound(path)

    def entries(self) -> list[CachedFolder]:
        """Every finished folder, the least recently used first."""
        found = [_cached_folder(facts.parent) for facts in self.root.glob(f"*/*/{FACTS}")]
        return sorted((one for one in found if one), key=lambda one: one.used)

    def make_room(self) -> list[Path]:
        """Remove the least recently used folders until the rest fits, except those in use. Returns what was removed."""
        if self.gigabytes is None:
            return []
        kept = self.entries()
        excess = sum(folder.size for folder in kept) - self.gigabytes * 1e9
        gone = []
        for folder in kept:
            if excess <= 0:
                break
            if _evict(folder.path):
                gone.append(folder.path)
                excess -= folder.size
        return gone

    def close(self) -> None:
        """Release everything that `get` returned."""
        if self._process != os.getpid():  # a copy in a child process, whose parent goes on
            return
        for lock in self._held.values():
            lock.release(force=True)
            with suppress(OSError):
                Path(lock.lock_file).unlink()
        self._held.clear()

    def __del__(self) -> None:
        self.close()

    def _build(self, path: Path, facts: Mapping[str, Any], make: Callable[[Path], None], *, resumes: bool) -> None:
        """Fill a folder beside `path` and rename it; the caller holds the lock, so no other process builds this one."""
        folder = path.with_name((RESUMABLE if resumes else BUILDING) + path.name)
        if not resumes:
            shutil.rmtree(folder, ignore_errors=True)
        _open(folder)
        try:
            make(folder)
            self._finish(folder, path, facts)
        except BaseException as error:
            full = is_full(error)
            if full or not resumes or isinstance(error, DistillerError):
                shutil.rmtree(folder, ignore_errors=True)
            if full:
                raise RunError(f"the disk of the cache folder `{self.root}` is full", hint=ELSEWHERE) from error
            raise

    def _finish(self, folder: Path, path: Path, facts: Mapping[str, Any]) -> None:
        (folder / FACTS).write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
        write_checksums(folder)
        open_like(folder / FACTS, folder.rglob("*"))
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)
        self._checked.add(path)

    def _sound(self, path: Path) -> bool:
        """Whether the files of a finished folder are unchanged; each folder is checked once."""
        if path in self._checked:
            return True
        if (damaged := damaged_file(path)) is None:
            self._checked.add(path)
            return True
        if (path / CHECKSUMS).exists():  # versions before 0.2 wrote none
            warn(f"the cached file `{damaged}` is damaged; it is made again")
        return False

    def _get_read_only(
        self, kind: str, own: Path, facts: Mapping[str, Any], serves: Callable[[dict[str, Any]], bool] | None
    ) -> Path:
        if self.find(kind, facts) is not None and self._sound(own):
            return own
        for file in sorted((self.root / kind).glob(f"*/{FACTS}")) if serves else []:
            other = _facts(file.parent)
            if serves and other and serves(other) and self._sound(file.parent):
                return file.parent
        raise OutputError(
            f"the cache folder `{self.root}` may only be read and does not hold all of this", hint=ELSEWHERE
        )

    def _other(self, kind: str, own: Path, serves: Callable[[dict[str, Any]], bool]) -> Path | None:
        for file in sorted((self.root / kind).glob(f"*/{FACTS}")):
            if file.parent == own or not (facts := _facts(file.parent)) or not serves(facts):
                continue
            with _lock(file.parent):
                if _facts(file.parent) == facts and self._sound(file.parent):  # still exists, and is complete
                    self._hold(file.parent)
                    return file.parent
        return None

    def _sweep(self, kind: Path) -> None:
        """Remove what killed processes left of their builds, once in the life of this object."""
        if kind in self._swept:
            return
        self._swept.add(kind)
        for left in kind.glob(".gone-*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in [*kind.glob(BUILDING + "*"), *kind.glob(RESUMABLE + "*")]:
            target = kind / left.name.removeprefix(BUILDING).removeprefix(RESUMABLE)
            with suppress(Timeout, OSError), _lock(target).acquire(timeout=0):  # its builder is gone
                if left.name.startswith(BUILDING) or time.time() - left.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _hold(self, path: Path) -> None:
        """Mark `path` as used, from now until this store releases it; the caller holds its lock."""
        with suppress(OSError):  # a read-only store
            os.utime(path / FACTS)
        if path not in self._held:
            users = path.with_name(path.name + USERS)
            users.mkdir(exist_ok=True)
            lock = FileLock(users / f"{uuid.uuid4().hex}.lock")
            lock.acquire()
            self._held[path] = lock


def writable(folder: Path) -> bool:
    """Whether files can be written to `folder`, or to its nearest existing parent."""
    return os.access(nearest(folder), os.W_OK)


def forget(folder: Path) -> None:
    """Turn a finished folder that proved damaged into an unfinished one, so that it is rebuilt."""
    with suppress(OSError):
        (folder / FACTS).unlink()


def _open(folder: Path) -> None:
    """Start or continue a build; checksums left by a build that was killed just before its end are dropped."""
    folder.mkdir(exist_ok=True)
    (folder / CHECKSUMS).unlink(missing_ok=True)


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _cached_folder(path: Path) -> CachedFolder | None:
    try:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return CachedFolder(path, size, (path / FACTS).stat().st_mtime)
    except OSError:  # removed meanwhile
        return None


def _evict(path: Path) -> bool:
    """Remove a folder unless a process builds or uses it."""
    try:
        with _lock(path).acquire(timeout=0):
            if _in_use(path.with_name(path.name + USERS)):
                return False
            gone = path.with_name(f".gone-{uuid.uuid4().hex}")
            path.rename(gone)  # in one step: no reader finds half of it
            shutil.rmtree(gone, ignore_errors=True)
            return True
    except (Timeout, OSError):
        return False


def _in_use(users: Path) -> bool:
    """Whether a living process holds a lock in `users`; locks of dead processes are removed."""
    for file in users.glob("*.lock"):
        try:
            with FileLock(file).acquire(timeout=0):
                file.unlink(missing_ok=True)
        except Timeout:
            return True
    shutil.rmtree(users, ignore_errors=True)
    return False
