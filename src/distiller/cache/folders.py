"""Folders that runs share: fine-tuned teachers, baselines, teacher outputs.

Each is found by the facts that decide its content. It is built in a temporary folder and renamed when it is
whole, so an interrupted build is never taken for a finished one; a lock keeps two processes from building it twice.
Where the folder has a limit, what was not used for longest makes room for what is new; what a process uses stays.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from distiller.errors import ConfigError, DistillerError, OutputError

FACTS = "facts.json"
LIMIT = "DISTILLER_CACHE_GB"
"""The environment variable that limits the folder, in 10^9 bytes."""
BUILDING = ".building-"
"""Beginning of the name of a folder that is being filled."""
USERS = ".users"
"""Ending of the folder beside a cached one in which each process that uses it holds a lock, which ends with it."""


def default_folder() -> Path:
    """`$DISTILLER_CACHE`, or `~/.cache/distiller`."""
    return Path(os.environ.get("DISTILLER_CACHE") or Path.home() / ".cache" / "distiller").expanduser()


def cache_root(wish: str | None) -> Path:
    """The folder that a run's `cache` names, or the default."""
    return Path(wish).expanduser().absolute() if wish else default_folder()


def default_limit() -> float | None:
    """`$DISTILLER_CACHE_GB`, or `None` for no limit. Raises `ConfigError` for something that is no size."""
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
    """Folders by kind and facts below `root`, which together have at most `gigabytes` (10^9 bytes) where possible.

    What `get` returns stays until this object is closed or forgotten, or its process ends.
    """

    def __init__(self, root: Path | None = None, *, gigabytes: float | None = None) -> None:
        self._held: dict[Path, FileLock] = {}
        self._process = os.getpid()
        self.root = root or default_folder()
        self.gigabytes = gigabytes if gigabytes is not None else default_limit()

    def path(self, kind: str, facts: Mapping[str, Any]) -> Path:
        """Where the folder with these facts is, or would be."""
        return self.root / kind / fingerprint(facts)

    def find(self, kind: str, facts: Mapping[str, Any]) -> Path | None:
        """The finished folder with exactly these facts, if there is one. It may go at any time: see `get`."""
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
        """The folder with these facts; `make` fills a fresh one if there is none yet.

        With `resumes`, `make` is given what an interrupted one left, and goes on from there. A folder of the same kind
        with other facts is taken too if `serves` says of them that it will do. Raises
        `OutputError` where the store cannot be written.
        """
        path = self.path(kind, facts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write the cache folder `{self.root}`: {error.strerror}",
                hint="set `cache` in the run, or DISTILLER_CACHE, to a folder you may write",
            ) from None
        if serves and (other := self._other(kind, path, serves)):
            return other
        with _lock(path):
            if self.find(kind, facts) is None:
                self._build(path, facts, make, resumes)
            self._hold(path)
        self.make_room()
        return path

    def entries(self) -> list[CachedFolder]:
        """Every finished folder, those not used for longest first."""
        found = [_cached_folder(facts.parent) for facts in self.root.glob(f"*/*/{FACTS}")]
        return sorted((one for one in found if one), key=lambda one: one.used)

    def make_room(self) -> list[Path]:
        """Remove what was not used for longest until the rest fits; what some process uses stays. Returns what went."""
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
        """Let go of everything that `get` returned."""
        if self._process != os.getpid():  # a copy in a child process, whose parent goes on
            return
        for lock in self._held.values():
            lock.release(force=True)
            with suppress(OSError):
                Path(lock.lock_file).unlink()
        self._held.clear()

    def __del__(self) -> None:
        self.close()

    def _build(self, path: Path, facts: Mapping[str, Any], make: Callable[[Path], None], resumes: bool) -> None:
        """The caller has the lock of `path`: what lies in the folder for building is from a process that has ended."""
        folder = path.with_name(f"{BUILDING}{path.name}")
        if not resumes:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        try:
            make(folder)
            (folder / FACTS).write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")
            shutil.rmtree(path, ignore_errors=True)
            folder.rename(path)
        except BaseException as error:
            if not resumes or isinstance(error, DistillerError):
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def _other(self, kind: str, own: Path, serves: Callable[[dict[str, Any]], bool]) -> Path | None:
        for file in sorted((self.root / kind).glob(f"*/{FACTS}")):
            if file.parent == own or not (facts := _facts(file.parent)) or not serves(facts):
                continue
            with _lock(file.parent):
                if _facts(file.parent) == facts:  # still there
                    self._hold(file.parent)
                    return file.parent
        return None

    def _hold(self, path: Path) -> None:
        """Mark `path` as used, now and until this store lets go; the caller has its lock."""
        with suppress(OSError):  # a store that may only be read
            os.utime(path / FACTS)
        if path not in self._held:
            users = path.with_name(path.name + USERS)
            users.mkdir(exist_ok=True)
            lock = FileLock(users / f"{uuid.uuid4().hex}.lock")
            lock.acquire()
            self._held[path] = lock


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
    except OSError:  # it went meanwhile
        return None


def _evict(path: Path) -> bool:
    """Remove a folder unless somebody builds or uses it."""
    try:
        with _lock(path).acquire(timeout=0):
            if _in_use(path.with_name(path.name + USERS)):
                return False
            gone = path.with_name(f".gone-{uuid.uuid4().hex}")
            path.rename(gone)  # in one step: nobody finds half of it
            shutil.rmtree(gone, ignore_errors=True)
            return True
    except (Timeout, OSError):
        return False


def _in_use(users: Path) -> bool:
    """Whether a living process holds a lock in `users`; what dead ones left is removed."""
    for file in users.glob("*.lock"):
        try:
            with FileLock(file).acquire(timeout=0):
                file.unlink(missing_ok=True)
        except Timeout:
            return True
    shutil.rmtree(users, ignore_errors=True)
    return False
