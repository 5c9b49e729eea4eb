"""`distiller predict`: a model's answers for a file of texts, or for the GLUE leaderboard."""

import csv
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from distiller.errors import ConfigError
from distiller.files import LEFT_OUT, exists, list_left_out, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distiller.inference import Predictor, Row
    from distiller.tasks.answers import Prediction
    from distiller.tasks.new_texts import Form
    from distiller.tasks.table import Table

FIELD = re.compile(r"task\.\w+=")
"""How a word begins that says how a file is written, and is no name of one."""


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL FILE [KEY=VALUE]…",
            help="A run's output or model folder; a file of texts, `-` (stdin), or a text; how the file is written, "
            "e.g. `task.encoding=cp1252`.",
        ),
    ],
    text: Annotated[str | None, typer.Option(help="Column of the text. Default: that of the run, else `text`.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
    skip_bad: Annotated[
        bool, typer.Option(help="Leave out rows that cannot be used; with -o FILE, FILE.left_out.txt lists them.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Put the columns of the file before the answers.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
    glue: Annotated[bool, typer.Option("--glue", help="Write the leaderboard's zip file from GLUE runs.")] = False,
) -> None:
    """Label every row of a file: tab-separated label and class probabilities, a number, or tags.

    Files are those that `run` reads, without labels. A .txt file and standard input have a text a line; what names no
    file and has a space in it is a text itself. A tagger also reads CoNLL files, with or without tags, and columns of
    lists of words. A question-answering model takes a SQuAD file or a table of questions and gives JSON in the official
    format of predictions. A translation model gives a line for each line; fields of a run may follow.

    Examples:

        distiller predict outputs/reviews new.csv --text review --keep > labelled.tsv
        distiller predict outputs/reviews "a warm and funny film" --json
        cat texts.txt | distiller predict outputs/reviews -
        distiller predict outputs/reviews old.csv task.encoding=cp1252 --skip-bad -o labelled.tsv
        distiller predict outputs/squad dev-v1.1.json -o predictions.json
        distiller predict outputs/de-en news.de evaluation.compute=int8 -o news.en
        distiller predict my-nllb news.de teacher.languages.source=deu_Latn teacher.languages.target=eng_Latn
        distiller predict --glue outputs/rte outputs/cola -o submission.zip
    """
    if glue:
        _submit(paths, output)
        return
    named = [path for path in paths[:2] if not FIELD.match(path)] + [path for path in paths[2:] if "=" not in path]
    overrides = [path for path in paths if path not in named]
    if len(named) != 2:
        raise ConfigError(
            f"`predict` takes a model and one file of texts, got {len(named)} names",
            hint="see distiller predict --help",
        )
    model, source = named
    from distiller.inference import Predictor, model_and_run
    from distiller.translation.translate import translates

    if translates(model_and_run(model)[0]):
        _refuse(skip_bad, "a translation model gives a line for each line", "leave out --skip-bad")
        _refuse(text_pair is not None, "a translation model reads one text", "leave out --text-pair")
        _translate(Predictor(model, overrides=overrides), source, text, output, keep=keep, json=json)
        return
    predictor = Predictor(model)
    if predictor.kind == "qa":
        _refuse(keep or json, "question answering gives JSON", "leave out --keep and --json")
        named_columns = text is not None or text_pair is not None
        _refuse(named_columns, "questions and contexts have fixed columns", "leave out --text and --text-pair")
        _answer(predictor, source, output, skip_bad=skip_bad, overrides=overrides)
        return
    form = predictor.form(text=text, text_pair=text_pair, overrides=overrides, skip_bad=skip_bad)
    given = predictor.read(_given(source, form, tagging=predictor.tags), form)
    table = predictor.rows(given)
    if keep:
        table = [_beside(given.table.columns, row, found, json=json) for row, found in enumerate(table)]
    write = _write_lines if json else _write
    with _open(output) as file:
        write(table, file)
    _list_left_out(given.left_out, output)


def _refuse(wrong: bool, message: str, hint: str) -> None:
    if wrong:
        raise ConfigError(message, hint=hint)


def _translate(model: "Predictor", name: str, text: str | None, output: Path | None, *, keep: bool, json: bool) -> None:
    """Write a translation for each line of the file, text or stdin that `name` stands for."""
    if name == "-":
        piped = sys.stdin.read()
        lines = piped.removesuffix("\n").split("\n") if piped else []  # like files: only at line feeds
    else:
        file = Path(name).expanduser()
        meant = exists(file) or (" " not in name.strip() and any(sign in name for sign in "./"))
        lines = model.sentences(str(file), text=text) if meant else [name]
    found = [{"text": line, **row} for line, row in zip(lines, model(lines), strict=True)]
    shown = [row if keep else {"translation": row["translation"]} for row in found]
    with _open(output) as file:
        if json:
            _write_lines(shown, file)
        else:
            file.writelines("\t".join(map(str, row.values())) + "\n" for row in shown)
    if output is not None:
        typer.echo(f"{len(lines)} lines · {output}", err=True)


def _answer(model: "Predictor", name: str, output: Path | None, *, skip_bad: bool, overrides: list[str]) -> None:
    """Write the answers to the questions in a file."""
    _refuse(
        name == "-" or (" " in name.strip() and not exists(Path(name))),
        "a model that answers questions reads a file of them",
        "a SQuAD file, or a table with the columns `question`, `context` and perhaps `id`",
    )
    found, left_out = model.answers(Path(name), skip_bad=skip_bad, overrides=overrides)
    _write_answers(found, output)
    _list_left_out(left_out, output)


def _given(name: str, form: "Form", *, tagging: bool) -> "Path | Table | list[str]":
    """The file or the texts that `name` stands for."""
    if name == "-":
        from distiller.tasks.new_texts import piped_texts

        piped = getattr(sys.stdin, "buffer", None)
        return piped_texts(piped.read() if piped else sys.stdin.read().encode(), form, tagging=tagging)
    if " " in name.strip() and not exists(Path(name)):
        return [name]
    return Path(name)


def _open(output: Path | None) -> AbstractContextManager[IO[Any]]:
    return nullcontext(sys.stdout) if output is None else writing(output)


def _list_left_out(left_out: "Sequence[str]", output: Path | None) -> None:
    """Next to the output."""
    if output is not None and output.is_file():
        list_left_out(output.with_name(f"{output.name}.{LEFT_OUT}"), left_out)


def _beside(columns: "Mapping[str, Sequence[Any]]", row: int, found: "Row", *, json: bool) -> "Row":
    """The cells of an input row, and the prediction; an input cell with the same name becomes `input_NAME`."""
    kept: dict[str, Any] = {}
    for name, cells in columns.items():
        cell = cells[row]
        if isinstance(cell, list | tuple) and not json:
            cell = " ".join(map(str, cell))
        kept[name if name not in found else f"input_{name}"] = cell
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
    from distiller.scoring import predict_glue
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
        writer.writerow({name: _cell(name, cell) for name, cell in row.items()})


def _cell(name: str, value: Any) -> Any:
    """One value in a table of text: words and tags are separated by spaces; labels may hold any text."""
    if name == "labels" and isinstance(value, list):
        import json

        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else value
