"""What `check` says a translation will cost, against what it costs."""

from pathlib import Path
from typing import Any

import pytest

from distiller.forecast import TranslationForecast, forecast
from distiller.run import distil
from translation.tiny import pace, tiny_run, write_pairs

LONG = {"epochs": None, "max_steps": 12, "batch_tokens": 300, "evaluations": 2}


def told(folder: Path, **fields: Any) -> TranslationForecast:
    found = forecast(tiny_run(folder, **fields), timed=True)
    assert isinstance(found, TranslationForecast)
    return found


@pytest.mark.parametrize("sequence", [None, {"gold_ratio": 0.5}, {"gold_ratio": 0.0}])
def test_steps_are_those_of_the_run(tmp_path: Path, sequence: dict[str, float] | None) -> None:
    run = tiny_run(tmp_path, training=pace(2), sequence=sequence, seeds=[0, 1], efficiency=False, baseline=True)
    found = forecast(run, timed=True)
    assert [(phase.name, phase.times) for phase in found.phases] == [("teacher", 1), ("baseline", 2), ("student", 2)]
    record = distil(run)
    assert record.teacher is not None
    assert record.baseline is not None
    teacher, baseline, student = (phase.most for phase in found.phases)
    assert [teacher] == record.teacher.steps
    assert [baseline] * 2 == record.baseline.steps
    if sequence is None:
        assert [student] * 2 == record.student.steps
    else:  # the translations are not known yet, but that there is one of each sentence
        assert record.student.steps == pytest.approx([student] * 2, rel=0.1)
    assert found.seconds is not None
    assert 0 < found.seconds[0] == found.seconds[1]
    lines = "\n".join(found.lines())
    assert f"teacher: {teacher} steps, " in lines
    assert ("besides, the teacher translates" in lines) == (sequence is not None)


def test_monolingual_text_makes_an_epoch_longer(tmp_path: Path) -> None:
    more = write_pairs(tmp_path, "more", [(f"{'eins ' * (n % 5 + 1)}zwei", "") for n in range(600)])["source"]
    task = tiny_run(tmp_path).task.model_dump(mode="json")
    alone, both = (
        told(tmp_path, task=task | {"monolingual": text}, sequence={"gold_ratio": 0.5}) for text in ([], [more])
    )
    assert both.steps > 2 * alone.steps


def test_a_teacher_that_answers_in_each_step_costs_time_and_memory(tmp_path: Path) -> None:
    alone = told(tmp_path, objective={"beta1": 0.0, "gamma1": 1.0}, training=LONG)
    asked, kept = (told(tmp_path, training=LONG | {"cache_teacher": wish}) for wish in ("never", "always"))
    assert alone.once == asked.once == 0 < kept.once
    assert kept.cache > asked.cache == alone.cache
    assert asked.phases[-1].memory == kept.phases[-1].memory > alone.phases[-1].memory


def test_untimed_it_says_how_to_time(tmp_path: Path) -> None:
    found = forecast(tiny_run(tmp_path))
    assert found.seconds is None
    assert "time      --time times a few steps" in list(found.lines())
    assert found.memory > found.process > 0
