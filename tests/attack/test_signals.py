"""SIGINT and SIGTERM end a run after a whole step, in words; two runs do not share an output."""

import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_after_the_last_word_ends_without_one(number: int, code: int) -> None:
    """As a second one, which comes while Python takes itself apart."""
    program = f"""
import atexit, os, signal, sys
from distiller.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
atexit.register(lambda: os.kill(os.getpid(), {number}))
sys.argv = ["distiller", "check", "absent.yaml"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 3, done.stderr  # the error and its hint


def test_two_runs_into_one_output(shop: Workshop, tmp_path: Path) -> None:
    file = shop.file(tmp_path, training=SLOW | {"epochs": 2_000})  # it outlives the others on a busy machine too
    first = Child(lambda: command("run", file, "-q"), tmp_path / "first")
    wait_for("out/.holder", tmp_path, first)
    for option in ("--resume", "--overwrite", "-q"):
        second = Child(lambda option=option: command("run", file, option), tmp_path / "second")
        assert second.wait() == 2
        assert f"is being written by process {first.pid} on " in second.said()
    first.kill(signal.SIGTERM)
    assert first.wait() == 143, first.said()
    assert not list((tmp_path / "out").glob(".*"))


# --- every command that takes a while ---------------------------------------------------------------------------------


class Long(NamedTuple):
    """A command, and the function in the middle of which the signal comes, at its n-th call."""

    arguments: Callable[[Workshop, Path], list[str]]
    function: str
    call: int = 1


def study(shop: Workshop, folder: Path) -> list[str]:
    fields = {
        "name": "small",
        "base": shop.run(folder, training=FAST | {"max_steps": 1, "threads": 1}),
        "space": {"training.batch_size": [8, 16]},
        "folder": str(folder / "study"),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    return ["study", "run", str(folder / "study.yaml"), "-q"]


def labelling(shop: Workshop, folder: Path) -> list[str]:
    (folder / "new.txt").write_text("".join(f"good film {n}\n" for n in range(12)), encoding="utf-8")
    return ["label", shop.tuned, str(folder / "new.txt"), "-o", str(folder / "job"), "--shard-size", "4", "-q"]


def pseudo_labels(_: Workshop, folder: Path) -> list[str]:
    from translation.tiny import sentences, translator

    if not (folder / "model").exists():
        translator(folder / "model")
        (folder / "text.txt").write_text("".join(f"{one}\n" for one, _ in sentences(12)), encoding="utf-8")
    words = ["--shard-size", "4", "--beam", "1", "--engine", "transformers", "-q"]
    return ["pseudo-label", str(folder / "model"), str(folder / "text.txt"), "-o", str(folder / "job"), *words]


def advice(shop: Workshop, folder: Path) -> list[str]:
    from autodistiller.synthetic import experience
    from distiller.study.trials import write_trials

    past = write_trials(experience(noise=0.1).trials, folder / "past.csv")
    return ["advise", shop.file(folder), "--experience", str(past), "--vectors", "none", "--write", str(folder / "new")]


COMMANDS = {
    "study": Long(study, "distiller.study.engine:progress_of"),
    "label": Long(labelling, "distiller.jobs:Job._make", 2),
    "pseudo-label": Long(pseudo_labels, "distiller.jobs:Job._make", 2),
    "export": Long(
        lambda shop, folder: ["export", shop.tuned, "--to", "folder", "-o", str(folder / "job")],
        "distiller.deploy.export:_finish",
    ),
    "bench": Long(
        lambda shop, folder: ["bench", shop.tuned, "--run", shop.file(folder), "-o", str(folder / "b.json"), "-q"],
        "distiller.deploy.bench:_in_a_process",
    ),
    "advise": Long(advice, "distiller.autodistiller.bilstm:_train"),
    "mlm": Long(
        lambda shop, folder: ["mlm", shop.file(folder), "-o", str(folder / "job"), "--steps", "2"],
        "transformers:Trainer.training_step",
    ),
    "predict": Long(
        lambda shop, folder: ["predict", shop.tuned, shop.dev, "-o", str(folder / "said.csv")],
        "distiller.inference:Predictor.rows",
    ),
}


def struck(long: Long, number: int, arguments: list[str]) -> None:
    """The command, which gets the signal once in the middle of its work."""
    module, _, path = long.function.partition(":")
    *outer, name = path.split(".")
    holder = reduce(getattr, outer, importlib.import_module(module))
    whole, calls = getattr(holder, name), 0

    def once(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == long.call:
            os.kill(os.getpid(), number)
        return whole(*args, **kwargs)

    setattr(holder, name, once)
    command(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_every_long_command_in_words(
    name: str, number: int, code: int, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says to go on with goes on, to the end; nothing half-made is left."""
    monkeypatch.setenv("DISTILLER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DISTILLER_EXPERIENCE", str(tmp_path / "own.csv"))
    long = COMMANDS[name]
    arguments = long.arguments(shop, tmp_path)
    child = Child(lambda: struck(long, number, arguments), tmp_path / "log")
    assert child.wait() == code, child.said()
    said = child.said()
    assert said.count("error: interrupted\n") == 1, said
    assert "Traceback" not in said
    hint = said.partition("hint: ")[2].strip()
    assert not list(tmp_path.rglob("*.part")), hint
    if hint == "the same command starts again":
        onward = arguments
    else:
        assert hint.startswith("continue with: distiller "), hint
        onward = shlex.split(hint)[3:]
    again = Child(lambda: command(*onward), tmp_path / "log")
    assert again.wait() == 0, again.said()
