"""How fast an engine translates single sentences and a whole text. Imports no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distiller.translation.converted import Engine

WARM_UP = 16
"""Sentences translated before the clock starts."""


@dataclass(frozen=True)
class Timed:
    """The translations of an engine, and how long they took."""

    said: list[list[int]]
    """The best translation of each sentence."""
    sentences_per_second: float
    """All sentences together, in batches."""
    latency_p50: float
    """Median time of a single sentence, in milliseconds."""
    latency_p95: float
    """95th percentile."""
    singles: int
    """Number of latencies that were measured."""


def timed(run: Engine, sentences: Sequence[list[int]], singles: Sequence[int], *, repeats: int = 1) -> Timed:
    """Translate all `sentences` together, and those at the positions `singles` one by one, `repeats` times."""
    run(sentences[:WARM_UP], 0)
    started = time.perf_counter()
    found = run(sentences, 0)
    seconds = time.perf_counter() - started
    milliseconds = []
    for row in [*singles] * repeats:
        began = time.perf_counter()
        run([sentences[row]], 0)
        milliseconds.append(1000 * (time.perf_counter() - began))
    return Timed(
        said=[hypotheses[0].tokens for hypotheses in found],
        sentences_per_second=len(sentences) / seconds,
        latency_p50=float(np.percentile(milliseconds, 50)),
        latency_p95=float(np.percentile(milliseconds, 95)),
        singles=len(milliseconds),
    )
