"""Which token of a teacher corresponds to which token of its student, when their tokenizers differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distiller.models.layouts import Summary


def paired(
    student: Mapping[str, Any], teacher: Mapping[str, Any], summaries: tuple[Summary, Summary]
) -> dict[str, Any]:
    """One row in the tokens of a student, with the same row in its teacher's tokens as `teacher`.

    Where the characters of both models' tokens are known, it also has `teacher_places`: see `places_of_teacher`. An
    output for which the teacher saw no text, because its own limit cut the text before, no longer counts.
    """
    row = {**student, "teacher": teacher}
    spans, theirs = student.get("characters"), teacher.get("characters")
    if spans is None or theirs is None:
        return row
    places, seen = places_of_teacher(spans, theirs, summaries)
    row["teacher_places"] = places.tolist()
    if "output_mask" in row:
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
