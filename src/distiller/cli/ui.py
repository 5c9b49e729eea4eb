"""`distiller ui`: runs and studies in a browser, and one text to every model of a run."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def ui(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]…", help="Folders of runs and studies; default: `outputs`.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 is a free one.")] = 7860,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Show runs and studies as a page of this machine; type a text and see what teacher, student and exports say.

    The page is for this machine alone (127.0.0.1); Ctrl-C ends it.

    Example:

        distiller ui outputs
    """
    from distiller.ui.server import serve

    def announce(address: str) -> None:
        typer.echo(address)
        typer.echo("Ctrl-C ends it", err=True)
        if browser:
            import webbrowser

            webbrowser.open(address)

    with suppress(KeyboardInterrupt):  # the usual way to end it
        serve(folders or [Path("outputs")], port=port, announce=announce)
