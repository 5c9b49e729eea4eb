"""A file of data is enough for a run: what was not chosen is chosen, and said."""

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


def test_what_is_chosen_is_kept(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = load(shop.reviews, [f"teacher.model={shop.tuned}", "student.layers=1", "task.label=label"])
    assert wanted.student.layers == 1
    assert wanted.output == "outputs/reviews"
    assert not capsys.readouterr().err


def test_a_file_of_data_that_is_not_there(distiller: Command, shop: Workshop, tmp_path: Path) -> None:
    answer = distiller("check", tmp_path / "none.csv", f"teacher.model={shop.tuned}")
    assert answer.code == 2
    assert "there is no file" in answer.err
