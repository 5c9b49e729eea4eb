"""Submissions to the GLUE leaderboard: a zip file with a table of predictions for each test set."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distiller.errors import ConfigError, DataError, did_you_mean
from distiller.files import unwritable, writing
from distiller.tasks.glue import GLUE
from distiller.tasks.labels import finite_number
from distiller.tasks.table import shown

HEADER = "index\tprediction"
LARGEST = 100_000_000
"""Larger files, in bytes, are not read; the largest file of a valid submission has 5 million."""


@dataclass(frozen=True)
class SubmissionFile:
    """One file of a submission."""

    task: str
    """The GLUE task whose model is used."""
    split: str
    """The split that is predicted; the diagnostic set AX (for models of MNLI) is not a split of a task here."""
    rows: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The possible predictions in the order of the class ids; empty: numbers from 0 to 5."""
        return GLUE[self.task].written


SUBMISSION_FILES: dict[str, SubmissionFile] = {
    **{
        stem: SubmissionFile(task, split, GLUE[task].rows[split])
        for stem, task, split in (
            ("CoLA", "cola", "test"),
            ("SST-2", "sst2", "test"),
            ("MRPC", "mrpc", "test"),
            ("STS-B", "stsb", "test"),
            ("QQP", "qqp", "test"),
            ("MNLI-m", "mnli", "test"),
            ("MNLI-mm", "mnli", "test_mismatched"),
            ("QNLI", "qnli", "test"),
            ("RTE", "rte", "test"),
            ("WNLI", "wnli", "test"),
        )
    },
    "AX": SubmissionFile("mnli", "diagnostic", 1104),
}
"""File name without `.tsv` → its content. Source: gluebenchmark.com, arXiv:1804.07461."""


def write_submission(zip_path: str | Path, predictions: Mapping[str, Sequence[str | float]]) -> list[str]:
    """Write a submission, and return the names of the files for which there were no predictions.

    `predictions` have the keys of `SUBMISSION_FILES` and the order of the official test files: labels as in the files
    (`1`) or as named by the task (`acceptable`); for STS-B numbers, which are clipped to 0 … 5. Files without
    predictions are filled with the first label, because the leaderboard only accepts complete submissions. The zip file
    is written completely or not at all, and equal predictions give equal bytes. Raises `ConfigError` for an unknown
    name, `DataError` for a wrong number of predictions or an unknown label, `OutputError` if it cannot be written.
    """
    for name in predictions:
        if name not in SUBMISSION_FILES:
            raise ConfigError(f"the leaderboard has no file `{name}`", hint=did_you_mean(name, list(SUBMISSION_FILES)))
    filled = [name for name in SUBMISSION_FILES if name not in predictions]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, sheet in SUBMISSION_FILES.items():
            cells = _cells(name, sheet, predictions.get(name))
            rows = "".join(f"{index}\t{cell}\n" for index, cell in enumerate(cells))
            member = zipfile.ZipInfo(f"{name}.tsv")  # dated 1980, whenever it is written
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, f"{HEADER}\n{rows}")
    path = Path(zip_path)
    with unwritable(path, "name another file"), writing(path, "wb") as file:
        file.write(content.getvalue())
    return filled


def validate_submission(path: str | Path) -> list[str]:
    """The problems of a submission, one line each; an empty list if the leaderboard will accept it.

    Raises `DataError` for a missing file or one that is not a zip file.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            problems = [f"`{member.filename}` is in a folder" for member in members if "/" in member.filename]
            names = [member.filename for member in members]
            known = [f"{name}.tsv" for name in SUBMISSION_FILES]
            problems += [f"`{name}` is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
            problems += [
                f"`{name}` is no file of a submission" for name in names if name.rpartition("/")[2] not in known
            ]
            for name, sheet in SUBMISSION_FILES.items():
                if f"{name}.tsv" not in names:
                    problems.append(f"`{name}.tsv` is missing")
                elif archive.getinfo(f"{name}.tsv").file_size > LARGEST:
                    problems.append(f"`{name}.tsv` has more than {LARGEST:,} bytes")
                else:
                    problems += _problems(f"`{name}.tsv`", sheet, archive.read(f"{name}.tsv"))
            return problems
    except FileNotFoundError:
        raise DataError(f"there is no file `{path}`", hint="`distiller predict --glue` writes one") from None
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"`{path}` cannot be read as a zip file: {error}", hint="write it again") from None


def _cells(name: str, sheet: SubmissionFile, predictions: Sequence[str | float] | None) -> list[str]:
    """The predictions in the form of the leaderboard."""
    if predictions is None:
        return [sheet.labels[0] if sheet.labels else _number(0.0)] * sheet.rows
    if len(predictions) != sheet.rows:
        raise DataError(
            f"{name}: {len(predictions)} predictions, but the test file has {sheet.rows} rows",
            hint="predict every row of the official test file, in its order",
        )
    if not sheet.labels:
        return [_number(_score(name, row, cell)) for row, cell in enumerate(predictions)]
    glue = GLUE[sheet.task]
    written = dict(zip(glue.labels, glue.written, strict=True)) if glue.labels else {}
    written |= {label: label for label in glue.written}
    for row, cell in enumerate(predictions):
        if str(cell) not in written:
            known = ", ".join(f"`{label}`" for label in written)
            raise DataError(f"{name}, row {row + 1}: the prediction is {shown(cell)}", hint=f"one of {known}")
    return [written[str(cell)] for cell in predictions]


def _number(value: float) -> str:
    return f"{min(max(value, 0.0), 5.0):.6f}"


def _score(name: str, row: int, cell: str | float) -> float:
    value = finite_number(cell)
    if value is None:
        raise DataError(f"{name}, row {row + 1}: the prediction is {shown(cell)}", hint="a finite number, from 0 to 5")
    return value


def _problems(where: str, sheet: SubmissionFile, content: bytes) -> list[str]:
    """The problems of one file: for each kind of problem the first row that has it."""
    try:
        header, *lines = content.decode().removesuffix("\n").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        return [f"{where}: byte {error.start} is not UTF-8 text"]
    problems = [] if header == HEADER else [f"{where}: the header is {shown(header)}, not {HEADER!r}"]
    if len(lines) != sheet.rows:
        problems.append(f"{where}: {len(lines)} rows, where there should be {sheet.rows}")
    cells = [line.split("\t") for line in lines]
    ragged = next((row for row, line in enumerate(cells) if len(line) != 2), None)
    if ragged is not None:
        return [*problems, f"{where}, line {ragged + 2}: {len(cells[ragged])} cells, where there should be 2"]
    gap = next((row for row, line in enumerate(cells) if line[0] != str(row)), None)
    if gap is not None:
        problems.append(f"{where}, line {gap + 2}: the index is {shown(cells[gap][0])}, where it should be {gap}")
    wrong = [row for row, line in enumerate(cells) if not _allowed(sheet, line[1])]
    if wrong:
        allowed = ", ".join(f"`{label}`" for label in sheet.labels) or "a number from 0 to 5"
        problems.append(
            f"{where}, line {wrong[0] + 2}: the prediction is {shown(cells[wrong[0]][1])}, not {allowed}"
            f" ({len(wrong)} such row(s))"
        )
    return problems


def _allowed(sheet: SubmissionFile, cell: str) -> bool:
    if sheet.labels:
        return cell in sheet.labels
    value = finite_number(cell)
    return value is not None and 0 <= value <= 5
