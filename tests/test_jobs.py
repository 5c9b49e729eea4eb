"""Jobs in shards: every row once, whoever makes it and whatever happened before."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from distiller import jobs
from distiller.errors import OutputError
from distiller.files import alone, write_json
from distiller.jobs import JOB, Done, Job


class Counted(BaseModel):
    amount: int


def job(folder: Path, rows: int = 10, shard_size: int = 3, facts: Any = None, **options: Any) -> Job[Counted]:
    return Job(folder, facts or {}, rows, shard_size, "in/{:03d}.txt", what="counting", summary=Counted, **options)


def write_rows(rows: range, path: Path) -> int:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return sum(rows)


def counted(done: Done) -> Counted:
    return Counted(amount=done.amount)


@pytest.mark.parametrize(("rows", "shard_size", "parts"), [(1, 4, 3), (7, 2, 3), (8, 2, 1), (10, 3, 2)])
def test_parts_together_make_every_row_once(tmp_path: Path, rows: int, shard_size: int, parts: int) -> None:
    folder = tmp_path / "it"
    said: list[Counted | None] = []
    for part in range(parts):
        mine = job(folder, rows, shard_size, part=(part, parts))
        if (done := mine.claim(resume=False)) is None:
            mine.make_shards(write_rows, rows="rows", amount="rows")
            done = mine.finish(counted, [])
        said.append(done)
    assert said[-1] == Counted(amount=sum(range(rows)))
    made = "".join(path.read_text(encoding="utf-8") for path in job(folder, rows, shard_size).shards)
    assert made == "".join(f"{row}\n" for row in range(rows))
    assert job(folder, rows, shard_size).claim(resume=True) == said[-1]


def test_a_shard_in_other_hands_is_left_to_them(tmp_path: Path) -> None:
    """Two threads work on one job: what one makes the other does not, and neither shard is made twice."""
    made: list[range] = []

    def slowly(rows: range, path: Path) -> int:
        made.append(rows)
        time.sleep(0.05)
        return write_rows(rows, path)

    def work(_: int) -> None:
        job(tmp_path / "it").make_shards(slowly, rows="rows", amount="rows")

    job(tmp_path / "it").claim(resume=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert sorted(rows.start for rows in made) == [0, 3, 6, 9]


def test_of_two_jobs_that_begin_at_once_one_comes_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        with alone(tmp_path):
            second = pool.submit(job(tmp_path, facts={"model": 2}).claim, resume=True)
            time.sleep(0.2)
            write_json(tmp_path / JOB, {"model": 1})
        with pytest.raises(OutputError, match="another job, which differs in `model`"):
            second.result()


def test_progress_is_said_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SAID_EVERY", 0.0)
    written = StringIO()
    with jobs.progress(Console(file=written), "pseudo-label", 3000, rows="sentences", amount="tokens") as advance:
        advance(1000, 20_000)
        advance(2000, 40_000)
    first, last = written.getvalue().strip().split("\n")
    assert first.startswith("pseudo-label: 1,000 of 3,000 sentences, ")
    assert re.search(r", \d{1,3}(,\d{3})+ tokens/s, ", first), first
    assert first.endswith(" left")
    assert "3,000 of 3,000" in last


def test_progress_is_a_bar_on_a_terminal() -> None:
    written = StringIO()
    terminal = Console(file=written, force_terminal=True, width=120)
    with jobs.progress(terminal, "labelling", 3, rows="texts", amount="texts") as advance:
        advance(2, 2)
    assert "2 of 3" in written.getvalue()
