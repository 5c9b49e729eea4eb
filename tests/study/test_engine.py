"""The engine and its workers as processes: killed at any time, they lose nothing."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from distiller.config import parse_run
from distiller.errors import ConfigError, OutputError, RunError
from distiller.study import lost_workers
from distiller.study.config import Study, load_study, parse_study
from distiller.study.engine import run_study
from distiller.study.lost_workers import reclaim
from distiller.study.progress import Progress
from distiller.study.trial_io import load_trials
from distiller.study.worker import NO_ROOM, work
from run.tiny import Workshop
from study.conftest import EVERY_POINT_ONCE, Small, logged, started

psutil = pytest.importorskip("psutil")

ENGINE = """
import sys
from distiller.study.config import load_study
from distiller.study.engine import run_study
run_study(load_study(sys.argv[1]), check=False, execute=sys.argv[2])
"""


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def pids(study: Study) -> set[int]:
    return {int(line.split()[3]) for line in (study.place / "log.txt").read_text().splitlines()}


def test_workers_that_are_killed_lose_only_what_they_were_doing(small: Small, database: str | None) -> None:
    """One is shot in the middle of a trial, which another worker does again; threads are set on purpose."""
    study = small(engine={"workers": 2, "threads": 1}, storage=database)
    seen: list[Progress] = []
    now = run_study(study, check=False, execute="study.fakes:shot_once", on_progress=seen.append)
    assert (now.complete, now.failed, now.total) == (6, 0, 6)
    assert logged(study) == EVERY_POINT_ONCE
    assert seen[-1] == now
    assert load_study(study.place) == study
    records = [json.loads(text) for text in load_trials(study.place).frame["run"]]
    assert len({json.dumps(parse_run(run).model_dump(mode="json"), sort_keys=True) for run in records}) == 6

    with pytest.raises(OutputError, match="has trials already") as refused:
        run_study(study, check=False, execute="study.fakes:fast")
    assert "study resume" in str(refused.value.hint)
    assert run_study(study, resume=True, check=False, execute="study.fakes:fast").complete == 6
    assert logged(study) == EVERY_POINT_ONCE
    with pytest.raises(OutputError, match="is the folder of the study `small`"):
        run_study(small(name="other"), check=False)


def test_a_killed_engine_takes_its_workers_along_and_is_resumed(
    small: Small, database: str | None, tmp_path: Path
) -> None:
    study = small(engine={"workers": 2}, storage=database)
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study.model_dump(mode="json")), encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", ENGINE, str(file), "study.fakes:stuck"]) as engine:
        until(lambda: bool(logged(study)) and any(epochs == "2" for epochs, _ in logged(study, "began")))
        until(lambda: len(load_trials(study.place).frame) > 0)  # what ran is stored a moment after it says so
        with pytest.raises(OutputError, match="is being worked on"):
            run_study(study, resume=True, check=False)
        os.kill(engine.pid, signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids(study)), seconds=20)
    done = load_trials(study.place).frame
    assert 1 <= len(done) < 6
    ran = logged(study)

    now = run_study(study, resume=True, check=False, execute="study.fakes:fast")
    assert (now.complete, now.failed) == (6, 0)
    again = load_trials(study.place).frame
    assert len(again) == 6
    assert set(done["trial"]) <= set(again["trial"])
    twice = logged(study) - EVERY_POINT_ONCE  # carried out, but killed before that was stored
    assert twice.total() <= ran.total() - len(done)


def test_a_point_that_kills_every_worker_is_given_up(small: Small) -> None:
    study = small(space={"training.epochs": [1, 2, 3]}, sampler="grid")
    now = run_study(study, check=False, execute="study.fakes:deadly")
    assert (now.complete, now.failed) == (2, 1)
    assert logged(study, "began") == {("1", "32"): 1, ("2", "32"): 2, ("3", "32"): 1}
    frame = load_trials(study.place).frame
    assert list(frame["reason"]) == ["", "its worker was killed by SIGKILL (out of memory?)", ""]


def test_a_full_disk_ends_the_engine_with_one_line(small: Small) -> None:
    study = small()
    with pytest.raises(RunError, match="the disk is full") as raised:
        run_study(study, check=False, execute="study.fakes:no_room")
    assert "resume" in str(raised.value.hint)
    assert load_trials(study.place).frame["status"].tolist() == ["complete"] * 2
    (study.place / "room").touch()
    run_study(study, resume=True, check=False, execute="study.fakes:no_room")
    assert logged(study) == EVERY_POINT_ONCE


def test_workers_that_cannot_start_end_the_engine(small: Small) -> None:
    with pytest.raises(RunError, match=r"workers end before they finish a trial: .*No module named 'nowhere'"):
        run_study(small(), check=False, execute="nowhere:at_all")


def real(shop: Workshop, tmp_path: Path, **fields: object) -> Study:
    return parse_study(
        {
            "name": "real",
            "base": shop.run(tmp_path, baseline=True, cache=str(tmp_path / "cache")),
            "space": {
                "objective.prediction": ["ce", "mse"],
                "objective.intermediate.0.mapping": ["skip", "last"],
            },
            "folder": str(tmp_path / "real"),
            "engine": {"threads": 1},
            **fields,
        }
    )


@pytest.mark.slow
def test_a_real_study_from_start_to_table(shop: Workshop, tmp_path: Path) -> None:
    study = real(shop, tmp_path, pruner={"name": "median", "options": {"n_startup_trials": 4}})
    now = run_study(study)
    assert (now.complete, now.failed) == (4, 0), load_trials(study.place).frame["reason"].tolist()
    trials = load_trials(study.place)
    frame = trials.frame
    assert trials.factors == ("prediction", "mapping")
    assert {tuple(row) for row in frame[["prediction", "mapping"]].to_numpy()} == {
        (prediction, mapping) for prediction in ("ce", "mse") for mapping in ("skip", "last")
    }
    assert set(frame["intermediate"]) == {"mse"}
    for column in ("score", "teacher_score", "baseline_score", "seconds", "parameters", "milliseconds", "megabytes"):
        assert frame[column].notna().all(), column
    assert frame["baseline_score"].nunique() == 1
    run = parse_run(json.loads(frame["run"][0]))
    assert run.task.max_length == 16
    students = list((study.place / "trials").rglob("student"))
    best = max(zip(frame["score"], frame["trial"], strict=True))[0]
    assert len(students) == 1
    assert json.loads((students[0].parent / "record.json").read_text(encoding="utf-8"))["score"] == best
    assert not list((study.place / "trials").rglob("seeds"))
    built = {
        kind.name: len(list(kind.glob("*/facts.json"))) for kind in (tmp_path / "cache").iterdir() if kind.is_dir()
    }
    assert built["baselines"] == 1  # one for all four trials


def test_a_study_that_cannot_work_is_refused_before_it_starts(shop: Workshop, tmp_path: Path) -> None:
    study = real(shop, tmp_path, space={"objective.prediction": ["ce", "kll"]})
    with pytest.raises(ConfigError, match=r"study `real`, prediction=kll: .*`kll`"):
        run_study(study)
    assert not (study.place / "study.yaml").exists()


@pytest.mark.slow
def test_ray_carries_out_a_study(small: Small) -> None:
    ray = pytest.importorskip("ray", reason="the package `ray` is not installed")
    study = small(engine={"name": "ray", "workers": 2, "cpus": 0.5}, storage=None)
    try:
        now = run_study(study, check=False, execute="study.fakes:shot_once")
    finally:
        ray.shutdown()
    assert (now.complete, now.failed) == (6, 0)
    assert logged(study) == EVERY_POINT_ONCE
    assert os.getpid() not in pids(study)


@pytest.mark.slow
def test_a_machine_that_leaves_the_cluster_loses_only_what_it_was_doing(small: Small) -> None:
    ray = pytest.importorskip("ray", reason="the package `ray` is not installed")
    cluster_utils = importlib.import_module("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1)]
        study = small(engine={"name": "ray", "address": cluster.address}, storage=None)
        finished: set[int] = set()

        def leave(now: Progress) -> None:
            if nodes and now.finished and now.running == 2:
                finished.update(load_trials(study.place).frame["trial"])
                cluster.remove_node(nodes.pop(), allow_graceful=False)

        now = run_study(study, check=False, execute="study.fakes:long", on_progress=leave)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert not nodes
    assert finished
    assert (now.complete, now.failed) == (6, 0)
    assert finished <= set(load_trials(study.place).frame["trial"])
    assert set(logged(study)) == set(EVERY_POINT_ONCE)
    assert (logged(study) - EVERY_POINT_ONCE).total() <= 1  # carried out, but killed before that was stored


FULL = """
import os, resource, sys
from distiller.study.worker import main
limit = os.path.getsize(sys.argv[2]) + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(sys.argv[1], "w", str(os.getppid()), "study.fakes:fast"))
"""


@pytest.mark.parametrize("room", [4096, 8192, 12288])
def test_a_database_that_cannot_grow_stops_the_worker_and_keeps_what_it_has(
    small: Small, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it fills up: between claiming a trial and naming its worker too, which takes a minute to be believed."""
    monkeypatch.setattr(lost_workers, "UNNAMED", timedelta(0))
    study = small(storage=None)
    stored = started(study)
    database = study.place / "study.db"
    command = [sys.executable, "-c", FULL, str(study.place), str(database), str(room)]
    stopped = subprocess.run(command, capture_output=True, text=True)
    assert stopped.returncode == NO_ROOM, stopped.stderr
    assert f"error: the storage `{database}` cannot be used: " in stopped.stderr
    kept = load_trials(study.place).frame
    assert set(kept["status"]) <= {"complete"}
    assert len(kept) < 6
    reclaim(stored, died={})
    work(study, "w", "study.fakes:fast")
    again = load_trials(study.place).frame
    assert again["status"].tolist() == ["complete"] * 6
    assert set(kept["trial"]) <= set(again["trial"])
