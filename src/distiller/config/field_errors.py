"""Messages about fields with wrong values: pydantic's errors as one line with a hint."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from distiller.errors import ConfigError, did_you_mean


def config_error(error: ValidationError, root: type[BaseModel], where: str) -> ConfigError:
    """The first of pydantic's errors about a `root`, as one that begins with `where` and names the field."""
    found = error.errors()
    first = found[0]
    if "constrained-" in str(first["loc"][-1:]):  # a number, where parts may stand too
        place = first["loc"][:-1]
        inner = [one for one in found if one["loc"][: len(place)] == place and len(one["loc"]) > len(place) + 1]
        first = {**inner[0], "loc": (*place, *inner[0]["loc"][len(place) + 1 :])} if inner else {**first, "loc": place}
    owner, path = _owner(root, first["loc"])
    location = ".".join(map(str, path))
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), list(owner.model_fields))
        if hint.startswith("one of") and "options" in owner.model_fields:
            own = ".".join(map(str, [*path[:-1], "options", path[-1]]))
            hint = f"what only some of its kind have belongs in `options`: {own}"
        return ConfigError(f"{where}: no field is called `{location}`", hint=hint)
    if first["type"] == "no_component":
        return ConfigError(f"{where}: `{location}`: {first['msg']}", hint=first.get("ctx", {}).get("hint"))
    written = _to_write(first["input"], text=first["type"] == "string_type")
    if written and path:
        return ConfigError(f"{where}: `{location}` is a file or a name, got {written[0]}", hint=written[1])
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), location)  # a key may be a number
    meaning = _meaning(owner, name)
    if first["type"] == "missing":
        hint = meaning or "`distiller init RECIPE` writes a complete run"
        return ConfigError(f"{where}: `{location}` is missing", hint=hint)
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    given = f"{first['input']!r:.60}"
    if not path and first["type"] == "model_type":
        return ConfigError(f"{where} has fields, got {given}", hint=_as_fields(root, first))
    if not path:
        return ConfigError(f"{where}: {reason}", hint="`distiller init RECIPE` writes a run to start from")
    if first["type"] == "model_type":
        part = _class_of(owner.model_fields[name].annotation) if name in owner.model_fields else None
        return ConfigError(f"{where}: `{location}` has fields, got {given}", hint=_as_fields(part, first))
    return ConfigError(
        f"{where}: `{location}`: {reason}, got {given}", hint=meaning or "`distiller check RUN` prints a run in full"
    )


def _meaning(owner: type[BaseModel], name: str) -> str:
    """What the field `name` of `owner` is, as a hint; empty where it says nothing."""
    said = owner.model_fields[name].description if name in owner.model_fields else None
    return f"`{name}`: {' '.join(said.split())}" if said else ""


def _to_write(value: Any, *, text: bool) -> tuple[str, str] | None:
    """What rows at hand are called, and how a run that can be repeated names them; `None` for anything else.

    Lists and mappings are taken for rows where `text` was to be given.
    """
    kind = type(value).__name__
    if hasattr(value, "column_names") and hasattr(value, "to_json"):  # `datasets.Dataset`
        return f"a {kind}", 'a run names its rows: data.to_json("train.jsonl"), then train="train.jsonl"'
    if hasattr(value, "to_csv"):  # pandas
        return f"a {kind}", 'a run names its rows: frame.to_csv("train.csv", index=False), then train="train.csv"'
    if isinstance(value, Mapping) and value and all(hasattr(part, "to_json") for part in value.values()):
        return f"a {kind}", 'a run names its rows: data["train"].to_json("train.jsonl"), then train="train.jsonl"'
    rows = isinstance(value, list) and len(value) > 0 and all(isinstance(row, Mapping) for row in value)
    columns = isinstance(value, Mapping) and len(value) > 0 and all(isinstance(one, list) for one in value.values())
    if text and (rows or columns):
        frame = 'pandas.DataFrame(rows).to_csv("train.csv", index=False)'
        return "rows", f'a run names its rows: {frame}, then train="train.csv"'
    return None


def _as_fields(part: type[BaseModel] | None, error: Mapping[str, Any]) -> str:
    """How to write what was given without its field: `{loss: mse}` for `mse`, where a part needs but one."""
    fields = part.model_fields if part is not None else {}
    needed = [name for name, field in fields.items() if field.is_required()]
    if len(needed) == 1 and isinstance(error["input"], str):
        return f"`{{{needed[0]}: {error['input']:.60}}}`"
    return "they are " + ", ".join(fields) if fields else "`distiller check RUN` prints a run in full"


def _owner(root: type[BaseModel], location: Sequence[str | int]) -> tuple[type[BaseModel], list[str | int]]:
    """The class that has the last field of `location`, and `location` without pydantic's names of variants."""
    owner, path = root, []
    below: type[BaseModel] | None = root
    for part in location:
        if isinstance(part, int):
            path.append(part)
        elif below is not None:
            owner = below
            path.append(part)
            field = owner.model_fields.get(part)
            below = _class_of(field.annotation) if field else None
    return owner, path


def _class_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := _class_of(inner):
            return found
    return None
