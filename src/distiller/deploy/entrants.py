"""What can be measured or asked: teacher, student and exported forms of a run, each with what runs it."""

from dataclasses import dataclass
from pathlib import Path

from distiller.deploy.export import export_of, exports_of, is_export, load_export
from distiller.deploy.finished import Finished, open_finished
from distiller.deploy.forms import FORMS
from distiller.deploy.teachers import find_teacher
from distiller.errors import OutputError
from distiller.models.folders import load_tokenizer, resolve
from distiller.models.students import same_vocabulary


@dataclass(frozen=True)
class Entrant:
    """One model in one form to be measured."""

    name: str
    role: str
    engine: str
    folder: Path | str
    """The model: a folder, or of a translation perhaps a hub id."""
    source: Finished
    """The finished student whose task it has."""


def entrants(
    name: str, *, notes: list[str], run: Path | None = None, teacher: bool = True, rows: int | None = None
) -> list[Entrant]:
    """The teacher, student and exports in the run's output folder `name`, or the one model or export that it is.

    What is left out is said in `notes`. Raises `DistillerError`.
    """
    folder = Path(name)
    if is_export(folder):
        return [_of_export(folder.name, folder, open_finished(load_export(folder).source, run=run, rows=rows))]
    source = open_finished(name, run=run, rows=rows)
    if source.output is None:
        return [Entrant(folder.name, "model", "transformers", source.folder, source)]
    found = []
    if teacher and (place := find_teacher(source)) is not None:
        found.append(Entrant(f"{folder.name}: teacher", "teacher", "transformers", Path(resolve(place)), source))
    found.append(Entrant(f"{folder.name}: student", "student", "transformers", source.folder, source))
    for form, place in exports_of(source.output).items():
        try:
            found.append(_of_export(f"{folder.name}: {form}", place, source))
        except OutputError as error:
            notes.append(f"left out: {error.message}")
    return found


def _of_export(name: str, folder: Path, source: Finished) -> Entrant:
    form = export_of(source, folder).form
    return Entrant(name, form, FORMS[form].traits["engine"], folder, source)


def reading(one: Entrant) -> Finished:
    """The model's own way of reading the task: a teacher may have a different tokenizer from the student's."""
    if one.role != "teacher" or same_vocabulary(load_tokenizer(one.folder), one.source.tokenizer):
        return one.source
    source = one.source
    return Finished(source.name, Path(one.folder), source.kind, source.labels, run=source.run, rows=source.rows)
