"""Finds the fine-tuned teacher of a finished run in the cache, by what its Record says."""

from pathlib import Path
from typing import Any

from distiller.cache.folders import FolderCache
from distiller.deploy.finished import Finished
from distiller.errors import DistillerError
from distiller.models.folders import load_config, weights_fingerprint
from distiller.models.heads import has_head_for
from distiller.models.load import load_model


def find_teacher(source: Finished) -> Path | str | None:
    """Folder or name of the teacher's model; `None`, with a note in `source`, where it no longer exists."""
    run, record = source.run, source.record
    if run is not None and run.teacher is None:
        source.notes.append("the run had no teacher")
        return None
    if run is None or run.teacher is None or record is None or record.teacher is None:
        source.notes.append("no Record says which teacher it had")
        return None
    expected = record.teacher.fingerprint
    candidates: list[Path | str] = []
    if has_head_for(run.teacher.model, kind=source.kind, labels=source.labels):
        candidates.append(run.teacher.model)
    store = FolderCache(Path(run.cache).expanduser() if run.cache else None)
    shape = _shape(run.teacher.model)
    for folder in sorted((store.root / "teachers").glob("*"), key=lambda path: -path.stat().st_mtime):
        if (folder / "config.json").is_file() and _shape(folder) == shape:
            candidates.append(folder)
    for one in candidates:
        try:
            if weights_fingerprint(load_model(one, kind=source.kind, labels=source.labels)) == expected:
                return one
        except DistillerError:
            continue
    source.notes.append(
        f"the fine-tuned teacher is not in the cache `{store.root}` any more, so it is left out: run again to have it"
    )
    return None


def _shape(model: Any) -> tuple[Any, ...]:
    try:
        found: Any = load_config(model)
    except DistillerError:
        return ()
    return found.model_type, found.hidden_size, found.num_hidden_layers, getattr(found, "vocab_size", None)
