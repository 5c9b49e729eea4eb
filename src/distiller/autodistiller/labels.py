"""Reads the label of a level: components by name with their options, as `study.config.label_of` writes them."""

import re
from functools import cache


@cache
def components(label: str) -> tuple[tuple[str, str], ...]:
    """The components of a label in order, each with the text of its options.

    >>> components("contextual(model=m)+random+mixup")
    (('contextual', 'model=m'), ('random', ''), ('mixup', ''))
    """
    if label in ("", "none", "null"):
        return ()
    parts: list[str] = [""]
    depth = 0
    for sign in label:
        depth += (sign in "([") - (sign in ")]")
        if sign == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return tuple((name, rest.removesuffix(")")) for name, _, rest in (part.partition("(") for part in parts))


def names(label: str) -> tuple[str, ...]:
    """The names of the components of a label, in order."""
    return tuple(name for name, _ in components(label))


def alpha(label: str) -> float:
    """The `alpha` of a mutual-information objective; NaN for every other level."""
    found = re.search(r"(?:^|[(, ])alpha=([-+.\deE]+)", label)
    return float(found.group(1)) if found and label.startswith("mi_") else float("nan")


def operators(label: str) -> int:
    """How many augmentation operators a level of `augmentation` has."""
    return len(components(label))
