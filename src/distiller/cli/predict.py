"""`distiller predict`: a model's answers for a file of texts, or for the GLUE leaderboard."""

import csv
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from distiller.errors import ConfigError, DataError
from distiller.files import writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distiller.inference import Row
    from distiller.tasks.answers import Prediction


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL FILE", help="A run's output or model folder, and a file of texts, `-` (stdin), or a text."
        ),
    ],
    text: Annotated[str | None, typer.Option(help="Column of the text. Default: that of the run, else `text`.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out questions that cannot be used, and count them.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Put the columns of the file before the answers.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
    glue: Annotated[bool, typer.Option("--glue", help="Write the leaderboard's zip file from GLUE runs.")] = False,
) -> None:
    """Label every row of a file: tab-separated label and class probabilities, a number, or tags.

    A .txt file and standard input have a text a line; what names no file and has a space in it is a text itself.
    A tagger also reads CoNLL files and columns of lists of words. A question-answering model takes a SQuAD file and
    gives JSON in the official format of predictions. The output of a translation run translates a file line by line.

    Examples:

        distiller predict outputs/reviews new.csv --text review --keep > labelled.tsv
        distiller predict outputs/reviews "a warm and funny film" --json
        cat texts.txt | distiller predict outputs/reviews -
        distiller predict outputs/squad dev-v1.1.json -o predictions.json
        distiller predict --glue outputs/rte outputs/cola -o submission.zip
    """
    if glue:
        _submit(paths, output)
        return
    if len(paths) != 2:
        raise ConfigError(
            f"`predict` takes a model and one file of texts, got {len(paths)} names",
            hint="see distiller predict --help",
        )
    from distiller.inference import answers_questions, predict_answers
    from distiller.inference import predict as label
    from distiller.translation.record import is_translation_output

    if is_translation_output(paths[0]):
        from distiller.cli import translate

        translate.text(paths[0], [paths[1]], output)
        return
    given, columns = _given(paths[1], keep)
    if answers_questions(paths[0]):
        if not isinstance(given, Path) or keep or json:
            raise ConfigError(
                "question answering takes a SQuAD file and gives JSON", hint="leave out --keep and --json"
            )
        _write_answers(predict_answers(paths[0], Path(paths[1]), skip_bad=skip_bad), output)
        return
    table = label(paths[0], given, text=text, text_pair=text_pair)
    if columns is not None:
        table = [_beside(columns, row, found) for row, found in enumerate(table)]
    write = _write_lines if json else _write
    if output is None:
        write(table, sys.stdout)
        return
    with writing(output) as file:
        write(table, file)


def _given(name: str, keep: bool) -> "tuple[Path | list[str], Mapping[str, Sequence[Any]] | None]":
    """The file, or the texts that `name` stands for; the columns of a file that are to be kept."""
    file = Path(name)
    texts: list[str] | None = None
    if name == "-":
        texts = sys.stdin.read().splitlines()
    elif file.suffix.lower() == ".txt" and file.is_file():
        try:
            texts = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"`{name}` is not UTF-8: byte {error.start} is wrong", hint="save it as UTF-8") from None
    elif " " in name.strip() and not _exists(file):
        texts = [name]
    if texts is not None:
        if not texts:
            raise DataError(f"`{name}` has no text", hint="one text a line")
        return texts, {"text": texts} if keep else None
    if not keep:
        return file, None
    from distiller.tasks.readers import read_table

    return file, read_table(file).columns


def _exists(file: Path) -> bool:
    """Whether there is such a file; a long text is too long for a name, which is an error of its own."""
    try:
        return file.exists()
    except (OSError, ValueError):
        return False


def _beside(columns: "Mapping[str, Sequence[Any]]", row: int, found: "Row") -> "Row":
    """The cells of a row of the input, and what was predicted; a name that both have is that of the prediction."""
    kept = {name if name not in found else f"input_{name}": cells[row] for name, cells in columns.items()}
    return {**kept, **found}


def _write_answers(found: "dict[str, Prediction]", output: Path | None) -> None:
    """The official SQuAD format: one JSON object from question id to text."""
    import json

    from distiller.tasks.answers import write_predictions

    if output is None:
        typer.echo(json.dumps({name: one.text for name, one in found.items()}, ensure_ascii=False, indent=1))
    else:
        write_predictions(output, found)


def _submit(folders: list[str], output: Path | None) -> None:
    from distiller.inference import predict_glue
    from distiller.tasks.leaderboard import validate_submission, write_submission

    if output is None:
        raise ConfigError("a leaderboard submission is a zip file", hint="name it with -o submission.zip")
    found = predict_glue(folders)
    filled = write_submission(output, found)
    for problem in validate_submission(output):
        typer.echo(f"warning: {problem}", err=True)
    if filled:
        typer.echo(f"no predictions for {', '.join(filled)}: filled with one label", err=True)
    if "MNLI-m" in found and "AX" in filled:
        typer.echo(
            "the diagnostic set, AX/AX.tsv or diagnostic.tsv, is not in the data folder of the MNLI run", err=True
        )
    typer.echo(f"wrote {output}", err=True)


def _write_lines(table: "list[Row]", file: IO[Any]) -> None:
    import json

    for row in table:
        file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _write(table: "list[Row]", file: object) -> None:
    writer = csv.DictWriter(file, list(table[0]), delimiter="\t", lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    for row in table:
        writer.writerow({name: f"{cell:.4f}" if isinstance(cell, float) else cell for name, cell in row.items()})
