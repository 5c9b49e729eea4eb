"""Scores of entities: spans of words that tags such as B-PER, I-PER and O mark. An entity counts only as a whole."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from distiller.errors import importing

Tags = Sequence[Sequence[str]]
"""Tag names of sentences, one for each word."""

Scheme = Literal["IOB1", "IOB2", "IOE1", "IOE2", "IOBES", "BILOU"]

BEFORE, BEHIND = re.compile(r"([BIESLUM])[-_](.+)"), re.compile(r"(.+)[-_]([BIESLUM])")
"""The position in an entity and its type, as tags have them: B-PER, B_PER; or PER-B, PER_B."""
LENIENT = {"L": "E", "U": "S", "M": "I"}
"""L(ast) and U(nit) of BILOU, and M(iddle) of BMES, under the names that the lenient reading knows: E(nd), S(ingle)
and I(nside)."""


def marks_entities(labels: Sequence[str]) -> bool:
    """Whether every tag is O or has the position in an entity, all before its type or all behind, and not all are O."""
    marked = [tag for tag in labels if tag != "O"]
    return bool(marked) and any(all(map(form.fullmatch, marked)) for form in (BEFORE, BEHIND))


def entity_f1(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """F1 of entities: the right type, first and last word; 0 when none is predicted or there.

    Without `scheme` tags are read as `conlleval` does: a misplaced I- begins an entity, and IOB1, IOB2, IOBES and
    BILOU need no telling apart. With it, tags that break the scheme mark nothing. Source: seqeval.
    """
    return _score("f1_score", predictions, labels, scheme)


def entity_precision(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """Share of predicted entities that are right; 0 when none is predicted. Options as of `entity_f1`."""
    return _score("precision_score", predictions, labels, scheme)


def entity_recall(predictions: Tags, labels: Tags, *, scheme: Scheme | None = None) -> float:
    """Share of entities that are found; 0 when there are none. Options as of `entity_f1`."""
    return _score("recall_score", predictions, labels, scheme)


def check_installed() -> None:
    """Raise `MissingPackageError` before any training rather than at the first score."""
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
    """`tag` as B-PER is written, with a position that the lenient reading knows."""
    if before := BEFORE.fullmatch(tag):
        place, kind = before.groups()
    elif behind := BEHIND.fullmatch(tag):
        kind, place = behind.groups()
    else:
        return tag
    return f"{LENIENT.get(place, place)}-{kind}"
