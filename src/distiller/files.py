"""Files that are complete or absent: written beside and renamed, held by one process, checked before they are read.

`SUMS` lists the SHA-256 of the files in its folder in the form that `sha256sum -c` reads, so that damage can be found
by hand too.
"""

import errno
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from distiller.errors import DamagedError, OutputError

SUMS = "distiller.sha256"
OWNER_ALONE = 0o600
"""Permissions of a file that nobody else may read."""
PART = ".part"
"""Ending of a file that is being written."""
LOCK, HOLDER = ".lock", ".holder"
"""Who writes into a folder: a lock that ends with its process, and a line for people."""
LEFT_OUT = "left_out.txt"
"""Lists the rows of the data that could not be used, if there are any."""


def write_json(path: Path, data: Any) -> Path:
    """Write JSON beside `path` and rename it, so that readers see all of it or nothing."""
    return write_text(path, json_text(data))


def write_text(path: Path, text: str, *, private: bool = False) -> Path:
    """Write text beside `path` and rename it, so that readers see all of it or nothing.

    Only its owner may read a `private` file.
    """
    with writing(path, private=private) as file:
        file.write(text)
    return path


def check_parent(path: Path) -> None:
    """Raise `OutputError` where the folder in which `path` would be written does not exist."""
    if not path.resolve().parent.is_dir():
        raise OutputError(f"there is no folder `{path.parent}`", hint="make it, or name another file")


def list_left_out(path: Path, reasons: Sequence[str]) -> None:
    """Write where each row is that could not be used, and why, a line for each, if there are any."""
    if reasons:
        write_text(path, "".join(f"{reason}\n" for reason in reasons))


@contextmanager
def writing(path: Path, mode: str = "w", *, private: bool = False) -> Iterator[IO[Any]]:
    """A file to write to, which becomes `path` if the block succeeds; `mode` is `w` or `wb`.

    A device or a pipe (`/dev/stdout`) is written directly: renaming a file there would replace it. Links stay links.
    Raises `OSError` that names `path`.
    """
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    through = path.is_relative_to("/dev") or path.is_relative_to("/proc") or (path.exists() and not path.is_file())
    target = path if through else Path(os.path.realpath(path))
    temporary = target if through else target.with_name(target.name + PART)
    try:
        with temporary.open(mode, **options) as file:
            if private:
                temporary.chmod(OWNER_ALONE)
            yield file
            file.flush()
            if not through:
                os.fsync(file.fileno())  # or a power failure could leave a new name without content
        if not through:
            temporary.replace(target)
    except BaseException as error:
        if not through:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def carried(package: str) -> list[Path] | None:
    """The files inside an installed package, which is read and never imported. `None` if it is not installed."""
    try:
        return [Path(str(entry.locate())) for entry in metadata.files(package) or []]
    except metadata.PackageNotFoundError:
        return None


def exists(file: Path) -> bool:
    """Whether there is such a file; a text that may be its name can be longer than any name, which is an `OSError`."""
    try:
        return file.exists()
    except (OSError, ValueError):
        return False


# --- what is read again is checked ------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """List the SHA-256 of every file below `folder` in `folder/distiller.sha256`, the last file to be written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    open_like(write_text(folder / SUMS, "".join(lines)), files)


def open_like(file: Path, others: Iterable[Path]) -> None:
    """Let everyone who may read `file` read `others` too.

    Safetensors makes its files readable only by their owner, and other users serve a student or share a cache.
    """
    mode = stat.S_IMODE(file.stat().st_mode)
    for path in others:
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) == OWNER_ALONE:
            with suppress(OSError):
                path.chmod(mode)


def write_last(path: Path, text: str, beside: Iterable[str] = ()) -> Path:
    """Write the file that marks its folder complete, after the checksums of it and of the files `beside` it."""
    beside = list(beside)
    lines = [f"{digest(path.parent / name)}  {name}\n" for name in beside if (path.parent / name).is_file()]
    lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {path.name}\n")
    write_text(path.parent / SUMS, "".join(lines))
    open_like(write_text(path, text), [path.parent / name for name in beside])
    return path


def json_text(data: Any) -> str:
    """JSON as `write_json` writes it."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def damage(folder: Path) -> str | None:
    """What differs from the list of `write_sums`, in words; `None` if nothing does."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        listed = {name: one for one, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return f"`{folder / SUMS}` is missing or damaged"
    for name, expected in listed.items():
        file = folder / name
        try:
            if digest(file) != expected:
                return f"`{file}` is not what was written there"
        except (OSError, ValueError):  # a damaged list may contain impossible file names
            return f"`{file}` is missing"
    return None if listed else f"`{folder / SUMS}` is empty"


def check_sums(folder: Path) -> None:
    """Raise `DamagedError` if `folder` has a list of checksums that its files do not match."""
    if (folder / SUMS).exists():
        refuse_damage(folder)


def refuse_damage(folder: Path) -> None:
    """Raise `DamagedError` unless `folder` is as `write_sums` left it."""
    if found := damage(folder):
        raise DamagedError(found, hint=f"copy or make it again; changed on purpose? then remove {SUMS} beside it")


def write_sealed(path: Path, content: Any) -> Path:
    """Write JSON that `read_sealed` checks: the content, and the SHA-256 of its text."""
    return write_json(path, {"sha256": _seal(content), "content": json.loads(json.dumps(content))})


def read_sealed(path: Path) -> Any:
    """The content that `write_sealed` wrote. Raises `DamagedError` for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["sha256"] == _seal(found["content"]):
            return found["content"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DamagedError(f"`{path}` is damaged", hint="remove it, and what it describes is made again")


def _seal(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


# --- one writer at a time ---------------------------------------------------------------------------------------------


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Reserve the existing `folder` for this process. Raises `OutputError` that names the process that has it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"`{folder}` is being written by {_holder(folder)}", hint="wait for it or end it, or choose another output"
        ) from None
    try:
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        write_text(folder / HOLDER, f"process {os.getpid()} on {socket.gethostname()} since {now}")
        yield
    finally:
        for name in (HOLDER, LOCK):
            with suppress(OSError):
                (folder / name).unlink()
        lock.release()


def _holder(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (folder / HOLDER).read_text(encoding="utf-8").strip() or "another process"
    return "another process"


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A place beside `folder` for one process to fill and, within the block, rename to `folder`; removed afterwards.

    The remains of a killed process are removed first. Raises `OutputError` if another process is building it.
    """
    part = folder.with_name(folder.name + PART)
    part.mkdir(parents=True, exist_ok=True)
    try:
        with held(part):
            place = part / "it"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
    finally:
        with suppress(OSError):
            part.rmdir()


def strangers(folder: Path, ours: Iterable[str] = ()) -> list[str]:
    """Names in `folder` that were not left there by a process that holds it, or was killed while holding it."""
    left = {LOCK, HOLDER, HOLDER + PART, *(name + PART for name in ours)}
    return sorted(path.name for path in folder.iterdir() if path.name not in left)


def replace_folder(make: Callable[[Path], object], target: Path) -> None:
    """Fill a folder beside `target` with `make` and rename it: readers of `target` find all of it or nothing."""
    temporary = target.with_name(target.name + PART)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    make(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest parent that exists."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def free_bytes(folder: Path) -> int:
    """Free space on the disk of `folder`, which need not exist yet."""
    return shutil.disk_usage(nearest(folder)).free


@contextmanager
def unwritable(target: Path, hint: str) -> Iterator[None]:
    """An `OSError` in the block becomes an `OutputError`: `target` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write `{target}`: {error.strerror}", hint=hint) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for the existing `folder`."""
    with FileLock(folder / LOCK):
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / LOCK).unlink()


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk caused `error`; each library reports it in its own way."""
    words = ("No space left on device", "inline_container")  # safetensors; torch.save, which gives no reason
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, Exception) and any(word in str(error) for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False
