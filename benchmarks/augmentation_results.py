"""The augmentation tables of docs/results.md: what CA+RA+mixup and MixKD add, on real data, several seeds.

    python benchmarks/augmentation_results.py run   --teachers outputs/teachers --out outputs/augmentation
    python benchmarks/augmentation_results.py table --out outputs/augmentation

`--teachers` has a fine-tuned model folder for each task, as `teachers.py` writes them. `policy` compares no
augmentation with contextual + random + mixup for two student sizes on 1,000 examples, both with gold labels at weight
0.5 and the same hidden-state term, so that nothing else differs; a small
masked language model is trained on those texts first. `mixkd` compares plain
distillation with MixKD for 10 % and 100 % of the labels in the same number of steps, evaluated about equally often. In
both tables the teacher is the one that was fine-tuned on **all** labels, whatever the student gets. Run files, logs and
Records stay in `--out`; finished cells are passed over.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from cells import print_table, run_cells

TASKS = ["cola", "mrpc", "rte", "stsb"]
POLICIES = ["none", "contextual+random+mixup"]
POLICY_ROWS = 1000
POLICY_TRAINING = {
    "bert-tiny": {"epochs": 3, "batch_size": 16, "learning_rate": 5e-4},
    "minilm-1": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-4},
}
POLICY_OBJECTIVE = {"gamma1": 0.5, "intermediate": [{"loss": "l2", "mapping": "skip"}]}
"""With hidden states: from outputs alone these students learn next to nothing of most tasks in so few steps."""
MIXKD_TASKS = {"sst2": 10_000}
"""Task to the training examples that the teacher had."""
SHARES = {"10 %": 0.1, "100 %": 1.0}
MIXKD_TRAINING = {"max_steps": 400, "batch_size": 32, "learning_rate": 5e-4}
MIXKD = {
    "kd": {"objective": {"gamma1": 1}},
    "mixkd": {
        "augmentation": ["mixup"],
        "objective": {"prediction": "mse", "beta1": 0, "gamma1": 1, "beta2": 1, "gamma2": 1, "augmented_label": "gold"},
    },
}
EVERY_TASK = list(dict.fromkeys([*TASKS, *MIXKD_TASKS]))
Cells = dict[tuple[str, str], dict[str, Any]]
"""A run for each (column, row) of a table."""


def run_file(task: str, student: str, given: argparse.Namespace, output: str, **fields: Any) -> dict[str, Any]:
    """A run of one cell."""
    students = {
        "minilm-1": {"layers": 1, "model": f"{given.models}/minilm-l6-h384"},
        "bert-tiny": {"model": f"{given.models}/bert-tiny"},
    }
    return {
        "task": {"name": task, "data": given.data, "train_limit": fields.pop("rows"), "dev_limit": given.dev_limit},
        "teacher": {"model": f"{given.teachers}/{task}", "finetune": "never"},
        "student": students[student],
        "objective": {"prediction": "mse" if task == "stsb" else "ce", **fields.pop("objective")},
        "training": {"log_every": 50, **fields.pop("training")},
        "baseline": False,
        "seeds": given.seeds,
        "output": f"{given.out}/{output}",
        "cache": f"{given.out}/cache",
    } | fields


def policy_cells(given: argparse.Namespace) -> Cells:
    """Two students, with and without the three operators."""
    cells: Cells = {}
    for student, policy, task in product(POLICY_TRAINING, POLICIES, policy_tasks(given)):
        contextual = {"name": "contextual", "options": {"model": f"{given.out}/mlm/{task}"}}
        cells[f"{task} {student}", policy] = run_file(
            task,
            student,
            given,
            f"policy/{task}/{student}/{policy}",
            rows=min(POLICY_ROWS, given.limit),
            objective=POLICY_OBJECTIVE,
            training=POLICY_TRAINING[student] | steps(given),
            augmentation=[] if policy == "none" else [contextual, "random", "mixup"],
        )
    return cells


def mixkd_cells(given: argparse.Namespace) -> Cells:
    """The small student with a tenth of the labels and with all of them."""
    cells: Cells = {}
    tasks = [task for task in MIXKD_TASKS if task in given.tasks]
    for (name, share), method, task in product(SHARES.items(), MIXKD, tasks):
        cells[f"{task}, {name}", method] = run_file(
            task,
            "bert-tiny",
            given,
            f"mixkd/{task}/{name.split()[0]}/{method}",
            rows=min(round(share * MIXKD_TASKS[task]), given.limit),
            training=MIXKD_TRAINING | {"evaluations": evaluations(task, share)} | steps(given),
            **MIXKD[method],
        )
    return cells


def evaluations(task: str, share: float) -> int:
    """Evaluations in an epoch, so that the best checkpoint is one of about as many for each share of the labels."""
    tenth, whole = (
        ceil(part * MIXKD_TASKS[task] / MIXKD_TRAINING["batch_size"]) for part in (min(SHARES.values()), share)
    )
    return max(1, round(min(whole, MIXKD_TRAINING["max_steps"]) / tenth))


def steps(given: argparse.Namespace) -> dict[str, int]:
    """The limit of a trial of this script."""
    return {"max_steps": given.max_steps} if given.max_steps else {}


def policy_tasks(given: argparse.Namespace) -> list[str]:
    """The tasks of the policy table that are wanted."""
    return [task for task in TASKS if task in given.tasks]


def language_models(given: argparse.Namespace) -> Iterator[list[str]]:
    """Commands that train a masked language model for each task, from the small encoder and the task's own text."""
    for task in policy_tasks(given):
        folder = Path(given.out) / "mlm" / task
        if not (folder / "config.json").exists():
            command = [sys.executable, "-m", "distiller", "mlm", "distiller-best", f"task.name={task}"]
            command += [
                f"task.data={given.data}",
                f"task.train_limit={min(POLICY_ROWS, given.limit)}",
                "-o",
                str(folder),
            ]
            yield [*command, "--start", f"{given.models}/bert-tiny", "--minutes", str(given.mlm_minutes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--data", default="../shared/data/glue")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--teachers", default="outputs/teachers", help="a model folder for each task")
    parser.add_argument("--out", default="outputs/augmentation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", default=[*EVERY_TASK], choices=EVERY_TASK)
    parser.add_argument("--tables", nargs="+", default=["policy", "mixkd"], choices=["policy", "mixkd"])
    trial = parser.add_argument_group("to see whether it works")
    trial.add_argument("--limit", type=int, default=max(MIXKD_TASKS.values()), help="most training examples")
    trial.add_argument("--dev-limit", type=int, help="most development examples")
    trial.add_argument("--max-steps", type=int, help="most steps of a training")
    trial.add_argument("--mlm-minutes", type=float, default=1.0, help="for each language model")
    given = parser.parse_args()
    tables = {name: {"policy": policy_cells, "mixkd": mixkd_cells}[name](given) for name in given.tables}
    if given.what == "run":
        for task in given.tasks:
            if not (Path(given.teachers) / task / "config.json").exists():
                parser.error(f"there is no model in {given.teachers}/{task}: see benchmarks/teachers.py")
        for command in language_models(given) if "policy" in tables else ():
            subprocess.run(command, check=True)
        runs = {
            "-".join((table, *cell)).replace(" ", "-").replace("%", "pc").replace(",", ""): run
            for table, cells in tables.items()
            for cell, run in cells.items()
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
