"""`distiller show`: a Record as a table."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distiller.record import ModelFacts, Record


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show)


def show(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A record.json, or the folder of a run.")],
    json: Annotated[bool, typer.Option("--json", help="Print the Record itself.")] = False,
) -> None:
    """Print what a finished run came to.

    Example:

        distiller show outputs/rte
    """
    from distiller.cli import translate
    from distiller.cli.console import console
    from distiller.record import load_record
    from distiller.translation.record import is_translation_output, load_translation_record

    if is_translation_output(record):
        translated = load_translation_record(record)
        if json:
            console().print_json(translated.model_dump_json())
        else:
            translate.print_record(translated)
        return
    loaded = load_record(record)
    if json:
        console().print_json(loaded.model_dump_json())
    else:
        print_record(loaded)


def print_record(record: "Record") -> None:
    """Scores, sizes and speed of teacher, baseline and student, and what the run cost."""
    from distiller.cli.console import print_table, print_words

    rows = [_row(label, facts, record) for label, facts in record.models.items()]
    others = [name for name in record.student.scores if name != record.metric]
    against = ["against fine-tuned"] if record.comparison else []
    columns = ["", record.metric, *others, *against, "ratio", "parameters", "MB", "ms/example", "steps"]
    print_table(columns, rows, title=_title(record))
    for line in record.verdict:
        print_words(line)
    if record.baseline is not None and record.baseline.start and record.untaught_baseline is None:
        print_words(f"Both students start from {record.baseline.start}.")
    cost = record.cost
    print_words(
        f"{cost.wall_seconds:.0f} s in all, {cost.step_milliseconds:.0f} ms a step, "
        f"{cost.examples_per_second:.0f} examples/s, {cost.peak_memory_megabytes:.0f} MB at most"
        f" · {record.run.output}"
    )
    for note in record.notes:
        print_words(f"note: {note}")


def _row(label: str, facts: "ModelFacts", record: "Record") -> list[str]:
    teacher = record.teacher.scores[record.metric] if record.teacher else 0.0
    which = "teacher" if label == "teacher" else "student"
    metrics = [record.metric, *(name for name in record.student.scores if name != record.metric)]
    return [
        label,
        *(_score(facts, name) for name in metrics),
        *([_against(label, record)] if record.comparison else []),
        f"{facts.scores[record.metric] / teacher:.3f}" if teacher > 0 else "–",
        f"{facts.parameters:,}",
        f"{facts.megabytes:.1f}",
        f"{record.cost.milliseconds_per_example[which]:.2f}",
        f"{sum(facts.steps) / len(facts.steps):,.0f}" if facts.steps else "–",
    ]


def _title(record: "Record") -> str:
    """What was scored: the development set, its classes where there are few, and how often it was trained."""
    classes = sorted(record.data.classes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {100 * share:.0f} %" for name, share in classes[:4])
    more = f", {len(classes) - 4} more" if len(classes) > 4 else ""
    seeds = f"mean ± sd of {len(record.seeds)} seeds" if len(record.seeds) > 1 else f"seed {record.seeds[0].seed}"
    counted = f"{record.data.task}: {record.data.examples['dev']:,} development examples"
    return f"{counted}{f' ({shown}{more})' if shown else ''}, {seeds}"


def _against(label: str, record: "Record") -> str:
    """The difference to the fine-tuned student and its standard error, in points."""
    comparison = record.comparison
    assert comparison is not None
    if label == "student, distilled":
        return f"{100 * comparison.difference:+.1f} ± {100 * comparison.error:.1f}"
    if label == "teacher" and comparison.teacher_lead is not None:
        return f"{100 * comparison.teacher_lead:+.1f} ± {100 * (comparison.teacher_lead_error or 0):.1f}"
    return ""


def _score(facts: "ModelFacts", metric: str) -> str:
    if metric not in facts.scores:
        return "–"
    scale, digits = (1, 3) if metric == "rmse" else (100, 1)  # an error in the units of the labels
    value = f"{scale * facts.scores[metric]:.{digits}f}"
    return f"{value} ± {scale * facts.spread[metric].std:.{digits}f}" if metric in facts.spread else value
