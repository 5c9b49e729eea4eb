"""Compare intermediate objectives with everything else held fixed: same teacher, data, student and seeds.

    python examples/03_compare_objectives.py  # tiny random models, made here
    python examples/03_compare_objectives.py reviews.csv bert-base-uncased  # your own file and teacher

The teacher is fine-tuned once; every later run finds it in the cache.
"""

import sys
import tempfile
from pathlib import Path

from tiny_inputs import tiny_file, tiny_model

from distiller import Run, distil

CRITIC = {"name": "mlp", "options": {"hidden": 32, "embedding": 16}}
OBJECTIVES = {
    "none": [],
    "mse": [{"loss": "mse"}],
    "cos": [{"loss": "cos"}],
    "pkd": [{"loss": "pkd"}],
    "mse, emd": [{"loss": "mse", "mapping": "emd"}],
    "mi": [{"loss": "mi_alpha", "critic": CRITIC}],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        own = len(sys.argv) > 1
        pace = {} if own else {"learning_rate": 2e-3}  # tiny models have far to go
        train = sys.argv[1] if own else tiny_file(Path(temporary) / "reviews.csv")
        teacher = sys.argv[2] if len(sys.argv) > 2 else tiny_model(Path(temporary) / "teacher", layers=4)
        fixed = {
            "task": {"train": train, "max_length": 32},
            "teacher": {"model": teacher, "training": {"epochs": 12, **pace}},
            "student": {"layers": 2} if own else {"layers": 2, "init": "random"},
            "training": {"epochs": 2} if own else {"epochs": 12, **pace},
            "baseline": False,
            "seeds": [0, 1],
            "cache": str(Path(temporary) / "cache"),
        }
        print(f"{'objective':12}{'score':>7}{'sd':>7}{'ratio':>7}{'ms/step':>9}")
        for name, terms in OBJECTIVES.items():
            run = fixed | {"objective": {"intermediate": terms}, "output": str(Path(temporary) / name)}
            record = distil(Run.model_validate(run))
            spread = record.student.spread[record.metric].std
            ratio = record.distillation_ratio or float("nan")
            print(f"{name:12}{record.score:7.3f}{spread:7.3f}{ratio:7.2f}{record.cost.step_milliseconds:9.1f}")


if __name__ == "__main__":
    main()
