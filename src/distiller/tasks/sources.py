"""Where a user's own data comes from: the files and data sets that the fields of `config.Task` name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks.annotations import only_accepted, with_tags
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.conll import ENDINGS, is_conll, read_conll
from distiller.tasks.data import UNLABELLED
from distiller.tasks.doubts import refuse_header
from distiller.tasks.hub import DEV_NAMES, load_dataset_tables, pick_split
from distiller.tasks.questions import COLUMNS, is_squad, read_squad
from distiller.tasks.readers import READERS, Layout, is_file_name, read_table
from distiller.tasks.table import Table, check_columns
from distiller.tasks.text_files import COLUMNAR, DELIMITED, ending, stem, unread
from distiller.tasks.usual_columns import USUAL, usual_columns
from distiller.tasks.word_rows import with_sentences
from distiller.tasks.written_lists import with_lists, with_words

SPLITS = ("train", "dev", "test")

COMMON = r"(train|data(set)?$|all$)"
"""How files and folders begin, or are called, that say nothing of what is in them."""


def read_tables(task: Task, bad: Mapping[str, BadRows]) -> tuple[dict[str, str], dict[str, Table]]:
    """(The columns that were taken, as `usual_columns`; the rows of `train`, and of `dev` and `test` where there are
    any)."""
    named = {name: value for name in SPLITS if (value := getattr(task, name))}
    if "train" in named and is_file(task, named["train"]):
        refuse_layout(task, named["train"], tagging=task.kind == "tagging")
        files = {name: _file(task, value) for name, value in named.items()}
        tables = {name: _rows(task, file, bad[name], labelled=name != "test") for name, file in files.items()}
        columns = usual_columns(task, tables)
        task = task.model_copy(update=columns)
        for name, file in files.items():
            tables[name] = _in_form(task, file, tables[name], bad[name], labelled=name != "test")
        return columns, tables
    if task.data is None and task.train and Path(task.train).expanduser().is_file():
        raise DataError(
            f"`{task.train}` has an ending that is not read",
            hint=unread(task.train, [*READERS, *ENDINGS]),
        )
    if task.data is None:
        raise ConfigError(
            f"task.train is `{task.train}`, which is no file name, and task.data names no data set"
            if task.train
            else "a custom task names its data",
            hint="task.train=FILE (.csv .tsv .txt .jsonl .json .parquet .conll), or task.data=FOLDER or data set name",
        )
    if is_file(task, task.data):
        raise ConfigError(f"task.data is the file `{task.data}`", hint=f"task.train={task.data}")
    refuse_layout(task, None)
    wanted = [*_text_columns(task), task.label, *(task.labels or ()), *USUAL]
    wanted = {None: [*wanted, *COLUMNS], "qa": COLUMNS}.get(task.kind, wanted)
    loaded = load_dataset_tables(task.data, wanted, config=task.config)
    named.setdefault("train", "train")
    if "dev" not in named and (dev := next((name for name in DEV_NAMES if name in loaded), None)):
        named["dev"] = dev
    if "test" not in named and "test" in loaded:
        named["test"] = "test"
    tables = {name: pick_split(loaded, split, data=task.data) for name, split in named.items()}
    return usual_columns(task, tables), tables


def refuse_layout(task: Task, file: str | None, *, tagging: bool = False) -> None:
    """Raise `ConfigError` for fields that describe the form of other files than `file`, or than a data set."""
    known: set[str] = set()
    if file is not None:
        conll = is_conll(file, tagging=tagging)
        known = {"encoding"} if ending(file) not in COLUMNAR else set()
        if conll:
            known |= {"columns"}
        elif ending(file) in DELIMITED:
            known |= {"columns", "separator"}
        elif ending(file) not in COLUMNAR:  # rows of cells in JSON
            known |= {"columns"}
    for field in ("encoding", "separator", "columns"):
        if getattr(task, field) is not None and field not in known:
            what = f"`{file}`" if file else f"the data set `{task.data}`"
            raise ConfigError(f"task.{field} has no meaning for {what}", hint="leave it out")


def table_of(task: Task, name: str, bad: BadRows) -> Table:
    """The rows of the file `name`, or of the split `name` of the data set `task.data`."""
    if is_file(task, name):
        return _read(task, _file(task, name), bad, labelled=False)
    if task.data is None or task.name != "custom":
        raise ConfigError(
            f"`{name}` is no file name, and task.data names no data set",
            hint="a file ends in .txt .csv .tsv .jsonl .json .parquet or .conll",
        )
    wanted = COLUMNS if task.kind == "qa" else _text_columns(task)
    return pick_split(load_dataset_tables(task.data, wanted, config=task.config), name, data=task.data)


def _text_columns(task: Task) -> list[str]:
    """The columns that are read from a data set, besides the labels."""
    probabilities = [task.probabilities] if isinstance(task.probabilities, str) else task.probabilities or []
    return [task.text, *filter(None, [task.text_pair]), *probabilities]


def is_file(task: Task, name: str) -> bool:
    """Whether `name` is the name of a file rather than of a split."""
    return is_file_name(name) or is_conll(name, tagging=task.kind == "tagging")


def _read(task: Task, path: Path, bad: BadRows, *, labelled: bool = True) -> Table:
    """The rows of a file; unless `labelled`, the label column may be absent if `task.columns` names all columns."""
    return _in_form(task, path, _rows(task, path, bad, labelled=labelled), bad, labelled=labelled)


def _rows(task: Task, path: Path, bad: BadRows, *, labelled: bool) -> Table:
    """The rows of a file, with the cells as they are there."""
    if is_conll(path.name, tagging=task.kind == "tagging"):
        optional = None if labelled else task.label
        return read_conll(path, task.columns, bad=bad, encoding=task.encoding, text=task.text, optional=optional)
    if is_squad(path, qa=task.kind == "qa", encoding=task.encoding):
        return read_squad(path, bad, task.encoding)
    return read_table(path, Layout.of(task, labelled=labelled), bad)


def _in_form(task: Task, path: Path, table: Table, bad: BadRows, *, labelled: bool) -> Table:
    """The rows of a file, with spans as tags, lists where cells spell them, and a row for each sentence."""
    if is_conll(path.name, tagging=task.kind == "tagging"):
        return table
    table = table.with_inner(task.text, task.text_pair, task.label)
    if task.columns is not None:
        missing = set(filter(None, task.columns)) - table.columns.keys()
        if missing - (set() if labelled else {task.label}):
            raise ConfigError(
                f"task.columns has no meaning for `{path}`, whose rows name their own", hint="leave it out"
            )
        refuse_header(task, table)
    table = with_tags(only_accepted(table, task.label), text=task.text, label=task.label, bad=bad)
    table = with_lists(table, text=task.text, label=task.label)
    if task.kind not in (None, "tagging"):
        return table
    tagging = task.kind == "tagging"
    table = with_sentences(table, text=task.text, label=task.label, tagging=tagging)
    return with_words(table, text=task.text, label=task.label, tagging=tagging)


def check_names(task: Task) -> None:
    """Raise `ConfigError` for column names that cannot be told apart."""
    for name, other in (("text", "label"), ("text", "text_pair"), ("text_pair", "label")):
        column = getattr(task, name)
        if column is not None and column == getattr(task, other):
            raise ConfigError(f"task.{name} and task.{other} are the same column `{column}`", hint="name two")
    if task.columns is not None:
        check_columns(task.columns)


def _file(task: Task, name: str) -> Path:
    """A file name as given, or inside the folder `task.data`."""
    inside = Path(task.data).expanduser() / name if task.data else Path(name)
    return inside if inside.is_file() or not Path(name).exists() else Path(name)


def located(task: Task) -> Task:
    """`task` with absolute paths for its files and folders, so that it means the same from every working directory.

    What is no file or folder here stays as it is: names of splits and data sets, and missing files.
    """
    paths = {name: _file(task, value) for name in SPLITS if (value := getattr(task, name)) and is_file(task, value)}
    paths |= {"data": Path(task.data).expanduser()} if task.data else {}
    found: dict[str, Any] = {name: str(path.resolve()) for name, path in paths.items() if path.exists()}
    if task.unlabelled is not None:
        names = [task.unlabelled] if isinstance(task.unlabelled, str) else task.unlabelled
        places = {name: _file(task, name).expanduser() for name in names}
        there = {name: str(path.absolute()) for name, path in places.items() if path.exists() or "*" in name}
        found[UNLABELLED] = [there.get(name, name) for name in names]
    return task.model_copy(update=found)


def name_of(task: Task) -> str:
    """What a user would call the data: the data set, or its file, or the folder of a file with a name like `train`."""
    if task.data is not None:
        folder = Path(task.data).expanduser()
        return folder.resolve().name if folder.is_dir() else task.data
    path = Path(task.train or "custom").expanduser().resolve()
    name = stem(path)
    while re.match(COMMON, name, re.IGNORECASE) and path.parent.name:
        path = path.parent
        name = path.name
    return name
