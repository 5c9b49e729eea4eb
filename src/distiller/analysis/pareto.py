"""Which choices nothing else beats in both cost and score."""

from collections.abc import Sequence
from math import isnan


def pareto_front(costs: Sequence[float | None], scores: Sequence[float]) -> list[bool]:
    """For each point whether no other one costs no more, scores no less, and is better in one of the two.

    Lower `costs` and higher `scores` are better; equal points are on the front together. A point without a cost (`None`
    or NaN) is on no front and beats nothing.
    """
    front = [False] * len(costs)
    known = [(cost, -scores[n], n) for n, cost in enumerate(costs) if cost is not None and not isnan(cost)]
    best: tuple[float, float] | None = None  # cost and score of the last point that was better than all cheaper ones
    for cost, negative, n in sorted(known):
        if best is None or -negative > best[1] or (cost, -negative) == best:
            front[n] = True
            best = (cost, -negative)
    return front
