"""`distiller components`: every choice there is, with its options."""

from typing import Annotated

import typer


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
    if json:
        found: dict[str, object] = {}
        for name, family in families.items():
            found[name] = [
                {"name": row, "summary": entry.summary, "options": [*entry.schema.model_fields], "source": entry.source}
                for row, entry in family.entries.items()
            ]
        found["student"] = [asdict(row) for row in ARCHITECTURES.values()]
        console().print_json(data=found if kind is None else {kind: found[kind]})
        return
    for name, family in families.items():
        if kind in (None, name):
            print_table(
                [family.kind, "what it is", "options", "source"],
                [
                    (row, entry.summary, ", ".join(entry.schema.model_fields), entry.source)
                    for row, entry in family.entries.items()
                ],
            )
    if kind in (None, "student"):
        print_table(
            ["student", "layers", "width", "parameters", "weights"],
            [
                (row.name, str(row.layers), str(row.hidden), f"{row.parameters:,}", row.hub_id)
                for row in ARCHITECTURES.values()
            ],
        )
