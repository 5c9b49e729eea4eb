"""Studies of translation models: the same space, storage and tables, other runs."""

from pathlib import Path
from typing import Any

import pytest

from distiller.autodistiller.experience import add_experience
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError, DataError, DistillerError, ModelError
from distiller.record import load_record
from distiller.study.cells import cells_of
from distiller.study.check import check_runs
from distiller.study.config import Study, load_study, parse_study
from distiller.study.engine import run_study
from distiller.study.search_space import search_space_of
from distiller.study.trial_io import load_trials
from distiller.study.worker import carry_out
from translation.tiny import SHAPE, tiny_run

TEMPERATURES = {
    str(number): {"beta1": 1.0, "prediction": {"name": "kl", "options": {"temperature": number}}} for number in (1, 2)
}

COPY = {"init": "teacher"}


def study(folder: Path, base: dict[str, Any] | None = None, **fields: Any) -> Study:
    """Two temperatures on tiny text, two optimisation steps each."""
    pace = {"batch_tokens": 200, "max_steps": 4, "evaluations": 2}
    run = tiny_run(folder, training=pace, teacher={"shape": SHAPE, "training": pace}, efficiency=False)
    given = {
        "name": "tiny",
        "base": run.model_dump(mode="json", exclude_defaults=True) | (base or {}),
        "space": {"objective": {"name": "temperature", "levels": TEMPERATURES}},
        "folder": str(folder / "study"),
    }
    return parse_study(given | fields)


def test_a_study_tries_every_point_and_its_table_is_that_of_any_study(tmp_path: Path) -> None:
    wanted = study(tmp_path)
    now = run_study(wanted)
    assert (now.complete, now.failed) == (2, 0)
    table = load_trials(wanted.place)
    frame = table.complete
    assert table.factors == ("temperature",)
    assert set(frame["temperature"]) == {"1", "2"}
    assert set(frame["prediction"]) == {"kl(temperature=1)", "kl(temperature=2)"}
    assert set(frame["metric"]) == {"bleu"}
    assert (frame[["task", "teacher", "student"]] == ["train.de", "1x1", "1x1"]).all(axis=None)
    records = map(load_record, wanted.place.rglob("record.json"))
    by_temperature = {str(record.run.objective.prediction.options["temperature"]): record for record in records}
    for _, row in frame.iterrows():
        record = by_temperature[row["temperature"]]
        assert row["score"] == record.score
        assert row["teacher_score"] == record.teacher.scores["bleu"]
        assert record.baseline is not None
        assert row["baseline_score"] == record.baseline.scores["bleu"]
        assert row["parameters"] == record.student.parameters
    with pytest.raises(DataError, match="has trials of translation models"):
        add_experience([wanted.place], tmp_path / "experience.csv")
    assert not (tmp_path / "experience.csv").exists()


def test_a_pruner_hears_of_every_development_score(tmp_path: Path) -> None:
    space = search_space_of(study(tmp_path, base={"baseline": False}))
    (cell,) = space.cells
    run = space.run(cell, {"temperature": "1"})
    assert isinstance(run, TranslationRun)
    heard: list[int] = []

    def stop(step: int, score: float) -> None:
        heard.append(step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(run, stop)
    assert heard == [2]
    record = carry_out(run, lambda step, score: heard.append(step))
    assert heard == [2, 2, 4]
    assert record.run.output == run.output


def test_parts_are_called_after_corpus_and_architecture(tmp_path: Path) -> None:
    wanted = study(
        tmp_path,
        tasks={"small": {"fraction": 0.1}, "all": {}},
        teachers=[{"shape": {"architecture": "teacher-24x6"}}, {"model": "outputs/mine"}],
        students=[{"shape": {"architecture": "slim-1x1"}}, {"shape": {"architecture": "slim-3x3"}}],
    )
    cells = list(cells_of(wanted))
    assert [cell.name for cell in cells[:2]] == ["small/teacher-24x6/slim-1x1/0", "small/teacher-24x6/slim-3x3/0"]
    assert cells[2].teacher == "mine"
    assert cells[0].run["task"]["fraction"] == 0.1
    assert "fraction" not in cells[4].run["task"]


@pytest.mark.parametrize(
    ("base", "levels", "error", "message"),
    [
        ({}, {"a": {"beta1": 1, "prediction": {"name": "kl", "options": {"heat": 2}}}}, ConfigError, "heat"),
        ({}, {"a": {"intermediate": [{"loss": "attention_mse"}]}}, ConfigError, "attention scores"),
        ({"task": {"kind": "translation", "train": {"source": "no.tsv"}}}, {"a": {"gamma1": 1}}, DataError, "no.tsv"),
        (
            {"student": COPY | {"shape": SHAPE | {"encoder_layers": 3}}},
            {"a": {"gamma1": 1}},
            ConfigError,
            "not divide 1",
        ),
        ({"student": COPY | {"shape": SHAPE | {"width": 16}}}, {"a": {"gamma1": 1}}, ModelError, "d_model is 16"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_trial(
    tmp_path: Path, base: dict[str, Any], levels: dict[str, Any], error: type[DistillerError], message: str
) -> None:
    wanted = study(tmp_path, base=base, space={"objective": {"name": "objective", "levels": levels}})
    with pytest.raises(error, match=message):
        check_runs(search_space_of(wanted))


def test_the_temperature_grid_of_the_slides() -> None:
    space = search_space_of(load_study("study-nmt-temperature"))
    assert [cell.student for cell in space.cells] == ["slim-1x1", "slim-3x3"]
    found = set()
    for point in space.points(space.cells[0]):
        run = space.run(space.cells[0], point)
        assert isinstance(run, TranslationRun)
        options = run.objective.prediction.options
        assert options["scale_T2"] is False
        found.add((options["temperature"], run.objective.beta1, run.objective.gamma1))
    weights = {0.5: 1, 1: 1, 2: 2, 5: 40, 10: 200}
    assert found == {(t, weight, gold) for t, weight in weights.items() for gold in (0, 1)}


def test_a_task_is_chosen_where_tasks_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`task` cannot be in the space"):
        search_space_of(study(tmp_path, space={"task": [{"train": {"source": "a.tsv"}}]}))
    varied = study(tmp_path, space={"task.fraction": [0.05, 1.0]})
    assert search_space_of(varied).varied == ("task.fraction",)
