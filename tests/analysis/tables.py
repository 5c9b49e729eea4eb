"""Tables of made-up trials whose analysis is known."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import pytest


def grid(levels: Mapping[str, Sequence[object]], score: Callable[..., float], *, repeats: int = 1) -> Any:
    """Every combination of `levels`, `repeats` times, with `score` of its values (by position), as a frame."""
    pd = pytest.importorskip("pandas")
    rows = [
        {**{name: str(value) for name, value in zip(levels, values, strict=True)}, "score": score(*values)}
        for values in product(*levels.values())
        for _ in range(repeats)
    ]
    return pd.DataFrame(rows)
