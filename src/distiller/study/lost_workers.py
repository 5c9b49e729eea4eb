"""Ends trials whose workers are gone, and queues their points again."""

import socket
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from distiller.study.queue import MAX_DEATHS, attempts, deaths, enqueue, in_state
from distiller.study.search_space import key_of
from distiller.study.storage import INTERRUPTED, REASON, WORKER, StoredCell, StoredStudy, load_optuna

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

UNNAMED = timedelta(seconds=60)
"""A running trial that has no worker for so long was claimed by one that died at once."""


def end_lost(stored: StoredStudy, stored_cell: StoredCell, trial: "FrozenTrial", *, reason: str | None = None) -> bool:
    """End a running trial whose worker is gone. Without a `reason` the loss does not count against its point."""
    optuna = load_optuna()
    trial_id = stored.trial_id(stored_cell, trial.number)
    try:
        if reason is None:
            stored.storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
        elif deaths(_older(stored_cell, trial)) + 1 >= MAX_DEATHS:
            stored.storage.set_trial_user_attr(trial_id, REASON, reason)
        return stored.storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def _older(stored_cell: StoredCell, trial: "FrozenTrial") -> list["FrozenTrial"]:
    return [other for other in attempts(stored_cell).get(key_of(trial.params), []) if other.number < trial.number]


def reclaim(
    stored: StoredStudy, *, died: Mapping[str, str], ended: Collection[str] = (), take_over: bool = False
) -> int:
    """End the running trials whose workers are gone, and queue their points again; returns their number.

    `died` says, by name, how workers that this process watched ended; deaths of others do not count against the point,
    nor those of workers in `ended`. Workers on other machines are gone if they have given no heartbeat for a while,
    which databases record; with `take_over` all are.
    """
    optuna = load_optuna()
    found = 0
    for stored_cell in stored.cells:
        for trial in in_state(stored_cell, "RUNNING"):
            worker = trial.user_attrs.get(WORKER)
            reason = died.get(worker["name"]) if worker else None
            mine = worker is not None and worker["name"] in ended
            if take_over or reason or mine or _gone(trial, worker):
                found += end_lost(stored, stored_cell, trial, reason=reason)
        running = {trial.number for trial in in_state(stored_cell, "RUNNING")}
        optuna.storages.fail_stale_trials(stored_cell.trials)
        found += len(running & {trial.number for trial in in_state(stored_cell, "FAIL")})
    if found:
        enqueue(stored)
    return found


def unsettled(stored: StoredStudy) -> bool:
    """Whether a running trial may yet be lost: its worker is on this machine, or is still unknown.

    A worker that outlives its engine for a moment ends with the trial that it had claimed.
    """
    for stored_cell in stored.cells:
        for trial in in_state(stored_cell, "RUNNING"):
            worker = trial.user_attrs.get(WORKER)
            if worker is None or worker["host"] == socket.gethostname():
                return True
    return False


def _gone(trial: "FrozenTrial", worker: Mapping[str, Any] | None) -> bool:
    import psutil

    if worker is None:
        return trial.datetime_start is not None and datetime.now() - trial.datetime_start > UNNAMED
    if worker["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(worker["pid"])
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - worker["started"]) > 1
    except psutil.NoSuchProcess:
        return True
