"""Benchmarks: what is measured is the right model on the right rows; what a table and a picture say of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Command
from distiller import memory
from distiller.cli.bench import print_bench
from distiller.deploy.measure import read_arrays, write_arrays
from distiller.deploy.table import Bench, Measured, Throughput, load_bench
from distiller.errors import OutputError
from distiller.record import load_record
from translation.tiny import translator


@pytest.mark.slow
def test_teacher_student_and_exports_stand_side_by_side(output: Path, distiller: Command, tmp_path: Path) -> None:
    place = tmp_path / "out"
    shutil.copytree(output, place)
    assert distiller("export", place, "--to", "folder").code == 0
    stale = place / "exports" / "stale"
    shutil.copytree(place / "exports" / "folder", stale)
    (stale / "model.safetensors").write_bytes(b"")
    answer = distiller("bench", place, "--rows", "20", "--threads", "1", "--json", "--picture", tmp_path / "it.svg")
    assert answer.code == 0, answer.err
    found = Bench.model_validate_json(answer.out)
    assert [one.role for one in found.models] == ["teacher", "student", "folder"]
    assert "is not what was exported" in answer.err
    teacher, student, copied = found.models
    assert student.score == copied.score
    assert teacher.megabytes > student.megabytes > 0
    assert all(0 < one.milliseconds_p50 <= one.milliseconds_p95 for one in found.models)
    assert {(rate.batch, rate.length) for rate in student.throughput} == {(b, 16) for b in (1, 8, 32)}
    assert found.rows == 20
    assert load_bench(place / "bench.json") == found
    picture = (tmp_path / "it.svg").read_text(encoding="utf-8")
    assert picture.startswith("<?xml")

    whole = json.loads(distiller("bench", place / "student", "--run", place / "run.yaml", "--json", "-q").out)
    assert whole["models"][0]["score"] == pytest.approx(load_record(place).score)


def test_mistakes_are_said_before_anything_is_measured(output: Path, distiller: Command, tmp_path: Path) -> None:
    for arguments, said in (
        ((output, "--picture", tmp_path / "it.docx"), "is not a picture"),
        ((output, "--picture", tmp_path / "no" / "it.svg"), "there is no folder"),
        ((output / "student",), "no run says what the task is"),
        ((tmp_path / "absent",), "there is no"),
        ((output, "--length", "999"), "more than the longest input"),
    ):
        answer = distiller("bench", *arguments)
        assert answer.code == 2
        assert said in answer.err, answer.err


@pytest.mark.parametrize("command", [("bench",), ("export", "--to", "folder"), ("report",)])
@pytest.mark.parametrize("harm", ["config.json", "model.safetensors"])
def test_a_damaged_student_is_said_before_its_teacher_is_asked(
    output: Path, distiller: Command, tmp_path: Path, command: tuple[str, ...], harm: str
) -> None:
    shutil.copytree(output, tmp_path / "out")
    (tmp_path / "out" / "student" / harm).unlink()
    answer = distiller(command[0], tmp_path / "out", *command[1:])
    assert answer.code == 2, answer.err
    assert harm in answer.err
    assert "measuring" not in answer.err
    assert not list((tmp_path / "out").rglob("*.part"))


def test_translations_are_measured_apart(output: Path, distiller: Command, tmp_path: Path) -> None:
    translator(tmp_path / "model")
    for arguments, said in (
        ((output, tmp_path / "model"), "measured apart"),
        ((tmp_path / "model", "--length", "9"), "leave --run and --length out"),
        ((tmp_path / "model",), "no sentences to measure"),
    ):
        answer = distiller("bench", *arguments)
        assert answer.code == 2
        assert said in answer.err, answer.err


def measured(role: str, milliseconds: float, engine: str = "x") -> Measured:
    rates = [Throughput(batch=b, length=n, texts_per_second=b * 100 / n) for b in (1, 8) for n in (10, 20)]
    return Measured(
        name=f"out: {role}", role=role, engine=engine, folder="f", megabytes=1, score=0.5,
        milliseconds_p50=milliseconds, milliseconds_p95=2, timed=3, throughput=rates, seconds_to_load=1,
        peak_megabytes=9,
    )  # fmt: skip


def test_every_line_says_which_model_in_which_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    models = [measured(role, 1, engine) for role in ("teacher", "student") for engine in ("slow int8", "fast int8")]
    machine = {"threads": 1, "processor": "a processor"}
    print_bench(Bench(created="now", machine=machine, task="t", metric="m", rows=1, models=models))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for role, engine in (("teacher", "slow"), ("teacher", "fast"), ("student", "slow"), ("student", "fast")):
        assert sum(line.startswith(f"{role}, {engine} int8") for line in lines) == 3  # parts of the tables


def test_ratios_are_to_the_teacher() -> None:
    models = [measured("student", 1), measured("teacher", 4)]
    bench = Bench(created="now", machine={}, task="t", metric="m", rows=1, models=models)
    assert bench.reference.role == "teacher"
    assert bench.models[0].fastest == 40


def test_arrays_come_back_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    batches = [{"input_ids": rng.integers(0, 9, (n + 1, 3)), "attention_mask": np.ones((1, n))} for n in range(12)]
    for before, after in zip(batches, read_arrays(write_arrays(tmp_path / "a.npz", batches)), strict=True):
        assert before.keys() == after.keys()
        assert all((before[name] == after[name]).all() for name in before)


def test_memory_is_that_of_this_process() -> None:
    before = memory.peak()
    kept = np.ones(40_000_000, dtype=np.int8)
    kept[::4096] = 2
    assert memory.peak() >= before
    assert memory.peak() > 40e6


def test_what_is_no_benchmark_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no benchmark"):
        load_bench(tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match="is not a benchmark"):
        load_bench(tmp_path / "bench.json")
