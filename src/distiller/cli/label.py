"""`distiller label`: a teacher labels many texts, as a job that can be stopped, continued and shared."""

from pathlib import Path
from typing import Annotated

import typer

from distiller.cli.predict import FIELD
from distiller.errors import ConfigError


def label(
    model: Annotated[str, typer.Argument(help="A fine-tuned model, or a run's output folder.")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE… [KEY=VALUE]…",
            help="Texts (.txt .csv .tsv .jsonl .json .parquet); how these are written (`task.encoding=cp1252`).",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the job.")],
    text: Annotated[str | None, typer.Option(help="Column of the text. Default: that of the run, else `text`.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column of the second text of a pair.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest input in tokens; longer ones are cut.", min=3)] = None,
    shard: Annotated[str, typer.Option(help="I/N: only every N-th shard from the I-th, for N machines.")] = "0/1",
    shard_size: Annotated[int, typer.Option(help="Texts between two savings.", min=1)] = 2000,
    form: Annotated[str, typer.Option("--format", help="jsonl or parquet.")] = "jsonl",
    resume: Annotated[bool, typer.Option(help="Continue a job where it stopped, or help with it.")] = False,
    also: Annotated[
        list[str] | None, typer.Option(help="One more model of the same classes; what all say is averaged.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="How much each model counts, e.g. 2,1.")] = None,
    skip_bad: Annotated[
        bool, typer.Option(help="Leave out rows that cannot be used, and list them in left_out.txt of the folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Label texts with a model; a student learns from the result with `task.unlabelled=FOLDER`.

    Every shard is a table with the texts, `label`, and the probability of each class in `p(NAME)`. Processes on one
    machine that are started with `--resume` share the shards among them.

    Examples:

        distiller label ./teacher tickets.txt -o labels
        distiller label ./teacher old.csv task.encoding=cp1252 --skip-bad -o labels
        distiller label ./bert tickets.txt --also ./roberta --weights 2,1 -o labels
        distiller label ./teacher web.parquet -o labels --shard 3/8 --format parquet
        distiller run run.yaml task.unlabelled=labels teacher=null student.model=./small
    """
    from distiller import labelling
    from distiller.cli.console import progress

    if form not in ("jsonl", "parquet"):
        raise ConfigError(f"--format is `{form}`", hint="--format jsonl, or parquet")
    overrides = [word for word in files if FIELD.match(word)]
    named = [Path(word) for word in files if word not in overrides]
    if not named:
        raise ConfigError("no file of texts is named", hint="distiller label MODEL FILE -o FOLDER")
    summary = labelling.label(
        model,
        named,
        output,
        text=text,
        text_pair=text_pair,
        max_length=max_length,
        shard_size=shard_size,
        part=part_of(shard, "--shard"),
        form="parquet" if form == "parquet" else "jsonl",
        resume=resume,
        skip_bad=skip_bad,
        overrides=overrides,
        also=also or [],
        weights=None if weights is None else _numbers(weights),
        console=None if quiet else progress(),
    )
    if summary is None:
        typer.echo(f"shards {shard} are done or in other hands; the job ends with the process that finds all", err=True)
        return
    shards = "1 shard" if summary.shards == 1 else f"{summary.shards:,} shards"
    typer.echo(f"{summary.texts:,} texts, {summary.texts_per_second:,.0f} texts/s in {shards} · {output}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights is numbers with commas, got `{text}`", hint="e.g. --weights 2,1") from None


def part_of(text: str, option: str) -> tuple[int, int]:
    """The I and N of `I/N`, the value of an `option`. Raises `ConfigError`."""
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise ConfigError(f"{option} is I/N with I from 0 to N - 1, got `{text}`", hint=f"e.g. {option} 0/4")
    return int(first), int(count)
