"""`examine_run(source)`: teacher and student of a finished run on its development set, row by row."""

from typing import Any

import numpy as np
from scipy.special import expit, softmax
from transformers import PretrainedConfig

from distiller.config import Task
from distiller.deploy.disagreements import Said, disagreements
from distiller.deploy.examination import (
    Bin,
    Calibration,
    ClassResult,
    Difference,
    Disagreement,
    Examination,
    Look,
    Matched,
)
from distiller.deploy.finished import Finished
from distiller.deploy.teachers import find_teacher
from distiller.errors import ConfigError, DataError
from distiller.models.folders import load_config, load_tokenizer
from distiller.models.heads import NAMED
from distiller.models.load import load_model
from distiller.objectives.mapping import MAPPING
from distiller.run.stages import stages_of
from distiller.tasks.data import AnySplit, TaskData
from distiller.tasks.encode import IGNORED, Collator
from distiller.tasks.outcomes import difference, outcomes
from distiller.tasks.tokens import encode_split, scorer
from distiller.training.evaluate import predict_logits

BINS = 10
SHOWN = 20


def examine_run(source: Finished) -> Examination:
    """Scores, classes, calibration and disagreements of the student and, if it is in the cache, of the teacher.

    Raises `DataError` where the development set no longer exists.
    """
    dev = source.tokens("dev")
    if dev is None or source.data is None or source.run is None:
        raise DataError(f"`{source.name}` has no development set to look at: {'; '.join(source.notes)}")
    split, encoded = dev
    student = Said(encoded, predict_logits(source.model, encoded, Collator(source.tokenizer)).numpy())
    place, teacher, apart = find_teacher(source), None, None
    told: list[Disagreement] = []
    if place is not None:
        model = load_model(place, kind=source.kind, labels=source.labels)
        tokenizer = load_tokenizer(place)
        task = source.run.task.model_copy(update={"truncate": True})
        read = encode_split(split, tokenizer, task, source.max_length)
        teacher = Said(read, predict_logits(model, read, Collator(tokenizer)).numpy())
        apart = _difference(source.data, source.run.task, student, teacher)
        told = disagreements(source.kind, source.labels, split, student, teacher, source.run.task)
        if len(source.run.teacher.names if source.run.teacher else ()) > 1:
            source.notes.append(f"of several teachers only the first, {place}, was looked at once more")
    layers = load_config(source.folder)
    other = None if place is None else load_config(place)
    return Examination(
        metric=source.data.metric,
        rows=len(split),
        student_layers=_layers(layers),
        teacher_layers=None if other is None else _layers(other),
        matched=[] if other is None else _matched(source, _layers(layers), _layers(other)),
        student=_look(source, split, student),
        teacher=None if teacher is None else _look(source, split, teacher),
        difference=apart,
        disagreements=told[:SHOWN],
        share_disagreeing=len(told) / len(split) if teacher is not None else None,
        notes=list(source.notes),
    )


def _look(source: Finished, split: AnySplit, said: Said) -> Look:
    assert source.data is not None
    assert source.run is not None
    gold, logits = said.gold, said.logits
    score = scorer(source.data, source.run.task, split, said.encoded)(logits, gold)[source.data.metric]
    if source.kind not in NAMED or gold is None or source.labels is None:
        return Look(score=score)
    if source.kind == "multilabel":
        known = ~np.isnan(gold)
        return Look(
            score=score,
            classes=_classes(source.labels, (logits > 0) & known, (gold > 0.5) & known),
            calibration=calibration_of_labels(logits[known], gold[known]),
        )
    if source.kind == "tagging":
        logits = logits[:, : gold.shape[1]]
    scored = gold != IGNORED
    logits, gold = logits[scored], gold[scored]
    every = np.arange(len(source.labels))
    return Look(
        score=score,
        classes=_classes(source.labels, logits.argmax(-1)[:, None] == every, gold[:, None] == every),
        calibration=calibration(logits, gold),
    )


def _classes(labels: list[str], predicted: np.ndarray, gold: np.ndarray) -> list[ClassResult]:
    """Results by class; `predicted` and `gold` `[n, c]` say which classes each example has."""
    found = []
    for index, name in enumerate(labels):
        hits = float(np.sum(predicted[:, index] & gold[:, index]))
        said, there = float(predicted[:, index].sum()), float(gold[:, index].sum())
        found.append(
            ClassResult(
                name=name,
                support=int(there),
                precision=hits / said if said else 0.0,
                recall=hits / there if there else 0.0,
                f1=2 * hits / (said + there) if said + there else 0.0,
            )
        )
    return found


def calibration(logits: np.ndarray, gold: np.ndarray) -> Calibration:
    """Confidence in the most probable class compared with accuracy, in ten bins of equal width.

    `logits` `[n, c]`, `gold` class ids `[n]`. Source: Guo et al. 2017, arXiv:1706.04599.
    """
    return _calibration(softmax(logits, axis=-1).max(-1), logits.argmax(-1) == gold)


def calibration_of_labels(logits: np.ndarray, gold: np.ndarray) -> Calibration:
    """The same for yes-or-no decisions: `logits` and `gold` `[n]`, one entry per label of each example."""
    return _calibration(expit(np.abs(logits)), (logits > 0) == (gold > 0.5))


def _calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = place == number
        if inside.any():
            bins.append(Bin(confidence=confidence[inside].mean(), right=right[inside].mean(), rows=int(inside.sum())))
    return Calibration(bins=bins, error=sum(abs(one.confidence - one.right) * one.rows for one in bins) / len(right))


def _difference(data: TaskData, task: Task, student: Said, teacher: Said) -> Difference | None:
    """Student minus teacher, with the error of the paired difference; `None` if they read different words of a row."""
    gold: Any = student.gold
    if data.kind == "tagging":
        lengths = [[len(row) for row in one.tags] for one in (student, teacher)]
        if lengths[0] != lengths[1]:
            return None
        ours, theirs = (_padded(one.tags) for one in (student, teacher))
        gold = _padded(student.gold_tags)
    else:
        limits = task.answer_limits
        ours, theirs = (outcomes(data, one.encoded, one.logits, limits=limits) for one in (student, teacher))
    found = difference(data, [ours], [theirs], gold)
    return Difference(than="the teacher", d=found.value, se=found.error)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    whole = np.full((len(rows), max(map(len, rows))), IGNORED)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = row
    return whole


def _layers(shape: PretrainedConfig) -> int:
    counted: Any = shape
    return int(counted.num_hidden_layers)


def _matched(source: Finished, student: int, teacher: int) -> list[Matched]:
    """The layers that the terms of all stages compared."""
    assert source.run is not None
    found = []
    for stage in stages_of(source.run):
        for term in stage.objective.terms:
            if term.weight == 0 or stage.objective.intermediate_weight == 0:
                continue
            try:
                pairs = MAPPING[term.mapping.name].function(teacher, student, **term.mapping.options)
            except ConfigError:
                continue
            name = f"{term.loss}, {term.mapping.name}" + (f" ({stage.name})" if source.run.stages else "")
            found.append(Matched(term=name, pairs=[(pair.student, pair.teacher) for pair in pairs]))
    return found
