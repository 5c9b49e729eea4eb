"""Tables from anything that `datasets` resolves: a name, a folder of files, or the output of `save_to_disk`."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

from distiller.errors import DataError, did_you_mean, importing
from distiller.tasks.table import Table, class_of
from distiller.tasks.text_files import read_text

DEV_NAMES = ("validation", "dev", "valid", "val")
"""Names of development splits, in the order in which they are tried."""

SAVED = ("dataset_dict.json", "state.json")
"""Files that identify a folder written by `save_to_disk`."""


def load_dataset_tables(data: str, columns: Sequence[str], *, config: str | None = None) -> dict[str, Table]:
    """The splits of the data set `data`, local or from the hub.

    Only the cells of `columns` are read; other columns are empty. A `ClassLabel` column is converted to class names,
    and `None` for negative ids, by which test labels are hidden. Raises `MissingPackageError` without `datasets`,
    `DataError` if the data set cannot be loaded.
    """
    if found := _class_folders(Path(data).expanduser()):
        return found
    loaded = _load(data, config)
    tables: dict[str, Table] = {}
    for split, rows in loaded.items():
        cells: dict[str, Sequence[Any]] = dict.fromkeys(rows.column_names, ())
        names: dict[str, tuple[str, ...]] = {}
        for column in cells:
            if not any(column == wanted or ("*" in wanted and fnmatch(column, wanted)) for wanted in columns):
                continue
            values = list(rows[column])
            feature = rows.features[column]
            classes = getattr(
                getattr(feature, "feature", feature), "names", None
            )  # of a list, the feature of its items
            if classes is not None:
                names[column] = tuple(classes)
                values = [class_of(value, classes) for value in values]
            cells[column] = values
        tables[str(split)] = Table(f"{data}:{split}", cells, declared=names)
    return tables


def _class_folders(folder: Path) -> dict[str, Table]:
    """The splits of a folder with a subfolder per class and a text per file: `train/positive/17.txt`."""
    parts = {name: folder / name for name in ("train", *DEV_NAMES, "test") if any(folder.glob(f"{name}/*/*.txt"))}
    tables: dict[str, Table] = {}
    for name, part in (parts or {"train": folder}).items():
        files = sorted(part.glob("*/*.txt"))
        labels = [file.parent.name for file in files]
        if len(set(labels)) > 1:
            tables[name] = Table(f"{folder}:{name}", {"text": [*map(read_text, files)], "label": labels})
    return tables


def pick_split(tables: Mapping[str, Table], wanted: str, *, data: str) -> Table:
    """The table of the split `wanted`. Raises `DataError` naming the existing splits."""
    if wanted not in tables:
        raise DataError(f"`{data}` has no split `{wanted}`", hint=did_you_mean(wanted, list(tables)))
    return tables[wanted]


def _load(data: str, config: str | None) -> Mapping[Any, Any]:
    with importing(f"loading the data set `{data}` needs", extra="data"):
        import datasets
    folder = Path(data).expanduser()
    bars = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()  # loading is usually fast, and progress is shown in our own style
    try:
        if any((folder / name).is_file() for name in SAVED):
            saved = datasets.load_from_disk(str(folder))
            return saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}
        loaded = datasets.load_dataset(str(folder) if folder.is_dir() else data, config)
    except Exception as error:  # readers, parsers and the network raise all kinds of errors
        cause = error.__cause__ or error
        reason = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
        where = "" if folder.exists() else "; without a network, name a folder of files or one by `save_to_disk`"
        known = f", configuration `{config}`" if config else ""
        raise DataError(
            f"the data set `{data}`{known} cannot be loaded: {reason}", hint=f"see task.data and task.config{where}"
        ) from None
    finally:
        if bars:
            datasets.enable_progress_bars()
    return loaded
