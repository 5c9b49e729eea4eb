"""The features in Table 7 of arXiv:2109.11105, as two tables that can be extended.

One more row in `TASK_FEATURES` changes how similar tasks are, and is a column of the forest and of AutoGluon; one more
row in `PIPELINE_FEATURES` is such a column. Nothing here may read what is known only after a run: the functions do not
get the score of the run itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.autodistiller import labels
from distiller.autodistiller.embeddings import context_embedding, description_embedding, inverse_frequency
from distiller.autodistiller.facts import TaskFacts
from distiller.autodistiller.vectors import Vectors
from distiller.registry import Entry, Family

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "arXiv:2109.11105, table 7"
BEFORE = ("task", "teacher", "student", "parameters", "teacher_score", "baseline_score")
"""Columns of trials that are known before a run, beside the factors."""

TaskFeature = Callable[[Sequence[TaskFacts], Vectors], np.ndarray]
"""From the facts of tasks to numbers `[tasks, d]`, NaN where not known."""
PipelineFeature = Callable[["pd.DataFrame"], Mapping[str, np.ndarray]]
"""From rows, of which only `BEFORE` and the factors are there, to columns `[n]`, NaN where they have no meaning."""


def context(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """The IDF-weighted mean of the word vectors of a task's texts."""
    if all(task.context for task in tasks) and len({len(task.context or ()) for task in tasks}) == 1:
        return _stack([task.context for task in tasks])  # embeddings from elsewhere are comparable only with each other
    weights = inverse_frequency(task.words for task in tasks if task.words)
    return _stack([context_embedding(task.words, weights, vectors) if task.words else None for task in tasks])


def description(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """The mean word vector of a sentence that describes the task."""
    return _stack([description_embedding(task.description, vectors) for task in tasks])


def baseline(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """The score of a small BiLSTM."""
    return _stack([None if task.bilstm is None else [task.bilstm] for task in tasks])


def examples(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """The number of training examples, as its decimal logarithm."""
    return _stack([[np.log10(task.examples)] if task.examples else None for task in tasks])


def regression(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """Whether labels are numbers."""
    return _stack([[float(task.kind == "regression")] for task in tasks])


def pairs(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """Whether an example is two texts."""
    return _stack([None if task.pairs is None else [float(task.pairs)] for task in tasks])


def more(tasks: Sequence[TaskFacts], vectors: Vectors) -> np.ndarray:
    """Numbers that users add to the facts about their tasks."""
    names = sorted({name for task in tasks for name in task.more})
    return np.array([[task.more.get(name, np.nan) for name in names] for task in tasks]).reshape(len(tasks), -1)


TASK_FEATURES: Family[TaskFeature] = Family(
    "task feature",
    {
        "context": Entry(context, SOURCE),
        "description": Entry(description, SOURCE),
        "baseline": Entry(baseline, SOURCE),
        "examples": Entry(examples, SOURCE),
        "regression": Entry(regression, "ours"),
        "pairs": Entry(pairs, "ours"),
        "more": Entry(more, "yours"),
    },
)


def models(rows: "pd.DataFrame") -> dict[str, np.ndarray]:
    """The teacher's score, absolute and relative to the best of its task, and the student's baseline and size."""
    teacher = rows["teacher_score"].to_numpy(float)
    best = rows.groupby("task")["teacher_score"].transform("max").to_numpy(float)
    parameters = np.log10(rows["parameters"].to_numpy(float))
    baseline_score = rows["baseline_score"].to_numpy(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = teacher / best
    return {"teacher": teacher, "teacher/best": relative, "student alone": baseline_score, "parameters": parameters}


def objective(rows: "pd.DataFrame") -> dict[str, np.ndarray]:
    """The intermediate objective by name, and alpha, which only mutual information has."""
    levels = _levels(rows, "intermediate")
    return {"alpha": np.array([labels.alpha(level) for level in levels]), **_flags("intermediate", levels)}


def operators(rows: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Mixup or not, and the position of each text operator in the policy, from 1; 0 without it."""
    stacks = [labels.names(level) for level in _levels(rows, "augmentation")]
    found = {"mixup": np.array([float("mixup" in stack) for stack in stacks])}
    for name in sorted({"contextual", "random", "back_translation"}.union(*stacks) - {"mixup"}):
        found[f"rank {name}"] = np.array([stack.index(name) + 1.0 if name in stack else 0.0 for stack in stacks])
    return found


def others(rows: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Every other factor, one column per level."""
    known = {*BEFORE, "intermediate", "augmentation"}
    found: dict[str, np.ndarray] = {}
    for factor in map(str, rows):
        if factor not in known:
            found |= _flags(factor, _levels(rows, factor))
    return found


PIPELINE_FEATURES: Family[PipelineFeature] = Family(
    "pipeline feature",
    {
        "models": Entry(models, SOURCE),
        "objective": Entry(objective, SOURCE),
        "operators": Entry(operators, SOURCE),
        "others": Entry(others, SOURCE),
    },
)


def task_blocks(tasks: Sequence[TaskFacts], vectors: Vectors) -> dict[str, np.ndarray]:
    """Every task feature `[tasks, d]`, by name. IDF counts all of `tasks`, so the new task should be among them."""
    return {name: TASK_FEATURES[name].function(tasks, vectors) for name in TASK_FEATURES}


def before(rows: "pd.DataFrame", factors: Sequence[str]) -> "pd.DataFrame":
    """What is known of `rows` before a run: all that a predictor may see of the rows it predicts."""
    return rows.reindex(columns=[*BEFORE, *factors]).reset_index(drop=True)


def table(rows: "pd.DataFrame", factors: Sequence[str], tasks: Sequence[TaskFacts], vectors: Vectors) -> "pd.DataFrame":
    """All features of `rows` as columns of numbers, NaN where unknown."""
    known = before(rows, factors)
    place = {task.name: number for number, task in enumerate(tasks)}
    chosen = [place[task] for task in known["task"]]
    columns: dict[str, np.ndarray] = {}
    for name, block in task_blocks(tasks, vectors).items():
        columns |= {f"{name} {k}": block[chosen, k] for k in range(block.shape[1])}
    for name in PIPELINE_FEATURES:
        columns |= PIPELINE_FEATURES[name].function(known)
    return type(known)(columns, index=known.index)


def _levels(rows: "pd.DataFrame", factor: str) -> list[str]:
    return [str(level) for level in rows[factor]] if factor in rows else [""] * len(rows)


def _flags(factor: str, levels: Sequence[str]) -> dict[str, np.ndarray]:
    """One column for each name that occurs; the options of components are left to other features."""
    named = ["+".join(labels.names(level)) for level in levels]
    return {f"{factor}={name}": np.array([float(one == name) for one in named]) for name in sorted(set(named))}


def _stack(values: Sequence[Any]) -> np.ndarray:
    width = next((len(value) for value in values if value is not None), 1)
    return np.array([np.full(width, np.nan) if value is None else value for value in values], dtype=float)
