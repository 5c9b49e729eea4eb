"""`distiller importance` on tables of trials."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from analysis.tables import grid
from distiller.cli.importance import importance
from distiller.errors import ConfigError, DataError, DistillerError
from distiller.study.trials import tabulate, write_trials


def call(*arguments: object) -> str:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.command()(importance)
    done = CliRunner().invoke(app, ["importance", *map(str, arguments)])
    if isinstance(done.exception, DistillerError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gain = {"mse": 0.2, "mi": 0.3, "pkd": 0.1, "skip": 0.0, "emd": 0.05}
    frame = grid(
        {"task": ["rte", "cola"], "seed": "012", "loss": ["mse", "mi", "pkd"], "mapping": ["skip", "emd"]},
        lambda task, seed, loss, mapping: gain[loss] + gain[mapping] + (task == "rte") + int(seed) / 100,
    )
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    return write_trials(tabulate(rows, ["loss", "mapping"]), tmp_path_factory.mktemp("table") / "trials.csv")


def test_tables_name_what_mattered(table: Path) -> None:
    out = call(table, "--per-task", "--top", 2)
    first = next(line for line in out.splitlines() if line.startswith(("loss ", "mapping ", " loss ", " mapping ")))
    assert first.split()[0] == "loss"
    for told in (
        "out-of-bag R²",
        "loss × mapping",
        "PED-ANOVA",
        "95 % interval",
        "in the top 2",
        "best configurations",
    ):
        assert told in out


def test_numbers_are_printed_as_json(table: Path) -> None:
    found = json.loads(call(table, "--json", "--where", "task=rte"))
    assert found["trials"] == 18
    assert [tuple(one["factors"]) for one in found["importance"]["shares"]][:1] == [("loss",)]
    assert found["best"]["rte"][0]["levels"] == {"loss": "mi", "mapping": "emd"}
    assert {one["factor"] for one in found["effects"]} == {"loss", "mapping"}


def test_columns_of_other_tables_are_named(tmp_path: Path) -> None:
    rows = [f"{loss},{0.5 + 0.1 * (loss == 'b') + n / 1000}" for loss in "ab" for n in range(10)]
    (tmp_path / "sweep.csv").write_text("\n".join(["loss,accuracy", *rows]), encoding="utf-8")
    out = call(tmp_path / "sweep.csv", "--map", "score=accuracy", "--map", "objective=loss")
    assert "objective" in out
    with pytest.raises(ConfigError, match="`score` is not of the form key=value"):
        call(tmp_path / "sweep.csv", "--map", "score")


def test_a_forest_that_explains_nothing_is_not_interpreted(tmp_path: Path) -> None:
    rows = [{"task": "rte", "loss": loss, "score": (n * 7919 % 101) / 101} for loss in "ab" for n in range(12)]
    file = write_trials(tabulate(rows, ["loss"]), tmp_path / "noise.csv")
    assert "rte: not interpreted: the forest explains nothing: out-of-bag R² is -" in call(file)


def test_unknown_names_are_told(table: Path) -> None:
    with pytest.raises(ConfigError, match="trials have no column `maping`") as error:
        call(table, "--factor", "maping")
    assert error.value.hint == "did you mean `mapping`?"
    with pytest.raises(ConfigError, match="no trial has task=rt"):
        call(table, "--where", "task=rt")


def test_without_a_finished_trial_there_is_nothing_to_say(tmp_path: Path) -> None:
    row = {"task": "rte", "loss": "mse", "status": "failed"}
    failed = write_trials(tabulate([row], ["loss"]), tmp_path / "failed.csv")
    with pytest.raises(DataError, match=r"failed.csv` has no finished trial\nhint: .*study status"):
        call(failed)
    with pytest.raises(DataError, match=r"has no finished trial with task=rte\nhint: "):
        call(failed, "--where", "task=rte")


def test_what_was_tried_too_rarely_has_no_table(tmp_path: Path) -> None:
    rows = [{"task": "rte", "loss": loss, "score": 0.5} for loss in "ab"]
    out = call(write_trials(tabulate(rows, ["loss"]), tmp_path / "few.csv"))
    assert "effect of each level" not in out
    assert "tried too rarely for an interval" in out
