"""The points of a study: every allowed combination of levels, and the run that each stands for.

A point is a mapping from factor names to labels of levels; a factor that does not exist there has no entry. A cell is
one task, teacher, student and seed; all points are tried in every cell. Nothing here imports torch or Optuna.
"""

import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import yaml

from distiller.config import Run, apply_override, parse_run
from distiller.errors import ConfigError, did_you_mean
from distiller.study.cells import CONTEXT, Cell, cells_of
from distiller.study.config import TRIALS, Factor, Study

Point = dict[str, str]
LARGEST = 200_000
"""Points that are written out in full; more are for samplers that never list them."""
OWN_FIELDS = {
    "seeds": "seeds",
    "output": "folder",
    "cache": "cache",
    "recipe": "name",
    "task": "tasks",
    "teacher": "teachers",
    "student": "students",
}
"""Fields of a run that the study itself sets, and where."""


@dataclass(frozen=True)
class SearchSpace:
    """A checked study: its factors by field, in the order in which they are set, and its cells."""

    study: Study
    factors: tuple[tuple[str, Factor], ...]
    cells: tuple[Cell, ...]

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the factors that have more than one level."""
        return tuple(factor.name for factor in self.study.space.values() if len(factor.levels) > 1)

    @property
    def fingerprint(self) -> str:
        """Changes with everything that determines a trial, but not with the number of trials or who runs them."""
        decides = {
            "space": {field: factor.model_dump() for field, factor in self.factors},
            "exclude": self.study.exclude,
            "cells": [[cell.name, _without(cell.run, "output", "cache", "recipe")] for cell in self.cells],
            "sampler": [self.study.sampler.model_dump(), self.study.sampler_seed],
        }
        return sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def active(self, factor: Factor, point: Mapping[str, str]) -> bool:
        """Whether `factor` exists, given the levels of the factors it depends on."""
        return all(point.get(other) in labels for other, labels in factor.when.items())

    def points(self, cell: Cell, fixed: Mapping[str, str] | None = None) -> Iterator[Point]:
        """Every point of `cell` that has the levels `fixed`, once; the last factor changes fastest."""
        ordered = parents_first([factor for _, factor in self.factors])
        names = [factor.name for factor in self.study.space.values()]

        def choices(factor: Factor, point: Point) -> Iterable[str | None]:
            wanted = (fixed or {}).get(factor.name)
            if not self.active(factor, point):
                return [None] if wanted is None else []
            return factor.levels if wanted is None else [wanted]

        def below(point: Point, rest: list[Factor]) -> Iterator[Point]:
            if not rest:
                if not excluded_by(self.study, point, cell):
                    yield {name: point[name] for name in names if name in point}
                return
            first, *others = rest
            for label in choices(first, point):
                yield from below(point if label is None else {**point, first.name: label}, others)

        return below({}, ordered)

    def count(self, cell: Cell) -> int:
        """The number of points of `cell`, at most `LARGEST`."""
        return sum(1 for _ in itertools.islice(self.points(cell), LARGEST))

    def run(self, cell: Cell, point: Mapping[str, str]) -> Run:
        """The run that `point` stands for in `cell`. Raises `ConfigError` that names the level that does not fit."""
        data = dict(cell.run)
        for field, factor in self.factors:
            if factor.name in point:
                data = _set(data, field, factor.levels[point[factor.name]])
        folder = self.study.place / TRIALS / cell.name / key_of(point)
        where = f"study `{self.study.name}`, " + (", ".join(f"{k}={v}" for k, v in point.items()) or "its base run")
        return parse_run({**data, "output": str(folder)}, where=where)


def excluded_by(study: Study, point: Mapping[str, str], cell: Cell) -> bool:
    """Whether `study` says never to try `point` in `cell`."""
    known = {**cell.labels, **point}
    return any(all(known.get(name) in labels for name, labels in rule.items()) for rule in study.exclude)


def search_space_of(study: Study) -> SearchSpace:
    """`study` checked: fields exist, levels fit their types, every level can occur. Raises `ConfigError`."""
    for field, factor in study.space.items():
        _check_field(study, field, factor)
    _check_exclusions(study)
    parents_first(list(study.space.values()))  # refuses circles
    by_depth = sorted(study.space.items(), key=lambda item: item[0].count("."))  # a list before what lies in it
    space = SearchSpace(study, tuple(by_depth), tuple(cells_of(study)))
    names = [cell.name for cell in space.cells]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"study `{study.name}`: two cells are called `{twice}`", hint="choose clearer labels")
    _check_levels(space)
    return space


def planned(space: SearchSpace, cell: Cell) -> list[Point]:
    """The points that `random` and `grid` try in `cell`, in order; random ones uniformly without replacement.

    The seed of the cell does not matter, so that all seeds repeat the same points.
    """
    points = list(itertools.islice(space.points(cell), LARGEST + 1))
    if len(points) > LARGEST:
        raise ConfigError(
            f"study `{space.study.name}` has more than {LARGEST:,} points",
            hint="leave out levels, or let a sampler search: sampler=tpe trials=100",
        )
    if space.study.sampler.name == "random":
        points.sort(key=key_of)  # so that the order of fields in the study file does not matter
        random.Random(f"{space.study.sampler_seed} {cell.task} {cell.teacher} {cell.student}").shuffle(points)
    return points if space.study.trials == "all" else points[: space.study.trials]


def key_of(point: Mapping[str, str]) -> str:
    """A short, stable name for a point, and for its folder."""
    return sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]


def _check_field(study: Study, field: str, factor: Factor) -> None:
    first = field.partition(".")[0]
    if first in OWN_FIELDS and (field == first or first not in ("task", "teacher", "student")):
        raise ConfigError(
            f"study `{study.name}`: `{field}` cannot be in the space", hint=f"set `{OWN_FIELDS[first]}` of the study"
        )
    if factor.name in (*CONTEXT, "seed", "trial", "score", "status"):
        raise ConfigError(
            f"study `{study.name}`: a factor cannot be called `{factor.name}`", hint="give it another `name`"
        )
    known = {other.name: other for other in study.space.values()}
    for other, labels in factor.when.items():
        if other not in known:
            raise ConfigError(
                f"study `{study.name}`: `{field}` depends on `{other}`, which is no factor",
                hint=did_you_mean(other, list(known)),
            )
        _check_labels(study, f"`{field}`, when", known[other], labels)


def _check_exclusions(study: Study) -> None:
    known = {factor.name: factor for factor in study.space.values()}
    contexts = {"task": study.tasks, "teacher": study.teachers, "student": study.students}
    for rule in study.exclude:
        for name, labels in rule.items():
            if name in known:
                _check_labels(study, "exclude", known[name], labels)
            elif name not in CONTEXT:
                raise ConfigError(
                    f"study `{study.name}`: exclude: no factor is called `{name}`",
                    hint=did_you_mean(name, [*known, *CONTEXT]),
                )
            for label in labels:
                if contexts.get(name) and label not in contexts[name]:
                    raise ConfigError(
                        f"study `{study.name}`: exclude: no {name} is called `{label}`",
                        hint=did_you_mean(label, list(contexts[name])),
                    )


def _check_labels(study: Study, where: str, factor: Factor, labels: list[str]) -> None:
    for label in labels:
        if label not in factor.levels:
            raise ConfigError(
                f"study `{study.name}`: {where}: `{factor.name}` has no level `{label}`",
                hint=did_you_mean(label, list(factor.levels)),
            )


def parents_first(factors: list[Factor]) -> list[Factor]:
    """`factors` so that each comes after those it depends on. Raises `ConfigError` for a circle."""
    done: dict[str, Factor] = {}
    waiting = list(factors)
    while waiting:
        ready = [factor for factor in waiting if all(other in done for other in factor.when)]
        if not ready:
            circle = ", ".join(f"`{factor.name}`" for factor in waiting)
            raise ConfigError(f"the conditions of {circle} go round in a circle", hint="leave out one `when`")
        done |= {factor.name: factor for factor in ready}
        waiting = [factor for factor in waiting if factor.name not in done]
    return list(done.values())


def _check_levels(space: SearchSpace) -> None:
    """Build a run from every level once. A level that occurs in no point is a contradiction."""
    levels = {(factor.name, label) for _, factor in space.factors for label in factor.levels}
    seen: set[tuple[str, str]] = set()
    for cell in _one_of_each(space.cells):
        for point in covering(space, cell):
            space.run(cell, point)
            seen |= set(point.items())
    for cell in space.cells if seen != levels else ():
        seen |= {pair for point in covering(space, cell) for pair in point.items()}
    if seen != levels:
        name, label = min(levels - seen)
        raise ConfigError(
            f"study `{space.study.name}`: level `{label}` of `{name}` can never occur",
            hint="its conditions contradict each other: see `when` and `exclude`",
        )


def covering(space: SearchSpace, cell: Cell) -> list[Point]:
    """A few points that together have every level that can occur in `cell`."""
    chosen = list(itertools.islice(space.points(cell), 1))
    for _, factor in space.factors:
        for label in factor.levels:
            if not any(point.get(factor.name) == label for point in chosen):
                chosen += itertools.islice(space.points(cell, {factor.name: label}), 1)
    return chosen


def _one_of_each(cells: tuple[Cell, ...]) -> list[Cell]:
    """Cells that together have every task, teacher and student."""
    seen: set[str] = set()
    chosen = []
    for cell in cells:
        parts = {f"task {cell.task}", f"teacher {cell.teacher}", f"student {cell.student}"}
        if parts - seen:
            chosen.append(cell)
            seen |= parts
    return chosen


def _set(data: Mapping[str, Any], field: str, value: Any) -> dict[str, Any]:
    return apply_override(data, f"{field}={yaml.safe_dump(value, default_flow_style=True, width=1_000_000)}")


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}
