"""The rows that a student learns from, where they bring probabilities along: those sure enough, and labels as such."""

from dataclasses import replace

import numpy as np

from distiller.config import Task
from distiller.errors import ConfigError, DataError
from distiller.tasks.data import IGNORED, Split, TaskData

SOFT_KINDS = ("classification", "multilabel")
"""Kinds of task whose rows may bring probabilities along."""


def sure_enough(task: Task, data: TaskData) -> TaskData:
    """`data` without the rows in which no class is as probable as `task.min_confidence`; they are counted.

    Raises `ConfigError` where no row has probabilities.
    """
    if task.min_confidence is None:
        return data
    if not data.soft:
        raise ConfigError(
            "task.min_confidence is set, but no training row has probabilities", hint="see task.probabilities"
        )
    splits = dict(data.splits)
    unsure = 0
    for split in data.transfer:
        if not isinstance(split, Split) or split.soft is None:
            continue
        sure = split.soft.max(-1)
        if data.kind == "multilabel":  # as confident as in its least certain class
            sure = np.maximum(split.soft, 1 - split.soft).min(-1)
        low = np.nan_to_num(sure, nan=1.0) < task.min_confidence
        unsure += int(low.sum())
        kept = np.flatnonzero(~low).tolist()
        if kept:
            splits[split.name] = split.take(kept)
        else:
            del splits[split.name]
    if "train" not in splits:
        raise DataError(
            f"in no training row a class has a probability of {task.min_confidence:g}", hint="lower task.min_confidence"
        )
    return replace(data, splits=splits, unsure=unsure)


def with_gold_as_soft(data: TaskData) -> TaskData:
    """`data` in which rows with a label but no probabilities get probability 1 for that label.

    Raises `ConfigError` unless there are rows with probabilities, and every training row has these or a label.
    """
    if data.kind not in SOFT_KINDS:
        raise ConfigError(
            f"the run has no teacher, and rows of a {data.kind} task cannot carry its answers",
            hint="teacher.model=…"
            + ("; the numbers of a model are learnt as labels" if data.kind == "regression" else ""),
        )
    if not data.soft:
        raise ConfigError(
            "the run has no teacher, and no training row has probabilities to learn from",
            hint="teacher.model=…, or task.probabilities=COLUMN",
        )
    splits = dict(data.splits)
    for split in data.transfer:
        assert isinstance(split, Split)
        classes = len(data.labels)
        soft = np.full((len(split), classes), np.nan, dtype=np.float32) if split.soft is None else split.soft.copy()
        silent = np.isnan(soft).any(-1)
        if split.labels is not None and data.kind == "multilabel":
            gold = np.asarray(split.labels, dtype=np.float32)
            known = silent & (gold != IGNORED).all(-1)
            soft[known] = gold[known]
        elif split.labels is not None:
            labels = np.asarray(split.labels)
            known = silent & (labels != IGNORED)
            soft[known] = np.eye(classes, dtype=np.float32)[labels[known]]
        if np.isnan(soft).any():
            raise ConfigError(
                f"{int(np.isnan(soft).any(-1).sum())} training rows have neither a label nor probabilities, and the "
                "run has no teacher",
                hint="teacher.model=…, or leave these rows out",
            )
        splits[split.name] = replace(split, soft=soft)
    return replace(data, splits=splits)
