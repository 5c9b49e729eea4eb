"""The reference pages of public names, of commands and of configuration, read off the package itself."""

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args, get_type_hints

import typer.main
from pydantic.fields import FieldInfo
from words import cell, type_text, written

import distiller
from distiller import errors
from distiller.cli import app
from distiller.config import Config

HIDDEN = ("distiller.cli", "distiller.config", "distiller.recipes")
"""Packages without a page of names: the command, what a configuration can hold (a page of its own), and files."""
ERRORS = [name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__]
"""What a program may want to catch."""
MODULES: dict[str, list[str] | None] = {"distiller.losses": None, "distiller.errors": ERRORS}
"""Modules that have a page beside the packages, and their names where they do not say `__all__`."""
ROOTS = {
    "A run": ("distiller.config", "Run"),
    "A study": ("distiller.study", "Study"),
    "A run whose task is a translation": ("distiller.config.translation", "TranslationRun"),
}
"""What a file of configuration can hold."""

COMMANDS_LEAD = """\
Data goes to stdout, words go to stderr. A mistake is one line with a hint and exit code 2; Ctrl-C ends with 130 and
says how to go on. `KEY=VALUE` changes a field of the [configuration](config.md), e.g. `training.epochs=5`. Tables are
as wide as the terminal, 80 columns in a file or a pipe (`COLUMNS` says otherwise); `--json` gives the same as data.
`distiller --install-completion` teaches your shell the commands, `distiller --version` prints the version."""
CONFIGURATION_LEAD = """\
What a run file can hold, and a study and a translation run. Unknown keys are refused everywhere. In a file a part is a
mapping; on the command line `part.field=value` changes one field; in Python the parts are classes:
`Run(task=Task(train="reviews.csv"), …)`. `distiller check run.yaml` prints a run with all defaults filled in."""


def public_names() -> dict[str, list[str]]:
    """Every package and module that gives something, with what it gives."""
    packages = [f"distiller.{found.name}" for found in iter_modules(distiller.__path__) if found.ispkg]
    found = {name: list(import_module(name).__all__) for name in ["distiller", *packages] if name not in HIDDEN}
    for module, listed in MODULES.items():
        found[module] = listed or list(import_module(module).__all__)
    return found


def of_package(package: str, listed: list[str]) -> str:
    """A page on which mkdocstrings shows the names that `package` gives."""
    told = inspect.getdoc(import_module(package)) or ""
    lines = [
        f"# `{package}`",
        "",
        told,
        "",
        f"`from {package} import …` gives the names below; others are private.",
        "",
    ]
    return "\n".join([*lines, *(f"::: {package}.{name}\n" for name in listed)])


def commands() -> str:
    """A page of every command: what it does, what it takes, how it is used."""
    lines = ["# Commands", ""]
    lines += [*COMMANDS_LEAD.splitlines(), ""]
    for name, command in leaves(typer.main.get_command(app)):
        lines += [f"## distiller {name}", "", *prose(command.help or ""), ""]
        usage = " ".join(part for part in (argument_text(one) for one in command.params) if part)
        lines += ["```text", f"distiller {name} {usage} [OPTIONS]".replace("  ", " "), "```", ""]
        lines += parameters(command)
        examples = getattr(command, "examples", [])
        if examples:
            lines += ["```console", *examples, "```", ""]
    return "\n".join(lines)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name as it is typed."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, below in command.commands.items():
        if not below.hidden:
            yield from leaves(below, (*path, name))


def prose(text: str) -> list[str]:
    """The paragraphs of a docstring."""
    return inspect.cleandoc(text).splitlines()


def argument_text(parameter: Any) -> str:
    """An argument as a usage line names it; nothing for an option."""
    if parameter.param_type_name != "argument":
        return ""
    name = parameter.metavar or (parameter.name or "").upper()
    many = "..." if parameter.nargs == -1 and not name.endswith("]") else ""
    return f"{name}{many}" if parameter.required else f"[{name}]{many}"


def parameters(command: Any) -> list[str]:
    """A table of arguments and options."""
    lines = ["| argument or option | what it is | default |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = f"`{parameter.metavar or (parameter.name or '').upper()}`"
        else:
            shown = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        default = "required" if parameter.required else default_text(parameter)
        lines.append(f"| {shown} | {cell(parameter.help or '')} | {default} |")
    return [*lines, ""]


def default_text(parameter: Any) -> str:
    """The default of an option; a switch is off, or on."""
    value = parameter.default
    if value is None or value == [] or callable(value):
        return ""
    if isinstance(value, bool):
        return "on" if value else ("off" if parameter.secondary_opts else "")
    return f"`{value}`"


def configuration() -> str:
    """A page with a table for each class that a file of configuration can hold."""
    lines = ["# Configuration", ""]
    lines += [*CONFIGURATION_LEAD.splitlines(), ""]
    done: set[type[Config]] = set()
    for title, (module, name) in ROOTS.items():
        lines += [f"## {title}", ""]
        for kind in reachable(getattr(import_module(module), name)):
            if kind not in done:
                done.add(kind)
                lines += of_class(kind)
    return "\n".join(lines)


def reachable(root: type[Config]) -> list[type[Config]]:
    """The classes of `root` and its parts, in the order in which its fields name them."""
    found: list[type[Config]] = []

    def visit(kind: type[Config]) -> None:
        if kind in found:
            return
        found.append(kind)
        for hint in hints_of(kind).values():
            for part in parts_of(hint):
                visit(part)

    visit(root)
    return found


def hints_of(kind: type[Config]) -> dict[str, Any]:
    """The types of the fields of `kind`."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.model_fields}


def parts_of(annotation: Any) -> Iterator[type[Config]]:
    """The classes of configuration that a type names."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for inner in get_args(annotation):
        yield from parts_of(inner)


def anchor(kind: type[Config]) -> str:
    """The name by which programs import a class of configuration."""
    places = ("distiller.config", "distiller.config.translation", kind.__module__)
    public = next(place for place in places if getattr(import_module(place), kind.__name__, None) is kind)
    return f"{public}.{kind.__qualname__}"


def of_class(kind: type[Config]) -> list[str]:
    """A heading that links can name, what the class is, and a table of its fields."""
    lines = [f"### {kind.__name__} {{ #{anchor(kind)} }}", "", inspect.getdoc(kind) or "", ""]
    lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
    hints = hints_of(kind)
    for name, field in kind.model_fields.items():
        meaning = cell(" ".join((field.description or summary(hints[name])).split()))
        lines.append(f"| `{name}` | {cell(field_type(hints[name]))} | {field_default(field)} | {meaning} |")
    return [*lines, ""]


def summary(hint: Any) -> str:
    """What the part that a field holds is: the first sentence of its class."""
    part = next(parts_of(hint), None)
    return (inspect.getdoc(part) or "").partition("\n\n")[0] if part else ""


def field_type(hint: Any) -> str:
    """The type of a field in words, with its bounds; a part is a link to its table."""
    text = type_text(hint)
    for part in parts_of(hint):
        text = text.replace(f"`{part.__name__}`", f"[{part.__name__}](#{anchor(part)})")
    return text


def field_default(field: FieldInfo) -> str:
    """The default as one writes it in YAML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Config):
        changed = value.model_dump(exclude_defaults=True)
        return f"`{in_yaml(changed)}`" if changed else "its defaults"
    return f"`{in_yaml(value)}`"


def in_yaml(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(in_yaml(inner) for inner in value) + "]"
    if isinstance(value, Config):
        return in_yaml(value.model_dump(exclude_defaults=True))
    return '""' if value == "" else written(value)
