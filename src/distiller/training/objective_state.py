"""What a checkpoint of a distillation holds besides the student and what `Trainer` keeps."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model

from distiller.errors import ConfigError
from distiller.files import write_json
from distiller.training.objective import DistillationObjective
from distiller.training.running_losses import RunningLosses

RUNNING = "running_{rank}.json"
"""The sums of a process since its last log line, of a checkpoint between two of them."""
PARTS = "objective.safetensors"
"""Projections, critics and mapping state of a checkpoint, beside the student's own files."""
COUNTED = "augmentation.json"
"""What the augmentation policy had counted by then."""


def write_parts(folder: Path, objective: DistillationObjective, counted: Mapping[str, int]) -> None:
    """Write the trained parts of `objective` and the counts of the augmentation policy, if there are any."""
    if objective.state_dict():
        save_model(objective, str(folder / PARTS))
    if counted:
        write_json(folder / COUNTED, counted)


def read_parts(folder: Path, objective: DistillationObjective) -> None:
    """Load the parts in a checkpoint into `objective`. Raises `ConfigError` if they belong to another objective."""
    if not (folder / PARTS).is_file() and not objective.state_dict():
        return
    try:
        load_model(objective, str(folder / PARTS))
    except (RuntimeError, FileNotFoundError):
        raise ConfigError(
            f"the checkpoint {folder} has not the projections and critics of this objective",
            hint="resume with the objective that made it, or begin anew with its weights as the student",
        ) from None


def read_counted(folder: Path) -> Counter[str]:
    """The counts of the augmentation policy."""
    if not (folder / COUNTED).is_file():
        return Counter()
    return Counter(json.loads((folder / COUNTED).read_text(encoding="utf-8")))


def write_running(folder: Path, rank: int, losses: RunningLosses, objective: DistillationObjective) -> None:
    """Write the sums and shares of process `rank` that are not logged yet."""
    shares = {name: float(share) for name, share in objective.balance.latest.items()}
    write_json(folder / RUNNING.format(rank=rank), losses.state() | {"shares": shares})


def read_running(folder: Path, rank: int, losses: RunningLosses, objective: DistillationObjective) -> None:
    """Restore them from a checkpoint that has them."""
    running = folder / RUNNING.format(rank=rank)
    if not running.is_file():
        return
    found = json.loads(running.read_text(encoding="utf-8"))
    losses.load(found)
    objective.balance.latest = {name: torch.tensor(share) for name, share in found["shares"].items()}
