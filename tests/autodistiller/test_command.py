"""`distiller advise` as a user calls it."""

import json
from pathlib import Path

import pytest

from autodistiller.synthetic import experience
from cli.conftest import Command, distiller, shop  # noqa: F401 - fixtures
from distiller.autodistiller.experience import read_experience
from distiller.autodistiller.facts import write_facts
from distiller.cli import advise
from distiller.config import load_run, parse_run
from distiller.study.trials import FACTORS, tabulate, write_trials
from run.tiny import Workshop, reviews, write


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experience file and a cache of this test's own, and nothing shipped."""
    monkeypatch.setenv(advise.OWN, str(tmp_path / "own.csv"))
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("distiller.autodistiller.experience.SHIPPED", "nothing.csv")
    return tmp_path / "own.csv"


@pytest.fixture
def past(tmp_path: Path) -> str:
    whole = experience(noise=0.01)
    write_facts(whole.tasks, tmp_path / "past.tasks.json")
    return str(write_trials(whole.trials, tmp_path / "past.csv"))


QUICK = ("--no-bilstm", "--vectors", "none", "--space", "study-small")


def test_a_data_file_gets_advice(distiller: Command, past: str, tmp_path: Path) -> None:  # noqa: F811
    write(tmp_path / "reviews.csv", reviews(100, seed=0))
    call = ("advise", tmp_path / "reviews.csv", "teacher.model=big", "student.layers=2", "--experience", past, *QUICK)
    answer = distiller(*call, "--top", 3, "--write", tmp_path / "advised")
    assert answer.code == 0, answer.err
    assert "best of 48 pipelines" in answer.out
    assert "past trials" in answer.out
    assert "task" in answer.out
    assert "next: --write FOLDER" not in answer.err
    assert [load_run(file).teacher.model for file in sorted((tmp_path / "advised").glob("*.yaml"))] == ["big"] * 3
    data = json.loads(distiller(*call, "--json").out)
    assert len(data["advised"]) == 5
    assert parse_run(data["advised"][0]["run"]).student.layers == 2


def test_a_data_file_alone_gets_advice_for_the_standard_run(
    distiller: Command,  # noqa: F811
    past: str,
    shop: Workshop,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distiller.cli.recipes.DEFAULT_PACKAGE", "no-such-package")
    monkeypatch.setattr("distiller.cli.recipes.DEFAULT_TEACHER", shop.base)
    answer = distiller("advise", shop.reviews, "--experience", past, *QUICK, "--json")
    assert answer.code == 0, answer.err
    run = parse_run(json.loads(answer.out)["advised"][0]["run"])
    assert (run.teacher.model, run.student.layers) == (shop.base, 2)
    assert "next: --write FOLDER" in distiller("advise", shop.reviews, "--experience", past, *QUICK).err


@pytest.mark.parametrize(
    ("given", "words"),
    [(("--predictor", "forst"), "forest"), (("--teacher-score", "80"), "1 is the highest")],
)
def test_what_is_refused_is_refused_before_a_model_is_trained(
    distiller: Command,  # noqa: F811
    past: str,
    shop: Workshop,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setattr("distiller.autodistiller.facts.facts_of", lambda *_, **__: pytest.fail("a training began"))
    answer = distiller("advise", shop.reviews, "--experience", past, *given)
    assert answer.code == 2
    assert words in answer.err


@pytest.mark.slow
def test_advice_is_probed_carried_out_and_remembered(
    shop: Workshop,  # noqa: F811
    distiller: Command,  # noqa: F811
    past: str,
    own: Path,
    tmp_path: Path,
) -> None:
    file = shop.file(tmp_path)
    answer = distiller("advise", file, "--experience", past, *QUICK, "--probe", 1, "--run", 1, "--top", 1)
    assert answer.code == 0, answer.err
    assert "predicted and measured" in answer.out
    assert "probe 1 of 1" in answer.err
    finished = tmp_path / "out" / "advised" / "1"
    assert (finished / "record.json").is_file()

    joined = distiller("advise", "--add", finished, past)
    assert joined.code == 0, joined.err
    frame = read_experience(own).trials.frame
    assert len(frame) == 301
    assert frame["task"].nunique() == 6
    alone = distiller("advise", file, *QUICK, "--top", 1)
    assert alone.code == 0, alone.err


def refused(answer: object, *words: str) -> None:
    assert answer.code == 2, answer  # pyright: ignore[reportAttributeAccessIssue]
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(lines) == 1
    assert "Traceback" not in answer.err  # pyright: ignore[reportAttributeAccessIssue]
    for word in words:
        assert word in answer.err  # pyright: ignore[reportAttributeAccessIssue]


def test_bad_input_is_one_line(distiller: Command, past: str, tmp_path: Path) -> None:  # noqa: F811
    write(tmp_path / "good.csv", reviews(100, seed=0))
    write(tmp_path / "few.csv", reviews(20, seed=0))
    write(tmp_path / "same.csv", [{**row, "label": "good"} for row in reviews(100, seed=0)])
    write(tmp_path / "bare.csv", [{"text": row["text"]} for row in reviews(100, seed=0)])
    failed = write_trials(tabulate([{"status": "failed", "task": "a"}], FACTORS), tmp_path / "failed.csv")

    def call(file: str, *more: object) -> object:
        model = ("teacher.model=big", "student.layers=2")
        return distiller("advise", tmp_path / file, *model, "--experience", past, *QUICK, *more)

    refused(call("few.csv"), "at least 50")
    refused(call("same.csv"), "label")
    refused(call("bare.csv"), "label")
    refused(call("nowhere.csv"), "nowhere.csv")
    refused(call("good.csv", "--experience", failed), "no finished trial")
    refused(call("good.csv", "--experience", "nowhere"), "nowhere")
    refused(call("good.csv", "--predictor", "oracle"), "oracle")
    refused(call("good.csv", "--space", "study-smal"), "study-smal")
    refused(
        distiller("advise", tmp_path / "good.csv", "teacher.model=big", "student.layers=2"),
        "no experience",
        "--experience FILE",
    )
    refused(distiller("advise", "--add", tmp_path / "good.yaml"), "good.yaml")
