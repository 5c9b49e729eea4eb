"""Experience: the trials of past tasks, and what is known about those tasks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.autodistiller.facts import TaskFacts, facts_of, read_facts, write_facts
from distiller.config import Run, Task
from distiller.errors import DataError, DistillerError, warn
from distiller.files import alone
from distiller.record import FILE, Record, load_record
from distiller.study.authors_table import is_authors
from distiller.study.config import STUDENT_LABEL, TASK_LABEL, TEACHER_LABEL, part_label
from distiller.study.table_files import load_pandas, read_frame
from distiller.study.trial_io import canonical, load_trials
from distiller.study.trials import FACTORS, Trials, conform, open_table, tabulate, write_trials
from distiller.tasks.sources import is_file, located
from distiller.translation.scores import METRIC

if TYPE_CHECKING:
    import pandas as pd

SHIPPED = "experience.csv"
"""The experience that comes with the package, beside this file."""
REGRESSION = ("pearson", "spearman", "rmse")
"""Metrics that tell a regression where nothing else does."""


@dataclass(frozen=True)
class Experience:
    """Trials, and the facts about their tasks and perhaps about others, by name."""

    trials: Trials
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)

    @property
    def complete(self) -> "pd.DataFrame":
        """The trials with a distillation ratio."""
        frame = self.trials.complete
        return frame.loc[frame["ratio"].notna()].reset_index(drop=True)

    def facts(self, task: str) -> TaskFacts:
        """What is known about a task: perhaps only its name, and whether its metric is that of a regression."""
        if task in self.tasks:
            return self.tasks[task]
        metrics = set(self.trials.frame.loc[self.trials.frame["task"] == task, "metric"])
        return TaskFacts(name=task, kind="regression" if metrics & set(REGRESSION) else "classification")

    def with_task(self, facts: TaskFacts) -> "Experience":
        """The same, with the facts about one more task."""
        return replace(self, tasks={**self.tasks, facts.name: facts})

    def without(self, task: str) -> "Experience":
        """The trials of the other tasks; the facts about all."""
        frame = self.trials.frame
        return replace(self, trials=replace(self.trials, frame=frame.loc[frame["task"] != task].reset_index(drop=True)))


def read_experience(source: str | Path) -> Experience:
    """The experience in a table of trials, a study's folder or storage, or the authors' table of arXiv:2109.11105.

    The facts about the tasks are beside a table, in `NAME.tasks.json`. Raises `DistillerError`, including `DataError`
    for a source without a finished trial, or with trials of translation models.
    """
    path = Path(source)
    if (path.suffix in (".csv", ".parquet") and "://" not in str(source)) or is_authors(path):
        trials = open_table(path)
        tasks = authors_facts(path) if is_authors(path) else {}
        file = facts_file(path)
        tasks = {**tasks, **(read_facts(file) if file.is_file() else {})}
    else:
        trials, tasks = load_trials(source), {}
    found = _named_by_runs(Experience(trials, tasks))
    if (trials.frame["metric"] == METRIC).any():
        raise DataError(f"`{source}` has trials of translation models", hint="advice knows those of encoders only")
    if found.complete.empty:
        raise DataError(
            f"`{source}` has no finished trial with a distillation ratio", hint="`distiller study run` makes some"
        )
    return found


def _named_by_runs(experience: Experience) -> Experience:
    """The same, with tasks of files and data sets called as advice calls them; a study may call them otherwise."""
    frame = experience.trials.frame
    named = [_name_in(run) or task for task, run in zip(frame["task"], frame["run"], strict=True)]
    now = dict(zip(frame["task"], named, strict=True))
    tasks = {now.get(name, name): facts for name, facts in experience.tasks.items()}
    tasks = {name: facts.model_copy(update={"name": name}) for name, facts in tasks.items()}
    return Experience(replace(experience.trials, frame=frame.assign(task=named)), tasks)


def _name_in(run: Any) -> str | None:
    """The name of the task of a trial's `run`, in JSON, if that is the user's own."""
    task = json.loads(run)["task"] if run else {}
    if not task or task.get("name", "custom") != "custom" or task.get("kind") == "translation":
        return None
    return task_name(Task.model_validate(task))


def shipped() -> Path | None:
    """The experience that comes with the package, if it has any."""
    file = Path(str(resources.files("distiller.autodistiller"))) / SHIPPED
    return file if file.is_file() else None


def facts_file(table: Path) -> Path:
    """The file with the facts about the tasks in a table of trials."""
    return table.with_suffix(".tasks.json")


def join(experiences: Sequence[Experience]) -> Experience:
    """All trials and facts together; of equal trials one is kept, of facts about the same task the last."""
    factors = tuple(dict.fromkeys(name for one in experiences for name in one.trials.factors))
    frame = load_pandas().concat([one.trials.frame for one in experiences], ignore_index=True)
    same = [name for name in frame if name not in ("trial", "seconds", "milliseconds")]
    frame = frame.loc[~frame.astype(str).duplicated(same)].reset_index(drop=True)
    tasks = {name: facts for one in experiences for name, facts in one.tasks.items()}
    return Experience(conform(frame.assign(trial=range(len(frame))), factors, where="the joined experience"), tasks)


def add_experience(sources: Iterable[str | Path], file: Path, *, learn: bool = True) -> Experience:
    """Add Records (files or folders), studies and tables to the experience in `file`, and write it again.

    With `learn`, the data of new tasks are read, where possible, to find the facts about them. Failed trials are added
    too. Raises `DistillerError`; then `file` is unchanged.
    """
    with alone(file.parent):  # when two processes add at once, no trials are lost
        known = [read_experience(file)] if file.is_file() else []
        whole = join([*known, *(_source(source) for source in sources)])
        if learn:
            whole = replace(whole, tasks={**learned(whole), **whole.tasks})
        write_facts(whole.tasks, facts_file(file))
        write_trials(whole.trials, file)
    return whole


def learned(experience: Experience) -> dict[str, TaskFacts]:
    """Facts about the tasks that have none yet, from the data that their runs name; a warning if there is none."""
    found = {}
    runs = experience.trials.frame[["task", "run"]]
    for task, run in dict(zip(runs["task"], runs["run"], strict=True)).items():
        if task not in experience.tasks and run:
            try:
                found[task] = facts_of(Run.model_validate_json(run).task, name=task)
            except DistillerError as error:
                warn(f"nothing is known of the task `{task}`: {error.message}")
    return found


def from_records(records: Iterable[Record]) -> Trials:
    """Records as trials: a row each, with the mean over seeds as `score`, and the factors of the canonical space."""
    return tabulate((_row(number, record) for number, record in enumerate(records)), FACTORS, where="records")


def task_name(task: Task) -> str:
    """The name of a run's task among trials: its row in the task table, its file with its folder, or its data set."""
    if task.name == "custom" and task.train is not None and is_file(task, task.train):
        return "/".join(Path(located(task).train or "").absolute().parts[-2:])
    if task.name == "custom" and task.data is not None:
        return "/".join([part_label({"data": task.data}, "data"), *filter(None, [task.config])])
    return part_label(task.model_dump(), *TASK_LABEL)


def names_of(run: Run) -> dict[str, str]:
    """The names of a run's task, teacher and student among trials."""
    student = run.student.model_dump(exclude_defaults=True)
    return {
        "task": task_name(run.task),
        "teacher": part_label(run.teacher.model_dump(exclude_defaults=True), *TEACHER_LABEL) if run.teacher else "none",
        "student": part_label(student, *STUDENT_LABEL),
    }


def authors_facts(source: Path) -> dict[str, TaskFacts]:
    """What the authors' files say about their tasks: embeddings, BiLSTM scores, numbers of examples."""
    from distiller.tasks.glue import GLUE

    folder = source if source.is_dir() else source.parent
    runs = read_frame(folder / "runs.csv" if source.is_dir() else source)
    bilstm = {task: float(score) / 100 for task, score in zip(runs["task"], runs["baseline_score"], strict=True)}
    sizes = dict(zip(runs["task"], runs["#example"], strict=True))
    embeddings: dict[str, list[float]] = {}
    if (folder / "dataset_features.csv").is_file():
        table = read_frame(folder / "dataset_features.csv")
        columns = [name for name in table if str(name).isdigit()]
        embeddings = {row["task"]: [float(row[name]) for name in columns] for row in table.to_dict("records")}
    found = {}
    for task, size in sizes.items():
        name = str(task).replace("-", "")
        glue = GLUE.get(name)
        classes = (len(glue.written) or 1) if glue else None
        found[name] = TaskFacts(
            name=name,
            kind="regression" if classes == 1 else "classification",
            examples=int(size),
            labels=classes,
            pairs=glue.pair is not None if glue else None,
            bilstm=bilstm[task],
            context=embeddings.get(task),
        )
    return found


def _source(source: str | Path) -> Experience:
    path = Path(source)
    if path.suffix == ".json" or (path.is_dir() and (path / FILE).is_file()):
        record = load_record(path)
        if record.data.kind == "translation":
            raise DataError(f"`{source}` is a translation", hint="advice knows tasks of encoders only")
        return Experience(from_records([record]))
    if path.is_file() and path.suffix not in (".csv", ".parquet", ".db", ".sqlite", ".sqlite3", ".journal", ".log"):
        raise DataError(
            f"`{source}` is neither a Record nor trials", hint="name a record.json, a run's folder, a study"
        )
    return read_experience(source)


def _row(number: int, record: Record) -> dict[str, Any]:
    run, metric = record.run, record.metric
    return {
        "trial": number,
        "status": "complete",
        **names_of(run),
        **canonical(run),
        "seed": record.seeds[0].seed if len(record.seeds) == 1 else None,
        "metric": metric,
        "score": record.score,
        "teacher_score": record.teacher.scores.get(metric) if record.teacher else None,
        "baseline_score": record.baseline.scores.get(metric) if record.baseline else None,
        "ratio": record.distillation_ratio,
        "seconds": record.cost.wall_seconds,
        "parameters": record.student.parameters,
        "milliseconds": record.cost.milliseconds_per_example.get("student"),
        "megabytes": record.student.megabytes,
        "run": run.model_dump_json(exclude={"output", "cache"}),
    }
