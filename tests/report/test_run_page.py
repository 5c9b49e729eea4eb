"""The page of a run: what it says, that no text breaks it, and that a browser shows it without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from distiller.config import Component, Objective, Run, Stage, Task, Teacher, Term
from distiller.deploy.examination import (
    Bin,
    Calibration,
    ClassResult,
    Difference,
    Disagreement,
    Examination,
    Look,
    Matched,
)
from distiller.deploy.examine import calibration
from distiller.deploy.table import Bench, Measured, Throughput
from distiller.errors import OutputError
from distiller.record import Cost, DataFacts, ModelFacts, Record, SeedResult, Spread
from distiller.report.drawing import Series, chart, layers
from distiller.report.run_page import render, write_run_report
from report.test_report import HOSTILE, browser, opened  # noqa: F401


def spread(*values: float) -> Spread:
    return Spread(mean=sum(values) / len(values), std=float(np.std(values, ddof=1)), values=list(values))


def facts(name: str, score: float, parameters: int, values: tuple[float, ...] = ()) -> ModelFacts:
    return ModelFacts(
        name=name, parameters=parameters, parameters_with_head=parameters, megabytes=parameters / 250_000,
        scores={"accuracy": score}, spread={"accuracy": spread(*values)} if values else {}, fingerprint="ab" * 32,
    )  # fmt: skip


def record(name: str = "reviews") -> Record:
    """Two seeds, two loss terms, a baseline that was trained here and a teacher that was not."""
    history = [
        {"step": step, "loss": 2 / step, "loss/mse": 1 / step, "loss/prediction": 1 / step}
        for step in (10.0, 20.0, 30.0)
    ] + [{"step": step, "eval_accuracy": 0.5 + step / 100} for step in (10.0, 20.0, 30.0)]
    seeds = [
        SeedResult(seed=n, scores={"accuracy": 0.8}, best_step=30, steps=30, history=history, fingerprint="cd" * 32)
        for n in (0, 1)
    ]
    plain = [{name: value for name, value in entry.items() if name != "loss/mse"} for entry in history]
    alone = facts("alone", 0.7, 4_000_000, (0.7, 0.7)).model_copy(update={"histories": [plain, plain]})
    run = Run(
        task=Task(train="train.csv"), teacher=Teacher(model="./teachers/big"), seeds=[0, 1],
        objective=Objective(prediction=Component(name="kl"), intermediate=[Term(loss="mse")]),
    )  # fmt: skip
    return Record(
        created="now", run=run, versions={"torch": "2"}, revision=None, machine={"threads": 2, "processor": "x"},
        data=DataFacts(
            task=name, kind="classification", labels=["bad", name], metric="accuracy",
            examples={"train": 1000, "dev": 100}, truncated={}, fingerprint="ef" * 32,
        ),
        teacher=facts("big", 0.9, 22_000_000), baseline=alone,
        student=facts("student", 0.8, 4_000_000, (0.79, 0.81)), seeds=seeds, metric="accuracy", score=0.8,
        distillation_ratio=0.88, notes=[name],
        cost=Cost(
            wall_seconds=60, training_seconds=[20, 20], step_milliseconds=5, examples_per_second=100,
            peak_memory_megabytes=900, milliseconds_per_example={"teacher": 8.0, "student": 2.0},
        ),
    )  # fmt: skip


def examination(text: str = "a fine film") -> Examination:
    look = Look(
        score=0.8,
        classes=[ClassResult(name=text, support=60, precision=0.8, recall=0.75, f1=0.774)],
        calibration=Calibration(
            bins=[Bin(confidence=0.6, right=0.5, rows=40), Bin(confidence=0.9, right=0.95, rows=60)], error=0.07
        ),
    )
    return Examination(
        metric="accuracy", rows=100, student_layers=2, teacher_layers=6, student=look, teacher=look,
        matched=[Matched(term="mse, skip", pairs=[(0, 0), (1, 3), (2, 6)])],
        difference=Difference(than="the teacher", d=-0.1, se=0.03), share_disagreeing=0.12, notes=[],
        disagreements=[Disagreement(text=text, gold="bad", teacher="bad", student="good", distance=0.7)] * 3,
    )  # fmt: skip


def bench() -> Bench:
    def one(name: str, score: float, milliseconds: float, megabytes: float) -> Measured:
        return Measured(
            name=f"out: {name}", role=name, engine="onnxruntime", folder="f", megabytes=megabytes, score=score,
            milliseconds_p50=milliseconds, milliseconds_p95=2 * milliseconds, timed=100, seconds_to_load=1,
            throughput=[Throughput(batch=8, length=64, texts_per_second=90)], peak_megabytes=300,
        )  # fmt: skip

    models = [one("teacher", 0.9, 8, 90), one("student", 0.8, 2, 17), one("onnx-int8", 0.79, 1, 5)]
    return Bench(
        created="now", machine={"threads": 2, "processor": "x"}, task="t", metric="accuracy", rows=100, models=models
    )


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_says_what_was_found() -> None:
    page = render(record(), examination(), bench())
    said = " ".join(Elements(page).texts)
    assert "0.8000 ± 0.0141" in said
    assert "+0.1000 ± 0.0100" in said  # gains of 0.09 and 0.11 over two seeds
    assert "-0.1000 ± 0.0300" in said
    for words in (
        "How it compares",
        "loss: mse",
        "Calibration",
        "a fine film",
        "12.0 %",
        "for each of 2 seeds",
        "Not trained by this run: teacher.",
        "text-classification",
    ):
        assert words in said
    assert page.count("<svg") == 1 + 4 + 2 + 1  # layers, curves, trade-off, calibration


def test_a_run_in_stages_has_the_weights_of_each() -> None:
    stages = [Stage(name="states", objective=Objective(beta1=0)), Stage(name="answers", objective=Objective(beta1=3))]
    run = record().run.model_copy(update={"objective": Objective(), "stages": stages})
    said = " ".join(Elements(render(record().model_copy(update={"run": run}), examination(), bench())).texts)
    assert "Stage states: Outputs were compared by its default, weight 0" in said
    assert "Stage answers: Outputs were compared by its default, weight 3" in said
    assert "weight 1" not in said


def test_curves_have_a_colour_for_each_model_and_a_line_for_each_seed() -> None:
    page = render(record(), examination(), None)
    curves = page[page.index("Learning curves") : page.index("Score against size")]
    score, loss, mse, prediction = curves.split("<figure>")[1:]
    for drawn, lines, models in (
        (score, 5, ["teacher", "student, fine-tuned", "student, distilled"]),
        (loss, 4, ["student, fine-tuned", "student, distilled"]),
        (mse, 2, ["student, distilled"]),
        (prediction, 4, ["student, fine-tuned", "student, distilled"]),
    ):
        assert drawn.count("<polyline") == lines
        assert drawn.count("stroke-dasharray") == ("teacher" in models)
        assert sorted(re.findall(r"</i>([^<]+)</span>", drawn)) == sorted(models)
    colours = {re.search(r'background:([^"]+)"></i>student, distilled', drawn)[1] for drawn in (score, loss, mse)}  # type: ignore[index]
    assert len(colours) == 1


def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup() -> None:
    told = record().model_copy(update={"verdict": ["try `task.unlabelled` & <b>more</b> `<i>`"]})
    page = render(told, None, None)
    assert "try <code>task.unlabelled</code> &amp; &lt;b&gt;more&lt;/b&gt;" in page
    assert "<i>" not in page.replace('<i style="', "")


def test_what_is_not_known_is_left_out_and_said() -> None:
    page = render(record(), None, None, notes=["the teacher is gone"])
    said = " ".join(Elements(page).texts)
    assert "distiller bench" in said
    assert "the teacher is gone" in said
    assert "Calibration" not in said


def test_no_text_of_a_data_set_becomes_markup() -> None:
    page = render(record(HOSTILE), examination(HOSTILE), bench(), notes=[HOSTILE])
    elements = Elements(page)
    assert not {tag for tag, _ in elements.found} & {"script", "img", "iframe", "link"}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert not [a for _, a in elements.found if a.get("src") or a.get("href")]
    assert HOSTILE in "".join(elements.texts)


def test_a_page_is_small_and_written_in_one_step(tmp_path: Path) -> None:
    path = write_run_report(record(), examination(), bench(), tmp_path / "r.html")
    assert path.stat().st_size < 100_000
    assert [one.name for one in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(OutputError, match="there is no folder"):
        write_run_report(record(), None, None, tmp_path / "absent" / "r.html")


def test_charts_leave_out_what_is_no_number() -> None:
    assert chart([Series("a", [(1.0, float("nan"))])], x="x", y="y") == ""
    drawn = chart([Series("a", [(1.0, 2.0), (2.0, float("inf")), (3.0, 2.0)])], x="x", y="y")
    assert drawn.count("polyline") == 1
    assert not re.search(r"nan|inf", drawn)
    flat = chart([Series("a", [(5.0, 0.0)])], x="x", y="y", logarithmic=True)
    assert "circle" in flat


def test_layers_are_joined_as_they_were_compared() -> None:
    drawn = layers(2, 4, [("mse", [(1, 2), (2, 4)])])
    assert drawn.count("<line") == 2
    assert drawn.count("<rect") == 3 + 5


def test_a_sure_and_right_model_is_calibrated() -> None:
    sure = np.array([[9.0, -9.0], [-9.0, 9.0]])
    assert calibration(sure, np.array([0, 1])).error == pytest.approx(0, abs=1e-6)
    assert calibration(sure, np.array([1, 0])).error == pytest.approx(1, abs=1e-6)
    even = calibration(np.zeros((10, 2)), np.array([0, 1] * 5))
    assert (even.error, even.bins[0].rows) == (0, 10)


@pytest.mark.slow
def test_a_browser_shows_it_without_a_network(browser: str, tmp_path: Path) -> None:  # noqa: F811
    page = write_run_report(record(HOSTILE), examination(HOSTILE), bench(), tmp_path / "r.html")
    document, complaints = opened(browser, page, tmp_path / "profile", then="document.title='hacked'")
    assert "Class by class" in document
    assert "<title>hacked</title>" not in document  # the page's policy lets no script run, whoever wrote it
    assert "Content Security Policy" in complaints
