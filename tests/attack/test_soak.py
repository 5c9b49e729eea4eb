"""One worker and many trials: memory and open files stay flat."""

import json
from pathlib import Path

import pytest

from attack.children import Child
from attack.conftest import times
from distiller.config import Run
from distiller.record import Record
from run.tiny import FAST, Workshop
from study import fakes
from study.conftest import Small, small, started  # noqa: F401 - a fixture

psutil = pytest.importorskip("psutil")
pytest.importorskip("optuna")


def soaked(small: Small, tmp_path: Path, trials: int, execute: str, **fields: object) -> list[tuple[float, int]]:  # noqa: F811
    """Memory (MB) and open files of one worker in each of its trials, which `execute` carries out."""
    from distiller.study import worker
    from distiller.study.trial_io import load_trials

    space = {
        "training.learning_rate": [step / 1e5 for step in range(1, trials // 2 + 1)],
        "training.batch_size": [4, 8],
    }
    study = small(space=space, **fields)
    started(study)
    seen = tmp_path / "seen.jsonl"
    module, _, name = execute.partition(":")
    carry_out = getattr(worker if module == "worker" else fakes, name)

    def measured(run: Run, report: fakes.Report | None) -> Record:
        process = psutil.Process()
        with seen.open("a", encoding="utf-8") as file:
            file.write(json.dumps([process.memory_info().rss / 1e6, process.num_fds()]) + "\n")
        return carry_out(run, report)

    fakes.measured = measured  # type: ignore[attr-defined]
    child = Child(lambda: worker.work(study, "one", "study.fakes:measured"), tmp_path / "log")
    assert child.wait(3000) == 0, child.said()
    assert len(load_trials(study.place).complete) == trials
    return [tuple(json.loads(line)) for line in seen.read_text(encoding="utf-8").splitlines()]


def flat(points: list[tuple[float, int]], *, kilobytes: float) -> None:
    """After a fifth of the trials everything is imported and every table filled: from then on nothing may grow.

    `kilobytes` a trial are allowed, for what the storage knows of each.
    """
    start = len(points) // 5
    warm, last = points[start:][:5], points[-5:]
    files = [max(count for _, count in some) for some in (warm, last)]
    memory = [min(size for size, _ in some) for some in (warm, last)]
    print(f"{len(points)} trials: memory {memory[0]:.0f} MB, then {memory[1]:.0f} MB; open files {files}")
    assert files[1] <= files[0] + 1, files
    assert memory[1] - memory[0] < 25 + kilobytes * (len(points) - start) / 1000, memory


@pytest.mark.slow
def test_many_trials_leave_nothing_behind(small: Small, tmp_path: Path) -> None:  # noqa: F811
    points = soaked(small, tmp_path, times(40, 500), "fakes:fast")
    flat(points, kilobytes=20)


@pytest.mark.slow
def test_many_trainings_leave_nothing_behind(small: Small, shop: Workshop, tmp_path: Path) -> None:  # noqa: F811
    """Whole runs, each with a student of its own, of one teacher whose outputs are kept."""
    base = shop.run(tmp_path, training=FAST | {"max_steps": 2, "threads": 1, "cache_teacher": "always"})
    points = soaked(small, tmp_path, times(10, 500), "worker:carry_out", base=base, storage=None, keep="none")
    flat(points, kilobytes=20)
