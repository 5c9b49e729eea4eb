"""The pipelines from which advice chooses: the points of a study's space, applied to the run that is to be improved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distiller.autodistiller import labels
from distiller.autodistiller.experience import names_of
from distiller.config import Run
from distiller.errors import ConfigError, DistillerError
from distiller.study.authors_table import PARAMETERS
from distiller.study.config import Study, base_of, load_study
from distiller.study.search_space import Cell, Point, SearchSpace, key_of, search_space_of
from distiller.study.table_files import load_pandas
from distiller.study.trial_io import canonical

if TYPE_CHECKING:
    import pandas as pd

CANONICAL_SPACE = "study-distiller"
"""The recipe with the 1,536 pipelines of arXiv:2109.11105, section 4, and its cross-entropy objective."""


@dataclass(frozen=True)
class Candidates:
    """The points that can be tried; any two differ in more than the order of their operators."""

    space: SearchSpace
    points: tuple[Point, ...]
    left_out: tuple[str, ...]
    """What the space has and this machine or task cannot do, and why."""

    @property
    def cell(self) -> Cell:
        """The task, teacher, student and seed of all of them."""
        return self.space.cells[0]

    def run(self, point: Point, output: str) -> Run:
        """The run that a point stands for, with the output folder `output`. Raises `ConfigError`."""
        made = self.space.run(self.cell, point)
        assert isinstance(made, Run)  # the base of the space is one
        return made.model_copy(update={"output": output})


def candidates_of(run: Run, source: str = CANONICAL_SPACE, *, kind: str = "classification") -> Candidates:
    """The points in the space of the study `source` (a file or recipe) that can be tried on the task of `run`.

    The `kind` of the task decides which of the space's exclusions apply. Options of operators are taken from the
    augmentation of `run`; an operator that still lacks some options, or its packages, is left out. Raises `ConfigError`
    for a run in stages, and if no point is left.
    """
    if run.stages:
        raise ConfigError("advice is for runs without stages", hint="leave out `stages`: the objective is what varies")
    study, left_out = _without_missing(_over(load_study(source), run, kind), run)
    space = search_space_of(study)
    seen: set[str] = set()
    points = []
    for point in space.points(space.cells[0]):
        alike = key_of(point | {"augmentation": "+".join(sorted(labels.names(point.get("augmentation", ""))))})
        if alike not in seen:
            seen.add(alike)
            points.append(point)
    if not points:
        raise ConfigError(f"the space of `{source}` has no pipeline for this task", hint="see its `exclude`")
    return Candidates(space, tuple(points), left_out)


def rows_of(
    candidates: Candidates, run: Run, *, teacher_score: float | None = None, baseline_score: float | None = None
) -> "pd.DataFrame":
    """The points as rows of trials that have not been run: what is known before, and the level of each factor."""
    named = names_of(run)
    fixed: dict[str, Any] = {
        **canonical(run),
        **named,
        "parameters": PARAMETERS.get(named["student"]),
        "teacher_score": teacher_score,
        "baseline_score": baseline_score,
    }
    frame = load_pandas().DataFrame([{**fixed, **point} for point in candidates.points])
    numbers = ["parameters", "teacher_score", "baseline_score"]
    frame[numbers] = frame[numbers].astype(float)
    return frame


def _over(study: Study, run: Run, kind: str) -> Study:
    """`study` with its own space, over `run` alone."""
    base = run.model_dump(mode="json", exclude_defaults=True)
    base["student"] = base.get("student", {})
    # what the points leave open means what it meant in the trials behind the advice
    base["objective"] = base_of(study).get("objective", {}) | base.get("objective", {})
    base.pop("seeds", None)
    data = study.model_dump()
    data |= {"tasks": {}, "teachers": {}, "students": {}, "seeds": [run.seeds[0]], "storage": None, "base": base}
    rules = []
    for rule in study.exclude:
        if kind not in rule.get("kind", [kind]) or {"task", "teacher", "student"} & set(rule):
            continue  # of another kind of task, or of cells that do not exist
        rest = {name: levels for name, levels in rule.items() if name != "kind"}
        if len(rest) == 1:  # a study refuses levels that never occur
            ((name, gone),) = rest.items()
            factor = next(factor for factor in data["space"].values() if factor["name"] == name)
            factor["levels"] = {label: level for label, level in factor["levels"].items() if label not in gone}
        else:
            rules.append(rest)
    return Study.model_validate(data | {"exclude": rules})


def _without_missing(study: Study, run: Run) -> tuple[Study, tuple[str, ...]]:
    """Without the levels of `augmentation` that cannot be used; the reasons, one for each operator."""
    given = {component.name: component.options for component in run.augmentation}
    factor = study.space.get("augmentation")
    if factor is None:
        return study, ()
    reasons: dict[str, str | None] = {}
    levels = {}
    for label, level in factor.levels.items():
        filled = [_filled(component, given) for component in level or []]
        for component in filled:
            if component["name"] not in reasons:
                reasons[component["name"]] = _missing(component["name"], component["options"])
        if not any(reasons[component["name"]] for component in filled):
            levels[label] = filled
    space: dict[str, Any] = {**study.model_dump()["space"], "augmentation": {**factor.model_dump(), "levels": levels}}
    if not levels:
        raise ConfigError("no augmentation of the space can be carried out here", hint="add a level `[]`")
    changed = Study.model_validate(study.model_dump() | {"space": space})
    return changed, tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason)


def _filled(component: Any, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    spelt = {"name": component} if isinstance(component, str) else dict(component)
    own: Any = spelt.get("options") or {}
    return {"name": spelt["name"], "options": {**given.get(spelt["name"], {}), **own}}


def _missing(name: str, options: Mapping[str, Any]) -> str | None:
    """Why an operator cannot be used here; `None` if it can. Models are not checked."""
    from distiller.augment.operators import AUGMENTERS

    try:
        entry = AUGMENTERS[name]
        complete = AUGMENTERS.options(name, options)
        if "check" in entry.traits:
            entry.traits["check"](**complete)
        if "prepare" in entry.traits and "models" not in entry.traits:
            entry.traits["prepare"](**complete)
    except DistillerError as error:
        return f"{error.message}" + (f" ({error.hint})" if error.hint else "")
    return None
