"""Reads trials from a storage, one study or elsewhere into a table, and writes them to files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distiller.config import Run, parse_run
from distiller.errors import ConfigError, OutputError, did_you_mean, warn
from distiller.files import unwritable
from distiller.study.config import STUDY_FILE, label_of, load_study
from distiller.study.progress import state_of
from distiller.study.queue import attempts
from distiller.study.search_space import Cell
from distiller.study.storage import (
    INDEX,
    REASON,
    RECORD,
    RUN,
    StoredCell,
    load_optuna,
    open_storage,
    storage_of,
    storing,
)
from distiller.study.trials import Trials, open_table, read_table, tabulate, write_trials

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLES = (".csv", ".parquet")
LOST = "its worker stopped answering, twice"


def load_trials(source: str | Path, *, name: str | None = None) -> Trials:
    """The finished and failed trials of a study (folder or file), a storage (path or URL), or a table of trials.

    A storage may hold several studies: `name` chooses one; otherwise all are read, with a notice. Of several attempts
    at one point the last counts. Raises `DistillerError`; needs no torch.
    """
    path = Path(source)
    if "://" not in str(source) and path.suffix in TABLES:
        return open_table(path)
    where = str(source)
    if "://" not in where and not path.suffix and not path.exists():
        raise OutputError(f"there is no study at `{source}`", hint="name its folder, its storage, or a table of trials")
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        study = load_study(path)
        where, name = storage_of(study), name or study.name
    return _from_storage(where, name)


def export_trials(trials: Trials, path: str | Path) -> Path:
    """Write `trials` to a .csv or .parquet file, which `load_trials` reads. Raises `ConfigError`, `OutputError`."""
    target = Path(path)
    with unwritable(target, "choose another place"):
        return write_trials(trials, target)


def import_csv(path: str | Path, *, columns: Mapping[str, str] | None = None, factors: Sequence[str] = ()) -> Trials:
    """Trials from a CSV or Parquet file of results from elsewhere.

    Files that `export_trials` wrote and the result table of arXiv:2109.11105 are recognised; for others `columns` maps
    our names to theirs, and `factors` names what was varied, as `read_table` says. Raises `DataError`.
    """
    return read_table(path, columns=columns, factors=factors) if columns or factors else open_table(path)


def _from_storage(where: str, name: str | None) -> Trials:
    optuna = load_optuna()
    rows: list[dict[str, Any]] = []
    factors: list[str] = []
    with storing(where):
        storage = open_storage(where)
        named: dict[str, list[Any]] = {}
        for found in storage.get_all_studies():
            if "study" in found.user_attrs and "cell" in found.user_attrs:
                named.setdefault(found.user_attrs["study"], []).append(found)
        if name is not None and name not in named:
            raise OutputError(
                f"the storage has no study `{name}`", hint=did_you_mean(name, list(named)) if named else None
            )
        if name is None and len(named) > 1:
            known = ", ".join(f"`{one}`" for one in named)
            warn(f"`{where}` holds the studies {known}, and the trials of all are taken together: --name takes one")
        for label, cells in named.items():
            if name not in (None, label):
                continue
            for found in cells:
                factors += [factor for factor in found.user_attrs["factors"] if factor not in factors]
                stored_cell = StoredCell(
                    Cell(**found.user_attrs["cell"], run={}),
                    optuna.load_study(study_name=found.study_name, storage=storage),
                )
                rows += _rows(stored_cell)
    return tabulate(sorted(rows, key=lambda row: row["trial"]), factors, where=f"`{where}`")


def _rows(stored_cell: StoredCell) -> Iterator[dict[str, Any]]:
    for tries in attempts(stored_cell).values():
        state = state_of(tries)
        if state in ("complete", "failed", "pruned"):
            yield _row(stored_cell.cell, tries[-1], state)


def _row(cell: Cell, trial: "FrozenTrial", status: str) -> dict[str, Any]:
    record = trial.user_attrs.get(RECORD)
    run = parse_run(record["run"]) if record else _run_of(trial)
    row = {
        "trial": trial.user_attrs[INDEX],
        "status": status,
        "task": cell.task,
        "teacher": cell.teacher,
        "student": cell.student,
        "seed": cell.seed,
        "reason": trial.user_attrs.get(REASON, LOST) if status == "failed" else "",
        "run": run.model_dump_json(exclude={"output", "cache"}) if run else "",
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        **(canonical(run) if run else {}),
        **trial.params,
    }
    return row | (_measured(record) if record else {})


def _run_of(trial: "FrozenTrial") -> Run | None:
    text = trial.user_attrs.get(RUN)
    return parse_run(json.loads(text)) if text else None


def _measured(record: Mapping[str, Any]) -> dict[str, Any]:
    metric, student = record["metric"], record["student"]
    return {
        "metric": metric,
        "score": record["score"],
        "teacher_score": _score(record["teacher"], metric),
        "baseline_score": _score(record["baseline"], metric),
        "ratio": record["distillation_ratio"],
        "seconds": record["cost"]["wall_seconds"],
        "parameters": student["parameters"],
        "milliseconds": record["cost"]["milliseconds_per_example"].get("student"),
        "megabytes": student["megabytes"],
    }


def _score(model: Mapping[str, Any] | None, metric: str) -> float | None:
    return model["scores"].get(metric) if model else None


def canonical(run: Run) -> dict[str, str]:
    """The four factors of arXiv:2109.11105, section 4, for any run, with those of all its stages.

    A factor that does not exist there is `""`.
    """
    terms = [term for objective in run.objectives for term in objective.terms if term.active]
    mappings = list(dict.fromkeys(label_of(term.mapping.model_dump()) for term in terms))
    given = [objective.prediction for objective in run.objectives if objective.prediction]
    predictions = list(dict.fromkeys(label_of(prediction.model_dump()) for prediction in given))
    return {
        "intermediate": label_of([{"loss": term.loss, "options": term.options} for term in terms]),
        "prediction": "+".join(predictions),
        "mapping": "+".join(mappings),
        "augmentation": label_of([operator.model_dump() for operator in run.augmentation]),
    }


def is_study(path: str | Path) -> bool:
    """Whether `path` is the folder of a study."""
    return (Path(path) / STUDY_FILE).is_file()


def check_table_name(path: str | Path) -> None:
    """Raises `ConfigError`, before any work is done, unless trials can be written to a file of this name."""
    if Path(path).suffix not in TABLES:
        raise ConfigError(f"trials are not written as `{Path(path).name}`", hint="end in .csv or .parquet")
