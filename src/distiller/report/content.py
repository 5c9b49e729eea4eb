"""The content of a report as plain data: everything that the page shows is decided here; the page only draws."""

import json
from collections import Counter
from dataclasses import asdict
from math import isfinite
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from distiller.analysis.best import Configuration, configurations, top_counts
from distiller.analysis.effects import level_effects
from distiller.analysis.importance import Importance, factor_importance
from distiller.analysis.pareto import pareto_front
from distiller.config import parse_run, to_yaml
from distiller.errors import ConfigError

if TYPE_CHECKING:
    from distiller.study.trials import Trials

TOGETHER = "all tasks"
COSTS = ("parameters", "milliseconds")
HIDDEN = ("run",)
"""Columns too long for the table."""
ALWAYS = ("trial", "task", "score")


def content(trials: "Trials", *, title: str, created: str, top: int = 5, seed: int = 0) -> dict[str, Any]:
    """All numbers and words on a study's page, in JSON types; NaN becomes `None`.

    `top` configurations of each task are listed and counted; `seed` is that of forests and intervals.
    """
    frame = trials.frame
    statuses = Counter(frame["status"])
    ranked = configurations(trials)
    found = factor_importance(trials, seed=seed)
    seconds = frame["seconds"].sum()
    return clean(
        {
            "title": title,
            "created": created,
            "counts": {name: statuses[name] for name in ("complete", "failed", "pruned")},
            "seconds": float(seconds),
            "tasks": list(ranked),
            "metrics": dict(frame.groupby("task")["metric"].first()),
            "factors": list(trials.factors),
            "varied": varied(trials),
            "importance": shares(found),
            "effects": list(map(asdict, level_effects(trials, seed=seed))),
            "top": top,
            "top_counts": [asdict(one) for one in top_counts(trials, top=top)],
            "best": {task: [best(one) for one in listed[:top]] for task, listed in ranked.items()},
            "points": {**points(ranked), TOGETHER: points({TOGETHER: together(ranked)})[TOGETHER]},
            "references": references(trials),
            "failures": failures(trials),
            "table": table(trials),
        }
    )


def varied(trials: "Trials") -> list[dict[str, Any]]:
    """Tasks, models, seeds and factors with the number of finished trials of each level."""
    frame = trials.complete
    shown = []
    for name in dict.fromkeys(["task", "teacher", "student", "seed", *trials.factors]):
        counts = Counter(str(level) for level in frame[name].dropna() if level != "")
        shown.append({"name": name, "levels": sorted(counts.items(), key=lambda item: (-item[1], item[0]))})
    return [one for one in shown if one["levels"]]


def shares(found: Importance) -> dict[str, Any]:
    """Components of the mean over tasks and of every task, in one form; or why a task has none."""
    mean = [
        {"name": one.name, "mean": one.mean, "sd": one.tree_sd, "spread": one.task_sd, "factors": one.factors}
        for one in found.shares
    ]
    shown = {TOGETHER: {"components": mean, "second": found.second_mean, "averaged": found.tasks}}
    for task, one in found.by_task.items():
        shown[task] = {
            "components": [
                {"name": " × ".join(part.factors), "mean": part.mean, "sd": part.sd, "factors": part.factors}
                for part in one.components
            ],
            "second": found.second[task],
            "r2": one.r2,
            "rows": one.rows,
            "refusal": one.refusal,
            "notes": one.notes,
        }
    return shown


def best(one: Configuration) -> dict[str, Any]:
    """A configuration with the YAML that runs it, or its levels if the run is unknown."""
    return {**asdict(one), "run": None, "yaml": as_yaml(one), "runnable": bool(one.run)}


def as_yaml(one: Configuration) -> str:
    """The run without default values; never raises, whatever the table holds."""
    import yaml

    if one.run:
        try:
            return to_yaml(parse_run(json.loads(one.run)), exclude_defaults=True)
        except (ConfigError, ValueError):  # a run from another version: its text is still worth copying
            return one.run
    levels = {"task": one.task, "teacher": one.teacher, "student": one.student, **one.levels}
    return yaml.safe_dump({name: level for name, level in levels.items() if level}, sort_keys=False, allow_unicode=True)


def points(ranked: dict[str, list[Configuration]]) -> dict[str, dict[str, Any]]:
    """Configurations as points of cost and score, and which of them are on the front for each cost.

    A student's latency does not depend on how it was trained: it is the median over its configurations.
    """
    shown = {}
    for task, listed in ranked.items():
        scores = [one.score for one in listed]
        times: dict[tuple[str, float | None], list[float]] = {}
        for one in listed:
            if one.milliseconds is not None:
                times.setdefault((one.student, one.parameters), []).append(one.milliseconds)
        shown[task] = {
            "score": scores,
            "label": [_label(one) for one in listed],
            "student": [one.student for one in listed],
            "front": {},
            "parameters": [one.parameters for one in listed],
            "milliseconds": [
                median(found) if (found := times.get((one.student, one.parameters))) else None for one in listed
            ],
        }
        for cost in COSTS:
            shown[task]["front"][cost] = pareto_front(shown[task][cost], scores)
    return shown


def together(ranked: dict[str, list[Configuration]]) -> list[Configuration]:
    """Configurations that ran on every task, scored by the mean distillation ratio over tasks; best first."""
    by_key: dict[tuple[Any, ...], list[Configuration]] = {}
    for one in (one for listed in ranked.values() for one in listed if one.ratio is not None):
        by_key.setdefault((one.teacher, one.student, *one.levels.items()), []).append(one)
    found = []
    for parts in by_key.values():
        if len(parts) == len(ranked) > 1:
            ratio = fmean(one.ratio for one in parts if one.ratio is not None)
            runs = sum(one.runs for one in parts)
            found.append(
                Configuration(
                    TOGETHER, parts[0].teacher, parts[0].student, parts[0].levels, ratio, None, runs, ratio,
                    parts[0].parameters, parts[0].megabytes, _mean([one.milliseconds for one in parts]), (), "",
                )
            )  # fmt: skip
    return sorted(found, key=lambda one: -one.score)


def references(trials: "Trials") -> dict[str, dict[str, float]]:
    """By task, the scores of the teachers, and of the student without one if there is only one student."""
    rows = trials.complete.to_dict("records")
    students: dict[str, set[str]] = {}
    for one in rows:
        students.setdefault(one["task"], set()).add(one["student"])
    shown: dict[str, dict[str, float]] = {str(task): {} for task in students}
    for one in rows:
        lines = shown[str(one["task"])]
        if isfinite(one["teacher_score"]):
            lines.setdefault(f"teacher {one['teacher']}".strip(), one["teacher_score"])
        if isfinite(one["baseline_score"]) and len(students[one["task"]]) == 1:
            lines.setdefault(f"{one['student'] or 'student'} without teacher", one["baseline_score"])
    return shown


def failures(trials: "Trials") -> list[dict[str, Any]]:
    """Reasons of failed trials, most frequent first, with the trials they stopped."""
    failed = trials.frame.loc[trials.frame["status"] == "failed"]
    by_reason: dict[str, list[int]] = {}
    for trial, reason in zip(failed["trial"], failed["reason"], strict=True):
        by_reason.setdefault(reason or "no reason was recorded", []).append(int(trial))
    return [
        {"reason": reason, "trials": numbers}
        for reason, numbers in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def table(trials: "Trials") -> dict[str, Any]:
    """Every trial as a row; columns that are empty or constant are left out, except the score."""
    frame = trials.frame
    cells = {
        str(name): [None if missing else cell for cell, missing in zip(frame[name], frame[name].isna(), strict=True)]
        for name in frame
    }
    kept = [name for name in cells if name not in HIDDEN and (name in ALWAYS or len(set(cells[name])) > 1)]
    first = [name for name in ("trial", "task", "teacher", "student", "seed", *trials.factors, "score") if name in kept]
    ordered = list(dict.fromkeys([*first, *kept]))
    number = {name: all(cell is None or not isinstance(cell, str) for cell in cells[name]) for name in ordered}
    return {
        "columns": [{"name": name, "number": number[name]} for name in ordered],
        "rows": [list(row) for row in zip(*(cells[name] for name in ordered), strict=True)],
    }


def clean(value: Any) -> Any:
    """`value` in JSON types: tuples become lists, numbers that are not finite `None`."""
    if isinstance(value, dict):
        return {str(key): clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return clean(value.item())  # a number of NumPy


def _label(one: Configuration) -> str:
    levels = [f"{name}: {level}" for name, level in one.levels.items() if level]
    return "<br>".join([f"<b>{one.student}</b> from {one.teacher}" if one.student else "", *levels])


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
