"""A benchmark as a figure: score against latency, with the models that no other beats in both."""

import math
from pathlib import Path

from distiller.analysis.pareto import pareto_front
from distiller.deploy.table import Bench
from distiller.errors import ConfigError, importing
from distiller.files import check_parent

ENDINGS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse a file that cannot be drawn, before anything is measured. Raises `DistillerError`."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"`{path}` is not a picture", hint=f"a file that ends in {', '.join(ENDINGS)}")
    check_parent(path)
    with importing("a picture needs", extra="picture"):
        import matplotlib  # noqa: F401


def draw(bench: Bench, path: Path) -> Path:
    """Draw `bench` to `path`; the area of a point is the size on disk."""
    check_picture(path)
    from matplotlib.figure import Figure

    times = [one.milliseconds_p50 for one in bench.models]
    scores = [one.score for one in bench.models]
    front = pareto_front(times, scores)
    largest = max(one.megabytes for one in bench.models)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    best = sorted((time, score) for time, score, on in zip(times, scores, front, strict=True) if on)
    axes.plot(*zip(*best, strict=True), color="#00796b", linewidth=1, zorder=1, label="no other is better in both")
    for one, on in zip(bench.models, front, strict=True):
        area = 40 + 360 * one.megabytes / largest
        axes.scatter(
            one.milliseconds_p50, one.score, s=area, alpha=0.75, zorder=2, edgecolors="black" if on else "none",
            color="#00796b" if on else "#90a4ae",
        )  # fmt: skip
        axes.annotate(
            f"{one.name}\n{one.megabytes:.1f} MB", (one.milliseconds_p50, one.score), fontsize=8,
            xytext=(6 + math.sqrt(area) / 2, -4), textcoords="offset points",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.2)
    axes.set_xlabel("milliseconds for one text, median")
    axes.set_ylabel(f"{bench.metric} on {bench.rows} development rows")
    axes.set_title(f"{bench.task}, {bench.machine['threads']} threads of {bench.machine['processor']}", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=150)
    return path
