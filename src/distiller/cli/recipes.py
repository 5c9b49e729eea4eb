"""`distiller recipes` and `distiller init`: runs to copy and edit."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distiller.errors import ConfigError, OutputError, did_you_mean

if TYPE_CHECKING:
    from distiller.config import Run


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("recipes")(recipes)
    app.command("init")(init)


def recipes() -> None:
    """List the recipes that come with Distiller."""
    from distiller.cli.output import print_table

    print_table(["recipe", "what it is"], [(name, summary(text)) for name, text in texts().items()])


def init(
    recipe: Annotated[str, typer.Argument(help="A name from `distiller recipes`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path("run.yaml"),
    force: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Write a recipe to a file, to edit and run.

    Example:

        distiller init mi-alpha -o rte.yaml
    """
    text = recipe_text(recipe)
    if output.exists() and not force:
        raise OutputError(f"`{output}` exists", hint="choose another name with -o, or replace it with --force")
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write `{output}`: {error.strerror}", hint="choose another place with -o") from None
    typer.echo(f"wrote {output}; next: distiller check {output}", err=True)


def texts() -> dict[str, str]:
    """Every recipe by name, as YAML text."""
    files = [file for file in resources.files("distiller.recipes").iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): file.read_text("utf-8") for file in sorted(files, key=lambda f: f.name)}


def recipe_text(name: str) -> str:
    """The YAML of one recipe. Raises `ConfigError` that names the closest one."""
    known = texts()
    if name not in known:
        raise ConfigError(f"no recipe is called `{name}`", hint=did_you_mean(name, list(known)))
    return known[name]


def summary(text: str) -> str:
    """The first comment line of a recipe."""
    return text.partition("\n")[0].removeprefix("#").strip()


def load(source: str, overrides: list[str]) -> "Run":
    """The run in the file `source`, or of the recipe with that name."""
    import yaml

    from distiller.config import load_run, parse_run

    is_name = not Path(source).exists() and not Path(source).suffix and Path(source).name == source
    if is_name:
        return parse_run(yaml.safe_load(recipe_text(source)), overrides, where=f"recipe {source}")
    return load_run(source, overrides)
