"""`distiller run`: carry out a run and print what came out."""

import shlex
from typing import Annotated

import typer

from distiller.cli.recipes import runs_like

RUN = typer.Argument(
    metavar="RUN", help="A run file, the name of a recipe, or a file of data.", autocompletion=runs_like
)
OVERRIDES_HELP = "Fields to change, e.g. `training.epochs=5 objective.prediction=kl`."


def run(
    source: Annotated[str, RUN],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run where it stopped.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier output.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows that cannot be used, and count them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the Record instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Distil a student, and print scores, sizes and speed.

    Examples:

        distiller run reviews.csv task.text=review task.label=stars
        distiller run run.yaml
        distiller run mi-alpha task.name=rte task.data=glue teacher.model=./bert-base output=outputs/rte
        distiller run run.yaml seeds=[0,1,2] training.epochs=5 --resume
    """
    from distiller import processes
    from distiller.cli.console import console, progress
    from distiller.cli.recipes import load
    from distiller.cli.show import print_record
    from distiller.run import distil

    wanted = load(source, [*(overrides or []), *(["task.skip_bad=true"] if skip_bad else [])])
    silent = quiet or not processes.is_first()
    record = distil(wanted, resume=resume, overwrite=overwrite, console=None if silent else progress())
    if not processes.is_first():
        return
    if json:
        console().print_json(record.model_dump_json())
    else:
        print_record(record)
    if not (json or quiet):
        form = "ctranslate2-int8" if record.data.kind == "translation" else "onnx-int8"
        out = shlex.quote(str(record.run.output))
        typer.echo(f"next: distiller predict {out} FILE", err=True)
        typer.echo(f"      distiller report {out}", err=True)
        typer.echo(f"      distiller export {out} --to {form}", err=True)
