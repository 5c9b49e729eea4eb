"""The page of a study: what it says, that no text breaks it, and that it works in a real browser without a network."""

import json
import math
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from distiller.config import Run, Task, Teacher, parse_run
from distiller.errors import OutputError
from distiller.report import write_report
from distiller.report.content import TOGETHER, content
from distiller.report.page import embedded, render
from distiller.study.trials import Trials, read_authors, tabulate

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"> & <!-- \u2028 ${x} {0}"
STUDENTS = {"tiny": (4.4e6, 1.0, 0.0), "mini": (11.2e6, 3.0, 0.04)}
GAIN = {"mse": 0.0, "mi_alpha(alpha=0.9)": 0.1, "skip": 0.0, "emd": 0.01, "rte": 0.6, "cola": 0.2}


def study(*, repeats: int = 3, name: str = "a study") -> Trials:
    """Two tasks, two students, two factors, `repeats` seeds; every ninth trial failed."""
    rng = random.Random(0)
    rows: list[dict[str, Any]] = []
    run = Run(task=Task(name="rte", data="glue/RTE"), teacher=Teacher(model="minilm"), recipe=name)
    for number in range(16 * repeats):
        task, student = ("rte", "cola")[number % 2], ("tiny", "mini")[number // 2 % 2]
        loss, mapping = ("mse", "mi_alpha(alpha=0.9)")[number // 4 % 2], ("skip", "emd")[number // 8 % 2]
        parameters, milliseconds, gain = STUDENTS[student]
        score = GAIN[task] + gain + GAIN[loss] + GAIN[mapping] + 0.001 * rng.random()
        failed = number % 9 == 8
        rows.append(
            {
                "trial": number, "status": "failed" if failed else "complete", "reason": HOSTILE if failed else "",
                "task": task, "teacher": "minilm", "student": student, "seed": number // 16, "metric": "accuracy",
                "score": score, "teacher_score": 0.8, "parameters": parameters, "seconds": 60,
                "milliseconds": milliseconds * (1 + 0.1 * rng.random()), "run": run.model_dump_json(),
                "loss": loss, "mapping": mapping,
            }
        )  # fmt: skip
    return tabulate(rows, ["loss", "mapping"])


class Scripts(HTMLParser):
    """The scripts of a page, as a browser's parser splits them, and all attributes of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False


def parsed(page: str) -> Scripts:
    parser = Scripts()
    parser.feed(page)
    return parser


def test_content_says_what_the_trials_say() -> None:
    said = content(study(), title="t", created="now")
    assert said["counts"] == {"complete": 43, "failed": 5, "pruned": 0}
    assert said["importance"][TOGETHER]["components"][0]["factors"] == ["loss"]
    assert [(one["reason"], len(one["trials"])) for one in said["failures"]] == [(HOSTILE, 5)]
    best = said["best"]["rte"][0]
    assert (best["levels"], best["student"]) == ({"loss": "mi_alpha(alpha=0.9)", "mapping": "emd"}, "mini")
    assert parse_run(yaml.safe_load(best["yaml"])).teacher.model == "minilm"
    assert len(said["table"]["rows"]) == 48
    names = [one["name"] for one in said["table"]["columns"]]
    assert names[:7] == ["trial", "task", "student", "seed", "loss", "mapping", "score"]
    assert "teacher" not in names  # everywhere the same
    assert said["references"] == {"rte": {"teacher minilm": 0.8}, "cola": {"teacher minilm": 0.8}}
    json.dumps(said, allow_nan=False)


def test_fronts_have_the_best_of_each_student() -> None:
    said = content(study(), title="t", created="now")
    for task in ("rte", "cola", TOGETHER):
        shown = said["points"][task]
        for cost in ("parameters", "milliseconds"):
            assert len(set(shown[cost])) == 2  # a student has one latency, however noisy it was measured
            front = [n for n, on in enumerate(shown["front"][cost]) if on]
            best = {
                student: max(
                    score for score, one in zip(shown["score"], shown["student"], strict=True) if one == student
                )
                for student in STUDENTS
            }
            assert sorted(shown["score"][n] for n in front) == sorted(best.values())


def test_texts_cannot_break_out_of_the_data() -> None:
    said = content(study(name=HOSTILE), title=HOSTILE, created="now")
    page = parsed(render(said))
    assert len(page.scripts) == 3
    assert json.loads(page.scripts[0]) == json.loads(json.dumps(said))
    assert not [tag for tag, _, _ in page.attributes if tag == "img"]
    assert "<" not in embedded(said)


def test_the_page_refers_to_nothing_outside() -> None:
    page = parsed(render(content(study(), title="t", created="now")))
    outside = [one for one in page.attributes if one[1] in ("src", "href", "srcset", "action") and one[2][:1] != "#"]
    assert outside == []
    assert any("default-src 'none'" in value for _, _, value in page.attributes)


def test_results_without_most_columns_have_a_page(tmp_path: Path) -> None:
    trials = tabulate([{"task": "rte", "score": n / 9, "mapping": "ab"[n % 2]} for n in range(9)], ["mapping"])
    said = content(trials, title="t", created="now")
    assert said["importance"]["rte"]["refusal"]
    assert said["best"]["rte"][0]["yaml"] == "task: rte\nmapping: a\n"
    assert write_report(trials, tmp_path / "r.html").stat().st_size > 4e6
    failed = tabulate([{"task": "rte", "status": "failed", "mapping": "a"}], ["mapping"])
    assert write_report(failed, tmp_path / "r.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_where_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no finished or failed trial"):
        write_report(tabulate([], ["mapping"]), tmp_path / "r.html")
    with pytest.raises(OutputError, match="there is no folder"):
        write_report(study(), tmp_path / "absent" / "r.html")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="session")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium or Chrome is installed to open the report in")


def opened(browser: str, page: Path, profile: Path, *, then: str = "") -> tuple[str, str]:
    """The document after its scripts and `then` ran, and what the browser had to say."""
    acted = page.with_name("acted.html")
    acted.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{then}</script></body>"), "utf-8")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
            "--enable-logging=stderr", f"--user-data-dir={profile}", "--window-size=1280,2000",
            "--virtual-time-budget=10000", "--dump-dom", acted.as_uri(),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def visible_rows(dom: str) -> list[list[str]]:
    table = dom[dom.index('id="rows"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    rows = re.findall(r"<tr([^>]*)>(.*?)</tr>", body)
    return [re.findall(r"<td[^>]*>(.*?)</td>", cells) for attributes, cells in rows if "hidden" not in attributes]


@pytest.mark.slow
def test_the_page_works_in_a_browser(browser: str, tmp_path: Path) -> None:
    page = write_report(study(), tmp_path / "report.html", title=HOSTILE)
    dom, console = opened(browser, page, tmp_path / "one")
    assert 'data-ready="yes"' in dom
    assert "data-error" not in dom
    assert console == ""
    assert dom.count("hacked") > 1  # it is shown,
    assert "<title>hacked" not in dom  # and was not run
    assert "img" not in {tag for tag, _, _ in parsed(dom).attributes}
    for chart in ("size", "latency", "shares", "changes"):
        assert "main-svg" in dom[dom.index(f'id="{chart}"') :][:3000]
    outside = [
        one for one in parsed(dom).attributes if one[1] in ("src", "href", "srcset") and one[2].startswith("http")
    ]
    assert outside == []
    scores = [float(row[6]) for row in visible_rows(dom) if row[6]]
    assert len(scores) == 43
    assert scores == sorted(scores, reverse=True)
    assert len(visible_rows(dom)) == 48


@pytest.mark.slow
def test_sorting_filtering_and_choosing_work_in_a_browser(browser: str, tmp_path: Path) -> None:
    page = write_report(study(), tmp_path / "report.html")
    act = """addEventListener("load", () => {
      document.querySelector("#rows th[data-name=score] button").click();
      find("filter").value = "cola mini EMD"; find("filter").dispatchEvent(new Event("input"));
      find("task").value = "cola"; find("task").dispatchEvent(new Event("change"));
      document.querySelectorAll("#best-table tbody tr")[1].click();
    });"""
    dom, console = opened(browser, page, tmp_path / "one", then=act)
    assert (console, "data-error" in dom) == ("", False)
    rows = visible_rows(dom)
    assert rows
    assert all((row[1], row[2], row[5]) == ("cola", "mini", "emd") for row in rows)
    scores = [float(row[6]) if row[6] else math.inf for row in rows]
    assert scores == sorted(scores)  # the second click on the column that was sorted turns it round
    best = dom[dom.index('id="best-table"') :]
    assert best.count(">cola<", 0, best.index("</table>")) == 5
    assert ">rte<" not in best[: best.index("</table>")]
    assert "cola, rank 2: run" in dom
    act = """addEventListener("load", () => [...document.querySelectorAll("#levels button")].find(
      (one) => one.textContent.startsWith("mi_alpha")).click());
      document.body.append(Object.assign(new Image(), {src: "https://example.org/x.png"}));"""
    dom, console = opened(browser, page, tmp_path / "two", then=act)
    assert "Content Security Policy" in console  # so an empty console above means that nothing was asked for
    rows = visible_rows(dom)
    assert {row[4] for row in rows} == {"mi_alpha(alpha=0.9)"}
    assert len(rows) == 24


@pytest.mark.slow
def test_the_authors_runs_have_a_page(browser: str, shared: Path, tmp_path: Path) -> None:
    page = write_report(read_authors(shared / "data" / "authors_study"), tmp_path / "report.html")
    dom, console = opened(browser, page, tmp_path / "one")
    assert (console, "data-error" in dom, 'data-ready="yes"' in dom) == ("", False, True)
    assert "867 of 867 trials" in dom
