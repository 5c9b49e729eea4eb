"""Writes the pages that are read off the source: `papers.md` and what `reference/` holds on tables and modules.

python docs/generate.py           write them
python docs/generate.py --check   fail if what is there differs
"""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from distiller.registry import Entry, Family

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "src" / "distiller"

Table = Family[Any] | Mapping[str, Any]
"""Functions with options, or rows of facts: dataclasses by name."""

TABLES = {
    "Prediction objectives": ("distiller.objectives.prediction", "PREDICTION", "`objective.prediction`"),
    "Intermediate objectives": (
        "distiller.objectives.intermediate",
        "INTERMEDIATE",
        "`objective.intermediate`, as `loss`",
    ),
    "Label losses": ("distiller.objectives.prediction", "LABEL", "nothing: the kind of the task decides"),
    "Layer mappings": ("distiller.objectives.mapping", "MAPPING", "`mapping` of an intermediate term"),
    "Critics": (
        "distiller.objectives.critics",
        "CRITICS",
        "`critic` of an intermediate term with a mutual-information loss",
    ),
    "Augmentation operators": ("distiller.augment", "AUGMENTERS", "`augmentation`"),
    "Student architectures": ("distiller.models.architectures", "ARCHITECTURES", "`student.architecture`"),
    "Tasks": ("distiller.tasks", "TASKS", "`task.name`"),
    "Metrics": ("distiller.tasks.metrics", "METRICS", "`task.metric`"),
    "Export forms": ("distiller.deploy.forms", "FORMS", "nothing: `distiller export --to` names it"),
}
"""Heading → module, table, and the field of a run that names one of its rows."""

REFERENCE = {
    "run": ("Runs and records", ["run", "run/*.py", "record.py", "forecast.py", "inference.py"]),
    "tasks": ("Tasks", ["tasks/**/*.py"]),
    "augment": ("Augmentation", ["augment/**/*.py"]),
    "models": ("Models", ["models/**/*.py"]),
    "objectives": ("Objectives", ["objectives/**/*.py"]),
    "cache": ("Caches", ["cache/**/*.py"]),
    "training": ("Training", ["training/**/*.py"]),
    "translation": ("Translation", ["translation/**/*.py"]),
    "deploy": ("Exports and measurements", ["deploy/**/*.py"]),
    "study": ("Studies and their analysis", ["study/**/*.py", "analysis/**/*.py", "report/**/*.py"]),
    "autodistiller": ("Advice", ["autodistiller/**/*.py"]),
    "errors": ("Errors, files and tables", ["errors.py", "registry.py", "files.py", "interruption.py"]),
}
"""Page → title, and the modules it shows, as patterns of files in the package."""

FOUND = DOCS / "architectures.json"
"""What `tests/models/test_architectures.py` found out about every architecture of `transformers`."""

MADE = "<!-- Written by docs/generate.py from the tables in src/; change them and run `make format`. -->"


def pages() -> dict[Path, str]:
    """Each generated file with the text that it should hold."""
    read = {heading: (load(module, table), field) for heading, (module, table, field) in TABLES.items()}
    tables = {DOCS / "papers.md": papers(read), DOCS / "reference" / "components.md": components(read)}
    tables[DOCS / "reference" / "architectures.md"] = architectures(json.loads(FOUND.read_text(encoding="utf-8")))
    return tables | {DOCS / "reference" / f"{page}.md": reference(*about) for page, about in REFERENCE.items()}


def load(module: str, table: str) -> Table:
    """The table called `table` of `module`."""
    return getattr(import_module(module), table)


def papers(tables: Mapping[str, tuple[Table, str]]) -> str:
    """Every method with its source."""
    lines = [MADE, "", "# Methods and their sources", ""]
    lines += [
        "Every component and where it was published. [Components](reference/components.md) says what each one takes.",
        "",
    ]
    for heading, (table, _) in tables.items():
        lines += [f"## {heading}", ""]
        if isinstance(table, Family):
            lines += ["| name | what it does | source |", "|---|---|---|"]
            lines += [
                f"| `{name}` | {cell(table[name].summary)} | {cell(linked(table[name].source))} |" for name in table
            ]
        else:
            lines += [linked(summary_of_rows(table))]
        lines.append("")
    return "\n".join(lines)


def components(tables: Mapping[str, tuple[Table, str]]) -> str:
    """Every component with its options, or its facts."""
    lines = [MADE, "", "# Components", ""]
    lines += ["Each row of each table: the name to write in a run, and the options it takes.", ""]
    for heading, (table, field) in tables.items():
        lines += [f"## {heading}", "", f"Named in a run by {field}.", ""]
        if isinstance(table, Family):
            for name in table:
                lines += [f"### `{name}`", "", linked(inspect.getdoc(table[name].function) or ""), ""]
                lines += options(table[name])
        else:
            lines += [linked(summary_of_rows(table)), "", *facts(table), ""]
    return "\n".join(lines)


def architectures(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Every architecture that classifies texts, as the test over all of them found it."""
    lines = [MADE, "", "# Architectures", ""]
    lines += [
        "Every architecture of `transformers` with a head for classification, by the `model_type` of its",
        "`config.json`. A test builds each one small and at random, compares the states of its layers with those that",
        "`output_hidden_states` reports, cuts a student from it, compares the student's weights with the layers they",
        "come from, and trains it for one step on the teacher's outputs and hidden states. This is what it found.",
        "",
        "- **layers**: whether hidden states can be compared (`mse`, `pkd`, `mi_alpha`, …). Where not, outputs alone",
        "  can. Of an encoder-decoder (BART, T5) the layers are the encoder's.",
        "- **student**: whether a student can be cut from its layers; `first` means with `student.pick: first` alone.",
        "  A decoder beside the encoder is cut in proportion.",
        "- **token**: which token stands for a whole text, where one does (`pkd`, the pool `cls`). The first token of",
        "  a decoder sees nothing of the text.",
        "- **cut along**: fields of the configuration with an entry for each layer.",
        "",
        "An architecture that is not here has no such head, or brings its own code. It is found out in the same way",
        "when it is loaded, and refused in one line where its states cannot be told.",
        "",
        "| model_type | layers | student | token | cut along |",
        "|---|---|---|---|---|",
    ]
    refused = {name: row for name, row in found.items() if row["refused"]}
    for name in sorted(found.keys() - refused.keys()):
        row = found[name]
        fields = ", ".join(f"`{field}`" for field in row["fields"])
        states = "no" if row["states"] else "yes"
        lines.append(f"| `{name}` | {states} | {row['student']} | {row['token']} | {fields} |")
    lines += ["", "## What is refused", ""]
    for name in sorted(found):
        row = found[name]
        for reason in dict.fromkeys(row[part] for part in ("refused", "states", "cut") if row[part]):
            lines.append(f"- `{name}`: {cell(reason)}")
    return "\n".join([*lines, ""])


def summary_of_rows(table: Mapping[str, Any]) -> str:
    """What the class of the rows says of itself."""
    return inspect.getdoc(type(next(iter(table.values())))) or ""


def facts(table: Mapping[str, Any]) -> list[str]:
    """A table of the rows' fields, without those that are plain defaults in every row."""
    rows = list(table.values())
    shown = [
        f.name for f in fields(rows[0]) if f.name != "name" and any(getattr(row, f.name) != f.default for row in rows)
    ]
    lines = ["| name | " + " | ".join(name.replace("_", " ") for name in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in table.items():
        lines.append(f"| `{name}` | " + " | ".join(cell(fact(getattr(row, column))) for column in shown) + " |")
    return lines


def fact(value: Any) -> str:
    """A field of a row as text."""
    if value is None or value == () or value == []:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(fact, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {fact(inner)}" for key, inner in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def reference(title: str, patterns: list[str]) -> str:
    """A page on which mkdocstrings shows the modules that match `patterns`."""
    files = [file for pattern in patterns for file in sorted(PACKAGE.glob(pattern)) if file.name != "__init__.py"]
    names = [".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in files]
    return "\n".join([MADE, "", f"# {title}", "", *(f"::: {name}\n" for name in names)])


def options(entry: Entry[Any]) -> list[str]:
    """A table of the options, or one line that says there are none."""
    hints = get_type_hints(entry.function, include_extras=True)
    known = entry.schema.model_fields
    if not known:
        return ["No options.", ""]
    lines = ["| option | type | default |", "|---|---|---|"]
    for name, option in known.items():
        default = "required" if option.is_required() else f"`{written(option.default)}`"
        lines.append(f"| `{name}` | {cell(type_text(hints[name]))} | {default} |")
    return [*lines, ""]


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
    names = {float: "number", int: "whole number", bool: "`true` or `false`", str: "text", NoneType: "`null`"}
    return names.get(hint) or f"`{getattr(hint, '__name__', hint)}`"


def bound_text(bound: Any) -> str:
    """`≥ 0` for `Ge(0)`; nothing for what is not a bound."""
    for kind, sign, attribute in ((Gt, ">", "gt"), (Ge, "≥", "ge"), (Lt, "<", "lt"), (Le, "≤", "le")):
        if isinstance(bound, kind):
            return f"{sign} {getattr(bound, attribute)}"
    return ""


def linked(source: str) -> str:
    """Text with each arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def cell(text: str) -> str:
    """Text that can stand in a table cell."""
    return text.replace("|", "\\|")


def main() -> int:
    """Write the pages, or with `--check` name those that are stale and return 1."""
    stale = {
        path: text for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(DOCS.parent)} is stale; `make format` writes it anew", file=sys.stderr)
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
