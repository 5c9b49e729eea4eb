"""Every numbered example runs as it is written, offline, and shows that something was learnt."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
