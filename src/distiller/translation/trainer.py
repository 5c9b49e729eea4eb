"""Training of a translation model: `DistillationTrainer` with translation's own objective, batches and scores."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel

from distiller import processes
from distiller.config.translation import Objective
from distiller.errors import ConfigError
from distiller.models.encoder_decoder import Seq2SeqReader
from distiller.models.signals import Signals
from distiller.training.batching import Batch
from distiller.training.objective import DistillationObjective
from distiller.training.problem import Problem
from distiller.training.readout import Kind
from distiller.training.teacher import FrozenTeacher
from distiller.training.trainer import DistillationTrainer
from distiller.translation.objective import TranslationObjective, model_shapes


class TranslationTrainer(DistillationTrainer):
    """Distils `teacher` into `model`. Every other argument is that of `DistillationTrainer`.

    Args:
        model: The student.
        objective: The losses and their weights.
        score: Computes the development scores of the student, by name.
        rows: Ids of the teacher's vocabulary that the student keeps; `None`: both vocabularies are the same.
        label_smoothing: Label smoothing of the targets.
        chunk_megabytes: Memory for one vocabulary-sized tensor, in 10^6 bytes.

    `teacher_cache` holds the teacher's last decoder states on the training pairs (see
    `distiller.translation.teacher_states`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        objective: Objective,
        score: Callable[[PreTrainedModel], dict[str, float]],
        rows: Tensor | None = None,
        label_smoothing: float = 0.0,
        chunk_megabytes: float = 256.0,
        **others: Any,
    ) -> None:
        self.score = score
        self.rows = rows
        self.losses = {"label_smoothing": label_smoothing, "chunk_megabytes": chunk_megabytes}
        if others.get("teacher_cache") is not None and objective.reads_layers:
            raise ConfigError("this objective compares hidden layers, which the cache has not", hint="pass none")
        super().__init__(model, objective=objective, **others)

    def make_objective(self, model: Any, problem: Problem) -> TranslationObjective:
        """The losses over the vocabulary and over the layers of both sides."""
        teacher: Any = self._given_teacher
        assert isinstance(problem.wish, Objective)
        return TranslationObjective(
            problem.wish,
            student=model_shapes(model),
            teacher=None if teacher is None else model_shapes(teacher),
            **self.losses,
        )

    def freeze(self, teacher: PreTrainedModel, parts: DistillationObjective, kind: Kind) -> FrozenTeacher:
        """The frozen teacher, which reads the student's tokens."""
        reader = partial(Seq2SeqReader, hidden=bool(parts.terms), rows=self.rows)
        return FrozenTeacher(teacher, set(), set(), device=self.args.device, precision=self.precision, reader=reader)

    def _teacher_signals(self, view: Batch, name: str) -> Signals:
        """The teacher's signals for a batch, teacher-forced on the same target; read from the cache if there is one."""
        assert self.teacher is not None
        kept = self._cached(view)
        if kept is None:
            return self.teacher(view)
        return replace(kept, mask=view["attention_mask"], head=self.teacher.reader.head())

    @staticmethod
    def cached_tokens(batch: Mapping[str, Any]) -> Tensor:
        """The mask of the target tokens, whose decoder states the cache holds."""
        return batch["output_mask"]

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **generation: Any,
    ) -> dict[str, float]:
        """Translate the development text, on the first process, and log its scores."""
        found = processes.from_first(lambda: self.score(self.student))  # so that all choose the same best checkpoint
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[arg-type]
