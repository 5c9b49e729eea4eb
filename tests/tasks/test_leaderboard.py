"""The submission of the GLUE leaderboard: what is written is taken, and each way of spoiling it is named."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distiller.errors import ConfigError, DataError, OutputError
from distiller.tasks.leaderboard import SUBMISSION_FILES, validate_submission, write_submission

ROWS = {
    "CoLA": 1063,
    "SST-2": 1821,
    "MRPC": 1725,
    "STS-B": 1379,
    "QQP": 390965,
    "MNLI-m": 9796,
    "MNLI-mm": 9847,
    "QNLI": 5463,
    "RTE": 3000,
    "WNLI": 146,
    "AX": 1104,
}
"""As the leaderboard's own sample submission has them."""


def read(path: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode().splitlines() for name in archive.namelist()}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glue") / "good.zip"
    predictions: dict[str, list[str | float]] = {
        "WNLI": ["entailment", "0"] * 73,
        "RTE": ["not_entailment"] * 3000,
        "STS-B": [-1.0, 7, 2.5, *[0.125] * 1376],
        "AX": ["contradiction"] * 1104,
    }
    filled = write_submission(path, predictions)
    assert filled == [name for name in ROWS if name not in predictions]
    return path


def test_a_submission_has_all_files_rows_and_labels(good: Path) -> None:
    files = read(good)
    assert {name.removesuffix(".tsv"): len(lines) - 1 for name, lines in files.items()} == ROWS
    for lines in files.values():
        assert lines[0] == "index\tprediction"
        assert [line.split("\t")[0] for line in lines[1:]] == [*map(str, range(len(lines) - 1))]
    values = {name: {line.split("\t")[1] for line in lines[1:]} for name, lines in files.items()}
    assert [line.split("\t")[1] for line in files["WNLI.tsv"][1:4]] == ["1", "0", "1"]
    assert [float(line.split("\t")[1]) for line in files["STS-B.tsv"][1:5]] == [0, 5, 2.5, 0.125]
    assert values["RTE.tsv"] == {"not_entailment"}
    assert values["AX.tsv"] == {"contradiction"}
    assert values["QQP.tsv"] == values["CoLA.tsv"] == {"0"}
    assert values["QNLI.tsv"] == values["MNLI-mm.tsv"] == {"entailment"}
    assert validate_submission(good) == []


def test_labels_are_those_of_the_class_ids() -> None:
    assert SUBMISSION_FILES["MNLI-mm"].labels == ("entailment", "neutral", "contradiction")
    assert SUBMISSION_FILES["QNLI"].labels == SUBMISSION_FILES["RTE"].labels == ("entailment", "not_entailment")
    assert {name for name, sheet in SUBMISSION_FILES.items() if sheet.labels == ("0", "1")} == {
        "CoLA",
        "SST-2",
        "MRPC",
        "QQP",
        "WNLI",
    }


def test_the_real_test_files_have_the_rows_of_the_leaderboard(shared: Path) -> None:
    """Of the tasks whose test files lie beside the repository."""
    for name, folder in (("CoLA", "CoLA"), ("STS-B", "STS-B"), ("RTE", "RTE"), ("WNLI", "WNLI"), ("QNLI", "QNLI")):
        lines = (shared / "data" / "glue" / folder / "test.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
        assert len(lines) - 1 == SUBMISSION_FILES[name].rows == ROWS[name]


def test_equal_predictions_give_equal_bytes_and_no_scraps(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SUBMISSION_FILES, "QQP", replace(SUBMISSION_FILES["QQP"], rows=3))
    for name in ("one.zip", "two.zip"):
        write_submission(tmp_path / name, {"WNLI": ["0"] * 146})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes() != good.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.zip", "two.zip"]


def test_predictions_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "submission.zip"
    bad: list[tuple[dict[str, list[Any]], type[Exception], str]] = [
        ({"SST2": []}, ConfigError, "no file `SST2`"),
        ({"WNLI": ["0"] * 145}, DataError, "WNLI: 145 predictions, but the test file has 146 rows"),
        ({"WNLI": ["0"] * 145 + ["maybe"]}, DataError, "WNLI, row 146: the prediction is 'maybe'"),
        ({"RTE": ["0"] * 3000}, DataError, "RTE, row 1: the prediction is '0'"),
        ({"STS-B": [float("nan")] * 1379}, DataError, "STS-B, row 1: the prediction is nan"),
        ({"STS-B": ["high"] * 1379}, DataError, "STS-B, row 1: the prediction is 'high'"),
    ]
    for predictions, kind, message in bad:
        with pytest.raises(kind, match=message):
            write_submission(path, predictions)
    assert not path.exists()
    with pytest.raises(OutputError, match="cannot write"):
        write_submission(tmp_path / "no such folder" / "submission.zip", {})


def changed(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[dict[str, list[str]]], Any]:
    return lambda files: files.update({name: change(files[name])})


SPOILT: dict[str, tuple[Callable[[dict[str, list[str]]], Any], list[str]]] = {
    "missing": (lambda files: files.pop("AX.tsv"), ["`AX.tsv` is missing"]),
    "nested": (
        lambda files: files.update({"glue/RTE.tsv": files.pop("RTE.tsv")}),
        ["`glue/RTE.tsv` is in a folder", "`RTE.tsv` is missing"],
    ),
    "extra": (lambda files: files.update({"notes.txt": []}), ["`notes.txt` is no file of a submission"]),
    "header": (
        changed("WNLI.tsv", lambda lines: ["id\tlabel", *lines[1:]]),
        ["`WNLI.tsv`: the header is 'id\\tlabel', not 'index\\tprediction'"],
    ),
    "short": (
        changed("WNLI.tsv", lambda lines: lines[:-1]),
        ["`WNLI.tsv`: 145 rows, where there should be 146"],
    ),
    "gap": (
        changed("WNLI.tsv", lambda lines: [*lines[:3], "9\t0", *lines[4:]]),
        ["`WNLI.tsv`, line 4: the index is '9', where it should be 2"],
    ),
    "label": (
        changed("RTE.tsv", lambda lines: [*lines[:-1], "2999\tneutral"]),
        ["`RTE.tsv`, line 3001: the prediction is 'neutral', not `entailment`, `not_entailment` (1 such row(s))"],
    ),
    "number": (
        changed("STS-B.tsv", lambda lines: [lines[0], "0\t5.1", "1\tnan", *lines[3:]]),
        ["`STS-B.tsv`, line 2: the prediction is '5.1', not a number from 0 to 5 (2 such row(s))"],
    ),
    "ragged first row": (
        changed("WNLI.tsv", lambda lines: [lines[0], "0 1", *lines[2:]]),
        ["`WNLI.tsv`, line 2: 1 cells, where there should be 2"],
    ),
    "empty": (
        changed("WNLI.tsv", lambda lines: []),
        [
            "`WNLI.tsv`: the header is '', not 'index\\tprediction'",
            "`WNLI.tsv`: 0 rows, where there should be 146",
        ],
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_wrong_is_said(good: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SUBMISSION_FILES, "QQP", replace(SUBMISSION_FILES["QQP"], rows=3)
    )  # the whole file takes a second to check
    files = read(good)
    del files["QQP.tsv"][4:]
    change, problems = SPOILT[how]
    change(files)
    path = tmp_path / "spoilt.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, lines in files.items():
            archive.writestr(name, "".join(f"{line}\n" for line in lines))
    assert validate_submission(path) == problems


def test_what_is_no_zip_file_is_said(good: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        validate_submission(tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("index\tprediction\n")
    with pytest.raises(DataError, match="cannot be read as a zip file"):
        validate_submission(tmp_path / "text.zip")
    (tmp_path / "bytes.zip").write_bytes(good.read_bytes())
    with zipfile.ZipFile(tmp_path / "bytes.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("WNLI.tsv", b"\xff")
    assert validate_submission(tmp_path / "bytes.zip") == [
        "`WNLI.tsv` is there twice",
        "`WNLI.tsv`: byte 0 is not UTF-8 text",
    ]
