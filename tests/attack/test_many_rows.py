"""A million rows in each kind of file: every one is read, and memory grows with the text alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from attack.children import Child
from attack.conftest import times
from distiller.config import Task
from distiller.tasks import load_task

psutil = pytest.importorskip("psutil")
ROWS = times(20_000, 1_000_000)


def csv(path: Path, texts: list[str]) -> None:
    path.write_text("text,label\n" + "".join(f'"{text}",{n % 3}\n' for n, text in enumerate(texts)), encoding="utf-8")


def jsonl(path: Path, texts: list[str]) -> None:
    lines = (json.dumps({"text": text, "label": n % 3}) + "\n" for n, text in enumerate(texts))
    path.write_text("".join(lines), encoding="utf-8")


def parquet(path: Path, texts: list[str]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    labels = [n % 3 for n in range(len(texts))]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path)


WRITERS: dict[str, Callable[[Path, list[str]], None]] = {"csv": csv, "jsonl": jsonl, "parquet": parquet}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_every_row_is_read(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / f"rows.{kind}", [f"row {n}, a film that was good" for n in range(ROWS)])
    found = tmp_path / "found.json"

    def read() -> None:
        before = psutil.Process().memory_info().rss
        data = load_task(Task(train=str(tmp_path / f"rows.{kind}"), dev_fraction=0.01))
        kept = psutil.Process().memory_info().rss - before
        texts = [text for split in data.splits.values() for text in split.texts]
        found.write_text(json.dumps([len(texts), len(set(texts)), list(data.labels), kept]), encoding="utf-8")

    child = Child(read, tmp_path / "log")
    assert child.wait(1200) == 0, child.said()
    rows, distinct, labels, kept = json.loads(found.read_text(encoding="utf-8"))
    print(f"{kind}: {rows:,} rows, {kept / rows:.0f} bytes of memory a row")
    assert (rows, distinct, labels) == (ROWS, ROWS, ["0", "1", "2"])
    assert kept / ROWS < 1500 + 50e6 / ROWS
