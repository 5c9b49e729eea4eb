"""Pairs of texts in tokens, padded between the texts so that all second ones begin at the same place."""

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(
    features: Sequence[Mapping[str, Any]], *, separator: int, fill: Mapping[str, int], limit: int
) -> list[dict[str, Any]]:
    """The rows with padding before the first `separator`, as much as makes them begin alike within `limit` tokens.

    `fill` says with what each column of tokens is padded. Labels that are none of them, and a list, are positions, and
    move with their tokens. A row whose first text is longer than there is room for stays as it is.
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
