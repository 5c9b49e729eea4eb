"""How a Record and the trials of a study appear in a notebook: as tables and figures."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from distiller.errors import importing


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, notes: Sequence[str] = ()) -> str:
    """A table that any notebook shows; every text is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = ""
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        body += f"<tr>{cells}</tr>"
    told = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    listed = f"<ul>{told}</ul>" if told else ""
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{listed}"


def curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], *, lines: Mapping[str, float], metric: str
) -> Any:
    """A Matplotlib figure: each loss and the development score by optimisation step.

    `histories` has, by model name, one history for each seed: a colour for each model, a line for each seed. `lines`
    are levels to compare the score with. Raises `MissingPackageError` without Matplotlib.
    """
    figures = _figures()
    score = f"eval_{metric}"
    every = [history for seeds in histories.values() for history in seeds]
    logged = {name for history in every for entry in history for name in entry}
    names = [*sorted(name for name in logged if name == "loss" or name.startswith("loss/")), score]
    figure = figures(figsize=(4 * len(names), 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for number, (label, seeds) in enumerate(histories.items()):
            for history in seeds:
                points = [(entry["step"], entry[name]) for entry in history if name in entry and "step" in entry]
                if points:
                    axes.plot(*zip(*points, strict=True), marker=".", color=f"C{number}", label=label)
                    label = "_"  # the legend names each model once
            if name == score and label in lines:
                axes.axhline(lines[label], linestyle=":", color=f"C{number}", label=label)
        axes.set_title(f"development {metric}" if name == score else name, fontsize=10)
        axes.set_xlabel("optimisation step")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    return figure


def strips(panels: Mapping[str, Sequence[tuple[str, str, float]]], *, y: str) -> Any:
    """A Matplotlib figure with a panel for each name: points (group, level, value) over the levels, coloured by group.

    A line marks the mean of each level. Raises `MissingPackageError` without Matplotlib.
    """
    figures = _figures()
    figure = figures(figsize=(max(4, 3.6 * len(panels)), 3.4), layout="constrained")
    groups = sorted({group for points in panels.values() for group, _, _ in points})
    drawn = figure.subplots(1, max(1, len(panels)), squeeze=False, sharey=True)[0]
    for axes, (name, points) in zip(drawn, panels.items(), strict=False):
        levels = sorted({level for _, level, _ in points})
        for number, group in enumerate(groups):
            own = [(levels.index(level), value) for other, level, value in points if other == group]
            shift = 0.5 * ((number + 0.5) / len(groups) - 0.5)
            if own:
                axes.scatter([place + shift for place, _ in own], [value for _, value in own], s=14, label=group)
        for place, level in enumerate(levels):
            values = [value for _, other, value in points if other == level]
            axes.hlines(sum(values) / len(values), place - 0.35, place + 0.35, color="black", linewidth=1)
        axes.set_xticks(range(len(levels)), labels=levels, rotation=30, ha="right", fontsize=8)
        axes.set_title(name, fontsize=10)
        axes.grid(axis="y", alpha=0.25)
    drawn[0].set_ylabel(y)
    if len(groups) > 1:
        drawn[0].legend(fontsize=8)
    return figure


def _figures() -> Any:
    """Matplotlib's figure class, which needs no display."""
    with importing("a plot needs", extra="picture"):
        from matplotlib.figure import Figure
    return Figure
