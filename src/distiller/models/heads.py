"""Why a teacher's head is not one for the task, in words, and what would keep it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PretrainedConfig

from distiller.models.load import ARCHITECTURE_ENDINGS, NAMED, PROBLEMS, class_names, holds_head


class Difference(NamedTuple):
    """How the head that a model has differs from the one that a task needs."""

    what: str
    keep: str | None
    """What would let the head stay."""


def head_differs(
    name: str | Path, config: PretrainedConfig, *, kind: str, labels: Sequence[str] | None
) -> Difference | None:
    """How the head of model `name` differs from that of a task of this kind and these labels, which it does not fit.

    `None` for a model without a head, or with one of another kind of task: then nothing is lost that could be used.
    """
    ending = ARCHITECTURE_ENDINGS[kind]
    if not any(name.endswith(ending) for name in config.architectures or ()):
        return None
    if (config.problem_type == PROBLEMS["multilabel"]) != (kind == "multilabel") and kind != "tagging":
        return None
    theirs = class_names(config)
    if not holds_head(name, config, kind):
        return Difference(f"its config.json says {len(theirs)} outputs, and its weights hold no such head", None)
    if kind not in NAMED or labels is None:
        wanted = "a number" if kind == "regression" else "a start and an end"
        return Difference(f"it has {len(theirs)} outputs, and the task is {wanted}", None)
    what = f"its classes are {_listed(theirs)}, those of the task {_listed(labels)}"
    return Difference(what, _what_keeps(theirs, labels))


def _what_keeps(theirs: Sequence[str], labels: Sequence[str]) -> str | None:
    """`task.labels` in the teacher's words, where the labels of the data are some of them or number them."""
    named = f"task.labels=[{', '.join(theirs)}] keeps it"
    if len(theirs) == 1 or len(theirs) > 20:
        return None
    if set(labels) <= set(theirs):
        return named
    if all(label.isdecimal() and int(label) < len(theirs) for label in labels):
        return f"{named}, if {labels[0]} means `{theirs[int(labels[0])]}`"
    if len(labels) == len(theirs):
        return "it is kept if the label column has its names, or the id2label of its config.json those of the task"
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:8]) + (", …" if len(names) > 8 else "")
