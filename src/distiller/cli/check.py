"""`distiller check`: what a run means in full, and what it will cost, before it starts."""

from typing import Annotated

import typer

from distiller.cli.run import OVERRIDES_HELP, RUN


def check(
    source: Annotated[str, RUN],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out rows that cannot be used, and count them.")] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Time a few steps of each model, and say how long all take.")
    ] = False,
) -> None:
    """Print the fully resolved run on stdout, its data and its cost on stderr; trains nothing.

    Cost is steps, memory, disk and, with `--time`, minutes: a few steps of each model are timed on this machine.

    Example:

        distiller check run.yaml student.layers=2
    """
    from distiller.cli.console import progress
    from distiller.cli.recipes import load
    from distiller.config import to_yaml
    from distiller.forecast import forecast
    from distiller.run.summary import folded

    plan = forecast(load(source, [*(overrides or []), *(["task.skip_bad=true"] if skip_bad else [])]), timed=time)
    typer.echo(to_yaml(plan.run), nl=False)
    for line in plan.lines():
        typer.echo(folded(line, progress().width), err=True)
