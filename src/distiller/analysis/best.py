"""The best configurations of each task, and what they have in common (arXiv:2109.11105, Table 9 and Figure 3)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from distiller.analysis.factor_space import levels_of

if TYPE_CHECKING:
    from distiller.study.trials import Trials


@dataclass(frozen=True)
class Configuration:
    """One point of the space on one task, over its seeds."""

    task: str
    teacher: str
    student: str
    levels: dict[str, str]
    """By factor; a factor that does not exist here is `""`."""
    score: float
    """Mean over `runs`."""
    sd: float | None
    """Standard deviation over runs (n - 1); `None` for one run."""
    runs: int
    ratio: float | None
    """Mean distillation ratio; `None` where the teacher's score is not known."""
    parameters: float | None
    """Of the student; means over runs, as are the next two. `None` where they are not known."""
    megabytes: float | None
    milliseconds: float | None
    """Per example."""
    trials: tuple[int, ...]
    run: str
    """The resolved Run of the best trial, as JSON; `""` where it is not known."""


@dataclass(frozen=True)
class Count:
    """How often a level occurs among the best configurations of all tasks."""

    factor: str
    level: str
    count: int
    expected: float
    """What the count would be if the best were drawn from all configurations blindly."""
    tried: int
    """Configurations with this level."""


def configurations(trials: "Trials") -> dict[str, list[Configuration]]:
    """All configurations of each task, best first; ties in the order in which they were tried."""
    keys = list(dict.fromkeys(["task", "teacher", "student", *trials.factors]))
    found: dict[str, list[Configuration]] = {}
    for _, rows in trials.complete.groupby(keys, sort=False):
        one = _configuration(rows.to_dict("records"), trials.factors)
        found.setdefault(one.task, []).append(one)
    return {task: sorted(found[task], key=lambda one: (-one.score, min(one.trials))) for task in sorted(found)}


def top_counts(trials: "Trials", *, top: int = 10, factors: Sequence[str] | None = None) -> list[Count]:
    """How often each level occurs among the `top` configurations of each task, summed over tasks.

    A task with fewer than `2 · top` configurations contributes its better half. Ranges of numbers are cut as in
    `factor_space_of`. Most frequent first, factor by factor.
    """
    chosen = trials.factors if factors is None else tuple(factors)
    ranked = configurations(trials)
    every = [one for listed in ranked.values() for one in listed]
    shown = {
        name: dict(zip(map(id, every), levels_of([_level(one, name) for one in every]), strict=True)) for name in chosen
    }
    best, tried = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    expected: dict[tuple[str, str], float] = {}
    for listed in ranked.values():
        share = min(top, len(listed) // 2) / len(listed)
        for position, one in enumerate(listed):
            for name in chosen:
                key = name, shown[name][id(one)]
                tried[key] += 1
                best[key] += position < min(top, len(listed) // 2)
                expected[key] = expected.get(key, 0.0) + share
    counts = [Count(*key, best[key], expected[key], tried[key]) for key in tried if key[1]]
    return sorted(counts, key=lambda one: (chosen.index(one.factor), -one.count, -one.expected, one.level))


def _configuration(rows: list[dict[str, Any]], factors: tuple[str, ...]) -> Configuration:
    first, scores = rows[0], [float(row["score"]) for row in rows]
    return Configuration(
        task=first["task"],
        teacher=first["teacher"],
        student=first["student"],
        levels={name: first[name] for name in factors},
        score=fmean(scores),
        sd=stdev(scores) if len(scores) > 1 else None,
        runs=len(rows),
        ratio=_mean(rows, "ratio"),
        parameters=_mean(rows, "parameters"),
        megabytes=_mean(rows, "megabytes"),
        milliseconds=_mean(rows, "milliseconds"),
        trials=tuple(int(row["trial"]) for row in rows),
        run=max(rows, key=lambda row: row["score"])["run"],
    )


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    known = [float(row[name]) for row in rows if not isnan(row[name])]
    return fmean(known) if known else None


def _level(one: Configuration, name: str) -> str:
    return one.levels[name] if name in one.levels else str(getattr(one, name))
