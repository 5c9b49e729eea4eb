"""The augmentation tables of docs/results.md: what CA+RA+mixup and MixKD add, on real data, several seeds.

    python benchmarks/augmentation_results.py run   --data ../shared/data/glue --models ../shared/models
    python benchmarks/augmentation_results.py table

`policy` compares no augmentation with contextual + random + mixup for two student sizes; `mixkd` compares plain
distillation with MixKD at 10 % and 100 % of the labels. A small masked language model is trained on each task's text
first. Run files, logs and Records stay in `--out`; finished cells are passed over.
"""

import argparse
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from cells import print_table, run_cells
from glue_small import TEACHER, TRAINING

TASKS = {"cola": 8551, "mrpc": 3668, "rte": 2490, "stsb": 5749}
"""Task to training examples."""
POLICIES = ["none", "contextual+random+mixup"]
SHARES = {"10 %": 0.1, "100 %": 1.0}
MIXKD = {
    "kd": {"objective": {"gamma1": 1.0}},
    "mixkd": {
        "augmentation": ["mixup"],
        "objective": {"prediction": "mse", "beta1": 0, "gamma1": 1, "beta2": 1, "gamma2": 1, "augmented_label": "gold"},
    },
}


def run_file(task: str, student: str, given: argparse.Namespace, output: str, **fields: Any) -> dict[str, Any]:
    """A run of one cell."""
    students = {
        "minilm-3": {"layers": 3, "model": f"{given.models}/minilm-l6-h384"},
        "bert-tiny": {"model": f"{given.models}/bert-tiny"},
    }
    objective = {"prediction": "mse" if task == "stsb" else "ce"} | fields.pop("objective", {})
    return {
        "task": {"name": task, "data": given.data, **fields.pop("task", {})},
        "teacher": {"model": f"{given.models}/minilm-l6-h384", "training": TEACHER[task]},
        "student": students[student],
        "objective": objective,
        "training": TRAINING[student],
        "seeds": given.seeds,
        "output": output,
        "cache": f"{given.out}/cache",
    } | fields


def policy_cells(given: argparse.Namespace) -> dict[tuple[str, str], dict[str, Any]]:
    """(column, row) to run: two students, with and without the three operators."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for policy, student, task in product(POLICIES, TRAINING, given.tasks):
        model = {"name": "contextual", "options": {"model": f"{given.out}/mlm/{task}"}}
        operators = [] if policy == "none" else [model, "random", "mixup"]
        output = f"{given.out}/policy/{task}/{student}/{policy}"
        cells[f"{task} {student}", policy] = run_file(task, student, given, output, augmentation=operators)
    return cells


def mixkd_cells(given: argparse.Namespace) -> dict[tuple[str, str], dict[str, Any]]:
    """(column, row) to run: the small student with a tenth of the labels and with all of them."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for method, (name, share), task in product(MIXKD, SHARES.items(), given.tasks):
        output = f"{given.out}/mixkd/{task}/{name.split()[0]}/{method}"
        limit = {} if share == 1 else {"train_limit": round(share * TASKS[task])}
        cells[f"{task}, {name}", method] = run_file(task, "bert-tiny", given, output, task=limit, **MIXKD[method])
    return cells


def train_language_models(given: argparse.Namespace) -> None:
    """A masked language model for each task, from the small encoder's weights and the task's own text."""
    for task in given.tasks:
        folder = Path(given.out) / "mlm" / task
        if not folder.exists():
            command = [sys.executable, "-m", "distiller", "mlm", "distiller-best", f"task.name={task}"]
            command += [f"task.data={given.data}", "-o", str(folder), "--start", f"{given.models}/bert-tiny"]
            subprocess.run([*command, "--minutes", "3"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", default="../shared/data/glue")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--out", default="outputs/augmentation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    given = parser.parse_args()
    tables = {"policy": policy_cells(given), "mixkd": mixkd_cells(given)}
    if given.what == "run":
        train_language_models(given)
        runs = {
            " ".join(cell).replace(" ", "-").replace("%", "pc"): run for t in tables.values() for cell, run in t.items()
        }
        run_cells(runs, Path(given.out) / "runs", workers=given.workers)
        return
    for name, cells in tables.items():
        print(f"\n{name}\n")
        columns: dict[str, dict[str, str]] = {}
        for (column, row), run in cells.items():
            columns.setdefault(column, {})[row] = run["output"]
        print_table(columns, list(dict.fromkeys(row for _, row in cells)))


if __name__ == "__main__":
    main()
