"""Numbers as people write them are numbers, where all of a column parse in one way; else they are refused in words."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from distiller.config import Task
from distiller.errors import DataError
from distiller.tasks import load_task

VALUES = [round(random.Random(row).uniform(-90_000, 90_000), 2) for row in range(24)]


def grouped(value: float, group: str, point: str) -> str:
    """A number with groups of three digits."""
    return f"{value:,.2f}".replace(",", "\0").replace(".", point).replace("\0", group)


WRITTEN = {
    "thousands": [grouped(value, ",", ".") for value in VALUES],
    "commas": [grouped(value, ".", ",") for value in VALUES],
    "blanks": [grouped(value, "\u202f", ",") for value in VALUES],
    "apostrophes": [grouped(value, "'", ".") for value in VALUES],
    "percent": [f"{value:.2f} %" for value in VALUES],
    "dollars": [grouped(value, ",", ".").replace("-", "-$") if value < 0 else f"${value:.2f}" for value in VALUES],
    "euros": [grouped(value, ".", ",") + " €" for value in VALUES],
    "a minus": [f"{value:.2f}".replace("-", "\u2212") for value in VALUES],
    "brackets": [f"({-value:.2f})" if value < 0 else f"{value:.2f}" for value in VALUES],
    "lists": [f"[{value}]" for value in VALUES],
}


def table(folder: Path, cells: list[str], name: str = "train.csv") -> Task:
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *((f"text {row}", cell) for row, cell in enumerate(cells))])
    return Task(train=str(path), dev=str(path))


def labels(task: Task) -> tuple[str, Any]:
    data = load_task(task)
    return data.kind, list(data.splits["dev"].labels)  # type: ignore[union-attr]


@pytest.mark.parametrize("how", WRITTEN)
def test_written_numbers_are_read_back(how: str, tmp_path: Path) -> None:
    assert labels(table(tmp_path, WRITTEN[how])) == ("regression", VALUES)


def test_whole_numbers_with_a_unit_are_numbers_and_said(tmp_path: Path) -> None:
    task = table(tmp_path, [f"{row} %" for row in range(24)])
    assert labels(task) == ("regression", [*range(24)])
    assert "`0 %` in `label` is read as the number 0" in load_task(task).notes


def test_without_a_unit_whole_numbers_stay_classes(tmp_path: Path) -> None:
    assert labels(table(tmp_path, ["1 000", "2 000"] * 12))[0] == "classification"


def test_development_rows_are_read_as_the_training_rows(tmp_path: Path) -> None:
    train = table(tmp_path, [f"1.2{row + 10},5" for row in range(24)])
    dev = table(tmp_path, [f"1.2{row + 10}" for row in range(24)], "dev.csv")
    found = labels(train.model_copy(update={"dev": dev.dev}))
    assert found == ("regression", [1210 + row for row in range(24)])


def test_numbers_of_one_element_lists_in_json(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{row}", "label": [row / 4]}) + "\n" for row in range(24)))
    assert labels(Task(train=str(path), dev=str(path))) == ("regression", [row / 4 for row in range(24)])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,5", "2.5"], "line 2: `label` is '1,5', and elsewhere a point"),
        (["1.5%", "2.5"], "line 3: `label` is '2.5', and elsewhere '1.5%'"),
        (["1,500", "2,500"], "line 2: `label` is '1,500', where the comma may"),
        (["1,5"] * 23 + ["N/A"], "`label` should be a finite number, got 'N/A'"),
    ],
)
def test_what_is_not_one_way_is_refused(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_task(table(tmp_path, (cells * 24)[:24]))
    assert message in error.value.message
    assert error.value.hint


def test_words_and_versions_stay_classes(tmp_path: Path) -> None:
    for cells in (["1.2.3", "1.2.4"], ["3 stars", "4 stars"], ["10:30", "11:30"], ["7/10", "8/10"], ["2.2K", "3.1K"]):
        assert labels(table(tmp_path, cells * 12))[0] == "classification"
