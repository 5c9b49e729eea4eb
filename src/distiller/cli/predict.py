"""`distiller predict`: a model's answers for a file of texts."""

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    model: Annotated[str, typer.Argument(help="The output folder of a run, or a model folder.")],
    texts: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .tsv, .jsonl, .json or .parquet file.")],
    text: Annotated[str | None, typer.Option(help="Column of the text. Default: that of the run, else `text`.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
) -> None:
    """Label every row of a file: tab-separated label, its probability, and all class probabilities.

    Example:

        distiller predict outputs/reviews new.csv --text review > labels.tsv
    """
    from distiller.inference import predict as label

    table = label(model, texts, text=text, text_pair=text_pair)
    if output is None:
        _write(table, sys.stdout)
        return
    temporary = output.with_name(output.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        _write(table, file)
    temporary.replace(output)


def _write(table: list[dict[str, str]], file: object) -> None:
    writer = csv.DictWriter(file, list(table[0]), delimiter="\t", lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(table)
