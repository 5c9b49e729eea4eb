"""The progress of a study: trials by state, the best so far, and the time left."""

from dataclasses import dataclass
from statistics import fmean

from distiller.study.queue import attempts, budget, lost, missing
from distiller.study.search_space import Point
from distiller.study.storage import LISTED, StoredStudy


@dataclass(frozen=True)
class Best:
    """The best complete trial of one task, teacher and student."""

    task: str
    teacher: str
    student: str
    score: float
    point: Point
    trial: int


@dataclass(frozen=True)
class Progress:
    """Points by state."""

    total: int
    """Points that the study tries, over all cells."""
    complete: int
    failed: int
    pruned: int
    running: int
    best: tuple[Best, ...]
    seconds: float | None
    """Mean duration of a trial; `None` before the first has ended."""

    @property
    def finished(self) -> int:
        """Points that have ended, successfully or not."""
        return self.complete + self.failed + self.pruned

    @property
    def open(self) -> int:
        """Points that have not ended."""
        return self.total - self.finished

    @property
    def waiting(self) -> int:
        """Points that no worker has started."""
        return self.open - self.running

    def remaining(self, workers: int) -> float | None:
        """Seconds left with this many workers; `None` before the first trial has ended."""
        return None if self.seconds is None else self.open * self.seconds / max(1, workers)


def progress_of(stored: StoredStudy) -> Progress:
    """The progress of the study in `stored`."""
    counts = {"complete": 0, "failed": 0, "pruned": 0, "running": 0}
    total, durations, best = 0, [], {}
    for stored_cell in stored.cells:
        tries = attempts(stored_cell)
        total += len(tries) if stored.study.sampler.name in LISTED else max(len(tries), budget(stored, stored_cell))
        for found in tries.values():
            last = found[-1]
            if state := state_of(found):
                counts[state] += 1
            if last.state.name in ("COMPLETE", "PRUNED") and last.duration:
                durations.append(last.duration.total_seconds())
            if last.state.name == "COMPLETE":
                cell = stored_cell.cell
                group = (cell.task, cell.teacher, cell.student)
                one = Best(*group, last.values[0], dict(last.params), last.user_attrs["index"])
                best[group] = max(best.get(group, one), one, key=lambda entry: entry.score)
    return Progress(total=total, best=tuple(best.values()), seconds=fmean(durations) if durations else None, **counts)


def state_of(tries: list) -> str:
    """`complete`, `failed`, `pruned`, `running`, or `""` for a point that is still to be tried (again)."""
    last = tries[-1]
    if lost(last):
        return "" if missing(tries) else "failed"
    return {"COMPLETE": "complete", "FAIL": "failed", "PRUNED": "pruned", "RUNNING": "running"}.get(last.state.name, "")
