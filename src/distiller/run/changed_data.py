"""Whether the data of a run are still those it was trained on, as far as its Record can tell."""

from pathlib import Path

from distiller.config.translation import Translation
from distiller.errors import DistillerError, OutputError
from distiller.files import write_text
from distiller.record import DataFacts
from distiller.tasks.data import TaskData
from distiller.tasks.table import listed
from distiller.translation.corpus import read_corpus

FILE = "data.sha256"
"""In the folder of the seeds: the fingerprint of the data they are trained on."""


def changed(facts: DataFacts, data: TaskData, *, whole: bool = True) -> str | None:
    """What has changed since the run with these `facts` was trained; `None` if nothing has, or it cannot be known.

    If not all rows were read (not `whole`), only the classes are compared.
    """
    if set(facts.labels) != set(data.labels):
        return f"the data have the classes {listed(data.labels)} now, and the run was taught {listed(facts.labels)}"
    if whole and list(data.labels) == facts.labels:
        return other_than(facts, data.fingerprint)
    return None


def changed_text(facts: DataFacts, task: Translation) -> str | None:
    """The same for a translation, whose text is read anew; also says so if it cannot be read."""
    try:
        return other_than(facts, read_corpus(task).fingerprint)
    except DistillerError as error:
        return f"its text cannot be read any more: {error.message}"


def other_than(facts: DataFacts, fingerprint: str) -> str | None:
    """The message about data with this `fingerprint`, if the run with these `facts` was trained on others."""
    if fingerprint == facts.fingerprint:
        return None
    return "the data have changed since the run was trained: it may have learnt from rows that score it now"


def keep_to(fingerprint: str, seeds: Path) -> None:
    """Record which data the trainings below the folder `seeds` learn from, or check that they are still the same.

    Raises `OutputError` for an interrupted run that began with other data.
    """
    kept = seeds / FILE
    if kept.is_file() and kept.read_text("utf-8").strip() != fingerprint:
        raise OutputError(
            f"`{seeds.parent}` was started with other data: they have changed since",
            hint="put them back, or start over: --overwrite",
        )
    seeds.mkdir(exist_ok=True)
    write_text(kept, fingerprint + "\n")
