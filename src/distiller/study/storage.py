"""Where trials are stored: in Optuna, one Optuna study for each of our cells, opened and recognised.

Everything known about a trial is in its storage: the levels are its parameters, the score its value; attributes hold
the rest (`INDEX`, `WORKER`, `RUN`, `RECORD`, `REASON`).
"""

import inspect
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import ConfigDict, create_model

from distiller.errors import ConfigError, MissingPackageError, OutputError, RunError, did_you_mean, importing
from distiller.registry import checked_options
from distiller.study.config import STORAGES, Study
from distiller.study.search_space import Cell, SearchSpace

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.storages import BaseStorage

HEARTBEAT = 30
"""Seconds between two signs of life of a running trial; after four times as many it counts as lost."""

INDEX = "index"
"""Place of a trial in the study's plan; trials without one were never wanted."""
WORKER = "worker"
"""Host, process and start of the process that runs the trial."""
RUN = "run"
"""The planned run."""
RECORD = "record"
"""The Record of a complete trial, without the history of its training."""
REASON = "reason"
"""Why a trial failed, in a line. A failed trial without one was lost with its worker."""
TRACEBACK = "traceback"
"""Where the whole story of a failure is."""
INTERRUPTED = "interrupted"
"""Lost on purpose: does not count against its point."""

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "nsga2": "NSGAIISampler", "qmc": "QMCSampler"}
LISTED = ("random", "grid")
"""Samplers that write all points into the storage at the start."""
PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "asha": "SuccessiveHalvingPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
    "wilcoxon": "WilcoxonPruner",
}


@dataclass(frozen=True)
class StoredCell:
    """One cell and its trials in the storage."""

    cell: Cell
    trials: "OptunaStudy"


@dataclass(frozen=True)
class StoredStudy:
    """A study and all its trials."""

    space: SearchSpace
    storage: "BaseStorage"
    cells: tuple[StoredCell, ...]

    @property
    def study(self) -> Study:
        """The study as requested."""
        return self.space.study

    def trial_id(self, stored_cell: StoredCell, number: int) -> int:
        """The storage's own name of a trial."""
        study_id = self.storage.get_study_id_from_name(stored_cell.trials.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def load_optuna() -> Any:
    """The module `optuna`, set to report only errors. Raises `MissingPackageError`."""
    with importing("studies need", extra="study"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # Trials are claimed with `ask`; our workers send the heartbeats that `optimize` would.
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")
    return optuna


def storage_of(study: Study) -> str:
    """Where the trials of `study` are stored."""
    return study.storage or str(study.place / "study.db")


def is_file(storage: str) -> bool:
    """Whether `storage` is a file on one machine rather than a database server."""
    return "://" not in storage or storage.startswith("sqlite:")


def in_turn(storage: str) -> AbstractContextManager[Any]:
    """One process at a time: SQLite would let two of them claim the same trial. Database servers lock rows."""
    if not is_file(storage):
        return nullcontext()
    path = Path(storage.removeprefix("sqlite:///").partition("?")[0]).expanduser()
    return FileLock(path.with_name(path.name + ".claim"))


@contextmanager
def storing(where: str) -> Iterator[None]:
    """A storage that cannot be written becomes a one-line error; finished trials are safe in it."""
    optuna = load_optuna()
    import sqlalchemy.exc

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        cause: BaseException = error
        while not isinstance(cause, OSError) and (cause.__cause__ or getattr(cause, "orig", None)):
            cause = getattr(cause, "orig", None) or cause.__cause__  # type: ignore[assignment]
        reason = getattr(cause, "strerror", None) or (str(cause).splitlines() or [type(cause).__name__])[0]
        if (password := _password(where)) and password in reason:
            reason = type(cause).__name__
        raise RunError(
            f"the storage `{where}` cannot be used: {reason}",
            hint="finished trials are kept; when it can be written again: distiller study resume",
        ) from error


def open_storage(where: str, *, make: bool = False) -> "BaseStorage":
    """The storage at a path or URL; with `make` it is created if needed.

    Raises `OutputError` if there is none, `ConfigError` for something that is not a storage.
    """
    optuna = load_optuna()
    import sqlalchemy.exc

    url = where
    if "://" not in where:
        path = Path(where).expanduser()
        if path.suffix not in STORAGES:
            raise ConfigError(f"`{where}` is no storage of studies", hint="a .db or .journal file, or a database URL")
        if not make and not path.is_file():
            raise OutputError(f"there are no trials at `{where}`", hint="`distiller study run` makes them")
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".journal", ".log"):
            from optuna.storages.journal import JournalFileBackend

            return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        url = f"sqlite:///{path}"
    # Which driver `postgresql:` means depends on the version of SQLAlchemy.
    url = re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)
    # Several workers write into one SQLite file: each waits for its turn. Servers close connections that are idle.
    options = {"connect_args": {"timeout": 120}} if url.startswith("sqlite:") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(
            url, engine_kwargs=options, heartbeat_interval=HEARTBEAT, grace_period=4 * HEARTBEAT
        )
    except ImportError as error:
        driver = getattr(error.__cause__ or error, "name", None) or "of its driver"
        extra = '"distiller-nlp[postgresql]"' if driver == "psycopg" else driver
        raise MissingPackageError(
            f"the storage `{where}` needs the package `{driver}`", hint=f"pip install {extra}"
        ) from None
    except (ValueError, sqlalchemy.exc.ArgumentError) as error:
        raise ConfigError(
            # the library's message about a URL may contain parts of its password
            f"the storage `{where}` cannot be opened" + ("" if _password(where) else f": {str(error).splitlines()[0]}"),
            hint="a .db or .journal file, or a URL like postgresql://user@host/database; write : / @ in a password as "
            "%3A %2F %40",
        ) from None
    except RuntimeError as error:  # a file of another version of Optuna
        raise ConfigError(f"the storage `{where}` cannot be opened: {error}", hint="choose another") from None


def open_study(space: SearchSpace, *, make: bool = False, salt: str = "") -> StoredStudy:
    """The trials of a study; with `make` an empty one is created if there is none yet.

    `salt` makes the samplers of several workers draw differently. Raises `ConfigError` if the storage has another study
    of that name, `OutputError` if it has none.
    """
    study = space.study
    where = storage_of(study)
    with storing(where):
        storage = open_storage(where, make=make)
        known = {found.study_name for found in storage.get_all_studies()}
        _refuse_other(storage, space, known)
        names = [f"{study.name}/{cell.name}" for cell in space.cells]
        if not make and not known.issuperset(names):
            raise OutputError(
                f"the storage `{where}` has no study `{study.name}`", hint="`distiller study run` starts one"
            )
        cells = [
            _stored_cell(storage, space, cell, name, name in known, salt)
            for cell, name in zip(space.cells, names, strict=True)
        ]
    return StoredStudy(space, storage, tuple(cells))


def _stored_cell(
    storage: "BaseStorage", space: SearchSpace, cell: Cell, name: str, known: bool, salt: str
) -> StoredCell:
    optuna = load_optuna()
    tools = {"sampler": _sampler(space.study, cell, salt), "pruner": _pruner(space.study)}
    if known:
        found = optuna.load_study(study_name=name, storage=storage, **tools)
        if "cell" in found.user_attrs:
            return StoredCell(cell, found)
    else:
        found = optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True, **tools
        )
    found.set_user_attr("study", space.study.name)
    found.set_user_attr("fingerprint", space.fingerprint)
    found.set_user_attr("factors", list(space.varied))
    # Last: a study that has a cell is complete.
    found.set_user_attr(
        "cell", {"task": cell.task, "teacher": cell.teacher, "student": cell.student, "seed": cell.seed}
    )
    return StoredCell(cell, found)


def _refuse_other(storage: "BaseStorage", space: SearchSpace, known: set[str]) -> None:
    study = space.study
    for name in known:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        if attributes.get("study") == study.name and attributes.get("fingerprint") != space.fingerprint:
            raise ConfigError(
                f"the storage `{storage_of(study)}` holds another study called `{study.name}`: "
                "its space, base run or sampler differ",
                hint="choose another `name` or `storage`, or leave the space as it was",
            )


def _sampler(study: Study, cell: Cell, salt: str) -> Any:
    optuna = load_optuna()
    name = study.sampler.name
    if name in LISTED:
        if study.sampler.options:
            raise ConfigError(f"sampler `{name}` has no options", hint="leave them out")
        return optuna.samplers.RandomSampler()
    if name not in SAMPLERS:
        raise ConfigError(f"no sampler is called `{name}`", hint=did_you_mean(name, [*LISTED, *SAMPLERS]))
    # A text as seed does not depend on the process, unlike its `hash`.
    seed = random.Random(f"{study.sampler_seed} {cell.name} {salt}").randrange(2**31)
    return _made(getattr(optuna.samplers, SAMPLERS[name]), "sampler", name, {"seed": seed, **study.sampler.options})


def _pruner(study: Study) -> Any:
    name = study.pruner.name
    if name not in PRUNERS:
        raise ConfigError(f"no pruner is called `{name}`", hint=did_you_mean(name, [*PRUNERS]))
    return _made(getattr(load_optuna().pruners, PRUNERS[name]), "pruner", name, study.pruner.options)


def _made(kind: Any, role: str, name: str, options: dict[str, Any]) -> Any:
    """A sampler or pruner of Optuna. Raises `ConfigError` for options that it does not have or accept."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(kind).parameters.values():
        default = parameter.default
        required = default is inspect.Parameter.empty
        plain = isinstance(default, bool | int | float | str)  # only Optuna knows the types of others
        fields[parameter.name] = (type(default) if plain else Any, ... if required else default)
    schema = create_model(kind.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    checked = checked_options(f"{role} `{name}`", schema, options)
    try:
        return kind(**{option: checked[option] for option in options})
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0].replace(f"{kind.__name__}.__init__() ", "")
        raise ConfigError(
            f"{role} `{name}`: {reason}", hint=f"its options are those of optuna's {kind.__name__}"
        ) from None


def _password(where: str) -> str:
    """The password in a URL, up to the last `@`; `""` if there is none."""
    login = where.partition("://")[2].rpartition("@")[0]
    return login.partition(":")[2]
