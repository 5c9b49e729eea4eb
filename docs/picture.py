"""`picture.svg`: what `make demo` does, with the figures that docs/results.md reports of it."""

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from distiller.models.architectures import ARCHITECTURES
from distiller.objectives.mapping import skip

WIDE, TALL = 860, 366
BOX, HEIGHT, STEP = 128, 24, 33
"""Width and height of a layer's box, and the distance of two."""
FLOOR = 318
"""The lower edge of the towers."""
TEACHER_AT, STUDENT_AT, BARS_AT = 36, 286, 500
DEEP, STUDENT = 6, "bert-tiny"
"""Layers of the teacher, MiniLM-L6, and the student's architecture."""
STYLE = """
  .page { fill: #ffffff; stroke: #d5dde2 } .text { fill: #1d2a33 } .quiet { fill: #56666f } .line { stroke: #1d2a33 }
  .teacher { fill: #d8ece8; stroke: #1b7f6d } .student { fill: #fde5c8; stroke: #b8650b } .match { stroke: #1b7f6d }
  .gold { fill: #e4e8eb; stroke: #7b8a93 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14191d; stroke: #36424a } .text { fill: #e6edf1 } .quiet { fill: #a3b2bb } .line { stroke: #e6edf1 }
    .teacher { fill: #17453d; stroke: #52c3ac } .student { fill: #55360f; stroke: #eda24b } .match { stroke: #52c3ac }
    .gold { fill: #333d44; stroke: #93a1a9 }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif } .title { font-size: 15px; font-weight: 600 }
  .small { font-size: 12px }
"""


class Measured(NamedTuple):
    """A line of the demo's table."""

    score: str
    parameters: int
    milliseconds: float


def picture(results: str) -> str:
    """The drawing, from the text of docs/results.md. Raises `ValueError` where that has no table of the demo."""
    demo = figures(results)
    parts = [
        f'<rect class="page" x="1" y="1" width="{WIDE - 2}" height="{TALL - 2}" rx="10"/>',
        *towers(),
        *bars(demo, 36, "development accuracy, %", [float(one.score) for one in demo.values()], digits=1),
        *bars(demo, 142, "parameters, millions", [one.parameters / 1e6 for one in demo.values()], digits=1),
        *bars(demo, 248, "milliseconds a text, one processor", [one.milliseconds for one in demo.values()], digits=1),
    ]
    told = "A teacher of six layers, a student of two, the layers that are compared, and what make demo measured."
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {TALL}" width="{WIDE}" height="{TALL}" role="img"'
    )
    return "\n".join([f'{head} aria-label="{told}">', f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def figures(results: str) -> dict[str, Measured]:
    """What the first table under "The demo" says of teacher, fine-tuned and distilled student."""
    section = results.partition("\n## The demo\n")[2]
    table = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    lines = [re.split(r"\s{2,}", line.strip()) for line in table[1].splitlines() if line.strip()] if table else []
    header = next((line for line in lines if {"accuracy", "parameters", "ms/example"} <= set(line)), None)
    found: dict[str, Measured] = {}
    for label in ("teacher", "student, fine-tuned", "student, distilled"):
        cells = next((line for line in lines if line[0] == label), None)
        if header is None or cells is None:
            raise ValueError("docs/results.md has no table to draw under The demo; print it with COLUMNS=120 make demo")
        numbers = [cell for cell in cells[1:] if re.fullmatch(r"[\d,.]+", cell)]  # without `+9.3 ± 2.0`
        columns = [name for name in header if not name.startswith("against")]
        if len(numbers) < len(columns):  # a student alone has no ratio
            columns.remove("ratio")
        row = dict(zip(columns, numbers, strict=True))
        found[label] = Measured(row["accuracy"], int(row["parameters"].replace(",", "")), float(row["ms/example"]))
    return found


def towers() -> list[str]:
    """Both models as boxes of layers, and a line for each pair that the default mapping compares."""
    deep, shallow = DEEP, ARCHITECTURES[STUDENT].layers
    parts = []
    for pair in skip(deep, shallow):
        start, end = TEACHER_AT + BOX + 4, STUDENT_AT - 4
        y, to = middle(pair.teacher), middle(pair.student)
        parts.append(f'<line class="match" x1="{start}" y1="{y}" x2="{end}" y2="{to}" stroke-width="2"/>')
    parts += tower("teacher", deep, TEACHER_AT, "teacher") + tower("student", shallow, STUDENT_AT, "student")
    between = (TEACHER_AT + BOX + STUDENT_AT) / 2
    top = middle(deep + 1)
    parts += [
        f'<line class="line" x1="{TEACHER_AT + BOX + 4}" y1="{top}" x2="{STUDENT_AT - 4}" y2="{middle(shallow + 1)}" '
        'stroke-width="2" stroke-dasharray="5 4"/>',
        text(between + 24, top - 14, "what the teacher says", "quiet small", "middle"),
        text(between + 24, top + 2, "of every text", "quiet small", "middle"),
        text(between, FLOOR + 16, "what its layers hold", "quiet small", "middle"),
    ]
    return parts


def tower(name: str, layers: int, x: float, style: str) -> list[str]:
    """A model from its embeddings to its output."""
    parts = [text(x + BOX / 2, middle(layers + 1) - 24, name, "text title", "middle")]
    for layer in range(layers + 2):
        y = middle(layer) - HEIGHT / 2
        label = "embeddings" if layer == 0 else f"layer {layer}" if layer <= layers else "output"
        parts.append(f'<rect class="{style}" x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5"/>')
        parts.append(text(x + BOX / 2, y + 16.5, label, "text small", "middle"))
    return parts


def bars(rows: dict[str, Measured], y: float, title: str, values: Sequence[float], *, digits: int) -> list[str]:
    """A bar for each model, as long as its value."""
    parts = [text(BARS_AT, y, title, "text title")]
    for number, (name, value) in enumerate(zip(rows, values, strict=True)):
        down = y + 11 + 24 * number
        long = max(3.0, 140 * value / max(values))
        style = ("teacher", "gold", "student")[number]
        parts += [
            text(BARS_AT, down + 13, name, "quiet small"),
            f'<rect class="{style}" x="{BARS_AT + 130}" y="{down}" width="{long:.1f}" height="17" rx="3"/>',
            text(BARS_AT + 138 + long, down + 13, f"{value:.{digits}f}", "text small"),
        ]
    return parts


def middle(layer: int) -> float:
    """The height at which a layer is drawn; 0 is the embeddings."""
    return FLOOR - HEIGHT / 2 - layer * STEP


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """A line of words."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'
