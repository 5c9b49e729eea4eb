"""SQuAD: questions about Wikipedia paragraphs, each answered by a span of its paragraph."""

from dataclasses import replace
from pathlib import Path

from distiller.config import Task
from distiller.errors import ConfigError, DataError, warn
from distiller.tasks.custom import load_custom
from distiller.tasks.data import TaskData

DEV_QUESTIONS = 10570
"""Questions of the official development set."""
DEV_QUESTIONS_2 = 11873
"""Those of SQuAD 2, half of which have no answer."""


def squad(task: Task) -> TaskData:
    """Questions answered by a span of a Wikipedia paragraph or, in SQuAD 2, possibly by nothing.

    `task.data` is a folder with one train*.json and one dev*.json, or a data set that `datasets` finds; `task.train`
    and `task.dev` may name the files instead. Raises `ConfigError` where no data is named and `DataError` for files
    that are absent or unusable; warns when the number of development questions is not the official one.
    """
    if task.data is None and task.train is None:
        raise ConfigError(
            "task `squad` needs its data", hint="task.data=FOLDER of train-v1.1.json and dev-v1.1.json, or task.train="
        )
    folder = Path(task.data).expanduser() if task.data else None
    if folder and not task.train and (any(folder.glob("train*.json")) or any(folder.glob("dev*.json"))):
        task = task.model_copy(update=_files(task, folder))
    data = replace(load_custom(task.model_copy(update={"kind": "qa"})), name="squad")
    asked = len(data.splits["dev"]) + data.skipped.get("dev", 0)
    official = DEV_QUESTIONS_2 if data.null_answers else DEV_QUESTIONS
    if asked != official:
        warn(
            f"`squad` has {asked} development questions, the official ones are {official}: "
            "scores are not comparable with SQuAD scores"
        )
    return data


def _files(task: Task, folder: Path) -> dict[str, str | None]:
    """The file names of the splits in `folder`, except those that the task names itself."""
    found: dict[str, str | None] = {"data": None}
    for split in ("train", "dev", "test"):
        if named := getattr(task, split):
            found[split] = str(folder / named) if (folder / named).is_file() else named
            continue
        files = sorted(folder.glob(f"{split}*.json"))
        if len(files) > 1:
            names = ", ".join(f"`{file.name}`" for file in files)
            raise DataError(f"`{folder}` has several {split} files: {names}", hint=f"name one in task.{split}")
        if not files and split != "test":
            raise DataError(f"`{folder}` has no {split}*.json", hint=f"name the file in task.{split}")
        found[split] = str(files[0]) if files else None
    return found
