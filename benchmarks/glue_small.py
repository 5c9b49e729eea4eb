"""The GLUE table of docs/results.md: two students, seven ways to train them, real data, several seeds.

    python benchmarks/glue_small.py run   --data ../shared/data/glue --models ../shared/models --out outputs/glue-small
    python benchmarks/glue_small.py table --out outputs/glue-small

Run files, logs and Records stay in `--out`, so the command can be repeated after an interruption.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from cells import print_table, run_cells

TASKS = {"rte": [0, 1, 2], "mrpc": [0, 1, 2], "stsb": [0], "cola": [0]}
"""Task to seeds."""
METHODS = ["vanilla-kd", "mse", "cos", "pkd", "mi-alpha", "mi-alpha-emd"]
TEACHER = {task: {"epochs": 4, "batch_size": 32} for task in TASKS}
TEACHER["stsb"] = {"epochs": 2, "batch_size": 32}
TRAINING = {
    "minilm-3": {"epochs": 1, "batch_size": 16, "log_every": 100, "learning_rate": 2e-4},
    "bert-tiny": {"epochs": 3, "batch_size": 32, "log_every": 50, "learning_rate": 3e-4},
}


def objective(method: str, task: str) -> dict[str, Any]:
    """Eq. (1) for one row of the table: soft labels, and the intermediate objective with everything else fixed."""
    recipe = "vanilla-kd" if method == "pkd" else method
    text = (Path(__file__).parents[1] / "src/distiller/recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(text)["objective"]
    if method == "pkd":
        found["intermediate"] = [{"loss": "pkd", "mapping": "skip"}]
    for term in found.get("intermediate", []):
        if term["loss"] == "mi_alpha":  # a Transformer critic of MiniLM's width costs three steps of these students
            term["critic"] = {"name": "mlp"}
    if task == "stsb":
        found["prediction"] = "mse"
    return found


def run_file(method: str, student: str, task: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One cell of the table as a run."""
    students = {
        "minilm-3": {"layers": 3, "model": f"{arguments.models}/minilm-l6-h384"},
        "bert-tiny": {"model": f"{arguments.models}/bert-tiny"},
    }
    return {
        "recipe": method,
        "task": {"name": task, "data": arguments.data},
        "teacher": {"model": f"{arguments.models}/minilm-l6-h384", "training": TEACHER[task]},
        "student": students[student],
        "objective": objective(method, task),
        "training": TRAINING[student],
        "seeds": TASKS[task],
        "output": output(arguments.out, task, student, method),
        "cache": f"{arguments.out}/cache",
    }


def output(out: str, task: str, student: str, method: str) -> str:
    """The output folder of a cell."""
    return f"{out}/{task}/{student}/{method}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", default="../shared/data/glue")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--out", default="outputs/glue-small")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--students", nargs="+", default=list(TRAINING), choices=list(TRAINING))
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    given = parser.parse_args()
    if given.what == "table":
        columns = {
            f"{task} {student}": {method: output(given.out, task, student, method) for method in given.methods}
            for task, student in product(given.tasks, given.students)
        }
        print_table(columns, given.methods)
        return
    # tasks change fastest: two workers side by side do not wait for the same teacher
    cells = product(given.methods, given.students, given.tasks)
    runs = {f"{task}.{student}.{method}": run_file(method, student, task, given) for method, student, task in cells}
    run_cells(runs, Path(given.out) / "runs", workers=given.workers)


if __name__ == "__main__":
    main()
