"""Trials as a table: what studies leave behind, and all that analysis, advice and report read.

A row is one training. An empty cell in a factor's column means that the factor does not exist for that trial (a critic
without mutual information). Higher scores are better, as for all metrics that choose a checkpoint.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.errors import ConfigError, DataError, OutputError, did_you_mean
from distiller.notebook import html_table, strips
from distiller.study.authors_table import authors_frame, is_authors
from distiller.study.table_files import load_pandas, read_frame, read_header, write_frame

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("intermediate", "prediction", "mapping", "augmentation")
"""The factors of the canonical space (arXiv:2109.11105, section 4)."""
SHOWN = 10
"""Trials of each task that a notebook shows."""
STATUSES = ("complete", "failed", "pruned")
TEXTS = ("status", "task", "teacher", "student", "metric", "reason", "run")
NUMBERS = (
    "score", "teacher_score", "baseline_score", "ratio", "seconds", "parameters", "milliseconds", "megabytes",
)  # fmt: skip
COLUMNS = ("trial", "status", "task", "teacher", "student", "seed", "metric", *NUMBERS, "reason", "run")
"""What every table of trials has, in this order; the factors come after it."""


@dataclass(frozen=True)
class Trials:
    """Finished and failed trials of one or more studies: a row each."""

    frame: "pd.DataFrame"
    """`COLUMNS`, the factors, and what else the source knows. Unknown texts are `""`, numbers NaN, seeds `<NA>`;
    `milliseconds` are per example and `megabytes` 10^6 bytes, both of the student."""
    factors: tuple[str, ...]
    """The columns of `frame` that were varied."""

    @property
    def complete(self) -> "pd.DataFrame":
        """The rows with a score: only these feed analysis."""
        return self.frame.loc[self.frame["status"] == "complete"].reset_index(drop=True)

    def where(self, **values: str) -> "Trials":
        """The rows whose columns have these values. Raises `ConfigError` for an unknown column or value."""
        frame = self.frame
        for column, value in values.items():
            if column not in frame:
                raise ConfigError(f"trials have no column `{column}`", hint=did_you_mean(column, list(map(str, frame))))
            kept = frame.loc[frame[column].astype(str) == value]
            if kept.empty:
                known = sorted(set(frame[column].astype(str)))[:20]
                raise ConfigError(f"no trial has {column}={value}", hint=did_you_mean(value, known))
            frame = kept
        return replace(self, frame=frame.reset_index(drop=True))

    def plot(self) -> Any:
        """A Matplotlib figure: for each factor the score of every finished trial by level, a colour for each task.

        Raises `MissingPackageError` without Matplotlib, `OutputError` where no trial is finished.
        """
        rows = self.complete.to_dict("records")
        if not rows:
            raise OutputError("there is no finished trial to draw", hint="`distiller study status` says more")
        points = {
            factor: [(str(row["task"]), str(row[factor]), float(row["score"])) for row in rows if row[factor] != ""]
            for factor in self.factors
        }
        return strips({factor: found for factor, found in points.items() if found}, y="score")

    def _repr_html_(self) -> str:
        """The best finished trials of each task, as a table for notebooks."""
        several = self.complete.sort_values("score", ascending=False, kind="stable")
        columns = ["task", "teacher", "student", *self.factors, "seed", "score", "ratio"]
        shown = (
            several.groupby("task", sort=True)
            .head(SHOWN)
            .sort_values(["task", "score"], ascending=[True, False], kind="stable")
        )
        rows = []
        for row in shown.to_dict("records"):
            cells = [f"{row[name]:.4f}" if name in ("score", "ratio") else str(row[name]) for name in columns]
            rows.append([cell.replace("nan", "–").replace("<NA>", "–") for cell in cells])
        counts = ", ".join(f"{count} {name}" for name, count in self.frame["status"].value_counts().items())
        best = f"the best {SHOWN} of each task" if len(shown) < len(several) else "all that are finished"
        return html_table(columns, rows, title=f"trials: {counts or 'none'}", notes=[best] if rows else [])


def tabulate(rows: Iterable[Mapping[str, Any]], factors: Sequence[str], *, where: str = "trials") -> Trials:
    """Rows as `Trials`: mappings from `COLUMNS` and `factors` to values, `None` where unknown.

    Missing columns are filled, and `ratio` follows from the scores. `where` begins the errors. Raises `DataError` for
    an unknown status, a cell that should be a number, or a complete trial without a score.
    """
    return conform(load_pandas().DataFrame(list(rows)), factors, where=where)


def conform(frame: "pd.DataFrame", factors: Sequence[str], *, where: str) -> Trials:
    """`frame` with all `COLUMNS`, in their types. Raises `DataError` as `tabulate` does."""
    frame = frame.reset_index(drop=True)
    n = len(frame)
    own: dict[str, Any] = {"trial": range(n), "status": ["complete"] * n}
    for name in ("trial", "seed"):
        if name in frame:
            own[name] = _whole(frame[name], name, where)
    for name in (*TEXTS, *factors):
        if name in frame:
            own[name] = [text or ("complete" if name == "status" else "") for text in _texts(frame[name])]
    for name in NUMBERS:
        if name in frame:
            own[name] = _numbers(frame[name], name, where)
    empty = {name: "" if name in TEXTS or name in factors else float("nan") for name in (*COLUMNS, *factors)}
    rest = [name for name in frame if name not in empty]
    table = load_pandas().DataFrame({**empty, **own}, index=frame.index).join(frame[rest])
    table["seed"] = table["seed"].astype("Int64")
    table["trial"] = table["trial"].astype("int64")
    unknown = sorted(set(table["status"]) - set(STATUSES))
    if unknown:
        raise DataError(f"{where}: no status is called `{unknown[0]}`", hint=did_you_mean(unknown[0], [*STATUSES]))
    complete = table["status"] == "complete"
    bare = complete & ~(table["score"].abs() < float("inf"))
    if bare.any():
        row = int(bare.to_numpy().argmax())
        raise DataError(
            f"{where}: row {row + 1} is complete but has no score", hint="its status may be `failed` or `pruned`"
        )
    table["score"] = table["score"].where(complete)
    ratio = (table["score"] / table["teacher_score"]).where(table["teacher_score"] > 0)
    table["ratio"] = table["ratio"].where(complete).fillna(ratio)
    return Trials(table, tuple(factors))


def write_trials(trials: Trials, path: str | Path) -> Path:
    """Write a `.csv` or `.parquet` file, in one step, that `read_trials` turns back into equal trials.

    Raises `ConfigError` for another ending.
    """
    return write_frame(trials.frame, {"factors": list(trials.factors)}, Path(path))


def is_trials(path: str | Path) -> bool:
    """Whether `write_trials` wrote this file. Raises `DataError` if it cannot be read."""
    return Path(path).suffix in (".csv", ".parquet") and read_header(Path(path)) is not None


def read_trials(path: str | Path) -> Trials:
    """Read what `write_trials` wrote. Raises `DataError` for any other file."""
    source = Path(path)
    header = read_header(source)
    if header is None:
        raise DataError(f"`{source}` is not a table of trials", hint="say what its columns are: `--map score=COLUMN`")
    frame = read_frame(source)
    missing = [name for name in (*COLUMNS, *header["factors"]) if name not in frame]
    if missing:
        raise DataError(f"`{source}` has no column `{missing[0]}`", hint="it was changed after it was written")
    return conform(frame, header["factors"], where=f"`{source}`")


def read_table(path: str | Path, *, columns: Mapping[str, str] | None = None, factors: Sequence[str] = ()) -> Trials:
    """Trials from any CSV or Parquet file of results; rows without a score count as failed.

    `columns` maps our names to those of the file; equal names need no entry. `factors` are the columns that were
    varied; by default the entries of `columns` that are not `COLUMNS`, and those of `FACTORS` that the file has. A file
    without a task is one task, named after the file. Raises `DataError` for a missing column.
    """
    source, columns = Path(path), columns or {}
    frame = read_frame(source)
    there = list(map(str, frame))
    for ours, theirs in columns.items():
        if theirs not in there:
            raise DataError(f"`{source}` has no column `{theirs}` for `{ours}`", hint=did_you_mean(theirs, there))
    frame = frame.assign(**{ours: frame[theirs] for ours, theirs in columns.items()})
    if "score" not in frame:
        raise DataError(f"`{source}` has no column `score`", hint="say which one it is: `--map score=COLUMN`")
    varied = list(factors) or list(
        dict.fromkeys(name for name in (*columns, *FACTORS) if name not in COLUMNS and name in frame)
    )
    if not varied:
        raise DataError(f"`{source}`: nothing says which columns were varied", hint="name them: `--map mapping=COLUMN`")
    for name in varied:
        if name not in frame:
            raise DataError(f"`{source}` has no column `{name}`", hint=did_you_mean(name, there))
    if "status" not in frame:
        frame["status"] = ["complete" if text else "failed" for text in _texts(frame["score"])]
    if "task" not in frame:
        frame["task"] = source.stem
    return conform(frame, varied, where=f"`{source}`")


def read_authors(source: str | Path) -> Trials:
    """The runs that the authors of arXiv:2109.11105 published: their `runs.csv`, or the folder it is in.

    See `authors_frame` for what its columns mean here. Raises `DataError` for another table.
    """
    return conform(authors_frame(Path(source)), FACTORS, where=f"`{source}`")


def open_table(path: str | Path) -> Trials:
    """Trials from a file that identifies itself: our table, the authors', or one with our column names.

    Raises `DataError` for any other file.
    """
    source = Path(path)
    if is_authors(source):
        return read_authors(source)
    return read_trials(source) if is_trials(source) else read_table(source)


def _texts(cells: Any) -> list[str]:
    return ["" if missing else str(cell) for cell, missing in zip(cells, cells.isna(), strict=True)]


def _numbers(cells: Any, name: str, where: str) -> list[float]:
    found: list[float] = []
    for row, (cell, missing) in enumerate(zip(cells, cells.isna(), strict=True)):
        try:
            found.append(float("nan") if missing or cell == "" else float(cell))
        except (TypeError, ValueError):
            raise DataError(
                f"{where}: row {row + 1}: `{name}` should be a number, got {cell!r:.40}",
                hint="leave the cell empty if it is unknown",
            ) from None
    return found


def _whole(cells: Any, name: str, where: str) -> list[int | None]:
    numbers = _numbers(cells, name, where)
    found = [None if number != number else int(number) for number in numbers]
    for row, (number, whole) in enumerate(zip(numbers, found, strict=True)):
        if (whole is None and name == "trial") or (whole is not None and whole != number):
            raise DataError(f"{where}: row {row + 1}: `{name}` should be a whole number", hint="count from 0")
    return found
