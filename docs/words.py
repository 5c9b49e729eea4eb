"""Types and defaults in words, for tables of options."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

HUGE = 2**31
"""A bound that is only there so that a number fits its type is not worth a word."""


def written(value: Any) -> str:
    """A default as one writes it in YAML."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def type_text(hint: Any) -> str:
    """A type in words: `number > 0`, `one of skip, last`, `whole number ≥ 1 or null`."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *extras = get_args(hint)
        bounds = [bound for extra in extras for bound in (getattr(extra, "metadata", None) or [extra])]
        return " ".join([type_text(inner), " and ".join(filter(None, map(bound_text, bounds)))]).strip()
    if origin in (Union, UnionType):
        return " or ".join(type_text(part) for part in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(f"`{written(value)}`" for value in get_args(hint))
    if origin in (list, tuple) and get_args(hint):
        return f"list of {type_text(get_args(hint)[0])}"
    if origin in (dict, Mapping):
        return "mapping"
    names = {
        float: "number",
        int: "whole number",
        bool: "`true` or `false`",
        str: "text",
        NoneType: "`null`",
        Any: "anything",
    }
    return names.get(hint) or f"`{getattr(hint, '__name__', hint)}`"


def bound_text(bound: Any) -> str:
    """`≥ 0` for `Ge(0)`; nothing for what is not a bound."""
    for kind, sign, attribute in ((Gt, ">", "gt"), (Ge, "≥", "ge"), (Lt, "<", "lt"), (Le, "≤", "le")):
        if isinstance(bound, kind) and getattr(bound, attribute) < HUGE:
            return f"{sign} {getattr(bound, attribute)}"
    return ""


def cell(text: str) -> str:
    """Text that can stand in a table cell."""
    return text.replace("|", "\\|")
