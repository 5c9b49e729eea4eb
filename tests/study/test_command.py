"""`distiller study`: its commands over a study that takes no time."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from distiller.cli.study import app
from distiller.errors import ConfigError, DistillerError, OutputError
from distiller.recipes import study_texts, texts
from distiller.study.config import Study
from distiller.study.trial_io import load_trials
from distiller.study.worker import work
from study.conftest import Small, started


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def error(*arguments: object) -> DistillerError:
    raised = call(*arguments).exception
    assert isinstance(raised, DistillerError), raised
    return raised


@pytest.fixture
def done(small: Small) -> Study:
    """Two of the six points have failed."""
    study = small()
    started(study)
    work(study, "w", "study.fakes:failing")
    return study


def test_status_says_how_a_study_stands(done: Study) -> None:
    shown = call("status", done.place)
    assert shown.exit_code == 0
    assert "small: 6 of 6 done, 2 failed" in shown.stdout
    assert "training.epochs=3, training.batch_size=8" in " ".join(shown.stdout.split())
    assert "failed 2 ×: ValueError: two epochs" in shown.stdout
    facts = json.loads(call("status", done.place, "--json").stdout)
    assert (facts["complete"], facts["failed"], facts["waiting"]) == (4, 2, 0)


def test_a_finished_study_is_resumed_in_no_time_and_not_started_again(done: Study) -> None:
    resumed = call("resume", done.place, "--quiet")
    assert resumed.exit_code == 0, resumed.exception
    assert "6 of 6 done" in resumed.stdout
    refused = error("run", done.place, "--no-check")
    assert isinstance(refused, OutputError)
    assert "has trials already" in refused.message


def test_export_and_import(done: Study, tmp_path: Path) -> None:
    exported = call("export", done.place, "-o", tmp_path / "trials.csv")
    assert exported.stdout.strip() == str(tmp_path / "trials.csv")
    assert len(load_trials(tmp_path / "trials.csv").frame) == 6
    (tmp_path / "mine.csv").write_text("f1,layers\n0.5,skip\n0.75,last\n", encoding="utf-8")
    options = ("--map", "score=f1", "--map", "mapping=layers")
    imported = call("import", tmp_path / "mine.csv", "-o", tmp_path / "mine.parquet", *options)
    assert imported.exit_code == 0, imported.exception
    assert "2 trials, factors: mapping" in imported.output
    assert load_trials(tmp_path / "mine.parquet").frame["score"].tolist() == [0.5, 0.75]
    assert isinstance(error("export", done.place, "-o", tmp_path / "trials.txt"), ConfigError)
    assert "key=value" in error("import", tmp_path / "mine.csv", "-o", "x.csv", "--map", "f1").message


def test_a_report_lies_in_the_studys_folder(done: Study) -> None:
    pytest.importorskip("plotly", reason="the package `plotly` is not installed")
    written = call("report", done.place)
    assert written.exit_code == 0, written.exception
    assert "</html>" in (done.place / "report.html").read_text(encoding="utf-8")


def test_init_writes_a_study_to_edit(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    assert call("init", "-o", file).exit_code == 0
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["name"] == "small"
    assert "exists" in error("init", "-o", file).message
    assert "`study-small`" in str(error("init", "study-smal", "-o", tmp_path / "x.yaml").hint)


def test_recipes_of_runs_and_of_studies_are_told_apart() -> None:
    assert {"study-small", "study-distiller", "study-nmt-temperature"} == set(study_texts())
    assert not set(texts()) & set(study_texts())
    for text in study_texts().values():
        first = text.splitlines()[0]
        assert first.startswith("# ")
        assert first.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "study-smal"), "no recipe is called `study-smal`"),
        (("run", "nowhere.yaml"), "there is no file `nowhere.yaml`"),
        (("run", "study-small", "space.training.epoch=[1]"), "no field is called `training.epoch`"),
        (("resume", "."), "`.` is not the folder of a study"),
        (("status", "study-small", "name=never-started"), "there are no trials at"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raised = error(*arguments)
    assert words in raised.message
    assert "\n" not in raised.message
    assert raised.hint
    assert not list(tmp_path.iterdir())
