"""Jobs in shards: long work on many rows that may be stopped, continued, and shared by processes and machines.

A shard is written beside its place and renamed once complete, with a note of its SHA-256. A job that was killed makes
only the missing shards, so no row is lost or done twice; at the end they are counted. Processes on one machine take the
shards that no other process has, those on other machines every n-th one.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel

from distiller.errors import DamagedError, OutputError, warn
from distiller.files import LOCK, PART, alone, check_sums, digest, json_text, write_json, write_last

if TYPE_CHECKING:
    from rich.console import Console

JOB, SUMMARY = "job.json", "summary.json"
"""The facts that decide what a job makes, and, written last, what it came to."""
SAID_EVERY = 15.0
"""Seconds between two lines of progress where there is no terminal."""

SummaryT = TypeVar("SummaryT", bound=BaseModel)
Make = Callable[[range, Path], int]
"""Writes what becomes of some rows into a file, and says how much it was, in the units of the job's speed."""
Advance = Callable[[int, int], None]
"""Hears of (rows, amount) that are done."""


@dataclass(frozen=True)
class Done:
    """The totals of all shards, over all processes and all starts of the job."""

    seconds: float
    amount: int
    """Of what was made, in the units of the job's speed."""

    @property
    def speed(self) -> float:
        """Amount per second."""
        return self.amount / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Job(Generic[SummaryT]):
    """Work on `rows` rows in shards of `shard_size`, which are in `folder`."""

    folder: Path
    facts: Mapping[str, Any]
    """Everything that decides the result: two jobs with equal facts have equal results."""
    rows: int
    shard_size: int
    shard_name: str
    """With a place for the number of the shard: `part-{:06d}.jsonl`."""
    what: str
    """How messages call the job."""
    summary: type[SummaryT]
    part: tuple[int, int] = (0, 1)
    """(i, n): this process makes every n-th shard from the i-th."""

    def claim(self, *, resume: bool) -> SummaryT | None:
        """Make `folder` that of this job; returns its summary if it is finished already.

        Raises `OutputError` for a folder with something else, with a job of other facts, or without `resume` with this
        very job, `DamagedError` for a finished job whose files have changed.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"`{self.folder}` is a file and not a {self.what} job", hint="choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder):  # one of two that begin at once comes first
            return self._claim(resume or self.part[1] > 1)

    def make_shards(self, make: Make, *, console: "Console | None" = None, rows: str, amount: str) -> None:
        """Make the missing shards of this process's part; `rows` and `amount` name the units of its progress."""
        first, count = self.part
        missing = [shard for shard in range(first, len(self.shards), count) if not self._is_whole(shard)]
        size = sum(len(self._rows(shard)) for shard in missing)
        with progress(console, self.what, size, rows=rows, amount=amount) as advance:
            for shard in missing:
                made = 0
                with self._mine(shard) as mine:
                    if mine and self._note(shard) is None:  # or another process has made it meanwhile
                        made = self._make(shard, make)
                advance(len(self._rows(shard)), made)

    def finish(self, summarise: Callable[[Done], SummaryT], beside: Iterable[str]) -> SummaryT | None:
        """Write the summary of all shards once they exist; `None` before that.

        `summarise` may write files; the checksums of these and of others in `beside` are kept with the summary. Raises
        `DamagedError` for a shard that has changed.
        """
        with alone(self.folder):
            if (self.folder / SUMMARY).is_file():  # another process found all of them first
                return self._read_summary()
            if not all(path.is_file() for path in self.shards):
                return None
            summary = summarise(self._count())
            write_last(self.folder / SUMMARY, json_text(summary.model_dump(mode="json")), [JOB, *beside])
            for shard in range(len(self.shards)):
                self._note_file(shard).unlink(missing_ok=True)
            return summary

    @property
    def shards(self) -> list[Path]:
        """The files of all shards, in order."""
        count = -(-self.rows // self.shard_size)
        return [self.folder / self.shard_name.format(shard) for shard in range(count)]

    def _read_summary(self) -> SummaryT:
        return self.summary.model_validate_json((self.folder / SUMMARY).read_text(encoding="utf-8"))

    def _claim(self, resume: bool) -> SummaryT | None:
        wanted = json.loads(json.dumps(dict(self.facts)))
        try:
            stored = json.loads((self.folder / JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            stored = None
        if stored is None:
            if any(path.suffix != PART and path.name != LOCK for path in self.folder.iterdir()):
                raise OutputError(
                    f"`{self.folder}` is not empty and not a {self.what} job", hint="choose another folder"
                )
            write_json(self.folder / JOB, wanted)
            return None
        if stored != wanted:
            changed = ", ".join(f"`{name}`" for name in wanted if stored.get(name) != wanted[name])
            raise OutputError(
                f"`{self.folder}` holds another job, which differs in {changed}", hint="choose another folder"
            )
        if not resume:
            raise OutputError(f"`{self.folder}` holds this job already", hint="continue it: --resume")
        if not (self.folder / SUMMARY).is_file():
            return None
        check_sums(self.folder)
        return self._read_summary()

    def _rows(self, shard: int) -> range:
        begin = shard * self.shard_size
        return range(begin, min(begin + self.shard_size, self.rows))

    def _make(self, shard: int, make: Make) -> int:
        started = time.perf_counter()
        path, rows = self.shards[shard], self._rows(shard)
        path.parent.mkdir(exist_ok=True)
        beside = path.with_name(path.name + PART)
        amount = make(rows, beside)
        seconds = time.perf_counter() - started
        note = {"rows": len(rows), "amount": amount, "seconds": seconds, "sha256": digest(beside)}
        write_json(self._note_file(shard), note)
        beside.replace(path)
        return amount

    @contextmanager
    def _mine(self, shard: int) -> Iterator[bool]:
        """Whether no other process makes this shard; the lock ends with the process."""
        path = self.shards[shard].with_suffix(".lock")
        path.parent.mkdir(exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
            path.unlink(missing_ok=True)

    def _note_file(self, shard: int) -> Path:
        return self.shards[shard].with_suffix(".time.json")

    def _note(self, shard: int) -> dict[str, Any] | None:
        """The note about a shard, or `None` unless the shard is as it was written."""
        try:
            found = json.loads(self._note_file(shard).read_text(encoding="utf-8"))
            whole = found["sha256"] == digest(self.shards[shard]) and found["rows"] == len(self._rows(shard))
            return found if whole else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _is_whole(self, shard: int) -> bool:
        """Whether a shard is as it was written; a damaged one is reported."""
        if self._note(shard) is not None:
            return True
        if self.shards[shard].is_file():
            warn(f"`{self.shards[shard]}` is not what was written there: it is made again")
        return False

    def _count(self) -> Done:
        seconds, amount = 0.0, 0
        for shard, path in enumerate(self.shards):
            note = self._note(shard)
            if note is None:
                raise DamagedError(f"`{path}` is not what was written there", hint="--resume makes it again")
            seconds += note["seconds"]
            amount += note["amount"]
        return Done(seconds, amount)


@contextmanager
def progress(console: "Console | None", title: str, total: int, *, rows: str, amount: str) -> Iterator[Advance]:
    """Rows done, amount per second and time left: a bar on a terminal, else a line now and then; `None`: nothing."""
    if console is None:
        yield lambda count, made: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    started, said = time.perf_counter(), 0.0
    done, made_so_far = 0, 0
    bar = Progress(
        TextColumn(title),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,} of {task.total:,}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=total, speed="")

    def advance(count: int, made: int) -> None:
        nonlocal done, made_so_far, said
        done, made_so_far = done + count, made_so_far + made
        now = time.perf_counter() - started
        speed = f"{made_so_far / max(now, 1e-9):,.0f} {amount}/s"
        bar.update(task, completed=done, speed=speed)
        if bar.disable and (now - said >= SAID_EVERY or done == total):
            said = now
            left = duration((total - done) * now / done)
            console.print(f"{title}: {done:,} of {total:,} {rows}, {speed}, {left} left", soft_wrap=True)

    with bar:
        yield advance


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
