"""Tasks of a Ray cluster, killed before random changes of a study's files: every point is tried, and none is lost."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from attack.children import count_changes
from attack.conftest import NIGHTLY
from distiller.config import Run
from distiller.record import Record
from study import fakes
from study.conftest import Small, small  # noqa: F401 - a fixture

ray = pytest.importorskip("ray", reason="the package `ray` is not installed")
pytest.importorskip("optuna")

STUDIES = 12
KILLS = 3
"""Tasks of each study that are killed."""
CHANGES = 15
"""Changes of files among which the fatal one is drawn: a trial makes about so many."""
armed: list[int] = []
"""The change before which this process is to be killed, from its first trial on."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def shot_somewhere(run: Run, report: fakes.Report | None) -> Record:
    """A trial that takes no time; the first `KILLS` tasks that carry one out are killed soon after they began."""
    place = next(parent for parent in Path(run.output).absolute().parents if parent.name == "trials").parent
    if not armed:
        number = len(list(place.glob("armed-*")))
        armed.append(random.Random(f"{place.name}, {number}").randint(1, CHANGES))
        if number < KILLS:
            (place / f"armed-{number}").touch()
            count_changes(place, armed[0])
    return fakes.fast(run, report)


@pytest.mark.slow
@pytest.mark.skipif(not NIGHTLY, reason="part of the nightly size; tests/study has a task of Ray that is killed")
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("cluster")
def test_killed_tasks_of_ray_lose_no_point(small: Small, tmp_path: Path) -> None:  # noqa: F811
    from distiller.study.engine import run_study
    from distiller.study.queue import attempts
    from distiller.study.search_space import search_space_of
    from distiller.study.storage import open_study
    from distiller.study.trial_io import load_trials

    lost = 0
    for number in range(STUDIES):
        folder = str(tmp_path / str(number))
        study = small(engine={"name": "ray", "workers": 2, "cpus": 1}, storage=None, folder=folder)
        now = run_study(study, check=False, execute=f"{__name__}:shot_somewhere")
        assert (now.complete, now.failed) == (6, 0)
        runs = [json.loads(run)["training"] for run in load_trials(study.place).complete["run"]]
        assert len({(training["epochs"], training["batch_size"]) for training in runs}) == len(runs) == 6
        tries = [tried for cell in open_study(search_space_of(study)).cells for tried in attempts(cell).values()]
        lost += sum(map(len, tries)) - 6
    print(f"{lost} trials were lost with their tasks")
    assert lost > STUDIES  # a task may also be killed between two trials
