"""SIGINT and SIGTERM end a run after a whole step, in words; two runs do not share an output."""

import signal
import sys
import time
from pathlib import Path

import pytest

import distiller as library
from attack.children import Child
from distiller.cli import main
from distiller.config import parse_run
from run.tiny import FAST, Workshop, repeatable

SLOW = FAST | {"epochs": 3, "log_every": 4, "threads": 1, "evaluations": 1}


def command(*arguments: str) -> None:
    sys.argv = ["distiller", *arguments]
    main()


def wait_for(pattern: str, folder: Path, child: Child) -> None:
    for _ in range(6000):
        if list(folder.glob(pattern)):
            return
        time.sleep(0.01)
    pytest.fail(f"no {pattern}: {child.said()}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_words(number: int, code: int, shop: Workshop, tmp_path: Path) -> None:
    file = shop.file(tmp_path, training=SLOW | {"checkpoint_minutes": 0})
    child = Child(lambda: command("run", file, "-q"), tmp_path / "log")
    wait_for("out/seeds/0/distil/checkpoints/*/distiller.sha256", tmp_path, child)
    child.kill(number)
    assert child.wait() == code, child.said()
    said = child.said()
    assert "error: interrupted" in said
    assert f"hint: continue with: distiller run {file} -q --resume" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "record.json").exists()
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["run.yaml", "seeds"]

    again = Child(lambda: command("run", file, "-q", "--resume"), tmp_path / "log")
    assert again.wait() == 0, again.said()
    (tmp_path / "whole").mkdir()
    whole = Child(
        lambda: library.distil(parse_run(shop.run(tmp_path / "whole", training=SLOW | {"checkpoint_minutes": 0}))),
        tmp_path / "log",
    )
    assert whole.wait() == 0, whole.said()
    assert repeatable(tmp_path / "out") == repeatable(tmp_path / "whole" / "out")


def test_two_runs_into_one_output(shop: Workshop, tmp_path: Path) -> None:
    file = shop.file(tmp_path, training=SLOW | {"checkpoint_minutes": 0})
    first = Child(lambda: command("run", file, "-q"), tmp_path / "first")
    wait_for("out/.holder", tmp_path, first)
    for option in ("--resume", "--overwrite", "-q"):
        second = Child(lambda option=option: command("run", file, option), tmp_path / "second")
        assert second.wait() == 2
        assert f"is being written by process {first.pid} on " in second.said()
    assert first.wait() == 0, first.said()
    assert not list((tmp_path / "out").glob(".*"))
