"""`distiller label`: every text once, whatever is killed, and a student that learns from the result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import distiller
from distiller import labelling
from distiller.config import Task, parse_run
from distiller.errors import DamagedError, DataError, ModelError, OutputError
from distiller.inference import predict
from distiller.tasks.readers import read_table
from distiller.tasks.unlabelled import names_of
from run.tiny import FAST, Workshop, reviews, workshop, write


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{row['text']}\n" for row in reviews(150, seed=9)), encoding="utf-8")
    return path


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for shard in sorted(folder.glob("part-*")):
        if shard.suffix not in (".jsonl", ".parquet"):
            continue
        table = read_table(shard)
        found += [{name: cells[row] for name, cells in table.columns.items()} for row in range(len(table))]
    return found


def test_a_student_learns_from_what_was_labelled(shop: Workshop, tmp_path: Path, texts: Path) -> None:
    out = tmp_path / "labels"
    summary = labelling.label(shop.tuned, [texts], out, shard_size=40)
    assert summary is not None
    assert (summary.texts, summary.shards) == (150, 4)
    found = rows(out)
    assert [row["row"] for row in found] == list(range(150))
    assert [row["text"] for row in found] == texts.read_text(encoding="utf-8").splitlines()
    told = predict(shop.tuned, texts)
    assert [row["label"] for row in found] == [row["label"] for row in told]
    assert [row["p(good)"] for row in found] == pytest.approx([float(row["p(good)"]) for row in told], abs=2e-3)
    assert {path.suffix for path in out.iterdir()} == {".jsonl", ".json", ".sha256"}
    fields: dict[str, Any] = {
        "task": {"train": shop.reviews, "dev": shop.dev, "label_limit": 16, "max_length": 16, "unlabelled": str(out)},
        "teacher": None,
        "student": {"model": shop.base, "layers": 2},
        "objective": {},
        "training": {**FAST, "epochs": 4, "threads": 1},
    }
    with pytest.raises(Exception, match="neither a label nor probabilities"):  # of the file's own rows without a label
        distiller.distil(parse_run(shop.run(tmp_path, **fields)))
    write(tmp_path / "few.csv", reviews(160, seed=0)[:16])
    fields["task"] = {**fields["task"], "train": str(tmp_path / "few.csv"), "label_limit": None}
    record = distiller.distil(parse_run(shop.run(tmp_path, **fields)))
    assert record.data.examples["unlabelled"] == 150 - record_repeated(texts, tmp_path, shop)
    assert record.score > 0.9


def record_repeated(texts: Path, tmp_path: Path, shop: Workshop) -> int:
    known = {text for file in (tmp_path / "few.csv", Path(shop.dev)) for text in read_table(file).column("text")}
    return sum(line in known for line in texts.read_text(encoding="utf-8").splitlines())


def test_several_processes_and_what_is_refused(shop: Workshop, tmp_path: Path, texts: Path) -> None:
    out = tmp_path / "labels"
    assert labelling.label(shop.tuned, [texts], out, shard_size=40, part=(1, 2)) is None
    assert sorted(path.name for path in out.glob("part-*.jsonl")) == ["part-000001.jsonl", "part-000003.jsonl"]
    with pytest.raises(DataError, match="a labelling job that is not finished"):
        distiller.distil(parse_run(shop.run(tmp_path, task={"train": shop.reviews, "unlabelled": str(out)})))
    with pytest.raises(OutputError, match="holds this job already"):
        labelling.label(shop.tuned, [texts], out, shard_size=40)
    with pytest.raises(OutputError, match="another job, which differs in `model`"):
        labelling.label(shop.swapped, [texts], out, shard_size=40, resume=True)
    with FileLock(out / "part-000000.lock"):  # somebody else has this shard
        assert labelling.label(shop.tuned, [texts], out, shard_size=40, resume=True) is None
    assert labelling.label(shop.tuned, [texts], out, shard_size=40, part=(0, 2)) is not None
    again = labelling.label(shop.tuned, [texts], out, shard_size=40, resume=True)
    assert again is not None
    assert again.texts == 150
    assert not list(out.glob("*.lock"))
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(OutputError, match="not a labelling job"):
            labelling.label(shop.tuned, [texts], folder)
    with pytest.raises(ModelError, match="has no head"):
        labelling.label(shop.base, [texts], tmp_path / "none")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_pairs_and_numbers_in_either_format(shop: Workshop, tmp_path: Path, form: Any) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "labels"
    assert labelling.label(shop.tuned, [Path(shop.pairs)], out, text="first", text_pair="second", form=form)
    found = rows(out)
    assert list(found[0]) == ["row", "first", "second", "label", "p(bad)", "p(good)"]
    assert len(found) == 160


def test_a_killed_job_labels_what_is_missing(shop: Workshop, tmp_path: Path, texts: Path) -> None:
    out = tmp_path / "labels"
    command = [sys.executable, "-m", "distiller", "label", shop.tuned, str(texts), "-o", str(out), "--shard-size", "1"]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("part-*.jsonl"))) < 3 and job.poll() is None:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*.jsonl")}
    assert 3 <= len(kept) < 150
    assert not (out / "summary.json").exists()
    summary = labelling.label(shop.tuned, [texts], out, shard_size=1, resume=True)
    assert summary is not None
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [row["row"] for row in rows(out)] == list(range(150))
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["texts"] == 150


BAD_ROWS = {
    "csv": "text,label\ngood,x\na,b,c\nfilm,x\n  ,x\nlast,x\n",
    "jsonl": '{"text": "good"}\nno JSON\n{"text": "film"}\n{"text": " "}\n{"text": "last"}\n',
    "json": '[{"text": "good"}, 3, {"text": "film"}, {"text": " "}, {"text": "last"}]',
}


@pytest.mark.parametrize("form", BAD_ROWS)
def test_rows_that_are_left_out_count(shop: Workshop, tmp_path: Path, form: str) -> None:
    """Also those that the reader drops: the number of a row is that in the files, whatever stands before it."""
    files = [tmp_path / f"{name}.{form}" for name in ("first", "second")]
    for file in files:
        file.write_text(BAD_ROWS[form], encoding="utf-8")
    out = tmp_path / "labels"
    with pytest.warns(UserWarning, match="left out 2 bad"):
        labelling.label(shop.tuned, files, out, skip_bad=True)
    found = rows(out)
    assert [(row["row"], row["text"]) for row in found] == [
        (0, "good"), (2, "film"), (4, "last"), (5, "good"), (7, "film"), (9, "last")
    ]  # fmt: skip


def test_a_damaged_shard_is_named_and_made_again(shop: Workshop, tmp_path: Path, texts: Path) -> None:
    """One byte of an unfinished job is another: the shard is made again. Of a finished one: nobody learns from it."""
    whole, out = tmp_path / "whole", tmp_path / "labels"
    labelling.label(shop.tuned, [texts], whole, shard_size=40)
    labelling.label(shop.tuned, [texts], out, shard_size=40, part=(0, 2))
    flip(out / "part-000002.jsonl")
    with pytest.warns(UserWarning, match=r"part-000002\.jsonl` is not what was written there"):
        assert labelling.label(shop.tuned, [texts], out, shard_size=40, resume=True)
    assert rows(out) == rows(whole)
    flip(out / "part-000001.jsonl")
    with pytest.raises(DamagedError, match=r"part-000001\.jsonl` is not what was written there"):
        labelling.label(shop.tuned, [texts], out, shard_size=40, resume=True)
    with pytest.raises(DamagedError, match=r"part-000001\.jsonl` is not what was written there"):
        names_of(Task(train=shop.reviews, unlabelled=str(out)))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
