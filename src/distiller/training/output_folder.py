"""Output folders of runs: held by one process from the start, completed by the Record at the very end."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from distiller.config import Config, to_yaml
from distiller.errors import OutputError, RunError
from distiller.files import free_bytes, held, nearest, replace_folder, strangers, unwritable, write_text
from distiller.record import FILE, RUN_FILE

R = TypeVar("R", bound=Config)

SEEDS, STUDENT, EXPORTS = "seeds", "student", "exports"
MARK = "# The run in full, as Distiller carries it out; student, seeds and record.json beside it are its results.\n"
"""First line of an output folder's run file: tells it from a run file that someone wrote, which is never replaced."""


def output_folder(output: str) -> Path:
    """The folder that a run's `output` names, even if the process changes its working directory."""
    return Path(output).expanduser().absolute()


def finished(folder: Path, run: R, load: Callable[[Path], R], load_record: Callable[[Path], Any]) -> Any:
    """The Record of `run`, read by `load_record`, or `None`. Raises `OutputError` if it is another run's."""
    if not (folder / FILE).is_file():
        return None
    record = load_record(folder)
    _refuse_other(folder, load(folder / RUN_FILE), run)
    return record


def check_places(folder: Path, cache: Path) -> None:
    """Raises `OutputError` for an output folder that cannot be written, or a cache that cannot be a folder."""
    for place, field in ((folder, "output"), (cache, "cache")):
        there = nearest(place)
        written = field == "cache" or os.access(there, os.W_OK | os.X_OK)
        if not there.is_dir() or not written:
            reason = "you may not write there" if there.is_dir() else f"`{there}` is a file"
            raise OutputError(f"cannot write `{place}`: {reason}", hint=f"choose another `{field}`")
    _refuse_strangers(folder)


def holds(folder: Path) -> str | None:
    """What a run would find in its output folder: a finished run, an interrupted one, or nothing."""
    if not _results(folder):
        return None
    return "a finished run" if (folder / FILE).exists() else "an interrupted run"


@contextmanager
def claimed(folder: Path, run: R, load: Callable[[Path], R], *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the output folder this run's, and this process's until the block ends.

    What is in the way is refused, kept (`resume`) or removed (`overwrite`). `load` reads a run of this kind from its
    file. Raises `OutputError`, before anything is trained, for a folder that cannot be written or that another process
    holds. Of several processes that train together, the first holds it for all.
    """
    with ExitStack() as hold:
        if os.environ.get("RANK", "0") == "0":
            with unwritable(folder, "choose another `output`"):
                _refuse_strangers(folder)
                folder.mkdir(parents=True, exist_ok=True)
                hold.enter_context(held(folder))
                _make_way(folder, run, load, resume=resume, overwrite=overwrite)
                write_text(folder / RUN_FILE, MARK + to_yaml(run))
        yield


def _refuse_strangers(folder: Path) -> None:
    """Nothing is written into a folder that holds anything but a run."""
    if not folder.is_dir() or not strangers(folder, [RUN_FILE]):
        return
    stored = folder / RUN_FILE
    if not (folder / FILE).is_file() and not (
        stored.is_file() and stored.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    ):
        raise OutputError(f"`{folder}` is not empty and not a run's output", hint="choose another `output`")


def _make_way(folder: Path, run: R, load: Callable[[Path], R], *, resume: bool, overwrite: bool) -> None:
    _refuse_strangers(folder)  # checked again, now that nobody else writes
    results = _results(folder)
    if resume and results:
        _refuse_other(folder, load(folder / RUN_FILE), run)
    elif results and not overwrite:
        raise OutputError(f"`{folder}` holds {holds(folder)}", hint="continue it: --resume, or start over: --overwrite")
    elif overwrite:
        for path in results:  # the Record first: the remains of a finished run must not look finished
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _results(folder: Path) -> list[Path]:
    return [path for path in (folder / name for name in (FILE, STUDENT, SEEDS, EXPORTS)) if path.exists()]


def _refuse_other(folder: Path, stored: Config, run: Config) -> None:
    places = {"output", "cache", "recipe"}
    before, wanted = (one.model_dump(mode="json", exclude=places) for one in (stored, run))
    if before != wanted:
        changed = ", ".join(f"`{name}`" for name in wanted if before.get(name) != wanted[name])
        raise OutputError(
            f"`{folder}` was started with another run, which differs in {changed}",
            hint="choose another `output`, or start over: --overwrite",
        )


@contextmanager
def writing(folder: Path, *others: Path) -> Iterator[None]:
    """A full disk, or too little memory, becomes a one-line error. `others` are folders that are written as well."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "the memory of the accelerator is too small", hint="halve training.batch_size, double training.accumulate"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, RuntimeError) and "inline_container" not in lines[0]:  # from `torch.save`
            raise
        place = getattr(error, "filename", None) or min((folder, *others), key=free_bytes)
        raise RunError(
            f"the run stopped at `{place}`: {getattr(error, 'strerror', None) or lines[0]}",
            hint="is there room, and may you write there? then continue with --resume",
        ) from error


def publish(source: Path, target: Path) -> None:
    """Copy a finished model folder to `target` in one step."""
    replace_folder(partial(shutil.copytree, source, dirs_exist_ok=True), target)
