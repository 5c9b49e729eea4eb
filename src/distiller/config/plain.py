"""Plain data, as a run is written: YAML in and out, `a.b=value` overrides, and what no run can contain."""

import json
import re
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from distiller.errors import ConfigError

DEEPEST, MOST = 40, 100_000
"""Levels and values of plain data: more is a mistake, or a text made to fill the memory."""
MARKS = tuple(",|:;&*!%@`#>?-")
"""What alone is a separator of cells, and would be half of something else in YAML."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, read as `load_yaml` does."""
    try:
        data = load_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file `{path}`", hint="`distiller recipes` lists recipes, `distiller init NAME` writes one"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"`{path}` is a folder, not a YAML file", hint="name the .yaml file in it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path}` is not UTF-8 text: byte {error.start}", hint="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {error.strerror}", hint="name a .yaml file") from None
    except ValueError as error:  # of the YAML, or a name that no file can have
        reason = str(error)
        raise ConfigError(
            f"`{printable(path)}` is not valid YAML: {reason}", hint=_yaml_hint(str(path), reason)
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(f"`{path}` should hold `key: value` lines", hint="see `distiller init --help`")
    return data


def _yaml_hint(path: str, reason: str) -> str:
    """What to do about a file that is no YAML for a `reason`."""
    if path.lower().endswith(".toml"):
        return "a run is written in YAML, `name: value`, or in JSON; `distiller init RECIPE` writes one to start from"
    if "'\\t'" in reason:
        return "write blanks for the tab: YAML is indented by them alone"
    if "twice" in reason:
        return "leave one of them out"
    return "quote texts that hold `: ` or `#`"


def load_yaml(text: str) -> Any:
    """Plain data from YAML, nothing executed. Raises `ValueError` in one line, for a key given twice too."""
    if _deepest(text) > 10 * DEEPEST:  # the parser takes minutes for what it refuses in the end
        raise ValueError("it is nested too deeply")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {said}" if mark else said) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _deepest(text: str) -> int:
    """How many brackets are open at once; those in quotes count too, of which no run has hundreds."""
    depth = deepest = 0
    for mark in re.findall(r"[\[\]{}]", text):
        depth = max(0, depth + (1 if mark in "[{" else -1))
        deepest = max(deepest, depth)
    return deepest


class _Loader(yaml.SafeLoader):
    """The safe loader, to which yes, no, on and off are words, as in YAML 1.2: they are class names too.

    It refuses what YAML leaves open: which of two values of one key counts.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                where: Any = key.start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key.value}` is given twice", where)
            seen.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def refuse_impossible(data: Any, where: str) -> None:
    """Raise `ConfigError` for data that no run has: values that no file name, number or memory can hold."""
    count = 0
    waiting: list[tuple[Any, str, int]] = [(data, "", 0)]
    while waiting:
        value, path, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > MOST:
            much = f"more than {DEEPEST} levels" if depth > DEEPEST else f"more than {MOST:,} values"
            raise ConfigError(f"{where}: there are {much} of data", hint="a run has a few dozen lines")
        if isinstance(value, Mapping):
            for key, inner in value.items():
                waiting.append((key, path, depth + 1))
                name = str(key) if isinstance(key, str) else type(key).__name__
                waiting.append((inner, f"{path}.{name}" if path else name, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(inner, f"{path}.{n}", depth + 1) for n, inner in enumerate(value)]
        elif isinstance(value, str) and printable(value) != value:
            raise ConfigError(
                f"{where}: `{printable(path)}` holds a character that is no text: {printable(value):.60}",
                hint="write it without NUL and in UTF-8",
            )
        elif isinstance(value, int) and value.bit_length() > 1024:
            raise ConfigError(f"{where}: `{path}` is a whole number of {value.bit_length()} bits", hint="is it a text?")


def printable(text: Any) -> str:
    """`text` with what no UTF-8 file can hold written as an escape."""
    return str(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def to_yaml(config: BaseModel, *, exclude_defaults: bool = False) -> str:
    """YAML text that `parse_run` turns back into an equal object."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=exclude_defaults),
        sort_keys=False,
        allow_unicode=True,
        width=110,
    )


def apply_override(data: Mapping[str, Any], override: str) -> dict[str, Any]:
    """`data` with one `a.b.0.c=value` applied; the value is read as YAML. Missing mappings on the way are made.

    A sentence with a colon, as a prompt may be, is text.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        example = "training.epochs=5"
        if isfile(override):
            example = f"task.dev={override}, which names what the file is for"
        raise ConfigError(f"`{printable(override):.200}` is not of the form key=value", hint=f"e.g. {example}")
    try:
        value = text if text in MARKS else load_yaml(text)
    except ValueError as error:
        shown = f"{printable(override):.80}"
        reason = f": {error}" if "twice" in str(error) else ""
        quoted = "" if len(text) > 80 or "'" in text else f": '{path}={json.dumps(text, ensure_ascii=False)}'"
        raise ConfigError(f"the value of `{shown}` is not valid YAML{reason}", hint=f"quote it{quoted}") from None
    if isinstance(value, Mapping) and not text.lstrip().startswith("{") and not _are_fields(value):
        value = text
    return _with(data, path.split("."), value, path)


def _are_fields(value: Mapping[Any, Any]) -> bool:
    """Whether these may be fields with values, and not words before and behind a colon."""
    return all(re.fullmatch("[a-z_][a-z0-9_]*", str(key)) and inner is not None for key, inner in value.items())


def _with(node: Any, keys: list[str], value: Any, path: str) -> Any:
    if not keys:
        return value
    key, *rest = keys
    if isinstance(node, list):
        if not key.isdigit() or int(key) > len(node):
            raise ConfigError(
                f"`{path}`: `{key}` is not a position in a list of {len(node)}", hint="positions count from 0"
            )
        copy = [*node]
        copy[int(key) : int(key) + 1] = [_with(node[int(key)] if int(key) < len(node) else None, rest, value, path)]
        return copy
    if isinstance(node, str):  # the short form of a component
        node = {"name": node}
    if node is None:
        node = [] if key.isdigit() else {}
        return _with(node, keys, value, path)
    if not isinstance(node, Mapping):
        raise ConfigError(f"`{path}`: there is nothing below `{node}` to set", hint="leave out what follows it")
    return {**node, key: _with(node.get(key), rest, value, path)}
