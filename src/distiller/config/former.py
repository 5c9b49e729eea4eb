"""Translation runs as earlier versions wrote them."""

from collections.abc import Mapping
from typing import Any

FORMER = {"max_tokens": "max_length", "seed": "split_seed"}
"""Names that fields of a task had when it was called `corpus`, and what they are called now."""

WEIGHTS = {"nll": ("gamma1", 1.0), "word_kd": ("beta1", 0.0)}
"""Names that weights had, what they are called now, and what they were where nothing was said."""


def is_former(data: Mapping[str, Any]) -> bool:
    """Whether plain data is a translation run as earlier versions wrote it, with a `corpus` instead of a task."""
    return isinstance(data.get("corpus"), Mapping) and not data.get("task")


def former(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` with what earlier versions wrote (`corpus`, `objective.nll`, `objective.word_kd`) under today's names."""
    if not is_former(data):
        return data
    corpus = {FORMER.get(name, name): value for name, value in data["corpus"].items()}
    objective = dict(data.get("objective") or {})
    for old, (new, default) in WEIGHTS.items():
        objective[new] = objective.pop(old, default)
    rest = {name: value for name, value in data.items() if name != "corpus"}
    training, teacher = (dict(rest.get(name) or {}) for name in ("training", "teacher"))
    training = {"epochs": 10.0, **training}
    teacher["training"] = {"epochs": 10.0, **(teacher.get("training") or {})}
    return {
        **rest,
        "task": {"kind": "translation", **corpus},
        "objective": objective,
        "training": training,
        "teacher": teacher,
    }
