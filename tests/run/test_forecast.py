"""What `check` says a run will cost, against what it costs."""

import warnings
from pathlib import Path

import pytest

from distiller import memory
from distiller.config import parse_run
from distiller.errors import Notice
from distiller.forecast import _Clock, forecast
from distiller.run import distil
from run.tiny import FAST, Workshop


def size_of(folder: Path) -> int:
    """Bytes of weights and outputs, without the small files beside them."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".json", ".lock", ".md")]
    return sum(file.stat().st_size for file in files)


def test_steps_and_disk_are_those_of_the_run(shop: Workshop, tmp_path: Path) -> None:
    fields = {
        "teacher": {"model": shop.base, "training": {**FAST, "epochs": 1}},
        "training": {**FAST, "threads": 1},
        "baseline": True,
        "seeds": [0, 1],
        "cache": str(tmp_path / "cache"),
    }
    run = parse_run(shop.run(tmp_path, **fields))
    told = forecast(run, timed=True)
    assert [(phase.name, phase.times) for phase in told.phases] == [("teacher", 1), ("baseline", 2), ("student", 2)]
    record = distil(run)
    assert record.teacher is not None
    assert record.baseline is not None
    taken = [record.teacher.steps, record.baseline.steps, record.student.steps]
    for phase, steps in zip(told.phases, taken, strict=True):
        assert [phase.most] * phase.times == steps
    assert told.cache == pytest.approx(size_of(tmp_path / "cache"), rel=0.15)
    assert told.output > size_of(tmp_path / "out") > 0
    assert told.memory > told.process > max(phase.memory for phase in told.phases)  # models so small are hardly seen
    assert told.seconds is not None
    assert 0 < told.seconds[0] <= told.seconds[1]
    assert any(line.startswith("time      about") for line in told.lines())


def test_untimed_it_says_how_to_time(shop: Workshop, tmp_path: Path) -> None:
    told = forecast(parse_run(shop.run(tmp_path, training={"threads": 1})))
    assert told.seconds is None
    assert told.phases[0].name == "student"  # the teacher is ready, and there is no baseline
    assert told.phases[0].fewest < told.phases[0].most == told.steps
    assert "time      --time times a few steps" in list(told.lines())


def test_every_teacher_is_counted(shop: Workshop, tmp_path: Path) -> None:
    several = {"models": [shop.base, shop.tuned], "training": {"max_steps": 3, "min_steps": 1}}
    one = forecast(parse_run(shop.run(tmp_path, teacher={**several, "models": [shop.base]})))
    two = forecast(parse_run(shop.run(tmp_path, teacher={**several, "finetune": "always"})))
    assert [phase.name for phase in one.phases] == ["teacher", "student"]
    assert [phase.name for phase in two.phases] == ["teacher", "teacher 2", "student"]
    assert two.phases[-1].memory > one.phases[-1].memory
    assert two.cache > one.cache


def test_every_teacher_is_timed(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With clocks that say 1 second for every pass, a text is read in as many seconds as there are teachers."""
    monkeypatch.setattr(_Clock, "_times", lambda *_, **__: (1.0, 1.0))
    steps: list[float] = []
    for models in ([shop.tuned], [shop.tuned, shop.tuned]):
        training = {"threads": 1, "cache_teacher": "never"}
        told = forecast(parse_run(shop.run(tmp_path, teacher={"models": models}, training=training)), timed=True)
        assert told.phases[-1].seconds is not None
        steps.append(told.phases[-1].seconds)
    assert steps[1] == pytest.approx(steps[0] + 1)


@pytest.mark.parametrize("tuned", [True, False])
def test_a_training_that_does_not_fit_into_memory_is_told_of_with_what_mends_it(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned: bool
) -> None:
    teacher = {"model": shop.base if tuned else shop.tuned}
    role, field = ("the teacher", "teacher.training") if tuned else ("the student", "training")
    monkeypatch.setattr(memory, "free", lambda: 1e5)
    monkeypatch.setattr("distiller.run.room.accelerator", lambda: "cpu")
    with pytest.warns(Notice, match=rf"training {role} takes about .* are free here: {field}.batch_size=16 "):
        forecast(parse_run(shop.run(tmp_path, teacher=teacher)))
    monkeypatch.setattr(memory, "free", lambda: 1e12)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        forecast(parse_run(shop.run(tmp_path, teacher=teacher)))
