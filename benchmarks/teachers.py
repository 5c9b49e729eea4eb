"""The fine-tuned teachers that the studies and tables of docs/results.md share: MiniLM-L6 on one task each.

    python benchmarks/teachers.py --data ../shared/data --models ../shared/models --out outputs/teachers

Each is a model folder `OUT/TASK`, to be named as `teacher.model`; one that is there is passed over. About 40
core-minutes without bf16 hardware.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

TEACHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rte": ({"name": "rte", "data": "glue"}, {"epochs": 2, "learning_rate": 5e-5}),
    "mrpc": ({"name": "mrpc", "data": "glue"}, {"epochs": 2, "learning_rate": 1e-4}),
    "cola": ({"name": "cola", "data": "glue"}, {"epochs": 4, "learning_rate": 1e-4}),
    "stsb": ({"name": "stsb", "data": "glue"}, {"epochs": 3, "learning_rate": 1e-4}),
    "sst2": ({"name": "sst2", "data": "glue", "train_limit": 10_000}, {"epochs": 1, "learning_rate": 1e-4}),
    "subj": ({"train": "text/subj/all.tsv", "train_limit": 3000}, {"epochs": 1, "learning_rate": 1e-4}),
    "sst5": (
        {"train": "text/sst5/train.tsv", "dev": "text/sst5/dev.tsv", "train_limit": 4000},
        {"epochs": 1, "learning_rate": 1e-4},
    ),
}
"""Task to its data and how the teacher is trained on it."""


def train(task: str, data: str, models: str, out: str) -> str:
    """Fine-tune one teacher into its folder; returns its scores in words."""
    from distiller import Run, distil

    fields, training = TEACHERS[task]
    model = f"{models}/minilm-l6-h384"
    # the "student" is the model itself, trained on the gold labels; the teacher of such a run is not used: one step
    run = Run(
        recipe="fine-tune",
        task={**fields, **{name: f"{data}/{fields[name]}" for name in ("data", "train", "dev") if name in fields}},
        teacher={"model": model, "training": {**training, "batch_size": 32, "max_steps": 1}},
        student={"model": model},
        objective={"beta1": 0, "gamma1": 1},
        training={**training, "batch_size": 32, "threads": 1, "log_every": 50},
        baseline=False,
        output=f"{out}/runs/{task}",
        cache=f"{out}/cache",
    )
    record = distil(run, resume=True)
    (Path(out) / task).unlink(missing_ok=True)
    (Path(out) / task).symlink_to(Path("runs") / task / "student")
    return f"{task}: {record.metric} {100 * record.score:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--models", default="../shared/models")
    parser.add_argument("--out", default="outputs/teachers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", default=list(TEACHERS), choices=list(TEACHERS))
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with ProcessPoolExecutor(given.workers) as pool:
        waiting = [pool.submit(train, task, given.data, given.models, given.out) for task in given.tasks]
        for one in waiting:
            print(one.result(), flush=True)


if __name__ == "__main__":
    main()
