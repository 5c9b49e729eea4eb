"""`distiller show`: a Record as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distiller.record import ModelFacts, Record


SHORTER = {"parameters": "size", "ms/example": "ms"}
"""Headings where the table would not fit into a line."""


def show(
    records: Annotated[list[str], typer.Argument(metavar="RECORD…", help="A record.json, or the folder of a run.")],
    json: Annotated[bool, typer.Option("--json", help="Print the Record itself.")] = False,
) -> None:
    """Print what finished runs came to.

    Examples:

        distiller show outputs/rte
        distiller show outputs/nmt-word-kd outputs/nmt-hybrid
    """
    from distiller.cli.console import console
    from distiller.record import load_record

    loaded = [load_record(name) for name in records]
    for record in loaded:
        if json:
            console().print_json(record.model_dump_json())
        else:
            print_record(record)
    if len(loaded) > 1 and not json:
        print_efficiency(loaded)


def print_record(record: "Record") -> None:
    """Scores, sizes and speed of teacher, baseline and student, and what the run cost."""
    from distiller.cli.console import fits, print_table, print_words

    rows = [_row(label, facts, record) for label, facts in record.models.items()]
    others = [name for name in record.student.scores if name != record.metric]
    against = ["against fine-tuned"] if record.comparison else []
    columns = ["", record.metric, *others, *against, "ratio", "parameters", "MB", "ms/example", "steps"]
    if not fits(columns, rows):
        columns = [SHORTER.get(name, name) for name in columns if name != "MB"]
        rows = [_row(label, facts, record, short=True) for label, facts in record.models.items()]
    print_table(columns, rows, title=_title(record))
    print_efficiency([record])
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
    if record.signatures:
        print_words("; ".join(record.signatures.values()))
    for note in record.notes:
        print_words(f"note: {note}")


def print_efficiency(records: "Sequence[Record]") -> None:
    """One line for each translation model and number format of all `records`; equal teachers once."""
    from distiller.cli.console import print_table

    columns = ["model", "BLEU", "chrF", "size", "smaller", "MB", "per second", "ms p50", "ms p95"]
    known = set()
    rows = []
    for record in records:
        for row in record.efficiency:
            facts = (row.model, row.form, row.parameters, row.megabytes, row.bleu)
            if facts in known:
                continue
            known.add(facts)
            name = row.model
            if len(records) > 1 and name != "teacher":
                name = Path(record.run.output).name
            measured = (row.bleu, row.chrf, row.latency_p50, row.latency_p95)
            bleu, chrf, median, most = ("–" if value is None else f"{value:.1f}" for value in measured)
            size = f"{row.parameters / 1e6:.1f} M"
            speed = f"{row.sentences_per_second:.1f}"
            cells = [bleu, chrf, size, f"{row.compression:.1f}×", f"{row.megabytes:.1f}", speed, median, most]
            rows.append([f"{name}, {row.form}", *cells])
    if rows:
        print_table(columns, rows, title="sentences per second, and milliseconds of one alone")


def _row(label: str, facts: "ModelFacts", record: "Record", *, short: bool = False) -> list[str]:
    """A model's line; the `short` one leaves out the name of the student and the size in bytes."""
    teacher = record.teacher.scores.get(record.metric, 0.0) if record.teacher else 0.0
    which = "teacher" if label == "teacher" else "student"
    times = record.cost.milliseconds_per_example
    metrics = [record.metric, *(name for name in record.student.scores if name != record.metric)]
    name, size = label, [f"{facts.parameters:,}", f"{facts.megabytes:.1f}"]
    digits = 2
    if short:
        name, size = label.removeprefix("student, "), [f"{facts.parameters / 1e6:.1f} M"]
        digits = 0 if times.get(which, 0.0) >= 100 else 1
    if not facts.parameters:
        size = ["unknown", "–"][: len(size)]
    return [
        name,
        *(_score(facts, name) for name in metrics),
        *([_against(label, record)] if record.comparison else []),
        f"{facts.scores[record.metric] / teacher:.3f}" if teacher > 0 else "–",
        *size,
        f"{times[which]:.{digits}f}" if which in times else "–",
        f"{sum(facts.steps) / len(facts.steps):,.0f}" if facts.steps else "–",
    ]


def _title(record: "Record") -> str:
    """What was scored: the development set, its classes if there are few, and how often it was trained."""
    classes = sorted(record.data.classes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {100 * share:.0f} %" for name, share in classes[:4])
    more = f", {len(classes) - 4} more" if len(classes) > 4 else ""
    seeds = f"mean ± sd of {len(record.seeds)} seeds" if len(record.seeds) > 1 else f"seed {record.seeds[0].seed}"
    counted = f"{record.data.task}: {record.data.examples['dev']:,} development examples"
    if record.data.kind == "translation":
        rest = [f"{count:,} {name}" for name, count in record.data.examples.items() if name != "dev"]
        shown, more = ", ".join(rest), ""
    return f"{counted}{f' ({shown}{more})' if shown else ''}, {seeds}"


def _against(label: str, record: "Record") -> str:
    """The difference to the fine-tuned student and its standard error, in points."""
    comparison = record.comparison
    assert comparison is not None
    points = 1 if record.data.kind == "translation" else 100  # BLEU is already in points
    if label == "student, distilled":
        return f"{points * comparison.difference:+.1f} ± {points * comparison.error:.1f}"
    if label == "teacher" and comparison.teacher_lead is not None:
        return f"{points * comparison.teacher_lead:+.1f} ± {points * (comparison.teacher_lead_error or 0):.1f}"
    return ""


def _score(facts: "ModelFacts", metric: str) -> str:
    if metric not in facts.scores:
        return "–"
    scale, digits = (1, 3) if metric == "rmse" else (100, 1)  # an error in the units of the labels
    if metric.removeprefix("test_") in ("bleu", "chrf"):  # from 0 to 100 as they are
        scale = 1
    value = f"{scale * facts.scores[metric]:.{digits}f}"
    return f"{value} ± {scale * facts.spread[metric].std:.{digits}f}" if metric in facts.spread else value
