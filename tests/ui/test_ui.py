"""`distiller ui`: what it lists and answers over HTTP, whom it answers, and that a browser can use it."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import yaml

from cli.conftest import Command, distiller  # noqa: F401
from deploy.conftest import KINDS, Models, models, output, shop, translated  # noqa: F401
from distiller.config import Run, Task, Teacher, to_yaml
from distiller.config.translation import Decoding
from distiller.deploy.ask import LoadedModels
from distiller.errors import DataError, OutputError
from distiller.inference import Predictor
from distiller.record import load_record
from distiller.study.trials import tabulate
from distiller.training.output_folder import STUDENT
from distiller.translation.translate import translated_lines
from distiller.ui.listing import find_outputs, study_details
from translation.tiny import translator
from ui.browser import Browser, installed

pytest.importorskip("uvicorn", reason="the extra `ui` is not installed")
pytest.importorskip("starlette", reason="the extra `ui` is not installed")

HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def place(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with a finished run that has an export, and one whose Record is damaged."""
    root = tmp_path_factory.mktemp("outputs")
    shutil.copytree(output, root / "reviews")
    (root / "broken").mkdir()
    (root / "broken" / "record.json").write_text("{}", encoding="utf-8")
    return root


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a page over `folder`."""
    import uvicorn

    from distiller.ui.server import HOST, application

    server = uvicorn.Server(uvicorn.Config(application([folder]), host=HOST, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    with served(place) as found:
        yield found


def fetch(url: str, data: Any = None, **headers: str) -> tuple[int, Any]:
    body = None if data is None else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def test_runs_are_listed_and_asked(address: str, place: Path) -> None:
    _, found = fetch(f"{address}/api/list")
    broken, good = found["runs"]
    assert "is not a Record" in broken["error"]
    assert good["score"] == load_record(place / "reviews").score
    here = quote(good["folder"])
    _, shown = fetch(f"{address}/api/run?folder={here}")
    assert [one["name"] for one in shown["models"]] == ["teacher", "student, fine-tuned", "student, distilled"]
    assert "student:" in shown["yaml"]
    assert shown["pairs"] is False
    json_type = {"Content-Type": "application/json"}
    code, said = fetch(f"{address}/api/ask?folder={here}", {"text": "a good film"}, **json_type)
    assert code == 200, said
    assert [one["name"] for one in said["answers"]] == ["teacher", "student"]
    expected = Predictor(str(place / "reviews"))(["a good film"])[0]
    assert said["answers"][1]["said"] == expected["label"]
    for name, share in said["answers"][1]["shares"].items():
        assert share == pytest.approx(expected[f"p({name})"], abs=1e-5)
    assert all(one["milliseconds"] > 0 for one in said["answers"])


def test_a_translation_is_asked_too(tmp_path: Path) -> None:
    folder = translated(tmp_path)
    shutil.rmtree(folder / STUDENT)
    model, words = translator(folder / STUDENT)
    expected = translated_lines(model, words, ["eins zwei"], Decoding(beam=2, max_length=20))
    with served(tmp_path) as page:
        code, shown = fetch(f"{page}/api/run?folder={quote(str(folder))}")
        assert (code, shown["kind"], shown["pairs"]) == (200, "translation", False)
        asked, json_type = f"{page}/api/ask?folder={quote(str(folder))}", {"Content-Type": "application/json"}
        code, found = fetch(asked, {"text": "eins zwei"}, **json_type)
        assert (code, [(one["name"], one["said"]) for one in found["answers"]]) == (200, [("student", expected[0])])
        code, found = fetch(asked, {"text": "eins " * 600}, **json_type)
        assert (code, "the model takes 512" in found["answers"][0]["error"]) == (200, True)


def test_only_this_machine_and_what_is_listed_is_answered(address: str, place: Path) -> None:
    json_type = {"Content-Type": "application/json"}
    here = f"{address}/api/ask?folder={quote(str(place / 'reviews'))}"
    for url, data, headers, code, words in (
        (f"{address}/api/run?folder=/etc", None, {}, 400, "is not in the list"),
        (f"{address}/api/run?folder={quote(str(place / 'reviews' / '..' / 'reviews'))}", None, {}, 400, "not in the"),
        (here, {"text": "x"}, {"Content-Type": "text/plain"}, 400, "a question is JSON"),
        (here, {"text": " "}, json_type, 400, "there is no text"),
        (here, {"text": 3}, json_type, 400, "a question is a text"),
        (here, {"text": "x" * 200_000}, json_type, 400, "a question is a text"),
        (here, [1], json_type, 400, "a question is a text"),
        (f"{address}/api/list", None, {"Host": "evil.example"}, 400, "Invalid host"),
    ):
        status, answer = fetch(url, data, **headers)
        assert status == code, url
        assert words in (answer["error"] if isinstance(answer, dict) else answer)
    with urllib.request.urlopen(address) as reply:
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert urlsplit(address).hostname == "127.0.0.1"


def test_mistakes_are_one_line(tmp_path: Path, distiller: Command) -> None:  # noqa: F811
    import socket

    answer = distiller("ui", tmp_path / "absent")
    assert answer.code == 2
    assert "there is no folder" in answer.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = distiller("ui", tmp_path, "--port", taken.getsockname()[1])
    assert answer.code == 2
    assert "cannot be had" in answer.err


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_is_answered_as_predict_does(kind: str, models: Models, tmp_path: Path) -> None:  # noqa: F811
    loaded = LoadedModels(models.model(kind), run=models.run(kind))
    texts = {"qa": ("who was good", "the good film was a story"), "pairs": ("a good film", "a bad story")}
    text, pair = texts.get(kind, ("the good film was a story", None))
    (answer,) = loaded.ask(text, pair)
    assert answer.error is None
    predictor = Predictor(models.model(kind))
    if kind == "qa":
        question = {"id": "1", "question": text, "answers": []}
        article = {"title": "t", "paragraphs": [{"context": pair, "qas": [question]}]}
        (tmp_path / "q.json").write_text(json.dumps({"version": "1", "data": [article]}), encoding="utf-8")
        found = predictor.answers(tmp_path / "q.json")[0]["1"]
        if found.text or answer.said:  # the model's own longest input and the run's may differ
            assert answer.said in pair
        return
    row = predictor([(text, pair)] if pair else [text])[0]
    if kind == "regression":
        assert float(answer.said) == pytest.approx(float(row["score"]), abs=1e-3)
    elif kind == "tagging":
        assert answer.said == " ".join(f"{word}/{tag}" for word, tag in zip(row["words"], row["tags"], strict=True))
    else:
        assert answer.said == row["label"]
    if pair:
        with pytest.raises(DataError, match="the second is missing"):
            loaded.ask(text)


def test_studies_offer_their_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "group" / "mine"
    (folder / "trials" / "0").mkdir(parents=True)
    (folder / "study.yaml").write_text("name: mine", encoding="utf-8")
    (folder / "trials" / "0" / "record.json").write_text("{}", encoding="utf-8")  # a trial is no run of its own
    assert find_outputs([tmp_path]) == ([], [folder])
    run = to_yaml(Run(task=Task(train="a.csv"), teacher=Teacher(model="big")), exclude_defaults=True)
    rows = [
        {"task": task, "mapping": level, "score": score, "run": json.dumps(yaml.safe_load(run))}
        for task in ("rte", "cola")
        for level, score in (("skip", 0.6), ("emd", 0.8), ("last", 0.7))
    ]
    trials = tabulate([*rows, {"task": "rte", "status": "failed", "mapping": "skip"}], ["mapping"])
    monkeypatch.setattr("distiller.study.trial_io.load_trials", lambda source: trials)
    shown = study_details(folder)
    assert shown["trials"] == {"complete": 6, "failed": 1}
    assert [one["levels"]["mapping"] for one in shown["best"]] == ["emd", "last", "skip"] * 2
    assert yaml.safe_load(shown["best"][0]["yaml"])["teacher"] == {"model": "big"}
    monkeypatch.setattr("distiller.study.trial_io.load_trials", lambda source: tabulate([], ["mapping"]))
    assert study_details(folder)["best"] == []


def test_a_study_that_is_being_written_hides_no_runs(tmp_path: Path) -> None:
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    (tmp_path / "outputs" / "a" / "record.json").write_text("{}", encoding="utf-8")
    (tmp_path / "study.yaml").write_text("name: mine", encoding="utf-8")
    assert find_outputs([tmp_path]) == ([tmp_path / "outputs" / "a"], [])


def test_a_model_without_a_task_is_refused(models: Models) -> None:  # noqa: F811
    with pytest.raises(OutputError, match="nothing says what the task"):
        LoadedModels(models.model("classification"))


@pytest.mark.slow
def test_a_browser_can_use_it(address: str, place: Path, tmp_path: Path) -> None:
    program = installed()
    if program is None:
        pytest.skip("no Chromium or Chrome is installed to open the page in")
    browser = Browser(program, tmp_path / "profile")
    try:
        browser.size(390, 800)
        browser.open(address)
        browser.wait("document.body.dataset.ready === 'yes'")
        browser.run("[...document.querySelectorAll('#runs button')].find((one) => !one.disabled).click()")
        browser.wait("document.getElementById('view').dataset.ready === 'run'")
        browser.run(f"document.getElementById('text').value = {json.dumps('a good film ' + HOSTILE)}")
        browser.run("document.querySelector('form').requestSubmit()")
        browser.wait("document.getElementById('answers').dataset.ready")
        rows = browser.run("[...document.querySelectorAll('#answers tbody tr')].map((one) => one.innerText)")
        assert [row.split()[0] for row in rows] == ["teacher", "student"]
        assert all("good" in row or "bad" in row for row in rows)
        assert browser.run("document.title") == "Distiller"
        assert browser.run("document.querySelectorAll('img').length") == 0
        assert browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        browser.close()
