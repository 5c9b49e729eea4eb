"""What a colleague would say about a result: whether it pays, whether there was anything to gain, what to try."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distiller.config import Run
from distiller.record import Comparison
from distiller.run.label_order import better_order
from distiller.tasks.data import TaskData
from distiller.tasks.encode import IGNORED
from distiller.tasks.outcomes import Difference, constant, difference, score_of, silence

Apart = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Difference]
"""How much better the outcomes of one side are, by training seed."""


LITTLE = 0.25
"""Share of the teacher's lead below which little of it arrives."""
VAGUE = 2.0
"""Points of standard error from which on a lead that is not clear may be a large one all the same."""
FEW = 30
"""Development examples below which scores are hardly more than chance."""
MORE = "more text without labels (`task.unlabelled`)"


NO_CONSTANT = ("multilabel", "qa")
"""Kinds of task for which there is no one answer that is right most often."""


class Outcomes(NamedTuple):
    """The outcomes of every model on the development set; students and baselines by seed."""

    teacher: np.ndarray | None
    baseline: Sequence[np.ndarray]
    student: Sequence[np.ndarray]
    gold: Any


def compare(data: TaskData, found: Outcomes) -> Comparison | None:
    """The distilled student against the fine-tuned one, and how much of the teacher's lead it recovers."""
    return compared(found, lambda ours, theirs: difference(data, ours, theirs, found.gold))


def compared(found: Outcomes, apart: Apart) -> Comparison | None:
    """The same, by any measure of how far two sides are `apart`."""
    if not found.baseline:
        return None
    gain = apart(found.student, found.baseline)
    lead = apart([found.teacher], found.baseline) if found.teacher is not None else None
    closed = gain.value / lead.value if lead is not None and lead.clear and lead.value > 0 else None
    return Comparison(
        difference=gain.value,
        error=gain.error,
        teacher_lead=lead.value if lead else None,
        teacher_lead_error=lead.error if lead else None,
        gap_closed=closed,
    )


def longer(run: Run) -> str:
    """The field by which the student of this run is trained longer."""
    if run.training.max_steps is not None:
        return "training.max_steps"
    return "training.min_steps" if run.training.epochs is None else "training.epochs"


def words(
    data: TaskData,
    found: Outcomes,
    comparison: Comparison | None,
    *,
    unlabelled: int = 0,
    scale: float = 100.0,
    longer: str = "training.min_steps",
) -> list[str]:
    """A line or two about the result, the most important first."""
    said: list[str] = []
    fixed, name = constant(data, found.gold)
    always = f"always `{name}`" if name is not None else "the same number for every text"
    alone = data.kind in NO_CONSTANT and name is None
    if found.teacher is not None and _no_better(data, found.teacher, fixed, found.gold):
        score = scale * score_of(data, found.teacher, found.gold)
        against = "" if alone else f", and who says {always} has {scale * fixed:.1f}"
        said.append(
            f"The teacher has learnt nothing: {score:.1f}{against}. Its students cannot learn it from it: "
            f"{_another_teacher(data, found.teacher, found.gold)}."
        )
    elif all(_no_better(data, outcome, fixed, found.gold) for outcome in found.student):
        reached = scale * np.mean([score_of(data, outcome, found.gold) for outcome in found.student])
        what = f"no better than who says {always}: {reached:.1f} against {scale * fixed:.1f}"
        if alone:
            what = f"of no use: {reached:.1f}"
        said.append(f"The distilled student is {what} on {len(found.student[0]):,} development examples.")
    more = "more text of the task's own kind" if unlabelled else MORE
    said += [*_one_class(data, found), *gain_words(found, comparison, scale=scale, more=more, longer=longer)]
    if (examples := len(found.student[0])) < FEW:
        count = "One development example says" if examples == 1 else f"{examples} development examples say"
        said.append(f"{count} little: more are needed (`task.dev`, or a larger `task.dev_fraction`).")
    return said


def gain_words(
    found: Outcomes,
    comparison: Comparison | None,
    *,
    scale: float = 100.0,
    more: str = MORE,
    change: str = "`augmentation`",
    longer: str = "training.min_steps",
) -> list[str]:
    """Whether distilling paid, and what to try if not: `more` text, another `change`, or more of the field `longer`."""
    if comparison is None:
        return []
    said: list[str] = []
    gain = Difference(comparison.difference, comparison.error)
    better, than = "better" if gain.value >= 0 else "worse", "than the same student fine-tuned without a teacher"
    equal = max(abs(gain.value), gain.error) * scale < 0.05  # as it is printed
    if equal:
        said.append("The distilled student is as good as the same student fine-tuned without a teacher.")
    elif gain.clear:
        size = f"{scale * abs(gain.value):.1f} ± {scale * gain.error:.1f} points"
        said.append(f"The distilled student is {size} {better} {than}.")
    else:
        said.append(
            f"It is not certain that the distilled student is {better} {than}: {scale * gain.value:+.1f} ± "
            f"{scale * gain.error:.1f} points on {len(found.student[0]):,} development examples."
        )
    if comparison.gap_closed is not None and gain.value > 0 and not equal:
        share = f"makes up for {100 * comparison.gap_closed:.0f} % of the teacher's lead"
        said[-1] += f" It {share}." if gain.clear else f" If it is, it {share}."
    paid = gain.clear and gain.value > 0 and not equal
    if found.teacher is not None and comparison.teacher_lead is not None and not paid:
        lead = Difference(comparison.teacher_lead, comparison.teacher_lead_error or 0.0)
        said.append(_advice(gain, lead, scale, more, f"{change}, a longer training (`{longer}`)"))
    return said


def _advice(gain: Difference, lead: Difference, scale: float, more: str, change: str) -> str:
    if not lead.clear and lead.value > lead.error and scale * lead.error >= VAGUE:
        return (
            f"Nor can it be told how far the teacher leads ({scale * lead.value:+.1f} ± {scale * lead.error:.1f} "
            "points): more development examples would show both (`task.dev`)."
        )
    if lead.value <= 0 or not lead.clear:
        if lead.value > 0:
            behind = "not clearly better than"
        elif lead.clear:
            behind = "behind"
        else:
            behind = "no better than"
        return (
            f"The teacher is {behind} the student it teaches ({scale * lead.value:+.1f} ± {scale * lead.error:.1f} "
            f"points), so it has little to hand over: a stronger teacher, a smaller student or {more} is needed."
        )
    arrives = "little of that arrives: try" if gain.value < LITTLE * lead.value else "for more of that, try"
    return (
        f"The teacher leads by {scale * lead.value:.1f} ± {scale * lead.error:.1f} points; {arrives} {more}, {change}, "
        "or several seeds."
    )


def _another_teacher(data: TaskData, outcome: np.ndarray, gold: Any) -> str:
    """What to do about a teacher that has learnt nothing."""
    order = better_order(outcome, np.asarray(gold)) if data.kind in ("classification", "tagging") else None
    if order is not None:
        return (
            f"with its classes in another order it is right in {100 * order.best:.1f} % (`task.labels`, or id2label in "
            "its config.json)"
        )
    return "train it longer or at another rate (`teacher.training`), or take another model"


def _no_better(data: TaskData, outcome: np.ndarray, fixed: float, gold: Any) -> bool:
    """Whether `outcome` is within one standard error of a constant answer, or below it."""
    if data.null_answers:
        apart = difference(data, [outcome], [silence(data)], gold)
        return apart.value <= apart.error
    if data.kind in NO_CONSTANT:
        return score_of(data, outcome, gold) == 0
    if data.kind == "regression":
        return score_of(data, outcome, gold) <= 1 / len(outcome) ** 0.5
    most = outcome.copy()
    labels = np.asarray(gold)
    most[labels != IGNORED] = np.bincount(labels[labels != IGNORED]).argmax()
    apart = difference(data, [outcome], [most], gold)
    return apart.value <= apart.error or score_of(data, outcome, gold) <= fixed


def _one_class(data: TaskData, found: Outcomes) -> list[str]:
    said = []
    models: Mapping[str, Sequence[np.ndarray]] = {
        "The distilled student": found.student,
        "The fine-tuned student": found.baseline,
    }
    for name, by_seed in models.items():
        for outcome in by_seed:
            kinds = np.unique(outcome[outcome != IGNORED]) if data.kind in ("classification", "tagging") else ()
            if len(kinds) == 1:
                said.append(f"{name} says `{data.labels[int(kinds[0])]}` of every development example.")
                break
    return said


def shares(data: TaskData, gold: Any) -> dict[str, float]:
    """The share of every class among the development labels; empty for numbers and questions."""
    if data.kind not in ("classification", "tagging"):
        return {}
    labels = np.asarray(gold)
    labels = labels[labels != IGNORED]
    counts = np.bincount(labels, minlength=len(data.labels))
    return {name: float(count / max(1, len(labels))) for name, count in zip(data.labels, counts, strict=True)}
