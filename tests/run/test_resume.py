"""Interrupted runs: `resume` ends where the uninterrupted run ends, and nothing half-done looks finished."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import distiller
import distiller.run
from distiller.config import Task, load_run, parse_run, to_yaml
from distiller.deploy.finished import open_finished
from distiller.errors import ConfigError, OutputError, RunError
from distiller.scoring import evaluate
from run.tiny import CRITIC, FAST, Cut, Workshop, cut_after, repeatable, reviews, write

LONG: dict[str, Any] = {
    "training": FAST | {"epochs": 2, "log_every": 2, "threads": 1, "evaluations": 2, "checkpoint_minutes": 0},
    "student": {"layers": 2, "dropout": 0.2},
    "objective": {"intermediate": [{"loss": "mse"}, {"loss": "mi_alpha", "critic": CRITIC}]},
}


def run(shop: Workshop, folder: Path, **fields: Any) -> distiller.Run:
    return parse_run(shop.run(folder, **LONG | fields))


def cut_and_resumed(wish: distiller.Run, monkeypatch: pytest.MonkeyPatch, *cuts: int) -> None:
    """Carry out a run that is interrupted after so many steps of each try, and then goes on to its end."""
    for steps in cuts:
        with monkeypatch.context() as patch:
            cut_after(patch, steps)
            with pytest.raises(Cut):
                distiller.distil(wish, resume=True)
    distiller.distil(wish, resume=True)


@pytest.fixture(scope="module")
def whole(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The Record of two seeds without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    distiller.distil(run(shop, folder, seeds=[0, 1]))
    return repeatable(folder / "out")


@pytest.mark.parametrize("steps", [2, 5, 10, 14])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    steps: int, whole: dict[str, Any], shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any checkpoint, between two of them and two log lines, between two seeds, in the second seed."""
    wish = run(shop, tmp_path, seeds=[0, 1])
    with monkeypatch.context() as patch:
        cut_after(patch, steps)
        with pytest.raises(Cut):
            distiller.distil(wish)
    assert not (tmp_path / "out" / "record.json").exists()
    with pytest.raises(OutputError, match="an interrupted run"):
        distiller.distil(wish)
    distiller.distil(wish, resume=True)
    assert repeatable(tmp_path / "out") == whole


def test_finished_seeds_are_not_trained_again(
    whole: dict[str, Any], shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = run(shop, tmp_path, seeds=[0, 1])
    with monkeypatch.context() as patch:
        cut_after(patch, 10)
        with pytest.raises(Cut):
            distiller.distil(wish)
    with monkeypatch.context() as patch:
        cut_after(patch, 10)  # just enough for the second seed
        distiller.distil(wish, resume=True)
    assert repeatable(tmp_path / "out") == whole


def test_interrupted_stages_are_continued(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [
        {"name": "states", "objective": {"beta1": 0, "intermediate": [{"loss": "mse"}]}, "training": {"epochs": 1}},
        {"name": "answers", "objective": {}},
    ]
    distiller.distil(run(shop, tmp_path / "whole", objective={}, stages=stages))
    cut_and_resumed(run(shop, tmp_path / "cut", objective={}, stages=stages), monkeypatch, 4, 8)
    assert repeatable(tmp_path / "cut" / "out") == repeatable(tmp_path / "whole" / "out")


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_another(whole: dict[str, Any], shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(to_yaml(run(shop, tmp_path, seeds=[0, 1])), encoding="utf-8")
    command = [sys.executable, "-m", "distiller", "run", str(tmp_path / "run.yaml"), "-q", "--resume"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(3000):
        if started.poll() is not None or list((tmp_path / "out").glob("seeds/*/*/checkpoints/*/trainer_state.json")):
            break
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait(60) == -signal.SIGKILL, started.stderr and started.stderr.read()
    assert not (tmp_path / "out" / "record.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "distilled" in done.stdout
    assert repeatable(tmp_path / "out") == whole


def test_a_finished_run_returns_its_record_at_once(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = run(shop, tmp_path)
    record = distiller.distil(wish)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr("distiller.run.prepare", None)  # no teacher is loaded
    assert distiller.distil(wish, resume=True) == record
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_a_moved_output_is_still_its_run(shop: Workshop, tmp_path: Path) -> None:
    record = distiller.distil(run(shop, tmp_path))
    (tmp_path / "out").rename(tmp_path / "moved")
    assert distiller.distil(run(shop, tmp_path, output=str(tmp_path / "moved")), resume=True) == record


def test_paths_as_typed_are_found_from_other_folders(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(shop.root)
    typed: dict[str, Any] = {"train": "reviews.csv", "dev": "./dev.csv", "max_length": 16}
    record = distiller.distil(run(shop, tmp_path, task=typed))
    assert record.run.task == Task(**typed)  # the Record, which is shared, names no folder of this machine
    assert distiller.distil(run(shop, tmp_path, task=typed), resume=True) == record
    monkeypatch.chdir(tmp_path / "elsewhere")
    scores = evaluate("../out")
    assert {name: scores[name] for name in record.seeds[0].scores} == pytest.approx(record.seeds[0].scores)
    assert distiller.distil(load_run("../out/run.yaml", [f"output={tmp_path / 'out'}"]), resume=True) == record
    assert distiller.distil(run(shop, tmp_path), resume=True) == record  # the same files, typed in full
    (tmp_path / "elsewhere" / "reviews.csv").write_bytes(Path(shop.reviews).read_bytes())
    with pytest.raises(OutputError, match="differs in `task`"):
        distiller.distil(run(shop, tmp_path, task=typed | {"dev": shop.dev}), resume=True)


# --- what is in the way ---------------------------------------------------------------------------------------------


def held(shop: Workshop, folder: Path, monkeypatch: pytest.MonkeyPatch, state: str, **fields: Any) -> None:
    """An output folder with a finished or an interrupted run."""
    with monkeypatch.context() as patch:
        if state == "an interrupted run":
            cut_after(patch, 9)
            with pytest.raises(Cut):
                distiller.distil(run(shop, folder, **fields))
        else:
            distiller.distil(run(shop, folder, **fields))


@pytest.mark.parametrize("state", ["a finished run", "an interrupted run"])
def test_an_earlier_run_in_the_way(state: str, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(shop, tmp_path, monkeypatch, state)
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(OutputError, match=f"holds {state}") as error:
        distiller.distil(run(shop, tmp_path))
    assert "--resume" in str(error.value)
    assert "--overwrite" in str(error.value)
    other = run(shop, tmp_path, seeds=[9])
    with pytest.raises(OutputError, match="started with another run, which differs in `seeds`"):
        distiller.distil(other, resume=True)
    with pytest.raises(ConfigError, match="both continued and started over"):
        distiller.distil(other, resume=True, overwrite=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before

    record = distiller.distil(other, overwrite=True)
    assert [one.seed for one in record.seeds] == [9]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "record.json", "development.safetensors", "distiller.sha256", "run.yaml", "seeds", "student", "notes.txt",
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "out" / "seeds").iterdir() if path.is_dir()] == ["9"]


@pytest.mark.parametrize("state", ["a finished run", "an interrupted run"])
def test_data_that_changed_meanwhile_are_said(
    state: str, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"train": str(tmp_path / "train.csv"), "max_length": 16}
    write(tmp_path / "train.csv", reviews(160, seed=0))

    held(shop, tmp_path, monkeypatch, state, task=task)
    write(tmp_path / "train.csv", reviews(170, seed=0))
    if state == "an interrupted run":
        with pytest.raises(OutputError, match="was started with other data"):
            distiller.distil(run(shop, tmp_path, task=task), resume=True)
        return
    with pytest.warns(UserWarning, match="is finished, but the data have changed"):
        distiller.distil(run(shop, tmp_path, task=task), resume=True)
    with pytest.warns(UserWarning, match="the data have changed since"):
        evaluate(str(tmp_path / "out"))
    write(tmp_path / "train.csv", [{**row, "label": row["label"][::-1]} for row in reviews(160, seed=0)])
    facts = open_finished(str(tmp_path / "out"))
    assert facts.data is None
    assert "have the classes `dab`, `doog` now" in facts.notes[0]


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_that_is_no_run_is_left_alone(options: dict[str, bool], shop: Workshop, tmp_path: Path) -> None:
    """Not even where someone keeps a run file of their own."""
    (tmp_path / "run.yaml").write_text("# mine\n" + to_yaml(run(shop, tmp_path)), encoding="utf-8")
    (tmp_path / "student").mkdir()
    with pytest.raises(OutputError, match="is not empty and not a run's output"):
        distiller.distil(run(shop, tmp_path, output=str(tmp_path)), **options)
    assert {path.name for path in tmp_path.iterdir()} == {"run.yaml", "student"}
    assert (tmp_path / "run.yaml").read_text(encoding="utf-8").startswith("# mine")


def test_a_file_in_the_way(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        distiller.distil(run(shop, tmp_path))
    with pytest.raises(OutputError, match="cannot write"):
        distiller.distil(run(shop, tmp_path, output=str(tmp_path / "out" / "deeper")))


def test_the_output_is_refused_before_a_teacher_is_fine_tuned(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    teacher = {"model": shop.base, "training": FAST}
    with pytest.raises(OutputError):
        distiller.distil(run(shop, tmp_path, teacher=teacher, cache=str(tmp_path / "cache")))
    assert not (tmp_path / "cache").exists()


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60_000, 130_000])
def test_no_room_for_a_file_ends_in_words(size: int, shop: Workshop, tmp_path: Path) -> None:
    """No file may grow beyond `size` bytes: the weights, or the state of the optimiser, do not fit."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(RunError, match="the run stopped at") as error:
            distiller.distil(run(shop, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.hint
    assert not (tmp_path / "out" / "record.json").exists()
    distiller.distil(run(shop, tmp_path), resume=True)


def test_a_failure_while_writing_is_a_run_error(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr("distiller.run.card.write_text", full)  # one of the last files of a run
        with pytest.raises(RunError, match="stopped at `somewhere`: No space left on device"):
            distiller.distil(run(shop, tmp_path))
    assert not (tmp_path / "out" / "record.json").exists()
    distiller.distil(run(shop, tmp_path), resume=True)
