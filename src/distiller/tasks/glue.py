"""The nine GLUE tasks, read from the official files. Each task is one row of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distiller.config import Task
from distiller.errors import ConfigError, DataError, warn
from distiller.tasks.data import Split, TaskData
from distiller.tasks.readers import read_plain_tsv
from distiller.tasks.table import Table

ZERO_ONE = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class GlueTask:
    """The format of the official files of one GLUE task."""

    folder: str
    """Its folder in the official archive; case and hyphens are ignored."""
    text: str
    label: str
    metrics: tuple[str, ...]
    rows: Mapping[str, int]
    """Number of rows of each official split."""
    summary: str
    pair: str | None = None
    written: tuple[str, ...] = ()
    """Classes as written in the files, in the order of the class ids; empty for regression."""
    labels: tuple[str, ...] = ()
    """Names of the classes, if the files only number them."""
    header: tuple[str, ...] | None = None
    """Column names, if the files have no header line; the test file always has one."""
    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "dev": "dev", "test": "test"})
    """Split → name of its file, without `.tsv`."""
    skip_ragged: bool = False
    """Whether the official file has rows broken by line breaks inside a text."""


GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(
        folder="CoLA",
        text="sentence",
        label="label",
        header=("source", "label", "star", "sentence"),
        written=ZERO_ONE,
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        rows={"train": 8551, "dev": 1043, "test": 1063},
        summary="CoLA: is a sentence grammatical?",
    ),
    "sst2": GlueTask(
        folder="SST-2",
        text="sentence",
        label="label",
        written=ZERO_ONE,
        labels=("negative", "positive"),
        metrics=("accuracy",),
        rows={"train": 67349, "dev": 872, "test": 1821},
        summary="SST-2: sentiment of a phrase from a film review.",
    ),
    "mrpc": GlueTask(
        folder="MRPC",
        text="#1 String",
        pair="#2 String",
        label="Quality",
        written=ZERO_ONE,
        labels=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        rows={"train": 3668, "dev": 408, "test": 1725},
        summary="MRPC: do two sentences from the news say the same?",
    ),
    "qqp": GlueTask(
        folder="QQP",
        text="question1",
        pair="question2",
        label="is_duplicate",
        written=ZERO_ONE,
        labels=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        rows={"train": 363846, "dev": 40430, "test": 390965},
        skip_ragged=True,
        summary="QQP: do two questions ask the same?",
    ),
    "stsb": GlueTask(
        folder="STS-B",
        text="sentence1",
        pair="sentence2",
        label="score",
        metrics=("spearman", "pearson"),
        rows={"train": 5749, "dev": 1500, "test": 1379},
        summary="STS-B: how similar are two sentences, from 0 to 5?",
    ),
    "mnli": GlueTask(
        folder="MNLI",
        text="sentence1",
        pair="sentence2",
        label="gold_label",
        written=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        rows={"train": 392702, "dev": 9815, "dev_mismatched": 9832, "test": 9796, "test_mismatched": 9847},
        files={
            "train": "train",
            "dev": "dev_matched",
            "dev_mismatched": "dev_mismatched",
            "test": "test_matched",
            "test_mismatched": "test_mismatched",
        },
        summary="MNLI: does a premise entail a hypothesis? `dev` is the matched part, `dev_mismatched` the other.",
    ),
    "qnli": GlueTask(
        folder="QNLI",
        text="question",
        pair="sentence",
        label="label",
        written=ENTAILMENT,
        metrics=("accuracy",),
        rows={"train": 104743, "dev": 5463, "test": 5463},
        summary="QNLI: does a sentence answer a question?",
    ),
    "rte": GlueTask(
        folder="RTE",
        text="sentence1",
        pair="sentence2",
        label="label",
        written=ENTAILMENT,
        metrics=("accuracy",),
        rows={"train": 2490, "dev": 277, "test": 3000},
        summary="RTE: does one sentence entail another?",
    ),
    "wnli": GlueTask(
        folder="WNLI",
        text="sentence1",
        pair="sentence2",
        label="label",
        written=ZERO_ONE,
        labels=("not_entailment", "entailment"),
        metrics=("accuracy",),
        rows={"train": 635, "dev": 71, "test": 146},
        summary="WNLI: is a pronoun replaced by what it stands for?",
    ),
}
"""Task name → its files. Source of splits and scores: Wang et al. 2019, arXiv:1804.07461."""


DIAGNOSTIC = ("AX/AX.tsv", "AX.tsv", "diagnostic.tsv", "diagnostic/diagnostic.tsv")
"""Paths of the diagnostic set in the official archives, relative to the folder of MNLI or its parent."""


def load_glue(name: str, task: Task) -> TaskData:
    """The splits of GLUE task `name` from the official files in `task.data`.

    `task.data` is the task's own folder or its parent. Test splits have no labels and may be missing. Raises
    `ConfigError` without a folder, `DataError` for a missing file or an unusable row; warns if a split does not have
    the official number of rows.
    """
    glue = GLUE[name]
    if task.data is None:
        raise ConfigError(
            f"task `{name}` needs the folder of the official {glue.folder} files",
            hint=f"task.data=FOLDER, the one that holds {glue.files['train']}.tsv and {glue.files['dev']}.tsv",
        )
    folder = _folder(glue, Path(task.data).expanduser())
    splits: dict[str, Split] = {}
    for split, stem in glue.files.items():
        path = folder / f"{stem}.tsv"
        if split.startswith("test") and not path.exists():
            continue
        if not path.is_file():
            raise DataError(f"{glue.folder} has no `{path}`", hint="take the file from the official GLUE archive")
        splits[split] = _read(glue, split, path)
        _compare(glue, splits[split], path)
    return TaskData(
        name=name,
        kind="classification" if glue.written else "regression",
        labels=glue.labels or glue.written,
        metrics=glue.metrics,
        splits=splits,
    )


def diagnostic(task: Task) -> Split | None:
    """The leaderboard's diagnostic set AX, pairs to be labelled by a model of MNLI; `None` if its file is missing.

    Its columns are index, sentence1 and sentence2. Raises `DataError` for a file that cannot be used.
    """
    if task.data is None:
        return None
    mnli = _folder(GLUE["mnli"], Path(task.data).expanduser())
    places = [folder / name for folder in (mnli, mnli.resolve().parent) for name in DIAGNOSTIC]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return None
    table = read_plain_tsv(path)
    return Split(name="diagnostic", texts=table.texts("sentence1"), pairs=table.texts("sentence2"))


def _folder(glue: GlueTask, given: Path) -> Path:
    """`given` itself if it holds the files, else its subfolder named after the task."""
    if not given.is_dir():
        raise DataError(f"there is no folder `{given}`", hint=f"task.data is the folder of {glue.folder} or above it")
    if any((given / f"{stem}.tsv").is_file() for stem in glue.files.values()) or _plain(given.name) == _plain(
        glue.folder
    ):
        return given
    folders = sorted(path for path in given.iterdir() if path.is_dir())
    for folder in folders:
        if _plain(folder.name) == _plain(glue.folder):
            return folder
    there = ", ".join(f"`{folder.name}`" for folder in folders[:12]) or "no folders"
    raise DataError(f"`{given}` has neither {glue.folder} files nor a folder `{glue.folder}`", hint=f"it has {there}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _read(glue: GlueTask, split: str, path: Path) -> Split:
    test = split.startswith("test")
    table = read_plain_tsv(path, header=None if test else glue.header, skip_ragged=glue.skip_ragged)
    return Split(
        name=split,
        texts=table.texts(glue.text),
        pairs=table.texts(glue.pair) if glue.pair else None,
        labels=None if test else _labels(glue, table),
    )


def _labels(glue: GlueTask, table: Table) -> tuple[int, ...] | tuple[float, ...]:
    if not glue.written:
        return table.numbers(glue.label)
    return table.class_ids(glue.label, glue.written)


def _compare(glue: GlueTask, split: Split, path: Path) -> None:
    """Warn if the number of rows differs from the official one by more than a thousandth (broken rows)."""
    official = glue.rows[split.name]
    if abs(len(split) - official) > official // 1000:
        warn(
            f"`{path}` has {len(split)} rows, the official {glue.folder} split `{split.name}` has {official}: "
            "scores are not comparable with GLUE scores"
        )
