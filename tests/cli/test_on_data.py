"""A file of data is enough for a run: what was not chosen is chosen, and said."""

import json
from pathlib import Path

import pytest

from cli.conftest import Command
from distiller.cli.recipes import load
from run.tiny import Workshop


def test_a_file_of_data_is_a_run(distiller: Command, shop: Workshop) -> None:
    answer = distiller("check", shop.reviews, f"teacher.model={shop.tuned}", "task.max_length=16")
    assert answer.code == 0
    assert "student 2 of its 4 layers" in answer.err
    assert "name: kl" in answer.out
    assert "share: 0.5" in answer.out
    data = answer.err.partition("\ndata")[2]
    assert max(map(len, data.splitlines())) <= 80
    assert "task.kind is taken to be" in " ".join(data.split())


def test_what_is_chosen_is_kept(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = load(shop.reviews, [f"teacher.model={shop.tuned}", "student.layers=1", "task.label=label"])
    assert wanted.student.layers == 1
    assert wanted.output == "outputs/reviews"
    assert not capsys.readouterr().err


def test_a_file_of_data_that_is_not_there(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    answer = distiller("check", tmp_path / "none.csv", f"teacher.model={shop.tuned}")
    assert answer.code == 2
    assert "there is no file" in answer.err


def test_a_run_may_be_json_and_a_table_of_json_is_none(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    rows = [{"task": "write it", "label": "yes"}, {"task": "read it", "label": "no"}] * 10
    table, file = tmp_path / "rows.json", tmp_path / "run.json"
    table.write_text(json.dumps({"data": rows}), encoding="utf-8")
    task = {"train": str(table), "text": "task", "label": "label"}
    wish = {"task": task, "teacher": {"model": str(shop.tuned)}, "output": str(tmp_path / "out")}
    file.write_text(json.dumps(wish), encoding="utf-8")
    assert load(str(file), []).task.text == "task"
    assert load(str(table), [f"teacher.model={shop.tuned}", "student.layers=1"]).task.train == str(table)
    file.write_text('{"task": {', encoding="utf-8")
    broken = distiller("check", file, f"teacher.model={shop.tuned}")
    assert (broken.code, "Traceback" in broken.err) == (2, False)


@pytest.mark.parametrize("dev", ["dev", "validation", None])
def test_a_folder_of_data_is_told_how_its_files_are_named(
    distiller: Command, shop: Workshop, tmp_path: Path, dev: str | None
) -> None:
    for name in ("train", "test", *filter(None, [dev])):
        (tmp_path / f"{name}.csv").write_bytes(Path(shop.dev).read_bytes())
    answer = distiller("check", tmp_path, f"teacher.model={shop.tuned}")
    assert answer.code == 2
    hint = " ".join(answer.err.split()).partition("name its files: ")[2].split()
    assert [*map(Path, hint[:1])] == [tmp_path / "train.csv"]
    assert distiller("check", *hint, f"teacher.model={shop.tuned}", "task.max_length=16").code == 0
    assert any(word.startswith("task.dev=") for word in hint) == (dev is not None)
