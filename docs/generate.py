"""Writes the pages that are read off the source: `papers.md`, `picture.svg`, all that `reference/` holds.

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
from typing import Any, get_type_hints

from picture import picture
from reference_pages import commands, configuration, of_package, public_names
from words import cell, type_text, written

from distiller.registry import Entry, Family

DOCS = Path(__file__).resolve().parent

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

FOUND = DOCS / "architectures.json"
"""What `tests/models/test_architectures.py` found out about every architecture of `transformers`."""

MADE = "<!-- Written by docs/generate.py from what src/ says; change that and run `make format`. -->"


def pages() -> dict[Path, str]:
    """Each generated file with the text that it should hold."""
    read = {heading: (load(module, table), field) for heading, (module, table, field) in TABLES.items()}
    tables = {DOCS / "papers.md": papers(read), DOCS / "reference" / "components.md": components(read)}
    tables[DOCS / "reference" / "architectures.md"] = architectures(json.loads(FOUND.read_text(encoding="utf-8")))
    tables[DOCS / "reference" / "commands.md"] = made(commands())
    tables[DOCS / "reference" / "config.md"] = made(configuration())
    tables[DOCS / "picture.svg"] = picture((DOCS / "results.md").read_text(encoding="utf-8"))
    for package, listed in public_names().items():
        page = package.removeprefix("distiller.")
        tables[DOCS / "reference" / f"{page}.md"] = made(of_package(package, listed))
    return tables


def made(page: str) -> str:
    """A page that says where it comes from."""
    return f"{MADE}\n\n{page}"


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


def linked(source: str) -> str:
    """Text with each arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


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
