"""Coverage-guided fuzzing of the readers, with `pip install atheris` (no part of the tests):

    PYTHONPATH=src:tests python tests/attack/fuzz_readers.py -max_total_time=600

The first byte chooses the ending, the rest is the file. Anything but data or an error of ours is a fault.
"""

import importlib
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["distiller.tasks"]):
    from distiller.config import Task
    from distiller.errors import DistillerError
    from distiller.tasks import load_task
    from distiller.tasks.readers import READERS

ENDINGS = [name for name in [*READERS, ".conll", ".csv.gz"] if name != ".parquet"]
FOLDER = Path(tempfile.mkdtemp())


def once(data: bytes) -> None:
    """One input."""
    if not data:
        return
    path = FOLDER / f"data{ENDINGS[data[0] % len(ENDINGS)]}"
    path.write_bytes(data[1:])
    said = ""
    try:
        load_task(Task(train=str(path)))
    except DistillerError as error:
        said = error.message
    assert "\n" not in said, said


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
