"""`distiller translate`: runs, scores and the size-and-speed table of translation models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distiller.cli.app import make_app
from distiller.cli.run import OVERRIDES_HELP
from distiller.errors import ConfigError

if TYPE_CHECKING:
    from distiller.translation.config import TranslationRun
    from distiller.translation.record import EfficiencyRow, TranslationRecord

commands = make_app("Distil translation models.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="translate")


@commands.command("run")
def run(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A translation run file, or the name of a recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run where it stopped.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier output.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Leave out sentences that cannot be used, and count them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the Record instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Distil a translation model, and print BLEU, sizes and speed.

    Examples:

        distiller translate run nmt-hybrid corpus.train.source=train.de corpus.train.target=train.en
        distiller translate run run.yaml objective.prediction.options.temperature=2 --resume
    """
    from distiller.cli.console import console, progress
    from distiller.translation.run import distil_translator

    wanted = load(source, [*(overrides or []), *(["corpus.skip_bad=true"] if skip_bad else [])])
    record = distil_translator(wanted, resume=resume, overwrite=overwrite, console=None if quiet else progress())
    if json:
        console().print_json(record.model_dump_json())
    else:
        print_record(record)


@commands.command("check")
def check(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A translation run file, or the name of a recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help=OVERRIDES_HELP)] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out sentences that cannot be used, and count them.")] = False,
) -> None:
    """Print the fully resolved run on stdout, and its text and models on stderr; trains no model.

    Example:

        distiller translate check nmt-hybrid corpus.train.source=train.de corpus.train.target=train.en
    """
    from distiller.config import to_yaml
    from distiller.translation.model import parameter_count
    from distiller.translation.setup import check

    run = load(source, [*(overrides or []), *(["corpus.skip_bad=true"] if skip_bad else [])])
    outline = check(run)
    typer.echo(to_yaml(run), nl=False)
    splits = outline.splits
    counts = {"training": splits.train, "development": splits.dev, "test": splits.test}
    text = ", ".join(f"{len(pairs):,} {name} pairs" for name, pairs in counts.items() if pairs is not None)
    seen = f"; the student sees {len(splits.seen):,}" if len(splits.seen) < len(splits.train) else ""
    typer.echo(text + seen, err=True)
    student = parameter_count(outline.student)
    if outline.teacher is None:
        typer.echo(f"student {student:,} parameters", err=True)
    else:
        teacher = parameter_count(outline.teacher)
        fewer = f"{teacher / student:.1f} times fewer"
        typer.echo(f"teacher {teacher:,} parameters, student {student:,}: {fewer}", err=True)
    typer.echo(f"this teacher and this student can do: {outline.possible}", err=True)
    for word in outline.odd:
        typer.echo(f"warning: {word}", err=True)


@commands.command("table")
def table(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Output folders of translation runs.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print BLEU, size and speed of teacher and students in fp32 and int8, as the runs measured them.

    Example:

        distiller translate table outputs/nmt-word-kd outputs/nmt-hybrid
    """
    from distiller.cli.console import console
    from distiller.translation.record import load_translation_record

    rows = []
    for name in runs:
        record = load_translation_record(name)
        known = {(row.model, row.compute, row.parameters, row.bleu) for row in rows}
        renamed = [
            row if row.model == "teacher" else row.model_copy(update={"model": Path(name).name})
            for row in record.efficiency
        ]
        rows += [row for row in renamed if (row.model, row.compute, row.parameters, row.bleu) not in known]
    if not rows:
        raise ConfigError("these runs did not measure size and speed", hint="run them with efficiency=true")
    if json:
        console().print_json(data=[row.model_dump(mode="json") for row in rows])
    else:
        print_efficiency(rows)


@commands.command("text")
def text(
    model: Annotated[str, typer.Argument(help="A model folder, a run's output folder, or a hub id.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|TEXT", help="A file with one sentence a line, or sentences; `-` is stdin."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file instead of stdout.")] = None,
    beam: Annotated[int, typer.Option(help="1 is greedy.", min=1)] = 4,
    int8: Annotated[bool, typer.Option("--int8", help="Compute with 8-bit weights (CTranslate2).")] = False,
    engine: Annotated[str, typer.Option(help="auto, ctranslate2 or transformers.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.")] = None,
    source_language: Annotated[
        str | None, typer.Option("--from", help="Language code, for mBART, M2M100, NLLB.")
    ] = None,
    target_language: Annotated[str | None, typer.Option("--to", help="Language code.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Text before each sentence, for T5.")] = None,
) -> None:
    """Translate sentences, a file or stdin, a line for each line.

    Examples:

        distiller translate text outputs/nmt-hybrid "Ein Hund läuft im Park."
        distiller translate text outputs/nmt-hybrid news.de -o news.en --int8
        echo "Ein Hund." | distiller translate text outputs/nmt-hybrid
    """
    import sys

    from distiller.config import parse
    from distiller.files import write_text
    from distiller.translation.config import Decoding, Languages
    from distiller.translation.corpus import is_file, text_lines
    from distiller.translation.students import load_translator
    from distiller.translation.translate import model_folder, translated_lines

    decoding = parse(
        Decoding,
        {"beam": beam, "compute": "int8" if int8 else "float32", "engine": engine, "threads": threads},
        where="translate text",
    )
    languages = Languages(source=source_language, target=target_language, prefix=prefix)
    found, tokenizer = load_translator(model_folder(model), languages)
    given = texts or ["-"]
    if given == ["-"]:
        lines = sys.stdin.read().splitlines()
    elif len(given) == 1 and is_file(given[0]):
        lines = text_lines(given[0])
    else:
        lines = given
    said = translated_lines(found, tokenizer, lines, decoding)
    if output is not None:
        write_text(output, "".join(line + "\n" for line in said))
        typer.echo(f"{len(said)} lines · {output}", err=True)
    else:
        for line in said:
            typer.echo(line)


@commands.command("evaluate")
def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, e.g. outputs/nmt-hybrid/student.")],
    source: Annotated[str, typer.Argument(help="Sentences, one a line, or a .tsv file with both sides.")],
    target: Annotated[str | None, typer.Argument(help="Their translations, line by line.")] = None,
    beam: Annotated[int, typer.Option(help="1 is greedy.", min=1)] = 4,
    int8: Annotated[bool, typer.Option("--int8", help="Compute with 8-bit weights (CTranslate2).")] = False,
    source_language: Annotated[
        str | None, typer.Option("--from", help="Language code, for mBART, M2M100, NLLB.")
    ] = None,
    target_language: Annotated[str | None, typer.Option("--to", help="Language code.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Text before each sentence, for T5.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a translation model: BLEU and chrF by sacreBLEU, with their signatures.

    Example:

        distiller translate evaluate outputs/nmt-hybrid/student test.de test.en
    """
    from distiller.cli.console import console, print_table
    from distiller.translation.config import Decoding, Languages, Parallel
    from distiller.translation.corpus import read_pairs
    from distiller.translation.translate import evaluate_folder, model_folder

    decoding = Decoding(beam=beam, compute="int8" if int8 else "float32")
    languages = Languages(source=source_language, target=target_language, prefix=prefix)
    pairs = read_pairs(Parallel(source=source, target=target))
    scores = evaluate_folder(model_folder(model), pairs, decoding, languages)
    if json:
        console().print_json(data={"scores": scores.values, "signatures": scores.signatures})
    else:
        rows = [(name, f"{value:.2f}", scores.signatures[name]) for name, value in scores.values.items()]
        print_table(["metric", "score", "signature"], rows)


def load(source: str, overrides: list[str]) -> "TranslationRun":
    """The translation run in the file `source`, or of the recipe with that name."""
    import yaml

    from distiller.errors import did_you_mean
    from distiller.recipes import translation_texts
    from distiller.translation.config import load_translation, parse_translation

    if Path(source).exists() or Path(source).suffix or Path(source).name != source:
        return load_translation(source, overrides)
    known = translation_texts()
    if source not in known:
        raise ConfigError(f"no translation recipe is called `{source}`", hint=did_you_mean(source, list(known)))
    return parse_translation(yaml.safe_load(known[source]), overrides, where=f"recipe {source}")


def print_record(record: "TranslationRecord") -> None:
    """Scores and sizes of teacher, baseline and student, what the run cost, and the efficiency table."""
    from distiller.cli.console import print_table, print_words

    names = list(record.student.scores)
    models = (
        ("teacher", record.teacher),
        ("student, gold pairs alone", record.baseline),
        ("student, distilled", record.student),
    )
    rows = [
        [
            label,
            *(
                f"{facts.scores[name]:.1f}" + (f" ± {facts.spread[name].std:.1f}" if name in facts.spread else "")
                for name in names
            ),
            f"{facts.parameters:,}" if facts.parameters else "unknown",
        ]
        for label, facts in models
        if facts is not None
    ]
    counts = ", ".join(f"{count:,} {name}" for name, count in record.data.pairs.items())
    print_table(["", *names, "parameters"], rows, title=f"pairs: {counts}")
    if record.efficiency:
        print_efficiency(record.efficiency)
    print_words(
        f"{record.cost.wall_seconds:.0f} s in all, {record.cost.step_milliseconds:.0f} ms a step, "
        f"{record.cost.peak_memory_megabytes:.0f} MB at most · {record.run.output}"
    )
    print_words("; ".join(record.signatures.values()))
    for note in record.notes:
        print_words(f"note: {note}")


def print_efficiency(rows: "list[EfficiencyRow]") -> None:
    """One line for each model and number format."""
    from distiller.cli.console import print_table

    columns = ["model", "form", "BLEU", "parameters", "compression", "MB", "sentences/s", "ms p50", "ms p95"]
    print_table(
        columns,
        [
            [
                row.model,
                f"{row.engine} {row.compute}",
                f"{row.bleu:.1f}",
                f"{row.parameters:,}",
                f"{row.compression:.1f}",
                f"{row.megabytes:.1f}",
                f"{row.sentences_per_second:.1f}",
                *("—" if value is None else f"{value:.1f}" for value in (row.latency_p50, row.latency_p95)),
            ]
            for row in rows
        ],
    )
