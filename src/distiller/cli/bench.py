"""`distiller bench`: time, memory, size and score of teacher, student and exports, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distiller.deploy.table import Bench


def bench(
    models: Annotated[list[str], typer.Argument(metavar="OUT", help="Outputs of runs, exports, or model folders.")],
    run: Annotated[Path | None, typer.Option(help="The run file whose task a plain model folder has.")] = None,
    teacher: Annotated[bool, typer.Option(help="Measure the teacher too, where it is in the cache.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; as many as torch takes by default.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Development rows that are scored.")] = 1000,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each single text is timed.")] = 2,
    length: Annotated[list[int] | None, typer.Option(min=1, help="Tokens a text, for the throughput.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON there; `bench.json` in the output of one run.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw score against latency: a .png, .svg or .pdf file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Measure teacher, student and each export of runs on this processor, with ratios to the teacher.

    Examples:

        distiller bench outputs/rte
        distiller bench outputs/rte outputs/rte-tiny --threads 1 --picture rte.svg
        distiller bench outputs/rte/exports/onnx-int8 ./other-model --run run.yaml
        distiller bench outputs/de-en --threads 1
    """
    from distiller.cli.console import console, progress
    from distiller.deploy.bench import measure_models
    from distiller.deploy.table import BENCH
    from distiller.record import FILE

    if picture is not None:
        from distiller.report.picture import check_picture

        check_picture(picture)
    told = None if quiet else lambda name: progress().print(f"measuring {name}", markup=False)
    found = measure_models(
        models, run=run, teacher=teacher, threads=threads, rows=rows, repeats=repeats, lengths=length, on_start=told
    )
    for note in found.notes:
        typer.echo(f"warning: {note}", err=True)
    if output is None and len(models) == 1 and (Path(models[0]) / FILE).is_file():
        output = Path(models[0]) / BENCH
    if output is not None:
        found.save(output)
    if picture is not None:
        from distiller.report.picture import draw

        draw(found, picture)
    if json:
        console().print_json(found.model_dump_json())
    else:
        print_bench(found)
    for path in (output, picture):
        if path is not None:
            typer.echo(f"wrote {path}", err=True)


def print_bench(found: "Bench") -> None:
    """A line for each model, with its ratio to the reference; of several sizes and lengths also their throughput."""
    from distiller.cli.console import print_table, print_words

    reference, names = found.reference, _names(found)
    translates = found.metric == "bleu"  # already in points
    further = [name for name in reference.scores if all(name in one.scores for one in found.models)]
    rows = []
    for name, one in zip(names, found.models, strict=True):
        rows.append(
            [
                name,
                f"{one.score:.1f}" if translates else f"{one.score:.4f}",
                *(f"{one.scores[name]:.1f}" for name in further),
                f"{one.megabytes:.1f}",
                f"{reference.megabytes / one.megabytes:.1f}×",
                f"{one.milliseconds_p50:.2f}",
                f"{one.milliseconds_p95:.2f}",
                f"{reference.milliseconds_p50 / one.milliseconds_p50:.1f}×",
                f"{one.fastest:.0f}",
                f"{one.fastest / reference.fastest:.1f}×",
                f"{one.peak_megabytes:.0f}",
            ]
        )
    columns = [
        "model", found.metric or "score", *further, "MB", "smaller", "p50 ms", "p95 ms", "faster", "texts/s",
        "more", "peak MB",
    ]  # fmt: skip
    machine = found.machine
    print_table(
        columns,
        rows,
        title=f"{found.task}: {found.rows} development rows; threads: {machine['threads']} of {machine['processor']}",
    )
    shapes = [(rate.batch, rate.length) for rate in reference.throughput]
    if len(shapes) > 1:  # translations are timed all together: that is in the table above
        print_table(
            ["texts/s", *(f"{batch} × {length}" for batch, length in shapes)],
            [
                [name, *(f"{rate.texts_per_second:.0f}" for rate in one.throughput)]
                for name, one in zip(names, found.models, strict=True)
            ],
            title="batch size × tokens a text",
        )
    what = "whole translations, tokens to tokens" if translates else "forward passes over tokens"
    print_words(f"smaller, faster, more: compared with {names[found.models.index(reference)]}. Times are of {what}.")


def _names(found: "Bench") -> list[str]:
    """The name of each model: its run if there are several, its name, and its engine."""
    several = len({one.name.partition(": ")[0] for one in found.models}) > 1
    names = []
    for one in found.models:
        name = one.name if several else one.name.partition(": ")[2] or one.name
        names.append(f"{name}, {one.engine}")
    return names
