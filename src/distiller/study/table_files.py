"""Tables in CSV and Parquet files, with a header of ours that says what the columns are."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.errors import ConfigError, DataError, importing
from distiller.files import writing

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
KEY = "distiller_trials"
"""Marks our header: a comment in the first line of a CSV file, an entry of a Parquet file's metadata."""


def read_frame(source: Path) -> "pd.DataFrame":
    """All cells, as text (CSV) or as stored (Parquet). Raises `DataError`."""
    pandas = load_pandas()
    if source.suffix not in (".csv", ".parquet"):
        raise DataError(f"`{source}` is neither a .csv nor a .parquet file", hint="convert it to one of them")
    try:
        if source.suffix == ".parquet":
            return load_pyarrow()[1].read_table(source).to_pandas()
        with source.open(encoding="utf-8-sig", newline="") as file:  # some programs start a file with a byte order mark
            ours = _parse(file.readline()) is not None
            if not ours:
                file.seek(0)
            frame = pandas.read_csv(file, dtype=str, keep_default_na=False)
            return _mapped(frame, unguarded) if ours else frame
    except OSError as error:
        raise _unreadable(source, error) from None
    except ValueError as error:  # from pandas and pyarrow, whose errors inherit from it
        first = str(error).partition("\n")[0]
        raise DataError(f"`{source}` is not a table: {first}", hint="the first line should name columns") from None


def read_header(source: Path) -> dict[str, Any] | None:
    """Our header, or `None` for a file that is not ours. Raises `DataError` for one that cannot be read."""
    try:
        if source.suffix == ".parquet":
            metadata = load_pyarrow()[1].read_schema(source).metadata or {}
            return _parse("#" + metadata.get(KEY.encode(), b"").decode())
        with source.open(encoding="utf-8-sig") as file:
            return _parse(file.readline())
    except OSError as error:
        raise _unreadable(source, error) from None
    except ValueError:  # not UTF-8, or not Parquet
        return None


def write_frame(frame: "pd.DataFrame", header: Mapping[str, Any], target: Path) -> Path:
    """Write a .csv or .parquet file beside `target` and rename it there. Raises `ConfigError` for another ending."""
    text = json.dumps({KEY: 1, **header})
    if target.suffix == ".csv":
        with writing(target) as file:
            file.write(f"# {text}\n")
            _mapped(frame, guarded).to_csv(file, index=False, lineterminator="\n")
    elif target.suffix == ".parquet":
        arrow, parquet = load_pyarrow()
        table = arrow.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY.encode(): text.encode()})
        with writing(target, "wb") as file:
            parquet.write_table(table, file)
    else:
        raise ConfigError(f"trials cannot be written to `{target.name}`", hint="end the name in .csv or .parquet")
    return target


def guarded(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: one that begins like a formula gets an apostrophe in front."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or _is_number(cell):
        return cell
    return "'" + cell


def unguarded(cell: Any) -> Any:
    """The cell that `guarded` was given."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _mapped(frame: "pd.DataFrame", change: Callable[[Any], Any]) -> "pd.DataFrame":
    """`frame` with its texts and names changed by `change`."""
    changed = frame.rename(columns=change)
    for name in changed:
        if changed[name].dtype.kind in "OSU" or str(changed[name].dtype).startswith("str"):
            changed[name] = [change(cell) for cell in changed[name]]
    return changed


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def load_pandas() -> Any:
    """The module `pandas`. Raises `MissingPackageError`."""
    with importing("tables of trials need", extra="study"):
        import pandas
    return pandas


def load_pyarrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises `MissingPackageError`."""
    with importing("Parquet files need", extra="data", otherwise=", or use .csv"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("#"):
        return None
    try:
        found = json.loads(line[1:])
    except ValueError:
        return None
    return found if isinstance(found, dict) and KEY in found else None


def _unreadable(source: Path, error: OSError) -> DataError:
    reason = os.strerror(error.errno).lower() if error.errno else "not a file"
    return DataError(f"`{source}` cannot be read: {reason}", hint="name a .csv or .parquet file")
