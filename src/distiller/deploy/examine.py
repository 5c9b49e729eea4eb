"""`examine(source)`: teacher and student of a finished run on its development set, row by row."""

from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import PretrainedConfig

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
from distiller.models.load import load_config, load_model, load_tokenizer
from distiller.objectives.mapping import MAPPING
from distiller.run.plan import stages_of
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import IGNORED, Collator, EncodedSplit
from distiller.tasks.tokens import encode_split, scorer
from distiller.training.evaluate import predict_logits

BINS = 10
RESAMPLES = 200
SHOWN = 20
LONGEST = 600
"""Characters of a text that are shown."""


def examine(source: Finished) -> Examination:
    """Score, classes, calibration and disagreements of the student, and of the teacher where it is in the cache.

    Raises `DataError` where the development set is not there any more.
    """
    dev = source.tokens("dev")
    if dev is None or source.data is None or source.run is None:
        raise DataError(f"`{source.name}` has no development set to look at: {'; '.join(source.notes)}")
    split, encoded = dev
    score = scorer(source.data, source.run.task, split, encoded)
    metric = source.data.metric
    student = predict_logits(source.model, encoded, Collator(source.tokenizer)).numpy()
    place, teacher, difference = find_teacher(source), None, None
    told: list[Disagreement] = []
    if place is not None:
        model = load_model(place, kind=source.kind, labels=source.labels)
        tokenizer = load_tokenizer(place)
        task = source.run.task.model_copy(update={"truncate": True})
        read = encode_split(split, tokenizer, task, source.max_length)
        teacher = predict_logits(model, read, Collator(tokenizer)).numpy()
        if len(read) == len(encoded) and read.lengths == encoded.lengths:
            difference = _difference(score, metric, student, teacher, encoded)
            told = _disagreements(source, split, encoded, student, teacher)
        elif isinstance(split, Split):
            told = _disagreements(source, split, encoded, student, teacher)
            difference = _difference(score, metric, student, teacher, encoded)
    layers = load_config(source.folder)
    other = None if place is None else load_config(place)
    return Examination(
        metric=metric,
        rows=len(split),
        student_layers=_layers(layers),
        teacher_layers=None if other is None else _layers(other),
        matched=[] if other is None else _matched(source, _layers(layers), _layers(other)),
        student=_look(source, encoded, student, score(student, encoded.gold)[metric]),
        teacher=None if teacher is None else _look(source, encoded, teacher, score(teacher, encoded.gold)[metric]),
        difference=difference,
        disagreements=told[:SHOWN],
        share_disagreeing=len(told) / len(split) if teacher is not None else None,
        notes=list(source.notes),
    )


def _look(source: Finished, encoded: EncodedSplit, logits: np.ndarray, score: float) -> Look:
    gold = encoded.gold
    if source.kind not in ("classification", "tagging") or gold is None or source.labels is None:
        return Look(score=score)
    if source.kind == "tagging":
        scored = gold != IGNORED
        logits, gold = logits[:, : gold.shape[1]][scored], gold[scored]
    return Look(
        score=score, classes=_classes(source.labels, logits.argmax(-1), gold), calibration=calibration(logits, gold)
    )


def _classes(labels: list[str], predicted: np.ndarray, gold: np.ndarray) -> list[ClassResult]:
    found = []
    for index, name in enumerate(labels):
        hits = float(np.sum((predicted == index) & (gold == index)))
        said, there = float(np.sum(predicted == index)), float(np.sum(gold == index))
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
    """Confidence of the best class against how often it is right, in ten bins of equal width.

    `logits` `[n, c]`, `gold` class ids `[n]`. Source: Guo et al. 2017, arXiv:1706.04599.
    """
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    confidence = (shares / shares.sum(-1, keepdims=True)).max(-1)
    right = logits.argmax(-1) == gold
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = place == number
        if inside.any():
            bins.append(Bin(confidence=confidence[inside].mean(), right=right[inside].mean(), rows=int(inside.sum())))
    return Calibration(bins=bins, error=sum(abs(one.confidence - one.right) * one.rows for one in bins) / len(gold))


def _difference(
    score: Callable[[Any, Any], dict[str, float]],
    metric: str,
    student: np.ndarray,
    teacher: np.ndarray,
    encoded: EncodedSplit,
) -> Difference | None:
    """Student minus teacher, with the standard error of a paired bootstrap over rows; not for question answering,
    whose score belongs to questions, not to windows."""
    gold = encoded.gold
    if gold is None or (gold.ndim > 1 and not encoded.per_token):
        return None
    d = score(student, gold)[metric] - score(teacher, gold)[metric]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES if len(gold) > 1 else 0):
        rows = rng.integers(0, len(gold), len(gold))
        drawn.append(score(student[rows], gold[rows])[metric] - score(teacher[rows], gold[rows])[metric])
    return Difference(than="the teacher", d=d, se=float(np.std(drawn, ddof=1)) if len(drawn) > 1 else 0.0)


def _disagreements(
    source: Finished, split: AnySplit, encoded: EncodedSplit, student: np.ndarray, teacher: np.ndarray
) -> list[Disagreement]:
    """Rows where teacher and student say different things, those farthest apart first."""
    match source.kind:
        case "classification":
            found = _by_class(source.labels or [], split, student, teacher)
        case "regression":
            found = _by_number(split, student.reshape(-1), teacher.reshape(-1))
        case "tagging":
            found = _by_tag(source.labels or [], split, encoded, student, teacher)
        case _:
            found = []
    return sorted(found, key=lambda one: -one.distance)


def _by_class(labels: list[str], split: AnySplit, student: np.ndarray, teacher: np.ndarray) -> list[Disagreement]:
    assert isinstance(split, Split)
    ours, theirs = (_shares(logits) for logits in (student, teacher))
    found = []
    for row in np.flatnonzero(ours.argmax(-1) != theirs.argmax(-1)).tolist():
        said = [f"{labels[shares[row].argmax()]} ({100 * shares[row].max():.0f} %)" for shares in (theirs, ours)]
        label = None if split.labels is None else split.labels[row]
        gold = labels[label] if isinstance(label, int) else ""
        distance = float(np.abs(ours[row] - theirs[row]).sum() / 2)
        found.append(
            Disagreement(text=_text(split, row), gold=gold, teacher=said[0], student=said[1], distance=distance)
        )
    return found


def _by_number(split: AnySplit, student: np.ndarray, teacher: np.ndarray) -> list[Disagreement]:
    """Every row: numbers are never quite the same."""
    found = []
    for row, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        gold = split.labels[row] if isinstance(split, Split) and split.labels is not None else ""
        found.append(
            Disagreement(
                text=_text(split, row), gold=f"{gold:.4g}" if gold != "" else "", teacher=f"{theirs:.4g}",
                student=f"{ours:.4g}", distance=abs(float(ours - theirs)),
            )
        )  # fmt: skip
    return found


def _by_tag(
    labels: list[str], split: AnySplit, encoded: EncodedSplit, student: np.ndarray, teacher: np.ndarray
) -> list[Disagreement]:
    assert isinstance(split, TaggedSplit)
    gold = encoded.gold
    assert gold is not None
    found = []
    for row, tags in enumerate(gold):
        places = np.flatnonzero(tags != IGNORED)
        ours, theirs = (logits[row].argmax(-1)[places] for logits in (student, teacher))
        apart = np.flatnonzero(ours != theirs)
        if len(apart) == 0:
            continue
        said = [
            " ".join(f"{split.words[row][n]}/{labels[which[n]]}" for n in apart)
            for which in (tags[places], theirs, ours)
        ]
        found.append(
            Disagreement(
                text=_text(split, row), gold=said[0], teacher=said[1], student=said[2],
                distance=len(apart) / len(places),
            )
        )  # fmt: skip
    return found


def _shares(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _text(split: AnySplit, row: int) -> str:
    if isinstance(split, TaggedSplit):
        text = " ".join(split.words[row])
    elif isinstance(split, QuestionSplit):
        text = split.questions[row]
    else:
        text = split.texts[row] if split.pairs is None else f"{split.texts[row]} ∥ {split.pairs[row]}"
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


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
