"""The benchmark of a step runs, and counts what a step with the teacher's outputs at hand leaves out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "step_time.py"


@pytest.mark.slow
def test_a_step_is_measured(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    few = ["--size", "tiny", "--batches", "1", "--repeats", "1", "--threads", "1", "--json", found]
    subprocess.run([sys.executable, BENCHMARK, *few, "--only", "none", "mse:skip"], check=True, capture_output=True)
    rows = json.loads(found.read_text(encoding="utf-8"))["rows"]
    assert [(row["objective"], row["mapping"]) for row in rows] == [("none", "-"), ("mse", "skip")]
    for row in rows:
        assert min(row["ratio"], row["cpu_ratio"], row["cached_ratio"]) > 0
        assert 0.99 < row["arithmetic"] < 1.05  # the teacher is asked in both, and hidden states cost next to nothing
        assert row["weights"] == 1  # layers of one width need no projection
