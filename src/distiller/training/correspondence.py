"""Which token of a teacher corresponds to which token of its student, when their tokenizers differ."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from distiller.models.layouts import Summary
from distiller.models.signals import Signals
from distiller.objectives.prediction import mask_positions
from distiller.tasks.encode import NO_ANSWER_HERE, NOWHERE


def paired(
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    summaries: tuple[Summary, Summary],
    *,
    answers: bool = False,
) -> dict[str, Any]:
    """One row in the tokens of a student, with the same row in its teacher's tokens as `teacher`.

    Where the characters of both models' tokens are known, it also has `teacher_places`: see `places_of_teacher`. An
    output for which the teacher saw no text, because its own limit cut the text before, no longer counts. A window of a
    question, for which `answers` is set, has `teacher_starts` and `teacher_ends` instead: see `answers_of_teacher`.
    """
    row = {**student, "teacher": teacher}
    spans, theirs = student.get("characters"), teacher.get("characters")
    if spans is None or theirs is None:
        return row
    places, seen = places_of_teacher(spans, theirs, summaries)
    row["teacher_places"] = places.tolist()
    if answers:
        starts, ends = answers_of_teacher(spans, theirs)
        row["teacher_starts"], row["teacher_ends"] = starts.tolist(), ends.tolist()
    elif "output_mask" in row:
        row["output_mask"] = (np.asarray(row["output_mask"]) * seen).tolist()
    return row


def places_of_teacher(
    student: np.ndarray, teacher: np.ndarray, summaries: tuple[Summary, Summary]
) -> tuple[np.ndarray, np.ndarray]:
    """For each token of the student the position of the teacher's token with its first character; whether there is one.

    `student` `[n, 2]` and `teacher` `[m, 2]` are `EncodedSplit.characters` of one row. The tokens that stand for the
    whole text, the first or the last as `summaries` say for both, correspond if the student's is a special one; any
    other special token of the student corresponds to what follows the text before it in the teacher's tokens.
    """
    text = np.flatnonzero(teacher[:, 0] < teacher[:, 1])  # neither special tokens nor spaces
    ours = student[:, 0] >= 0
    if not len(text):
        return np.zeros(len(student), dtype=np.int64), ~ours
    begins = teacher[text, 0]
    before = np.searchsorted(begins, student[:, 0], side="right") - 1
    seen = ~ours | ((before >= 0) & (student[:, 0] < teacher[text[before], 1]))
    # the first of several tokens that begin there, such as the bytes of a character
    first = np.searchsorted(begins, student[:, 0])
    exact = begins[np.minimum(first, len(begins) - 1)] == student[:, 0]
    places = text[np.where(exact, first, np.maximum(before, 0))]
    for place in np.flatnonzero(~ours).tolist():
        behind = student[:place, 1].max(initial=-1)
        known = np.searchsorted(begins, behind) - 1
        places[place] = 0 if known < 0 else min(text[known] + 1, len(teacher) - 1)
    ends: dict[Summary, int] = {"first": 0, "last": -1}
    summary = ends[summaries[0]]
    if not ours[summary]:
        places[summary] = range(len(teacher))[ends[summaries[1]]]
    return places, seen


def answers_of_teacher(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the teacher has what it says of an answer that begins, or ends, with each token of the student.

    It begins with the teacher's token that has the first character, and ends with the one that has the last. Where
    several tokens of the student share one, an answer begins with the first of them and ends with the last. The token
    that stands for no answer goes with the teacher's. The position is `NOWHERE` for any other token: its probability is
    0. `student` `[n, 2]` and `teacher` `[m, 2]` are `EncodedSplit.characters` of one window.
    """
    starts, ends = (np.full(len(student), NOWHERE, dtype=np.int64) for _ in range(2))
    own, other = (np.flatnonzero(spans[:, 0] < spans[:, 1]) for spans in (student, teacher))
    if len(own) and len(other):
        begins = teacher[other, 0]
        for found, characters in ((starts, student[own, 0]), (ends, student[own, 1] - 1)):
            places = np.searchsorted(begins, characters, side="right") - 1
            there = (places >= 0) & (characters < teacher[other[places], 1])
            if found is starts:  # the first of several tokens that begin there, such as the bytes of a character
                places = np.searchsorted(begins, begins[places])
            found[own[there]] = other[places[there]]
        starts[1:][starts[1:] == starts[:-1]] = NOWHERE
        ends[:-1][ends[:-1] == ends[1:]] = NOWHERE
    for null, place in zip(_null(student), _null(teacher), strict=False):
        starts[null] = ends[null] = place
    return starts, ends


def _null(spans: np.ndarray) -> list[int]:
    return np.flatnonzero(spans[:, 0] == NO_ANSWER_HERE).tolist()


def at_student(signals: Signals, view: Mapping[str, Any]) -> Signals:
    """A teacher's signals at the tokens of its student; `view` is a batch of rows that were `paired`."""
    mask = view["attention_mask"]
    moved = signals.at(view["teacher_places"], mask)
    if "teacher_starts" not in view:
        return moved
    outputs = replace(signals, hidden_states={})
    said = []
    for number, places in enumerate((view["teacher_starts"], view["teacher_ends"])):
        logits = outputs.at(places.clamp(min=0), mask).logits[..., number]
        said.append(mask_positions(logits, places != NOWHERE))
    return replace(moved, logits=torch.stack(said, dim=-1))
