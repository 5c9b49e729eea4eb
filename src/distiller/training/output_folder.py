"""Output folders of runs: claimed at the start, finished by the Record at the very end."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from distiller.config import Config, to_yaml
from distiller.errors import OutputError, RunError
from distiller.record import FILE, write_text

R = TypeVar("R", bound=Config)

SEEDS, STUDENT, EXPORTS = "seeds", "student", "exports"
RUN_FILE = "run.yaml"
MARK = "# The run in full, as Distiller carries it out; student, seeds and record.json beside it are its results.\n"
"""First line of an output folder's run file: tells it from a run file that someone wrote, which is never replaced."""


def finished(folder: Path, run: R, load: Callable[[Path], R], load_record: Callable[[Path], Any]) -> Any:
    """The Record of `run`, as `load_record` reads it, or `None`. Raises `OutputError` if it is another run's."""
    if not (folder / FILE).is_file():
        return None
    record = load_record(folder)
    _refuse_other(folder, load(folder / RUN_FILE), run)
    return record


def claim(folder: Path, run: R, load: Callable[[Path], R], *, resume: bool, overwrite: bool) -> None:
    """Make the output folder this run's; what is in the way is refused, kept (`resume`) or removed (`overwrite`).

    `load` reads a run of this kind from its file. Raises `OutputError`.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            _make_way(folder, run, load, resume=resume, overwrite=overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RUN_FILE, MARK + to_yaml(run))
    except OSError as error:
        raise OutputError(f"cannot write `{folder}`: {error.strerror}", hint="choose another `output`") from None


def _make_way(folder: Path, run: R, load: Callable[[Path], R], *, resume: bool, overwrite: bool) -> None:
    stored = folder / RUN_FILE
    if not (folder / FILE).is_file() and not (
        stored.is_file() and stored.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    ):
        raise OutputError(f"`{folder}` is not empty and not a run's output", hint="choose another `output`")
    results = [path for path in (folder / name for name in (FILE, STUDENT, SEEDS, EXPORTS)) if path.exists()]
    if resume and results:
        _refuse_other(folder, load(stored), run)
    elif results and not overwrite:
        state = "a finished run" if (folder / FILE).exists() else "an interrupted run"
        raise OutputError(f"`{folder}` holds {state}", hint="continue it: --resume, or start over: --overwrite")
    elif overwrite:
        for path in results:  # the Record first: what is left of a finished run is not taken for one
            path.unlink() if path.is_file() else shutil.rmtree(path)


def _refuse_other(folder: Path, stored: Config, run: Config) -> None:
    places = {"output", "cache", "recipe"}
    before, wanted = (one.model_dump(mode="json", exclude=places) for one in (stored, run))
    if before != wanted:
        changed = ", ".join(f"`{name}`" for name in wanted if before[name] != wanted[name])
        raise OutputError(
            f"`{folder}` was started with another run, which differs in {changed}",
            hint="choose another `output`, or start over: --overwrite",
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A full disk, or memory that is too small, becomes one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            "the memory of the accelerator is too small", hint="halve training.batch_size, double training.accumulate"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        if isinstance(error, RuntimeError) and "inline_container" not in lines[0]:  # where `torch.save` writes
            raise
        place = getattr(error, "filename", None) or folder
        raise RunError(
            f"the run stopped at `{place}`: {getattr(error, 'strerror', None) or lines[0]}",
            hint="is there room, and may you write there? then continue with --resume",
        ) from error


def publish(source: Path, target: Path) -> None:
    """Copy a finished model folder to `target` in one step."""
    temporary = target.with_name(target.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
