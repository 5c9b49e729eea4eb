"""Tasks: their data, labels and metrics. The entry point is `load_task`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from distiller.config import Task
from distiller.errors import ConfigError
from distiller.registry import Entry, Family
from distiller.tasks.custom import load_custom
from distiller.tasks.data import TaskData, sample
from distiller.tasks.glue import GLUE, load_glue
from distiller.tasks.metrics import check_metric
from distiller.tasks.packages import imdb, rotten_tomatoes
from distiller.tasks.squad import squad
from distiller.tasks.treebank import ud_ewt
from distiller.tasks.unlabelled import with_unlabelled

__all__ = ["TASKS", "TaskData", "load_task"]

IDLE = {
    "config": "leave it out; it is that of a data set in task.data",
    "unlabelled_limit": "leave it out; no row is without a label",
    "probabilities": "leave it out, or name columns that are there",
    "null_threshold": "leave it out; no question is without an answer (task.null_answers)",
}
"""Hints for fields that would have no effect."""

QUESTIONS_ONLY = ("stride", "max_question_length", "max_answer_length", "n_best", "null_answers")
"""Fields of `config.Task` that only apply to question answering."""

TaskLoader = Callable[[Task], TaskData]

FIXED = (
    *("config", "train", "dev", "test", "text", "text_pair", "label", "kind", "labels"),
    *("encoding", "separator", "columns"),
)
"""Fields of `config.Task` that every named task sets itself, except those in its trait `open`."""


def _glue_loader(name: str) -> TaskLoader:
    def load(task: Task) -> TaskData:
        return load_glue(name, task)

    load.__name__, load.__doc__ = name, GLUE[name].summary
    return load


TASKS: Family[TaskLoader] = Family(
    "task",
    {
        **{
            name: Entry(
                _glue_loader(name),
                "arXiv:1804.07461",
                {"kind": "classification" if glue.written else "regression", "metrics": glue.metrics},
            )
            for name, glue in GLUE.items()
        },
        "rotten-tomatoes": Entry(
            rotten_tomatoes, "arXiv:cs/0506075", {"kind": "classification", "metrics": ("accuracy",)}
        ),
        "imdb": Entry(imdb, "ACL 2011, P11-1015", {"kind": "classification", "metrics": ("accuracy",)}),
        "ud-ewt": Entry(
            ud_ewt,
            "LREC 2014, L14-1067",
            {"kind": "tagging", "metrics": ("token_accuracy", "token_f1_macro"), "open": ("label",)},
        ),
        "squad": Entry(
            squad,
            "arXiv:1606.05250",
            {"kind": "qa", "metrics": ("answer_f1", "exact_match"), "open": ("config", "train", "dev", "test")},
        ),
        "custom": Entry(load_custom, "your own data", {"kind": None, "metrics": None}),
    },
)
"""`kind` and `metrics` are `None` if they depend on the data."""


def load_task(task: Task, *, head: Sequence[str] = ()) -> TaskData:
    """The data that `task` describes, with its limits applied and its metric put first.

    `head` are the classes of the teacher's head, to which the classes of unlabelled rows belong. Raises `ConfigError`
    for a name, metric or field that does not fit the task, `DataError` for unusable data, `MissingPackageError` for a
    missing optional package.
    """
    entry = TASKS[task.name]
    if task.name != "custom":
        texts = ("text", "text_pair") if task.unlabelled else ()
        _refuse_fixed_fields(task, (*entry.traits.get("open", ()), *texts))
    if task.skip_bad and (task.name in GLUE or task.name in ("rotten-tomatoes", "imdb")):
        raise ConfigError(
            f"task.skip_bad has no meaning for task `{task.name}`, whose rows are all to be used", hint="leave it out"
        )
    data = load_custom(task, head=head) if task.name == "custom" else entry.function(task)
    metrics = data.metrics
    if task.metric is not None:
        check_metric(task.metric, data)
        metrics = (task.metric, *(name for name in metrics if name != task.metric))
    limits = {"train": task.train_limit, "dev": task.dev_limit}
    splits = {
        name: split
        if (limit := limits.get(name.partition("_")[0])) is None
        else split.take(sample(len(split), limit, seed=task.split_seed))
        for name, split in data.splits.items()
    }
    data = with_unlabelled(task.model_copy(update=data.columns), replace(data, metrics=metrics, splits=splits))
    _refuse_idle_fields(task, data)
    return data


def _refuse_idle_fields(task: Task, data: TaskData) -> None:
    """Raise `ConfigError` for a field that has no effect on these data."""
    idle = {
        "config": task.data is None and task.name == "custom",
        "unlabelled_limit": not data.unlabelled,
        "probabilities": not data.soft,
        **dict.fromkeys(QUESTIONS_ONLY, data.kind != "qa"),
        "null_threshold": not data.null_answers,
    }
    for field, without in idle.items():
        if without and getattr(task, field) != Task.model_fields[field].default:
            raise ConfigError(
                f"task.{field} has no meaning for these data, a {data.kind} task", hint=IDLE.get(field, "leave it out")
            )


def _refuse_fixed_fields(task: Task, but: Collection[str]) -> None:
    """Raise `ConfigError` for a field that a named task would ignore."""
    for field in FIXED:
        if field not in but and getattr(task, field) != Task.model_fields[field].default:
            raise ConfigError(
                f"task.{field} has no meaning for task `{task.name}`, which knows its own files and labels",
                hint="leave it out, or use the task `custom` with your own files",
            )
