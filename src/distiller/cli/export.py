"""`distiller export`: a finished student in a form that runs without this library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distiller.cli.run import OVERRIDES_HELP

if TYPE_CHECKING:
    from distiller.deploy.export import Export


def export(
    model: Annotated[str, typer.Argument(metavar="OUT", help="The output folder of a run, or a model with --run.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    to: Annotated[list[str] | None, typer.Option("--to", help="A form; may be given several times.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; `exports/FORM` in the run's output.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run file whose task the model has, for any other model.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(min=1, help="Training texts for static 8-bit ranges; onnx-int8 is dynamic without.")
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(min=1, help="Candidates for each piece of a sentence in ctranslate2-int8; 50 is usual."),
    ] = None,
    opset: Annotated[int | None, typer.Option(min=1, help="Version of the ONNX operators.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Development texts on which the form is compared.")] = 1000,
    max_loss: Annotated[
        float, typer.Option(min=0, help="Score that an 8-bit form may lose (0.02: two points) before it is refused.")
    ] = 0.02,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier export.")] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="USER/NAME", help="Upload the export to this repository of the model hub.")
    ] = None,
    private: Annotated[bool, typer.Option(help="Whether a new repository is private.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Write a student as ONNX, OpenVINO, CTranslate2 or a plain folder, with a `use.py` that needs nothing of ours.

    Each form is compared with the model on real batches of several lengths, and refused where it is not the model.

    Examples:

        distiller export outputs/rte --to onnx --to onnx-int8
        distiller export outputs/rte --to openvino-int8 --calibration 500 -o served
        distiller export ./my-model --run run.yaml --to onnx -o served
        distiller export outputs/rte --to folder --push-to-hub my-name/rte-small
        distiller export outputs/de-en --to ctranslate2-int8 --shortlist 50
        distiller export ./opus --to ctranslate2-int8 -o served task.dev.source=val.de task.dev.target=val.en
    """
    from distiller.cli.console import console
    from distiller.deploy.export import export_student
    from distiller.deploy.finished import open_finished
    from distiller.deploy.forms import FORMS
    from distiller.deploy.translators import open_translator

    asked = {"opset": opset, "calibration": calibration, "shortlist": shortlist}
    given = {name: value for name, value in asked.items() if value is not None}
    forms = list(dict.fromkeys(to or []))
    _check(forms, given, output, push_to_hub)
    told: Any = {"run": run, "overrides": overrides or [], "rows": rows}
    source = open_translator(model, **told) or open_finished(model, **told)
    made = []
    try:
        for form in forms:
            options = {name: value for name, value in given.items() if name in FORMS[form].schema.model_fields}
            folder, found = export_student(
                source, form, folder=output, options=options, max_loss=max_loss, overwrite=overwrite
            )
            made.append((folder, found))
            for note in found.notes:
                typer.echo(f"warning: {note}", err=True)
            if push_to_hub is not None:
                from distiller.deploy.hub import push_folder

                typer.echo(f"pushed to {push_folder(folder, push_to_hub, private=private)}", err=True)
    finally:  # what was written before another form was refused is said too
        if json and made:
            console().print_json(data=[{"folder": str(folder), **one.model_dump(mode="json")} for folder, one in made])
        elif made:
            print_exports(made)


def _check(forms: list[str], given: dict[str, int], output: Path | None, push_to_hub: str | None) -> None:
    """Raise `ConfigError` for forms that do not exist, or of which an option has no meaning."""
    from distiller.deploy.forms import FORMS
    from distiller.errors import ConfigError

    if not forms:
        raise ConfigError("which form?", hint="--to " + ", --to ".join(FORMS))
    known = [FORMS[form].schema.model_fields for form in forms]
    if push_to_hub is not None and len(forms) > 1:
        raise ConfigError("one repository holds one form", hint="push them one by one")
    if output is not None and len(forms) > 1:
        raise ConfigError("one folder holds one form", hint="leave out -o, or name one form")
    for name in given:
        if not any(name in fields for fields in known):
            raise ConfigError(f"--{name} has no meaning for {', '.join(forms)}", hint="leave it out")


def print_exports(made: "list[tuple[Path, Export]]") -> None:
    """A line for each export: its size, how it compares with the model, and where it is."""
    from distiller.cli.console import print_table, print_words

    metric = next((one.parity.metric for _, one in made if one.parity.metric), None) or "score"
    rows = []
    for _, one in made:
        parity = one.parity
        rows.append(
            [
                one.form,
                f"{one.megabytes:.1f}",
                "–" if one.opset is None else str(one.opset),
                "–" if parity.largest_difference is None else f"{parity.largest_difference:.2g}",
                f"{100 * parity.equal_predictions:.1f}",
                parity.shown(parity.score),
                parity.shown(parity.torch_score),
                f"{parity.rows:,}" + (" made up" if parity.made_up else ""),
            ]
        )
    columns = ["form", "MB", "opset", "largest logit difference", "equal %", metric, f"{metric} in torch", "rows"]
    print_table(columns, rows)
    for folder, _ in made:
        print_words(f"wrote {folder}")
