"""One worker and many trials: memory and open files stay flat."""

import json
from pathlib import Path

import pytest

from attack.children import Child
from attack.conftest import times
from study.conftest import Small, small, started  # noqa: F401 - a fixture

TRIALS = times(40, 500)


@pytest.mark.slow
def test_many_trials_leave_nothing_behind(small: Small, tmp_path: Path) -> None:  # noqa: F811
    """After a tenth of the trials everything is imported and every table filled: from then on nothing may grow."""
    pytest.importorskip("optuna")
    psutil = pytest.importorskip("psutil")
    from distiller.config import Run
    from distiller.record import Record
    from distiller.study import worker
    from study import fakes

    study = small(space={"training.epochs": [*range(1, TRIALS // 2 + 1)], "training.batch_size": [4, 8]})
    stored = started(study)
    seen = tmp_path / "seen.jsonl"

    def measured(run: Run, report: fakes.Report | None) -> Record:
        process = psutil.Process()
        with seen.open("a", encoding="utf-8") as file:
            file.write(json.dumps([process.memory_info().rss / 1e6, process.num_fds()]) + "\n")
        return fakes.fast(run, report)

    fakes.measured = measured  # type: ignore[attr-defined]
    child = Child(lambda: worker.work(study, "one", "study.fakes:measured"), tmp_path / "log")
    assert child.wait(3000) == 0, child.said()
    points = [json.loads(line) for line in seen.read_text(encoding="utf-8").splitlines()]
    assert len(points) == TRIALS
    assert stored.study.place.is_dir()
    warm, last = points[TRIALS // 10 :][:5], points[-5:]
    files = [max(count for _, count in some) for some in (warm, last)]
    memory = [min(size for size, _ in some) for some in (warm, last)]
    assert files[1] <= files[0] + 1, files
    assert memory[1] - memory[0] < 10 + 0.02 * TRIALS, memory
