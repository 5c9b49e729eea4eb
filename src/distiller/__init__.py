"""Distil a large language model into a small, fast one for one task, and know which choices made it good.

Importing this package loads no torch; its names do, when they are first used.
"""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.autodistiller.advice import advise as advise
    from distiller.config import Objective as Objective
    from distiller.config import Run as Run
    from distiller.config import Student as Student
    from distiller.config import Task as Task
    from distiller.config import Teacher as Teacher
    from distiller.config import Term as Term
    from distiller.config import Training as Training
    from distiller.config import load_run as load_run
    from distiller.config import parse_run as parse_run
    from distiller.errors import DistillerError as DistillerError
    from distiller.inference import Predictor as Predictor
    from distiller.inference import predict as predict
    from distiller.record import Record as Record
    from distiller.record import load_record as load_record
    from distiller.run import distil as distil
    from distiller.scoring import evaluate as evaluate
    from distiller.study.config import Study as Study
    from distiller.study.config import load_study as load_study
    from distiller.study.engine import run_study as run_study
    from distiller.training.trainer import DistillationTrainer as DistillationTrainer

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
