"""`bench` for translation models: teacher, student and exports in every engine, each in its own process."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distiller.config.translation import Languages
from distiller.deploy.entrants import Entrant
from distiller.deploy.export import export_of, exports_of, is_export, load_export
from distiller.deploy.measure import SINGLES, weights_megabytes
from distiller.deploy.table import Measured
from distiller.deploy.translators import FinishedTranslator, open_translator
from distiller.errors import DistillerError, OutputError
from distiller.models.cost import megabytes
from distiller.models.encoder_decoder import encoder_decoder_config
from distiller.models.folders import resolve
from distiller.run.translation import TEACHER
from distiller.tasks.data import sample
from distiller.translation.engines import bounds_of, choose_engine, convert
from distiller.translation.scores import METRIC, RISING, score
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import PLAIN

CONVERTED = "ctranslate2-int8"
Process = Callable[[dict[str, Any], Path, str], dict[str, Any]]
"""(job, empty folder, name) → what a process of its own measured."""


@dataclass(frozen=True)
class TranslatorEntrant(Entrant):
    """One translation model in one form to be measured."""

    source: FinishedTranslator
    """The finished model whose text is translated."""
    compute: str = "float32"
    languages: Languages = PLAIN
    """What it has to be told."""
    converted: Path | None = None
    """An export, which is measured as it is."""

    @property
    def fastest(self) -> bool:
        """Whether it is the exact form that answers fastest for its model."""
        return (self.engine, self.compute) == (choose_engine("auto"), "float32")


def is_translator(name: str) -> bool:
    """Whether an output, a model folder or an export holds a translation model."""
    if is_export(Path(name)):
        return load_export(Path(name)).kind == "translation"
    return open_translator(name) is not None


def translator_entrants(name: str, *, notes: list[str], teacher: bool, rows: int) -> list[TranslatorEntrant]:
    """The teacher, the student and the exports in a run's output folder, or the one model or export that it is."""
    folder = Path(name)
    export = load_export(folder) if is_export(folder) else None
    source = open_translator(export.source if export is not None else name, rows=rows)
    if source is None:
        raise OutputError(f"`{name}` was made from a model that is not there any more", hint="export it again")
    if export is not None:
        return _of_export(folder.name, folder, source) or list(
            _in_every_engine(folder.name, export.form, source, folder)
        )
    if source.output is None:
        return list(_in_every_engine(folder.name, "model", source, source.folder))
    found: list[TranslatorEntrant] = []
    if teacher:
        try:
            found += _of_teacher(f"{folder.name}: teacher", source)
        except DistillerError as error:
            notes.append(f"left out: the teacher: {error.message}")
    found += _in_every_engine(f"{folder.name}: student", "student", source, source.folder)
    for form, place in exports_of(source.output).items():
        try:
            found += _of_export(f"{folder.name}: {form}", place, source)
        except OutputError as error:
            notes.append(f"left out: {error.message}")
    return found


def measured_translator(
    one: TranslatorEntrant, folder: Path, *, process: Process, threads: int, repeats: int
) -> Measured:
    """One model in one form, run by `process`. Raises `ModelError` for one that CTranslate2 cannot convert."""
    pairs = one.source.sentences
    if pairs is None:
        raise OutputError(
            f"there are no sentences to measure `{one.name}` on: {'; '.join(one.source.notes)}",
            hint="name the output folder of a run",
        )
    model, tokenizer = load_translator(one.folder, one.languages)
    update = {"engine": one.engine, "compute": one.compute, "threads": threads}
    decoding = one.source.decoding.model_copy(update=update)
    place: Path | str = one.converted or one.folder
    if one.engine == "ctranslate2" and one.converted is None:
        place = convert(model, tokenizer, folder / "model", compute=one.compute)
    job = {
        "kind": "translation",
        "engine": one.engine,
        "folder": str(place),
        "decoding": decoding.model_dump(mode="json"),
        "bounds": asdict(bounds_of(model, tokenizer, decoding)),
        "languages": one.languages.model_dump(mode="json"),
        "threads": threads,
        "repeats": repeats,
        "sentences": tokenizer.encode(pairs.source),
        "singles": sample(len(pairs), SINGLES, seed=0),
    }
    result = process(job, folder, one.name)
    scores = score(tokenizer.decode(result.pop("said")), pairs.translations).values
    return Measured(
        name=one.name,
        role=one.role,
        engine=f"{one.engine} {one.compute}",
        folder=str(one.converted or one.folder),
        megabytes=weights_megabytes(place) if isinstance(place, Path) else megabytes(model),
        score=scores[METRIC],
        scores={RISING: scores[RISING]},
        **result,
    )


def _in_every_engine(
    name: str, role: str, source: FinishedTranslator, folder: Path | str, languages: Languages = PLAIN
) -> Iterator[TranslatorEntrant]:
    forms = [("transformers", "float32")]
    if choose_engine("auto") == "ctranslate2":
        forms += [("ctranslate2", "float32"), ("ctranslate2", "int8")]
    for engine, compute in forms:
        yield TranslatorEntrant(name, role, engine, folder, source, compute, languages)


def _of_export(name: str, folder: Path, source: FinishedTranslator) -> list[TranslatorEntrant]:
    """An export in CTranslate2's format; a plain folder is measured as the student."""
    form = export_of(source, folder).form
    if form != CONVERTED:
        return []
    return [TranslatorEntrant(name, form, "ctranslate2", source.folder, source, "int8", converted=folder)]


def _of_teacher(name: str, source: FinishedTranslator) -> Iterator[TranslatorEntrant]:
    """The teacher that a run trained or named. Raises `ModelError` where it no longer exists."""
    assert source.output is not None
    if (source.output / TEACHER).is_dir():
        yield from _in_every_engine(name, "teacher", source, source.output / TEACHER)
        return
    teacher = source.described.teacher if source.described else None
    if teacher is not None and teacher.model is not None and not teacher.says_only:
        encoder_decoder_config(teacher.model)
        yield from _in_every_engine(name, "teacher", source, resolve(teacher.model), teacher.languages)
