"""Pseudo-labels, killed before random file operations: no sentence is lost or made twice."""

import random
import signal
from pathlib import Path
from typing import Any

import pytest

from attack.children import Child, count_changes
from attack.conftest import times
from run.tiny import Workshop

pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def labels(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A translator, the labels of an undisturbed job, and how many file operations that took."""
    from distiller.translation.pseudo_labels import RESULT
    from translation.test_pseudo_labels import job
    from translation.tiny import translator

    folder = tmp_path_factory.mktemp("labels")
    model = translator(folder / "model")

    def act() -> None:
        count = count_changes(folder / "whole")
        job(folder / "whole", *model)
        (folder / "count").write_text(str(count()), encoding="utf-8")

    child = Child(act, folder / "log")
    assert child.wait() == 0, child.said()
    return model, (folder / "whole" / RESULT).read_bytes(), int((folder / "count").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(times(2, 40)))
def test_killed_pseudo_labels(number: int, labels: Any, tmp_path: Path) -> None:
    from distiller.translation.pseudo_labels import RESULT
    from translation.test_pseudo_labels import job

    model, whole, changes = labels
    at = random.Random(number).randint(1, changes - 1)

    def act() -> None:
        count_changes(tmp_path / "it", at)
        job(tmp_path / "it", *model, resume=True)

    child = Child(act, tmp_path / "log")
    assert child.wait() == -signal.SIGKILL, child.said()
    again = Child(lambda: job(tmp_path / "it", *model, resume=True), tmp_path / "log")
    assert again.wait() == 0, f"killed before change {at} of {changes}: {again.said()}"
    assert (tmp_path / "it" / RESULT).read_bytes() == whole
