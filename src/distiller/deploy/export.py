"""`export_student(model, form)`: a finished student in another form, compared with the original, all or nothing."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from distiller.config import Config
from distiller.config.base import stored
from distiller.deploy.finished import Finished
from distiller.deploy.forms import FORMS, engine_runtime
from distiller.deploy.parity import Parity, compare
from distiller.deploy.script import TRIED, try_script, write_script
from distiller.deploy.translators import (
    FinishedTranslator,
    compare_translator,
    try_translator_script,
    write_plain_script,
)
from distiller.errors import ConfigError, OutputError, RunError
from distiller.files import building, digest, open_like, write_json
from distiller.record import installed, now
from distiller.training.output_folder import EXPORTS

FACTS = "export.json"
LIBRARIES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "ctranslate2")
"""Packages whose versions an export states."""
EXACT = 1e-3
"""What a float32 form may differ by, times the largest logit where that is above 1."""
DOUBTFUL = 0.005
"""Loss of score above which a lossy form is warned of."""
LEAST_EQUAL = 0.95
"""Share of equal predictions below which a lossy form is refused where no score can be taken."""


class Export(Config):
    """What an exported form is, and how it compares with the model: `export.json`, which is written last."""

    format: int = 1
    form: str
    created: str
    kind: str
    labels: list[str] | None
    inputs: list[str]
    """Names of the arrays that the model reads."""
    max_length: int
    """Longest input in tokens."""
    stride: int | None = None
    max_question_length: int | None = None
    max_answer_length: int | None = None
    """Question answering: how a long context is cut into windows, and how long an answer is."""
    null_token: int | None = None
    """Question answering: the token where an answer begins and ends that is not in a window."""
    null_threshold: float | None = None
    """By how much the score of no answer must be above that of the best one."""
    words: str | None = None
    """Tagging: the pattern of a word of plain text …"""
    set_apart: str | None = None
    """… unless this is found in it: then its words have been set apart already, …"""
    spaced: str | None = None
    """… and this is the pattern of a word."""
    opset: int | None = None
    """Version of the ONNX operators."""
    calibration: int | None = None
    """Training texts whose activations set the 8-bit ranges."""
    shortlist: int | None = None
    """Candidates for each piece of a sentence, of a translation model."""
    megabytes: float
    """10^6 bytes of all its files."""
    source: str
    """The model it was made from."""
    fingerprint: str
    """SHA-256 of that model's weight files."""
    parity: Parity
    script_agrees: float | None
    """Share of development texts on which `use.py` answers as the library does with this form."""
    versions: dict[str, str]
    files: dict[str, str]
    """SHA-256 of each file."""
    notes: list[str] = []


def export_student(
    source: Finished,
    form: str,
    *,
    folder: Path | None = None,
    options: dict[str, Any] | None = None,
    max_loss: float = 0.02,
    overwrite: bool = False,
) -> tuple[Path, Export]:
    """Write `source` as a row of `FORMS` to `folder` (by default `exports/FORM` in the run's output).

    It is built beside `folder`, compared with the model on the development set (or on made-up texts, with a note) and
    moved there once complete. Raises `ConfigError` for a form that this task does not have, `OutputError` where
    something is in the way, `RunError` where a float32 form is not equal or a lossy one loses more than `max_loss` of
    the score.
    """
    entry = FORMS[form]
    if source.kind not in entry.traits["kinds"]:
        fitting = [name for name in FORMS if source.kind in FORMS[name].traits["kinds"]]
        raise ConfigError(
            f"a {source.kind.replace('_', '-')} model has no form `{form}`", hint="one of " + ", ".join(fitting)
        )
    given = FORMS.options(form, options or {})
    target = folder or default_folder(source, form)
    make_way(target, overwrite=overwrite)
    with building(target) as place:
        facts = entry.function(source, place, **given)
        if not isinstance(source, FinishedTranslator):
            facts |= write_script(source, form, place)
        elif form == "folder":
            facts |= write_plain_script(source, place)
        made = _finish(source, form, place, facts, max_loss)
        make_way(target, overwrite=overwrite)  # checked again, since building took a while
        if target.exists():
            shutil.rmtree(target)
        place.rename(target)
    return target, made


def _finish(source: Finished, form: str, place: Path, facts: dict[str, Any], max_loss: float) -> Export:
    if isinstance(source, FinishedTranslator):
        parity, attempt = compare_translator(source, place), partial(try_translator_script, source, place)
    else:
        run = engine_runtime(FORMS[form].traits["engine"], place, source=source)
        parity, attempt = compare(source, run), partial(try_script, source, place, run)
    notes = [*judge(form, parity, max_loss=max_loss), *source.notes]
    sizes = [file.stat().st_size for file in place.rglob("*") if file.is_file()]
    made = Export(
        form=form,
        created=now(),
        kind=source.kind,
        megabytes=sum(sizes) / 1e6,
        source=str(source.output or source.folder),
        fingerprint=source.fingerprint,
        parity=parity,
        script_agrees=None,
        versions=installed(LIBRARIES),
        files={},
        notes=notes,
        **facts,
    )
    write_json(place / FACTS, made.model_dump(mode="json"))  # the script reads it
    agrees = attempt()
    if agrees is not None and agrees < 1:
        notes.append(f"use.py of `{form}` answers as the library does on only {agrees:.0%} of {TRIED} texts")
    made = made.model_copy(update={"script_agrees": agrees, "files": _hashes(place), "notes": notes})
    write_json(place / FACTS, made.model_dump(mode="json"))
    open_like(place / FACTS, place.rglob("*"))
    return made


def judge(form: str, parity: Parity, *, max_loss: float) -> list[str]:
    """The verdict on a form's parity. Raises `RunError` where the form is not good enough."""
    if not FORMS[form].traits["lossy"]:
        allowed = EXACT * max(1.0, parity.largest_logit or 0.0)
        if parity.largest_difference is not None and not parity.largest_difference <= allowed:
            raise RunError(
                f"the `{form}` form is not the model: its logits differ by up to {parity.largest_difference:.3g}, "
                f"and {1 - parity.equal_predictions:.1%} of its predictions",
                hint="nothing was written; this is a bug of the exporter for this architecture: use --to folder",
            )
        if parity.largest_difference is None and parity.equal_predictions < 1:
            raise RunError(
                f"the `{form}` form says something else for {1 - parity.equal_predictions:.1%} of {parity.rows} texts",
                hint="nothing was written; this is a bug of the exporter for this architecture",
            )
        return []
    if parity.score is None:
        if parity.equal_predictions < LEAST_EQUAL:
            translates = "translation" in FORMS[form].traits["kinds"]
            real = "task.dev.source=… and task.dev.target=…" if translates else "the run with --run"
            raise RunError(
                f"the `{form}` form says something else for {1 - parity.equal_predictions:.1%} of {parity.rows} "
                "made-up texts",
                hint=f"nothing was written; name {real} to measure the loss on real texts",
            )
        return []
    words = f"{parity.metric} {parity.shown(parity.score)} instead of {parity.shown(parity.torch_score)}"
    words += f" on {parity.rows} rows"
    if not parity.loss <= max_loss:  # NaN is not a score either
        raise RunError(
            f"the `{form}` form loses too much: {words}",
            hint=f"nothing was written; --max-loss {parity.loss:.3f} accepts it, --to folder is exact",
        )
    return [f"the `{form}` form loses something: {words}"] if parity.loss > DOUBTFUL else []


def default_folder(source: Finished, form: str) -> Path:
    """`exports/FORM` in the run's output. Raises `ConfigError` for a model that does not come from a run."""
    if source.output is None:
        raise ConfigError(f"`{source.name}` is not a run's output", hint="say where to write with -o FOLDER")
    return source.output / EXPORTS / form


def make_way(target: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is in the way, unless it is an export (or empty) and may be replaced."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / FACTS).is_file():
        raise OutputError(f"`{target}` is not empty and not an export", hint="choose another folder with -o")
    if not overwrite:
        raise OutputError(f"`{target}` holds an export", hint="replace it: --overwrite")


def load_export(folder: Path) -> Export:
    """The description in an export's folder, once its files are known to be unchanged. Raises `OutputError`."""
    if not is_export(folder):
        raise OutputError(f"`{folder}` holds no export", hint="distiller export OUT --to onnx")
    found = stored(Export, folder / FACTS, what="description of an export", hint="export again: --overwrite")
    for name, expected in found.files.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            state = "is not what was exported" if path.is_file() else "is missing"
            raise OutputError(f"`{path}` {state}", hint="export again: --overwrite")
    return found


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export."""
    return (folder / FACTS).is_file()


def export_of(source: Finished, folder: Path) -> Export:
    """The description of the export in `folder`. Raises `OutputError` for one made from another student."""
    facts = load_export(folder)
    if facts.fingerprint != source.fingerprint:
        raise OutputError(f"`{folder}` was made from another student than `{source.folder}`", hint="export it again")
    return facts


def exports_of(output: Path) -> dict[str, Path]:
    """The exports in a run's output, by folder name."""
    found = (path for path in sorted((output / EXPORTS).glob("*")) if is_export(path))
    return {path.name: path for path in found}


def _hashes(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != FACTS)
    return {str(file.relative_to(folder)): digest(file) for file in files}
