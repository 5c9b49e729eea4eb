"""Distil a large language model into a small, fast one for one task, and know which choices made it good.

Importing this package loads no torch; its names do, when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distiller.config import Run, load_run
    from distiller.errors import DistillerError
    from distiller.inference import evaluate, predict
    from distiller.record import Record, load_record
    from distiller.run import distil
    from distiller.training.trainer import DistillationTrainer

__version__ = "0.1.0"
__all__ = [
    "DistillationTrainer",
    "DistillerError",
    "Record",
    "Run",
    "distil",
    "evaluate",
    "load_record",
    "load_run",
    "predict",
]

_HOMES = {
    "DistillationTrainer": "distiller.training.trainer",
    "DistillerError": "distiller.errors",
    "Record": "distiller.record",
    "Run": "distiller.config",
    "distil": "distiller.run",
    "evaluate": "distiller.inference",
    "load_record": "distiller.record",
    "load_run": "distiller.config",
    "predict": "distiller.inference",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `distiller` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
