"""The tagging task with freely available files: parts of speech of the Universal Dependencies English Web Treebank."""

from dataclasses import replace
from pathlib import Path

from distiller.config import Task
from distiller.errors import ConfigError, DataError, did_you_mean
from distiller.tasks.conll import CONLLU
from distiller.tasks.custom import load_custom
from distiller.tasks.data import TaskData

TAGS = ("upos", "xpos")
"""What `task.label` chooses from: 17 universal parts of speech, or about 50 of the Penn Treebank."""

FILES = {"{}.tsv": ("form", *TAGS), "en_ewt-ud-{}.conllu": CONLLU}
"""File name of a split to its columns: a plain form of the treebank, and the official one."""


def ud_ewt(task: Task) -> TaskData:
    """Parts of speech in English web texts, UD English EWT; `label: xpos` selects the Penn tags.

    `task.data` is the folder of the official .conllu files, or of train.tsv, dev.tsv and test.tsv with the columns
    word, UPOS and XPOS. Raises `ConfigError` without a folder or for another label, `DataError` for absent files.
    """
    if task.data is None:
        raise ConfigError(
            "task `ud-ewt` needs the folder of the treebank", hint="task.data=FOLDER, of en_ewt-ud-train.conllu"
        )
    label = "upos" if task.label == Task.model_fields["label"].default else task.label
    if label not in TAGS:
        raise ConfigError(f"task `ud-ewt` has no tags `{label}`", hint=did_you_mean(label, list(TAGS)))
    folder = Path(task.data).expanduser()
    pattern = next((pattern for pattern in FILES if (folder / pattern.format("train")).is_file()), None)
    if pattern is None:
        names = " or ".join(f"`{pattern.format('train')}`" for pattern in FILES)
        raise DataError(f"the folder `{folder}` has no {names}", hint="task.data is the folder of the treebank's files")
    files = {split: str(folder / pattern.format(split)) for split in ("train", "dev", "test")}
    if not Path(files["test"]).is_file():
        del files["test"]
    own = {"text": "form", "label": label, "columns": list(FILES[pattern]), "kind": "tagging"}
    return replace(load_custom(task.model_copy(update={**own, **files, "data": None})), name="ud-ewt")
