"""What `check` says a run will cost, against what it costs."""

import warnings
from pathlib import Path

import pytest

from distiller import memory
from distiller.config import parse_run
from distiller.errors import Notice
from distiller.forecast import forecast
from distiller.forecast.encoders import _Clock
from distiller.models.cost import training_memory
from distiller.run import distil
from distiller.run.jobs import machine
from distiller.run.plan import make_plan
from distiller.run.setup import encode_splits
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
    monkeypatch.setattr("distiller.run.room.accelerator", lambda: "cpu")
    run = shop.run(tmp_path, teacher=teacher)
    plan = make_plan(parse_run(run))
    shape = plan.teacher if tuned else plan.student
    assert shape is not None
    longest = max(max(split.lengths) for split in encode_splits(plan)[0].values())
    half = machine(plan.run).precision != "fp32"
    room = training_memory(shape, length=longest, batch=8, half=half)

    monkeypatch.setattr(memory, "free", lambda: room)
    with pytest.warns(Notice, match=rf"training {role} takes about .* {field}.batch_size=8 with {field}.accumulate=4 "):
        forecast(parse_run(run))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        forecast(parse_run(run, [f"{field}.batch_size=8", f"{field}.accumulate=4"]))
    monkeypatch.setattr(memory, "free", lambda: 1)
    with pytest.warns(Notice, match="are free here: a smaller model"):
        forecast(parse_run(run))
