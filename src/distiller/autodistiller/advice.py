"""Advice: the pipelines that past tasks suggest for a task that nobody has tried, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.autodistiller import labels
from distiller.autodistiller.candidates import CANONICAL_SPACE, Candidates, candidates_of, rows_of
from distiller.autodistiller.embeddings import words_of
from distiller.autodistiller.experience import Experience, names_of, read_experience, shipped
from distiller.autodistiller.facts import TaskFacts, facts_of
from distiller.autodistiller.predictor import PREDICTORS, Predictor, fit_predictor
from distiller.autodistiller.probes import choose_probes
from distiller.autodistiller.vectors import PACKAGE, Vectors, read_vectors
from distiller.config import Run, to_yaml
from distiller.errors import ConfigError, DataError, OutputError
from distiller.files import unwritable, write_text

if TYPE_CHECKING:
    import pandas as pd

MAPPING_COST = {"last": 0, "skip": 1, "emd": 2}
"""Cheaper first: one pair of layers, one for each student layer, all pairs and a transport problem."""


@dataclass(frozen=True)
class Reason:
    """One choice of a pipeline, and the evidence for it."""

    factor: str
    level: str
    effect: float | None
    """What it multiplies the predicted ratio with, against the mean of the candidates; `None` where it is not known."""
    trials: int
    tasks: int
    """Finished trials with this level, and tasks they are of."""


@dataclass(frozen=True)
class AdvisedRun:
    """One recommended pipeline."""

    point: Mapping[str, str]
    run: Run
    ratio: float
    low: float
    high: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Advice:
    """Pipelines in the order in which to try them."""

    task: TaskFacts
    advised: tuple[AdvisedRun, ...]
    nearest: Mapping[str, float]
    """How alike past tasks are, from 0 to 1, most alike first."""
    considered: int
    notes: tuple[str, ...]
    """What was left out and why."""
    probes: tuple[Run, ...] = ()
    """The runs that would teach most about the rest, if any were asked for."""


def advise(
    run: Run,
    experience: Experience | None = None,
    facts: TaskFacts | None = None,
    *,
    top: int = 5,
    space: str = CANONICAL_SPACE,
    vectors: str | Path | None = PACKAGE,
    predictor: str = "additive",
    options: Mapping[str, Any] | None = None,
    teacher_score: float | None = None,
    baseline_score: float | None = None,
    probes: int = 0,
) -> Advice:
    """The `top` pipelines of `space` for the task, teacher and student of `run`, about which `facts` are known.

    Without `experience`, the trials that come with the package are used; without `facts`, the task's data are read and
    a small model is trained on them, which needs torch. `vectors` is what `read_vectors` takes; `None` uses none. The
    scores are those of the teacher and of the student without it, if known. Raises `DataError` if `experience` has no
    finished trial.
    """
    if experience is None:
        table = shipped()
        if table is None:
            raise DataError("this installation carries no trials", hint='pass some: read_experience("trials.csv")')
        experience = read_experience(table)
    check_request(
        experience, predictor=predictor, options=options, teacher_score=teacher_score, baseline_score=baseline_score
    )
    task = names_of(run)["task"]
    if facts is None:
        facts = facts_of(run.task, name=task)
    whole = experience.with_task(facts.model_copy(update={"name": task}))
    candidates = candidates_of(run, space, kind=facts.kind)
    rows = rows_of(candidates, run, teacher_score=teacher_score, baseline_score=baseline_score)
    fitted = fit_predictor(
        whole,
        vectors=vectors_for(whole, vectors),
        predictor=predictor,
        options=options,
        teacher=teacher_score is not None,
        baseline=teacher_score is not None and baseline_score is not None,
    )
    said = fitted.predict(rows)
    failed = _failures(experience, candidates)
    order = ranked(rows, said.order - 1e3 * failed)
    chosen: list[AdvisedRun] = []
    for rank, i in enumerate(order[:top], 1):
        point = candidates.points[i]
        advised = candidates.run(point, f"{run.output}/advised/{rank}")
        ratio, low, high = (float(column[i]) for column in (said.ratio, said.low, said.high))
        chosen.append(AdvisedRun(point, advised, ratio, low, high, _reasons(point, i, said.parts, fitted)))
    probed: list[Run] = []
    for number, i in enumerate(choose_probes(fitted.fit_data, rows, probes), 1):
        probed.append(candidates.run(candidates.points[i], f"{run.output}/probes/{number}"))
    left_out = [f"left out: {reason}" for reason in candidates.left_out]
    return Advice(
        task=whole.tasks[task],
        advised=tuple(chosen),
        nearest=fitted.fit_data.neighbours(task),
        considered=len(rows),
        notes=(*left_out, *_unknown(candidates, experience)),
        probes=tuple(probed),
    )


def ranked(rows: "pd.DataFrame", order: np.ndarray) -> list[int]:
    """Positions of rows, best first; ties go to fewer operators, then to the cheaper mapping."""
    operators = [labels.operators(str(level)) for level in rows["augmentation"]]
    costs = [MAPPING_COST.get(str(level), 1) for level in rows["mapping"]]
    return sorted(range(len(rows)), key=lambda i: (-round(float(order[i]), 9), operators[i], costs[i], i))


def check_request(
    experience: Experience,
    *,
    predictor: str = "additive",
    options: Mapping[str, Any] | None = None,
    teacher_score: float | None = None,
    baseline_score: float | None = None,
) -> None:
    """What `advise` refuses of these can be known before the facts of a task, which take a training.

    Raises `ConfigError` for a score above 1 and a predictor or option that is not known, `DataError` for an experience
    without a finished trial.
    """
    for whose, score in (("teacher's", teacher_score), ("student's own", baseline_score)):
        if score is not None and score > 1:
            raise ConfigError(f"the {whose} score is {score:g}, and 1 is the highest", hint=f"{score / 100:g}?")
    PREDICTORS.options(predictor, options or {})
    if experience.trials.frame.empty or experience.complete.empty:
        raise DataError("the experience has no finished trial", hint="name some with --experience FILE")


def vectors_for(experience: Experience, source: str | Path | None) -> Vectors:
    """Vectors of all words in the facts of tasks; none if `source` is `None` or no fact has words."""
    words = {word for facts in experience.tasks.values() for word in (*facts.words, *words_of(facts.description))}
    return read_vectors(words, source) if source is not None and words else {}


def write_advice(advice: Advice, folder: Path) -> list[Path]:
    """Write each recommended pipeline as a run, `1.yaml`, `2.yaml`, …; never replaces a file. Raises `OutputError`."""
    files = [folder / f"{number}.yaml" for number in range(1, len(advice.advised) + 1)]
    for file in files:
        if file.exists():
            raise OutputError(f"`{file}` exists", hint="choose another folder")
    with unwritable(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        for number, (file, one) in enumerate(zip(files, advice.advised, strict=True), 1):
            head = (
                f"# Advice {number} of {len(files)}: predicted ratio {one.ratio:.3f} ({one.low:.3f} to {one.high:.3f})."
            )
            write_text(file, f"{head}\n{to_yaml(one.run, exclude_defaults=True)}")
    return files


def _reasons(
    point: Mapping[str, str], i: int, parts: Mapping[str, np.ndarray], fitted: Predictor
) -> tuple[Reason, ...]:
    rows = fitted.fit_data.rows
    found = []
    for factor, level in point.items():
        part = parts.get(factor)
        effect = None if part is None else float(part[i] / np.exp(np.log(part).mean()))
        levels = [str(known) for known in rows[factor]] if factor in rows else []
        alike = {known for known in set(levels) if _same_level(known, level)}
        tasks = [task for task, known in zip(rows["task"], levels, strict=False) if known in alike]
        found.append(Reason(factor, level, effect, len(tasks), len(set(tasks))))
    return tuple(found)


def _same_level(one: str, other: str) -> bool:
    """Whether two labels name the same components and alpha, however their other options are written."""
    alphas = np.array([labels.alpha(one), labels.alpha(other)])
    return labels.names(one) == labels.names(other) and (len(set(alphas)) == 1 or bool(np.isnan(alphas).all()))


def _failures(experience: Experience, candidates: Candidates) -> np.ndarray:
    """Points that have failed more often than they have finished, `[n]`."""
    frame = experience.trials.frame
    factors = [name for name in experience.trials.factors if name in candidates.points[0]]
    counts: dict[tuple[str, ...], int] = {}
    for status, *levels in frame[["status", *factors]].astype(str).itertuples(index=False):
        counts[tuple(levels)] = counts.get(tuple(levels), 0) + {"failed": 1, "complete": -1}.get(status, 0)
    keys = [tuple(point.get(name, "") for name in factors) for point in candidates.points]
    return np.array([counts.get(key, 0) > 0 for key in keys], dtype=float)


def _unknown(candidates: Candidates, experience: Experience) -> Sequence[str]:
    """Factors of the space about which no past trial tells anything."""
    factors = {name for point in candidates.points for name in point} - set(experience.trials.factors)
    return [f"no experience with `{name}`: its levels tie" for name in sorted(factors)]
