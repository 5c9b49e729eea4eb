"""A study as one HTML page: styles, scripts and data are embedded, and the page may load nothing."""

import html
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.errors import OutputError, importing
from distiller.files import check_parent, write_text
from distiller.record import now
from distiller.report.content import content

if TYPE_CHECKING:
    from distiller.study.trials import Trials

SCRIPTS = ("page.js", "charts.js", "table.js")
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""The browser itself refuses whatever would need the network."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def write_report(trials: "Trials", path: str | Path, *, title: str = "Study", top: int = 5, seed: int = 0) -> Path:
    """Write the page of a study to `path`, in one step.

    It has the best configurations to copy, score against size and latency, what mattered (`importance`), effects and
    counts of levels, failures with their reasons, and every trial. About 5 MB, nearly all of it Plotly. Raises
    `MissingPackageError` without Plotly, `OutputError` if there is no trial or no such folder.
    """
    if not len(trials.frame):
        raise OutputError("there is no finished or failed trial to report", hint="`distiller study status` says more")
    target = Path(path)
    check_parent(target)
    return write_text(target, render(content(trials, title=title, created=now(), top=top, seed=seed)))


def render(data: dict[str, Any]) -> str:
    """The page that shows `data`."""
    assets = resources.files("distiller.report") / "assets"

    def text(name: str) -> str:
        return (assets / name).read_text(encoding="utf-8")

    return PAGE.format(
        policy=POLICY,
        title=html.escape(data["title"]),
        style=text("page.css"),
        body=text("body.html"),
        data=embedded(data),
        plotly=_plotly(),
        script="\n".join(map(text, SCRIPTS)),
    )


def embedded(data: Any) -> str:
    """JSON that no HTML parser can mistake for markup, whatever texts it contains."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _plotly() -> str:
    with importing("reports need", extra="study"):
        from plotly.offline import get_plotlyjs
    return get_plotlyjs()
