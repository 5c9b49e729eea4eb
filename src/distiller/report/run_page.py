"""A finished run as one HTML page of a few dozen kilobytes: no script, nothing from the network."""

import html
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from distiller.analysis.pareto import pareto_front
from distiller.config import Objective, to_yaml
from distiller.deploy.examination import Calibration, Examination, Look
from distiller.deploy.table import Bench
from distiller.files import check_parent, write_text
from distiller.record import ModelFacts, Record, now
from distiller.report.drawing import SMALL, Series, chart, layers
from distiller.run.card import how_to_load

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><div class="wide"><h1>{title}</h1><p class="muted">{summary}</p><div id="tiles">{tiles}</div></div></header>
<main class="wide">
{sections}
<footer class="muted">Written by Distiller, {created}. This page loads nothing from the network.</footer>
</main>
</body>
</html>
"""


def write_run_report(
    record: Record, examination: Examination | None, bench: Bench | None, path: Path, *, notes: Sequence[str] = ()
) -> Path:
    """Write the page of a run to `path` in one step; it says what was not examined or measured.

    Raises `OutputError` if there is no such folder.
    """
    check_parent(path)
    return write_text(path, render(record, examination, bench, notes=notes))


def render(record: Record, examination: Examination | None, bench: Bench | None, *, notes: Sequence[str] = ()) -> str:
    """The page as text."""
    sections = [
        _comparison(record, examination),
        _matched(record, examination),
        _curves(record),
        _efficiency(record) if record.efficiency else _trade_off(bench),
        *([_classes(examination), _calibration(examination), _disagreements(examination)] if examination else []),
        _loading(record),
        _facts(record, [*record.notes, *notes]),
    ]
    assets = resources.files("distiller.report") / "assets"
    style = "\n".join((assets / name).read_text(encoding="utf-8") for name in ("page.css", "run.css"))
    examples = ", ".join(f"{count:,} {name}" for name, count in record.data.examples.items())
    teacher = " + ".join(Path(name).name for name in record.run.teacher.names) if record.run.teacher else "soft labels"
    return PAGE.format(
        title=_text(f"{record.data.task}: a student of {teacher}"),
        summary=_text(f"{record.data.kind.replace('_', '-')} · {examples} examples"),
        style=style,
        tiles="".join(f"<div><b>{_text(big)}</b><span>{_text(small)}</span></div>" for big, small in _tiles(record)),
        sections="\n".join(section for section in sections if section),
        created=_text(now()),
    )


def _tiles(record: Record) -> list[tuple[str, str]]:
    student, teacher = record.student, record.teacher
    seeds = f", {len(record.seeds)} seeds" if len(record.seeds) > 1 else ""
    found = [(_score(student, record.metric), f"{record.metric} of the student{seeds}")]
    if teacher is not None:
        found.append((_score(teacher, record.metric), f"{record.metric} of the teacher"))
    if teacher is not None and teacher.parameters:
        smaller = teacher.parameters_with_head / student.parameters_with_head
        found.append((f"{smaller:.1f}×", f"smaller: {student.parameters_with_head / 1e6:.2f} M parameters"))
    if record.vocabulary is not None:
        found.append((f"{record.vocabulary.pieces:,}", f"pieces of {record.vocabulary.whole:,} in the vocabulary"))
    times = record.cost.milliseconds_per_example
    if times.get("student") and times.get("teacher"):
        found.append((f"{times['teacher'] / times['student']:.1f}×", f"faster: {times['student']:.2f} ms a text"))
    return found


def _comparison(record: Record, examination: Examination | None) -> str:
    rows = []
    names = list(record.student.scores)
    times = record.cost.milliseconds_per_example
    for label, facts in record.models.items():
        which = "teacher" if facts is record.teacher else "student"
        rows.append(
            [
                label,
                *(_score(facts, name) for name in names),
                f"{facts.parameters_with_head:,}" if facts.parameters else "–",
                f"{facts.megabytes:.1f}" if facts.parameters else "–",
                f"{times[which]:.2f}" if which in times else "–",
            ]
        )
    words = []
    baseline = record.baseline
    if baseline is not None and record.comparison is None:  # a Record from an earlier version
        words.append(_gain(record, baseline))
    if examination is not None and examination.difference is not None:
        one = examination.difference
        words.append(
            f"On the same {examination.rows:,} development rows the student's {examination.metric} minus that of "
            f"{one.than} is {one.d:+.4f} ± {one.se:.4f} (standard error over rows)."
        )
    verdict = "".join(f"<p>{_words(sentence)}</p>" for sentence in record.verdict)
    table = _table(["", *names, "parameters", "MB", "ms/text"], rows)
    return _section("How it compares", " ".join(words), verdict + table)


def _gain(record: Record, baseline: ModelFacts) -> str:
    """The gain of distillation over the same student trained alone, with the noise of the seeds."""
    metric = record.metric
    d = record.student.scores[metric] - baseline.scores[metric]
    seeds = len(record.seeds)
    if seeds < 2 or metric not in record.student.spread or metric not in baseline.spread:
        return (
            f"Distillation changed {metric} by {d:+.4f} against the same student without a teacher "
            "(one seed: no error known)."
        )
    pairs = zip(record.student.spread[metric].values, baseline.spread[metric].values, strict=True)
    gains = [ours - theirs for ours, theirs in pairs]
    mean = sum(gains) / seeds
    se = (sum((gain - mean) ** 2 for gain in gains) / (seeds - 1) / seeds) ** 0.5
    return (
        f"Distillation changed {metric} by {mean:+.4f} ± {se:.4f} against the same student without a teacher "
        f"(standard error over {seeds} seeds)."
    )


def _matched(record: Record, examination: Examination | None) -> str:
    run = record.run
    said = [_weights(objective) for objective in run.objectives]
    if run.stages:
        said = [f"Stage {stage.name}: {weights}" for stage, weights in zip(run.stages, said, strict=True)]
    words = " ".join(said)
    if examination is None or examination.teacher_layers is None:
        return _section("What was distilled from what", words, "")
    if not examination.matched:
        return _section("What was distilled from what", words + " No layers were compared.", "")
    terms = [(one.term, one.pairs) for one in examination.matched]
    drawn = layers(examination.student_layers, examination.teacher_layers, terms)
    return _section("What was distilled from what", words, drawn)


def _weights(objective: Objective) -> str:
    prediction = objective.prediction.name if objective.prediction else "its default"
    return (
        f"Outputs were compared by {prediction}, weight {objective.beta1:g}; "
        f"gold labels weigh {objective.gamma1 or 0:g}."
    )


def _curves(record: Record) -> str:
    """One chart for the score and for each loss term: a colour for each model, a line for each seed."""
    score = f"eval_{record.metric}"
    charts: dict[str, list[Series]] = {score: []}
    for label, seeds in record.histories.items():
        for history in seeds:
            points: dict[str, list[tuple[float, float]]] = {}
            for entry in history:
                for name, value in entry.items():
                    if name in ("loss", score) or name.startswith("loss/"):
                        points.setdefault(name, []).append((entry.get("step", 0.0), value))
            for name, listed in points.items():
                charts.setdefault(name, []).append(Series(label, listed))
    steps = [step for one in charts[score] for step, _ in one.points]
    came = [label for label, seeds in record.histories.items() if not any(seeds)]
    if steps:  # a model without a curve is a level to compare with
        for label in came:
            value = record.models[label].scores[record.metric]
            charts[score].append(Series(label, [(min(steps), value), (max(steps), value)], dashed=True))
    order = list(record.histories)
    drawn = []
    for name, series in sorted(charts.items(), key=lambda item: (item[0] != score, item[0])):
        title = f"development {record.metric}" if name == score else name.replace("loss/", "loss: ")
        drawn.append(f"<div>{chart(series, x='optimisation step', y=title, size=SMALL, names=order)}</div>")
    words = "Training losses are means between two log lines; the loss of each model is the sum of its own terms."
    if len(record.seeds) > 1:
        words += f" A line for each of {len(record.seeds)} seeds."
    if came:
        words += f" Not trained by this run: {', '.join(came)}."
    return _section("Learning curves", words, f'<div class="grid">{"".join(drawn)}</div>')


def _trade_off(bench: Bench | None) -> str:
    if bench is None:
        words = "Not measured side by side yet: `distiller bench` adds exports, latency, memory and this picture."
        return _section("Score against size and latency", words, "")
    scores = [one.score for one in bench.models]
    labels = [one.name.rpartition(": ")[2] for one in bench.models]
    drawn = []
    for title, values, unit in (
        ("latency", [one.milliseconds_p50 for one in bench.models], "milliseconds for one text, median"),
        ("size on disk", [one.megabytes for one in bench.models], "megabytes"),
    ):
        front = pareto_front(values, scores)
        best = sorted((value, score) for value, score, on in zip(values, scores, front, strict=True) if on)
        series = [
            Series("models", list(zip(values, scores, strict=True)), line=False),
            Series("no other is better in both", best, dashed=True),
        ]
        picture = chart(series, x=unit, y=f"{bench.metric}", logarithmic=True, labels=labels)
        drawn.append(f"<div><h3>{_text(title)}</h3>{picture}</div>")
    rows = [
        [
            label, one.engine, f"{one.score:.4f}", f"{one.megabytes:.1f}", f"{one.milliseconds_p50:.2f}",
            f"{one.milliseconds_p95:.2f}", f"{one.fastest:.0f}", f"{one.peak_megabytes:.0f}",
        ]
        for label, one in zip(labels, bench.models, strict=True)
    ]  # fmt: skip
    columns = ["", "engine", bench.metric or "score", "MB", "p50 ms", "p95 ms", "texts/s", "peak MB"]
    threads = bench.machine.get("threads")
    machine = f"{bench.rows:,} development rows; {threads} {'thread' if threads == 1 else 'threads'} of "
    machine += f"{bench.machine.get('processor')}."
    return _section(
        "Score against size and latency", machine, f'<div class="two">{"".join(drawn)}</div>' + _table(columns, rows)
    )


def _efficiency(record: Record) -> str:
    """For a translation: both models in the forms in which they may be used."""
    rows = [
        [
            f"{one.model}, {one.form}", _or_dash(one.bleu), _or_dash(one.chrf),
            f"{one.parameters:,}", f"{one.megabytes:.1f}",
            f"{one.sentences_per_second:.1f}", _or_dash(one.latency_p50), _or_dash(one.latency_p95),
        ]
        for one in record.efficiency
    ]  # fmt: skip
    words = "; ".join(record.signatures.values())
    columns = ["", "BLEU", "chrF", "parameters", "MB", "sentences/s", "p50 ms", "p95 ms"]
    return _section("Score against size and latency", words, _table(columns, rows))


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _classes(examination: Examination) -> str:
    if not examination.student.classes:
        return ""
    theirs = {one.name: one for one in examination.teacher.classes} if examination.teacher else {}
    rows = []
    for one in examination.student.classes:
        row = [one.name, f"{one.support:,}", f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}"]
        rows.append([*row, f"{theirs[one.name].f1:.3f}" if one.name in theirs else "–"])
    columns = ["", "support", "precision", "recall", "F1", "F1 of the teacher"]
    return _section("Class by class", "Of the student, on the development set.", _table(columns, rows))


def _calibration(examination: Examination) -> str:
    series: list[Series] = []
    words = []
    looks: list[tuple[str, Look | None]] = [("student", examination.student), ("teacher", examination.teacher)]
    for name, look in looks:
        found: Calibration | None = look.calibration if look else None
        if found is not None:
            series.append(Series(name, [(one.confidence, one.right) for one in found.bins]))
            words.append(f"expected calibration error of the {name}: {found.error:.3f}")
    if not series:
        return ""
    series.append(Series("as sure as right", [(0.0, 0.0), (1.0, 1.0)], dashed=True))
    picture = chart(series, x="confidence", y="share that is right")
    told = "; ".join(words)
    return _section("Calibration", told[:1].upper() + told[1:] + ".", f'<div class="half">{picture}</div>')


def _disagreements(examination: Examination) -> str:
    if examination.teacher is None:
        return ""
    if not examination.disagreements:
        words = (
            "None was found." if examination.share_disagreeing == 0 else "They are not listed for this kind of task."
        )
        return _section("Where teacher and student disagree", words, "")
    rows = [[one.text, one.gold, one.teacher, one.student] for one in examination.disagreements]
    words = f"The {len(rows)} farthest apart"
    if examination.share_disagreeing is not None and examination.student.classes:
        words += f"; they say something else on {100 * examination.share_disagreeing:.1f} % of the development texts"
    table = _table(["text", "gold", "teacher", "student"], rows, wrap=True)
    return _section("Where teacher and student disagree", words + ".", table)


def _loading(record: Record) -> str:
    code = how_to_load(record, f"{record.run.output}/student")
    texts, form = "new.csv", "onnx"
    if record.data.kind == "translation":
        texts, form = "new.txt", "ctranslate2-int8"
    shell = f"distiller predict {record.run.output} {texts}\ndistiller export {record.run.output} --to {form}"
    return _section("How to load it", "", f"<pre>{_text(code)}</pre><pre>{_text(shell)}</pre>")


def _facts(record: Record, notes: Sequence[str]) -> str:
    told = "".join(f"<li>{_words(note)}</li>" for note in notes)
    facts = {
        "machine": ", ".join(f"{name} {value}" for name, value in record.machine.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "revision": record.revision or "–",
        "time": f"{record.cost.wall_seconds:.0f} s in all, {record.cost.step_milliseconds:.0f} ms a step",
        "data": record.data.fingerprint,
        "weights": record.student.fingerprint or "–",
    }
    rows = [[name, value] for name, value in facts.items()]
    yaml = to_yaml(record.run, exclude_defaults=True)
    body = (f"<ul>{told}</ul>" if told else "") + _table(["", ""], rows, wrap=True)
    return _section("What it was", "", body + f"<details><summary>The run</summary><pre>{_text(yaml)}</pre></details>")


def _section(title: str, words: str, body: str) -> str:
    told = f'<p class="muted">{_text(words)}</p>' if words else ""
    return f"<section><h2>{_text(title)}</h2>{told}{body}</section>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, wrap: bool = False) -> str:
    """A table; columns after the first are right-aligned if their cells are numbers."""
    numeric = [n > 0 and not wrap and all(_is_number(str(row[n])) for row in rows) for n in range(len(columns))]
    sides = [' class="number"' if one else "" for one in numeric]
    head = "".join(f"<th{side}>{_text(name)}</th>" for name, side in zip(columns, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{_text(cell)}</td>" for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows
    )
    kind = ' class="wrap"' if wrap else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell in ("–", "")


def _score(facts: ModelFacts, metric: str) -> str:
    if metric not in facts.scores:
        return "–"
    value = f"{facts.scores[metric]:.4f}"
    return f"{value} ± {facts.spread[metric].std:.4f}" if metric in facts.spread else value


def _words(sentence: str) -> str:
    """A sentence, with the text between backticks as code."""
    return re.sub(r"`([^`<>]+)`", r"<code>\1</code>", _text(sentence))


def _text(value: Any) -> str:
    """Any text, escaped for HTML: whatever a data set holds, it stays text."""
    return html.escape(str(value))
