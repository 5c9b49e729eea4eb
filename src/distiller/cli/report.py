"""`distiller report`: a finished run as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    output: Annotated[str, typer.Argument(metavar="OUT", help="The output folder of a finished run.")],
    page: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the page; `report.html` in OUT.")
    ] = None,
    examine: Annotated[
        bool, typer.Option(help="Run teacher and student on the development set once more: classes, disagreements.")
    ] = True,
) -> None:
    """Write one self-contained page about a run: what was distilled, curves, trade-off, classes, disagreements.

    It shows what `distiller bench OUT` measured, where that was done before. Texts of the development set are in it.

    Example:

        distiller bench outputs/rte && distiller report outputs/rte
    """
    from distiller.deploy.finished import open_finished
    from distiller.deploy.table import BENCH, load_bench
    from distiller.deploy.translators import open_translator
    from distiller.errors import DataError, OutputError
    from distiller.report.run_page import write_run_report

    source = open_translator(output) or open_finished(output)
    if source.record is None or source.output is None:
        raise OutputError(f"`{output}` is not a run's output", hint="name the folder that holds record.json")
    found = None
    if examine and source.kind != "translation":
        from distiller.deploy.examine import examine_run

        try:
            found = examine_run(source)
        except DataError as error:
            source.notes.append(error.message)
    measured = source.output / BENCH
    bench = load_bench(measured) if measured.is_file() else None
    for note in source.notes:
        typer.echo(f"warning: {note}", err=True)
    target = page or source.output / "report.html"
    typer.echo(write_run_report(source.record, found, bench, target, notes=source.notes))
