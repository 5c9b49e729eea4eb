"""Pairs of texts as tokens, padded between the texts so that all second texts begin at the same position."""

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(
    features: Sequence[Mapping[str, Any]], *, separator: int, fill: Mapping[str, int], limit: int
) -> list[dict[str, Any]]:
    """The rows with padding before the first `separator`, so that second texts begin alike within `limit` tokens.

    `fill` is the padding of each column of tokens. Where it has no `labels`, a list of labels holds positions, which
    move with their tokens. A row whose first text is too long for this stays as it is.
    """
    ends = [feature["input_ids"].index(separator) for feature in features]
    behind = max(len(feature["input_ids"]) - end for feature, end in zip(features, ends, strict=True))
    begin = min(max(ends), limit - behind)
    return [_widened(feature, end, max(0, begin - end), fill) for feature, end in zip(features, ends, strict=True)]


def _widened(feature: Mapping[str, Any], place: int, count: int, fill: Mapping[str, int]) -> dict[str, Any]:
    columns = {
        name: [*feature[name][:place], *[value] * count, *feature[name][place:]]
        for name, value in fill.items()
        if name in feature
    }
    labels = feature.get("labels")
    if isinstance(labels, list) and "labels" not in fill:
        columns["labels"] = [label + count if label >= place else label for label in labels]
    return {**feature, **columns}
