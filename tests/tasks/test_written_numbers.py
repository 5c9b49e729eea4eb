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


SCALED = {
    "counts": (["950", "2.2K", "13k", "1.5M"], [950, 2200, 13_000, 1_500_000]),
    "of ten": (["7/10", "7.5 / 10", "3/10", "10/10"], [7, 7.5, 3, 10]),
    "euros": (["1,5K €", "20 €", "0,4M €", "7 €"], [1500, 20, 400_000, 7]),
}


@pytest.mark.parametrize("how", SCALED)
def test_thousands_and_shares_are_numbers_where_some_have_fractions(how: str, tmp_path: Path) -> None:
    cells, values = SCALED[how]
    assert labels(table(tmp_path, cells * 6)) == ("regression", values * 6)


@pytest.mark.parametrize("cells", [["10K", "50K"], ["7/10", "8/10"], ["1/2", "2/3"], ["4K", "HD"]])
def test_names_of_classes_may_look_so(cells: list[str], tmp_path: Path) -> None:
    data = load_task(table(tmp_path, cells * 12))
    assert (data.kind, data.labels) == ("classification", tuple(sorted(cells)))


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
    for cells in (["1.2.3", "1.2.4"], ["3 stars", "4 stars"], ["10:30", "11:30"], ["2.2x", "3.1x"]):
        assert labels(table(tmp_path, cells * 12))[0] == "classification"
