"""What sharing saves: N un-augmented trials as one study, and the same N as separate runs.

    python benchmarks/study_sharing.py --trials 6                       # tiny models and a made-up file, minutes
    python benchmarks/study_sharing.py --trials 6 --base run.yaml       # your own models and data

Three ways, each from an empty folder: `study` (one worker, one cache), `runs` (a process and an empty cache for each
run, as N people would) and `runs, one cache`. CPU seconds are those of all processes; on a machine that does other work
trust them more than wall seconds.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from distiller.config import to_yaml
from distiller.study.config import parse_study
from distiller.study.engine import run_study
from distiller.study.search_space import planned, search_space_of

SPACE = {
    "objective.intermediate": [[{"loss": loss}] for loss in ("mse", "l2", "cos", "pkd")],
    "objective.prediction": ["ce", "mse"],
    "objective.intermediate.0.mapping": ["skip", "last", "emd"],
}


def tiny_base(folder: Path) -> dict[str, Any]:
    """A headless teacher of four layers, which every run has to fine-tune first, and a made-up file."""
    from tiny_inputs import tiny_bert, tiny_file, tiny_tokenizer

    tiny_bert(4, 64).bert.save_pretrained(folder / "teacher")
    tiny_tokenizer().save_pretrained(folder / "teacher")
    return {
        "task": {"train": tiny_file(folder / "train.csv"), "max_length": 32},
        "teacher": {"model": str(folder / "teacher"), "training": {"epochs": 10, "batch_size": 16}},
        "student": {"layers": 2},
        "training": {"epochs": 3, "batch_size": 16},
    }


def measured(act: Callable[[], None]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process and its children."""
    before, start = cpu(), time.perf_counter()
    act()
    return time.perf_counter() - start, cpu() - before


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--base", type=Path, help="a run file")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = yaml.safe_load(arguments.base.read_text(encoding="utf-8")) if arguments.base else tiny_base(folder)
        study = parse_study(
            {
                "name": "sharing",
                "base": base,
                "space": SPACE,
                "trials": arguments.trials,
                "folder": str(folder / "study"),
                "cache": str(folder / "study-cache"),
                "engine": {"threads": arguments.threads},
            }
        )
        space = search_space_of(study)
        runs = [space.run(space.cells[0], point) for point in planned(space, space.cells[0])]

        def separate(name: str, cache: Callable[[int], str]) -> None:
            for number, run in enumerate(runs):
                moved = run.model_copy(update={"output": str(folder / f"{name}-{number}"), "cache": cache(number)})
                file = folder / f"{name}-{number}.yaml"
                file.write_text(to_yaml(moved), encoding="utf-8")
                variables = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "PASSIVE"}
                command = [sys.executable, "-m", "distiller", "run", str(file), "--quiet"]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=variables)

        ways: dict[str, Callable[[], None]] = {
            "study": lambda: print(run_study(study, check=False).complete, "trials complete", file=sys.stderr),
            "runs": lambda: separate("own", lambda number: str(folder / f"own-cache-{number}")),
            "runs, one cache": lambda: separate("shared", lambda _: str(folder / "shared-cache")),
        }
        times = {name: measured(way) for name, way in ways.items()}
    print(f"| {len(runs)} trials | wall s | CPU s | CPU ÷ study |\n|---|---|---|---|")
    for name, (wall, used) in times.items():
        print(f"| {name} | {wall:.0f} | {used:.0f} | {used / times['study'][1]:.2f} |")


if __name__ == "__main__":
    main()
