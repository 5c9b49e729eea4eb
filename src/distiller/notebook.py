"""How a Record shows itself in a notebook: a table, and its learning curves."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from distiller.errors import MissingPackageError


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, notes: Sequence[str] = ()) -> str:
    """A table that any notebook draws; every text is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    told = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    listed = f"<ul>{told}</ul>" if told else ""
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{listed}"


def curves(histories: Mapping[str, Sequence[Mapping[str, float]]], *, lines: Mapping[str, float], metric: str) -> Any:
    """A Matplotlib figure: each loss and the development score by optimisation step, a line for each history.

    `lines` are levels to compare the score with. Raises `MissingPackageError` without Matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError(
            "a plot needs the package `matplotlib`", hint='pip install "distiller-nlp[picture]"'
        ) from None
    score = f"eval_{metric}"
    logged = {name for history in histories.values() for entry in history for name in entry}
    names = [*sorted(name for name in logged if name == "loss" or name.startswith("loss/")), score]
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, history in histories.items():
            points = [(entry["step"], entry[name]) for entry in history if name in entry and "step" in entry]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        if name == score:
            for number, (label, value) in enumerate(lines.items()):
                axes.axhline(value, linestyle=":", color=f"C{number + 5}", label=label)
        axes.set_title(f"development {metric}" if name == score else name, fontsize=10)
        axes.set_xlabel("optimisation step")
        axes.grid(alpha=0.25)
        if len(histories) > 1 or name == score:
            axes.legend(fontsize=8)
    return figure
