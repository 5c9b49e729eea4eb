"""Runs and studies to copy and edit: one YAML file each, listed by `distiller recipes`."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from distiller.errors import ConfigError, did_you_mean

STUDY = "study-"
"""How the names of studies begin; every other recipe is a run."""


EXAMPLE = ("name", "train", "dev", "test")
"""Fields of a recipe's task that say which data it is."""


def texts() -> dict[str, str]:
    """Every recipe of a run by name, as YAML text."""
    return {name: text for name, text in _all().items() if not name.startswith(STUDY)}


def study_texts() -> dict[str, str]:
    """Every recipe of a study by name, as YAML text."""
    return {name: text for name, text in _all().items() if name.startswith(STUDY)}


def is_name(source: str | Path) -> bool:
    """Whether `source` can only be the name of a recipe: neither a path nor a file."""
    path = Path(source)
    return path.name == str(source) and not path.suffix and not path.exists()


def recipe_text(name: str) -> str:
    """The YAML of one recipe. Raises `ConfigError` that names the closest one."""
    known = _all()
    if name not in known:
        raise ConfigError(f"no recipe is called `{name}`", hint=did_you_mean(name, list(known)))
    return known[name]


def with_own_data(recipe: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`recipe` without the data that its task names, which are an example, where `overrides` name others to train on:
    a table, also as the one `source` of a translation."""
    named = {override.partition("=")[0] for override in overrides}
    if "task.train" not in named and named & {"task.train.source", "task.train.target"} != {"task.train.source"}:
        return dict(recipe)
    kept = {field: value for field, value in recipe["task"].items() if field not in EXAMPLE}
    return {**recipe, "task": kept}


def summary(text: str) -> str:
    """The first comment line of a recipe."""
    return text.partition("\n")[0].removeprefix("#").strip()


def _all() -> dict[str, str]:
    place = resources.files("distiller.recipes")
    files = [file for file in place.iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}
