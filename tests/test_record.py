"""Records: written in one step, read back the same, with honest statistics."""

import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller import record as module
from distiller.config import parse_run
from distiller.errors import ModelError, OutputError
from distiller.files import write_json
from distiller.models.folders import load_config
from distiller.record import (
    Cost,
    DataFacts,
    ModelFacts,
    Record,
    SeedResult,
    git_revision,
    load_record,
    ratio,
    spread,
    spreads,
)

FACTS = ModelFacts(name="m", parameters=10, parameters_with_head=12, megabytes=1.5, scores={"accuracy": 0.75})


def record(**given: object) -> Record:
    fields = {
        "created": "2024-01-01T00:00:00+00:00",
        "run": parse_run({"task": {"train": "naïve.csv"}, "teacher": {"model": "big"}}),
        "versions": {"python": "3.12.1"},
        "revision": None,
        "machine": {"threads": 2},
        "data": DataFacts(
            task="t", kind="classification", labels=["a"], metric="accuracy", examples={}, truncated={}, fingerprint="f"
        ),
        "teacher": FACTS,
        "baseline": None,
        "student": FACTS,
        "seeds": [SeedResult(seed=0, scores={}, best_step=1, steps=2, history=[{"loss": 1 / 3}], fingerprint="f")],
        "metric": "accuracy",
        "score": 0.1 + 0.2,
        "distillation_ratio": 1.0,
        "cost": Cost(
            wall_seconds=1,
            training_seconds=[1],
            step_milliseconds=1,
            examples_per_second=1,
            peak_memory_megabytes=float("nan"),  # where the system does not tell
        ),
    }
    return Record.model_validate(fields | given)


def test_a_record_is_read_back_to_the_last_digit(tmp_path: Path) -> None:
    made = record()
    made.save(tmp_path)
    for path in (tmp_path, tmp_path / "record.json", str(tmp_path)):
        found = load_record(path)
        assert repr(found) == repr(made)  # NaN is not equal to itself
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "distiller.sha256"}
    assert "naïve" in (tmp_path / "record.json").read_text(encoding="utf-8")


def test_an_interrupted_write_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(score=0.5).save(tmp_path)

    def cut(_: int) -> None:
        raise KeyboardInterrupt  # after the text has been written beside the old one

    monkeypatch.setattr("os.fsync", cut)
    with pytest.raises(KeyboardInterrupt):
        record(score=0.9).save(tmp_path)
    assert load_record(tmp_path).score == 0.5


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": 1, "scroe": 2}'])
def test_what_is_no_record_is_said_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"record\.json` is not a Record") as error:
        load_record(tmp_path)
    assert "\n" not in error.value.message
    assert error.value.hint


def test_absent_records(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no Record"):
        load_record(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    record(score=0.5).save(tmp_path / "runs" / "one")
    with pytest.raises(OutputError, match="there is no Record") as told:
        load_record(tmp_path / "runs")
    assert told.value.hint == f"runs are inside of it: {tmp_path / 'runs' / 'one'}"
    with pytest.raises(ModelError, match="holds no config") as error:
        load_config(tmp_path / "runs")
    assert error.value.hint == told.value.hint
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be read"):
        load_record(tmp_path / "file" / "record.json")
    (tmp_path / "runs" / "one" / "student").mkdir()
    write_json(tmp_path / "runs" / "one" / "student" / "config.json", {})
    with pytest.raises(ModelError) as named:
        load_config(tmp_path / "runs" / "one")
    assert named.value.hint == f"it is a run's output, and its models are {tmp_path / 'runs' / 'one' / 'student'}"


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_spread_agrees_with_statistics(values: list[float]) -> None:
    found = spread(iter(values))
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.std == pytest.approx(statistics.stdev(values))
    assert found.values == values
    assert spreads([{"a": value, "b": -value} for value in values])["b"].mean == pytest.approx(-found.mean)


def test_one_value_has_no_deviation() -> None:
    assert spread([0.25]).model_dump() == {"mean": 0.25, "std": 0.0, "values": [0.25]}


@pytest.mark.parametrize(
    ("teacher", "expected"), [(0.8, 0.5), (0.0, None), (-0.2, None), (None, None), (float("inf"), None)]
)
def test_the_ratio_is_defined_for_positive_teachers(teacher: float | None, expected: float | None) -> None:
    assert ratio(0.4, teacher) == expected


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text(encoding="utf-8") == '{\n "a": 1\n}\n'


def test_versions_and_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = module.versions()
    assert {"python", "torch", "transformers"} <= set(found)
    monkeypatch.chdir(tmp_path)
    assert git_revision() is None  # not a checkout
