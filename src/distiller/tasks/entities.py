"""Scores of entities: spans of words marked by tags such as B-PER, I-PER and O. Only whole entities count."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from distiller.errors import importing

Tags = Sequence[Sequence[str]]
"""The tag names of sentences, one per word."""

Scheme = Literal["IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU"]

BEFORE, BEHIND = re.compile(r"([BIESLUM])[-_](.+)"), re.compile(r"(.+)[-_]([BIESLUM])")
"""Tags with the position in an entity before its type (B-PER, B_PER) or after it (PER-B, PER_B)."""
LENIENT = {"L": "E", "U": "S", "M": "I"}
"""L(ast) and U(nit) of BILOU and M(iddle) of BMES, by their names in the lenient reading: E(nd), S(ingle) and
I(nside)."""


def marks_entities(labels: Sequence[str]) -> bool:
    """Whether every tag is O or states the position in an entity, all before or all after its type; not all are O."""
    marked = [tag for tag in labels if tag != "O"]
    return bool(marked) and any(all(map(form.fullmatch, marked)) for form in (BEFORE, BEHIND))


def entity_f1(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """F1 of entities, which must have the right type, first and last word; 0 if none is predicted or there is none.

    Without `scheme`, tags are read like `conlleval` does: a misplaced I- begins an entity, and IOB1, IOB2, IOBES and
    BILOU need not be told apart. With `scheme`, tags that violate it mark nothing. Source: seqeval.
    """
    return _score("f1_score", predictions, labels, scheme)


def entity_precision(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """Share of the predicted entities that are correct; 0 if none is predicted. Options as for `entity_f1`."""
    return _score("precision_score", predictions, labels, scheme)


def entity_recall(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """Share of the gold entities that are found; 0 if there are none. Options as for `entity_f1`."""
    return _score("recall_score", predictions, labels, scheme)


def check_installed() -> None:
    """Raise `MissingPackageError` without seqeval: before a training, not at its first score."""
    with importing("scores of entities need", extra="tagging"):
        import seqeval  # noqa: F401


def _score(name: str, predictions: Tags, labels: Tags, scheme: Scheme | None) -> float:
    check_installed()
    from seqeval import metrics
    from seqeval import scheme as schemes

    options: dict[str, Any] = {"zero_division": 0}
    if scheme is not None:
        options |= {"mode": "strict", "scheme": getattr(schemes, scheme)}
        gold, guess = ([list(tags) for tags in side] for side in (labels, predictions))
    else:
        gold, guess = ([[_as_iobes(tag) for tag in tags] for tags in side] for side in (labels, predictions))
    return float(getattr(metrics, name)(gold, guess, **options))


def _as_iobes(tag: str) -> str:
    """`tag` in the form B-PER, with a position of IOBES."""
    if before := BEFORE.fullmatch(tag):
        place, kind = before.groups()
    elif behind := BEHIND.fullmatch(tag):
        kind, place = behind.groups()
    else:
        return tag
    return f"{LENIENT.get(place, place)}-{kind}"
