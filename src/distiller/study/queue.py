"""Which process tries which point: a plan written out, points claimed by one worker at a time, lost ones requeued.

The storage decides: a trial is claimed by the single transaction that sets it running, and finished by the one that
sets it complete, pruned or failed. A trial that failed without a reason was lost with its worker; its point is tried
once more. So whatever is killed at whatever time, finished trials stay, and a point is finished at most once.
"""

import os
import random
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distiller.config import Run
from distiller.study.search_space import Point, excluded_by, key_of, parents_first, planned
from distiller.study.storage import (
    INDEX,
    INTERRUPTED,
    LISTED,
    REASON,
    RECORD,
    RUN,
    TRACEBACK,
    WORKER,
    StoredCell,
    StoredStudy,
    in_turn,
    load_optuna,
    storage_of,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

    from distiller.record import Record

Worker = Mapping[str, Any]
MAX_DEATHS = 2
"""A point whose worker died so many times is not tried again."""
MAX_DRAWS = 20
"""Suggestions of a sampler that repeat earlier points, after which a fresh one is drawn by lot."""


@dataclass(frozen=True)
class Claim:
    """A trial that this process runs."""

    stored: StoredStudy
    stored_cell: StoredCell
    trial: "Trial"

    @property
    def point(self) -> Point:
        """The levels to try."""
        return self.trial.params

    @property
    def run(self) -> Run:
        """The run to carry out."""
        return self.stored.space.run(self.stored_cell.cell, self.point)


def identity(name: str) -> dict[str, Any]:
    """This process, so that others can tell whether it is alive. `name` is its name in the process that started it."""
    import psutil

    return {"name": name, "host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def attempts(stored_cell: StoredCell) -> dict[str, list["FrozenTrial"]]:
    """The trials of each point by its key, oldest first; withdrawn ones are left out."""
    found: dict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in stored_cell.trials.get_trials(deepcopy=False):
        if INDEX in trial.user_attrs:
            found[key_of(trial.params)].append(trial)
    return found


def lost(trial: "FrozenTrial") -> bool:
    """Whether `trial` ended with its worker, not by itself."""
    return trial.state.name == "FAIL" and REASON not in trial.user_attrs


def deaths(tries: Iterable["FrozenTrial"]) -> int:
    """How many times in a row, up to the last, the worker of this point died."""
    count = 0
    for trial in tries:
        count = 0 if not lost(trial) else count + (INTERRUPTED not in trial.user_attrs)
    return count


def missing(tries: list["FrozenTrial"], *, retry_failed: bool = False) -> bool:
    """Whether a point with these trials should be tried (again)."""
    last = tries[-1] if tries else None
    if last is None or (retry_failed and last.state.name == "FAIL"):
        return True
    return lost(last) and deaths(tries) < MAX_DEATHS


def enqueue(
    stored: StoredStudy, *, retry_failed: bool = False, on_progress: Callable[[int], None] | None = None
) -> int:
    """Put every point that should be tried and is not in the storage yet into it; returns their number."""
    added = 0
    plan: list[tuple[int, StoredCell, Point]] = []
    for position, stored_cell in enumerate(stored.cells):
        tries = attempts(stored_cell)
        if stored.study.sampler.name in LISTED:
            wanted = [
                (place * len(stored.cells) + position, p)
                for place, p in enumerate(planned(stored.space, stored_cell.cell))
            ]
        else:
            wanted = [(found[0].user_attrs[INDEX], found[0].params) for found in tries.values()]
        plan += [(i, stored_cell, p) for i, p in wanted if missing(tries.get(key_of(p), []), retry_failed=retry_failed)]
    for index, stored_cell, point in sorted(plan, key=lambda item: item[0]):
        _add(stored, stored_cell, point, index)
        added += 1
        if on_progress:
            on_progress(added)
    return added


def _add(stored: StoredStudy, stored_cell: StoredCell, point: Mapping[str, str], index: int) -> None:
    optuna = load_optuna()
    levels = {factor.name: sorted(factor.levels) for _, factor in stored.space.factors}
    stored_cell.trials.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=dict(point),
            distributions={name: optuna.distributions.CategoricalDistribution(levels[name]) for name in point},
            user_attrs={INDEX: index},
        )
    )


def claim(stored: StoredStudy, worker: Worker) -> Claim | None:
    """A trial for this `worker`, the earliest of the plan; `None` if nothing is left to claim."""
    with in_turn(storage_of(stored.study)):
        return _claim(stored, worker)


def _claim(stored: StoredStudy, worker: Worker) -> Claim | None:
    while True:
        waiting: list[tuple[int, int]] = []
        for position, stored_cell in enumerate(stored.cells):
            if found := in_state(stored_cell, "WAITING"):
                waiting.append((min(trial.user_attrs.get(INDEX, 0) for trial in found), position))
        if waiting:
            stored_cell = stored.cells[min(waiting)[1]]
            if made := _take(stored, stored_cell, worker):
                return made
        elif stored.study.sampler.name in LISTED:
            return None
        else:
            return _search(stored, worker)


def in_state(stored_cell: StoredCell, *names: str) -> list["FrozenTrial"]:
    """The trials of a cell in these Optuna states, withdrawn ones included."""
    states = load_optuna().trial.TrialState
    return stored_cell.trials.get_trials(deepcopy=False, states=tuple(states[name] for name in names))


def _ask(stored_cell: StoredCell, worker: Worker) -> "Trial":
    trial = stored_cell.trials.ask()
    trial.set_user_attr(WORKER, dict(worker))
    return trial


def _take(stored: StoredStudy, stored_cell: StoredCell, worker: Worker) -> Claim | None:
    """Claim a waiting trial; `None` if another worker was faster."""
    trial = _ask(stored_cell, worker)
    if INDEX not in trial.user_attrs or _repeats(stored_cell, trial):
        give_up(stored_cell, trial.number)
        return None
    return _named(stored, stored_cell, trial)


def _named(stored: StoredStudy, stored_cell: StoredCell, trial: "Trial") -> Claim:
    made = Claim(stored, stored_cell, trial)
    trial.set_user_attr(RUN, made.run.model_dump_json(exclude={"output", "cache"}, exclude_defaults=True))
    return made


def _repeats(stored_cell: StoredCell, trial: "Trial") -> bool:
    """Whether another trial of the same point runs, or has succeeded. Of two that run, the older continues."""
    for other in attempts(stored_cell).get(key_of(trial.params), []):
        if other.state.name in ("COMPLETE", "PRUNED") or (
            other.state.name == "RUNNING" and other.number < trial.number
        ):
            return True
    return False


def _search(stored: StoredStudy, worker: Worker) -> Claim | None:
    """A trial that the sampler suggests, in the cell with the fewest; `None` if every cell has enough."""
    open_cells = []
    for position, stored_cell in enumerate(stored.cells):
        tries = attempts(stored_cell)
        if len(tries) < budget(stored, stored_cell):
            open_cells.append((len(tries), position))
    for _, position in sorted(open_cells):
        if made := _draw(stored, stored.cells[position], position, worker):
            return made
    return None


def budget(stored: StoredStudy, stored_cell: StoredCell) -> int:
    """How many points a sampler tries in a cell."""
    wanted = stored.study.trials
    points = stored.space.count(stored_cell.cell)
    return points if wanted == "all" else min(wanted, points)


def _draw(stored: StoredStudy, stored_cell: StoredCell, position: int, worker: Worker) -> Claim | None:
    for _ in range(MAX_DRAWS):
        trial = _ask(stored_cell, worker)
        if INDEX in trial.user_attrs:  # a lost point that was requeued meanwhile
            return _named(stored, stored_cell, trial)
        for factor in parents_first([factor for _, factor in stored.space.factors]):
            if stored.space.active(factor, trial.params):
                trial.suggest_categorical(factor.name, sorted(factor.levels))
        tries = attempts(stored_cell)
        if len(tries) >= budget(stored, stored_cell):
            give_up(stored_cell, trial.number)
            return None
        if key_of(trial.params) not in tries and not excluded_by(stored.study, trial.params, stored_cell.cell):
            trial.set_user_attr(INDEX, trial.number * len(stored.cells) + position)
            if _first(stored_cell, trial, budget(stored, stored_cell)):
                return _named(stored, stored_cell, trial)
        give_up(stored_cell, trial.number)
    return _by_lot(stored, stored_cell, position, worker)


def _first(stored_cell: StoredCell, trial: "Trial", budget: int) -> bool:
    """Whether no older trial has this point and the cell had room: two workers may have drawn at the same time."""
    older = {key: tries for key, tries in attempts(stored_cell).items() if tries[0].number < trial.number}
    return key_of(trial.params) not in older and len(older) < budget


def _by_lot(stored: StoredStudy, stored_cell: StoredCell, position: int, worker: Worker) -> Claim | None:
    tried = attempts(stored_cell)
    left = [point for point in stored.space.points(stored_cell.cell) if key_of(point) not in tried]
    if not left:
        return None
    rng = random.Random(f"{stored.study.sampler_seed} {stored_cell.cell.name} {len(tried)}")
    trials = len(stored_cell.trials.get_trials(deepcopy=False))
    _add(stored, stored_cell, rng.choice(left), trials * len(stored.cells) + position)
    return _take(stored, stored_cell, worker)


def give_up(stored_cell: StoredCell, number: int) -> None:
    """End a trial that is withdrawn or requeued: it counts as lost."""
    optuna = load_optuna()
    try:
        stored_cell.trials.tell(number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return


def complete(claimed: Claim, record: "Record") -> bool:
    """Store the Record and score; `False` if the trial was taken for lost meanwhile and given to another worker."""
    kept = record.model_dump(mode="json", exclude={"run": {"output", "cache"}})
    kept["seeds"] = [{**seed, "history": []} for seed in kept["seeds"]]
    for role in ("teacher", "baseline", "untaught_baseline"):
        if kept[role]:
            kept[role]["histories"] = []
    return _finish(claimed, "COMPLETE", record.score, {RECORD: kept})


def fail(claimed: Claim, reason: str, traceback: str = "") -> bool:
    """Store why the trial failed."""
    return _finish(claimed, "FAIL", None, {REASON: reason, TRACEBACK: traceback})


def prune(claimed: Claim) -> bool:
    """Record that the pruner stopped the trial."""
    return _finish(claimed, "PRUNED", None, {})


def give_back(claimed: Claim) -> bool:
    """Let another worker try this point; the interruption does not count against it."""
    return _finish(claimed, "FAIL", None, {INTERRUPTED: True})


def _finish(claimed: Claim, state: str, score: float | None, attributes: Mapping[str, Any]) -> bool:
    optuna = load_optuna()
    try:
        for name, value in attributes.items():
            claimed.trial.set_user_attr(name, value)
        claimed.stored_cell.trials.tell(claimed.trial.number, score, state=optuna.trial.TrialState[state])
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    return True
