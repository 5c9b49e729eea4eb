"""The tagging and question-answering table of docs/results.md: one student, four ways to train it, real data.

python benchmarks/token_tasks.py run   --data ../shared/data --models ../shared/models --out outputs/token-tasks
python benchmarks/token_tasks.py table --out outputs/token-tasks
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from cells import print_table, run_cells

MLP = {"name": "mlp", "options": {"pool": "mean"}}
METHODS: dict[str, list[dict[str, Any]]] = {
    "vanilla-kd": [],
    "mse": [{"loss": "mse", "mapping": "skip"}],
    "mi-alpha": [{"loss": "mi_alpha", "options": {"alpha": 0.9}, "mapping": "skip", "critic": MLP}],
}
TASKS: dict[str, dict[str, Any]] = {
    "pos": {"name": "ud-ewt", "data": "ud_en_ewt"},
    "squad": {"name": "squad", "data": "squad", "train_limit": 3000, "max_length": 320},
}
TRAINING: dict[str, dict[str, Any]] = {
    "pos": {"epochs": 1, "batch_size": 32, "learning_rate": 3e-4, "log_every": 50},
    "squad": {"epochs": 1, "batch_size": 8, "learning_rate": 2e-4, "log_every": 50},
}
TEACHER: dict[str, dict[str, Any]] = {
    "pos": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4},
    "squad": {"epochs": 1, "batch_size": 8, "learning_rate": 2e-4},
}


def run_file(task: str, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One cell of the table as a run."""
    model = f"{arguments.models}/minilm-l6-h384"
    limits = {"train_limit": arguments.train_limit, "dev_limit": arguments.dev_limit}
    given = {name: limit for name, limit in limits.items() if limit}
    return {
        "recipe": method,
        "task": {**TASKS[task], **given, "data": f"{arguments.data}/{TASKS[task]['data']}"},
        "teacher": {"model": model, "training": TEACHER[task]},
        "student": {"layers": 3, "model": model},
        "objective": {"intermediate": METHODS[method]},
        "training": TRAINING[task],
        "output": f"{arguments.out}/{task}/{method}",
        "cache": f"{arguments.out}/cache",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--out", default="outputs/token-tasks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--train-limit", type=int, help="so many training rows, to see that it works")
    parser.add_argument("--dev-limit", type=int, help="so many development rows")
    given = parser.parse_args()
    if given.what == "table":
        columns = {task: {method: f"{given.out}/{task}/{method}" for method in given.methods} for task in given.tasks}
        print_table(columns, given.methods, every_metric=True)
        return
    runs = {f"{task}.{method}": run_file(task, method, given) for method, task in product(given.methods, given.tasks)}
    run_cells(runs, Path(given.out) / "runs", workers=given.workers)


if __name__ == "__main__":
    main()
