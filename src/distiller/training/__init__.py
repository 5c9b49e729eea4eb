"""Eq. (1) as one number, and the `transformers.Trainer` that minimises it."""

from typing import TYPE_CHECKING

from distiller.exports import lazily

if TYPE_CHECKING:
    from distiller.training.distillation_model import DistillationModel as DistillationModel
    from distiller.training.evaluate import predict_logits as predict_logits
    from distiller.training.objective import DistillationObjective as DistillationObjective
    from distiller.training.objective import ModelShape as ModelShape
    from distiller.training.pace import UntilLearnt as UntilLearnt
    from distiller.training.trainer import DistillationTrainer as DistillationTrainer

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
