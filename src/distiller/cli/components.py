"""`distiller components`: every choice there is, with its options."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from distiller.registry import Family


def components(
    kind: Annotated[str | None, typer.Argument(help="Only one family, e.g. `mapping`.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List objectives, mappings, critics, augmentation operators, tasks, metrics, export forms and students by name.

    Example:

        distiller components intermediate
    """
    from dataclasses import asdict

    from distiller.augment import AUGMENTERS
    from distiller.cli.console import console, print_table
    from distiller.deploy.forms import FORMS
    from distiller.errors import ConfigError, did_you_mean
    from distiller.models.students import ARCHITECTURES
    from distiller.objectives.critics import CRITICS
    from distiller.objectives.intermediate import INTERMEDIATE
    from distiller.objectives.mapping import MAPPING
    from distiller.objectives.prediction import PREDICTION
    from distiller.tasks import TASKS
    from distiller.tasks.metrics import METRICS

    families = {
        "prediction": PREDICTION,
        "intermediate": INTERMEDIATE,
        "mapping": MAPPING,
        "critic": CRITICS,
        "augmentation": AUGMENTERS,
        "task": TASKS,
        "metric": METRICS,
        "export": FORMS,
    }
    known = [*families, "student"]
    if kind is not None and kind not in known:
        raise ConfigError(f"no family is called `{kind}`", hint=did_you_mean(kind, known))
    shown = {name: family for name, family in families.items() if kind in (None, name)}
    students = [*ARCHITECTURES.values()] if kind in (None, "student") else []
    if json:
        found: dict[str, object] = {name: _listed(family) for name, family in shown.items()}
        if students:
            found["student"] = [asdict(one) for one in students]
        console().print_json(data=found)
        return
    for family in shown.values():
        rows = [(row["name"], row["summary"], ", ".join(row["options"]), row["source"]) for row in _listed(family)]
        print_table([family.kind, "what it is", "options", "source"], rows)
    if students:
        columns = ["student", "layers", "width", "parameters", "weights"]
        rows = [(one.name, str(one.layers), str(one.hidden), f"{one.parameters:,}", one.hub_id) for one in students]
        print_table(columns, rows)


def _listed(family: "Family[Any]") -> list[dict[str, Any]]:
    """What is said of each member."""
    found = []
    for name, entry in family.entries.items():
        options = [*entry.schema.model_fields]
        found.append({"name": name, "summary": entry.summary, "options": options, "source": entry.source})
    return found
