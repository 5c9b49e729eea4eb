"""Training of a translation model: `DistillationTrainer` with translation's own module, batches, rate and scores."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel

from distiller.cache.checksums import DamagedFileError
from distiller.cache.teacher_outputs import READING, TeacherCache
from distiller.device import AUTOCAST
from distiller.errors import ConfigError
from distiller.models.signals import frozen_teacher
from distiller.training.batching import Batch
from distiller.training.trainer import DistillationTrainer
from distiller.translation.objective import Objective, Seq2SeqOutput, Seq2SeqReader

GOLD_ONLY = {"beta1": 0.0, "gamma1": 1.0}
"""An objective without a teacher, which `DistillationTrainer` is started with before translation's own replaces it."""


class TranslationTrainer(DistillationTrainer):
    """Distils `teacher` into `model`. Every other argument is that of `transformers.Trainer`.

    Args:
        model: The student.
        objective: The losses, and what is trained beside the student.
        teacher: The model to imitate: kept in eval mode, never trained.
        teacher_cache: Its last decoder states on the training pairs (see `distiller.translation.teacher_states`).
        rows: Ids of the teacher's vocabulary that the student's keeps; `None`: both are the same.
        score: Development scores of the student as it is, by name.
        warmup: Steps of linear warm-up; afterwards the rate falls as √((W+1)/(t+1)).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        objective: Objective,
        score: Callable[[PreTrainedModel], dict[str, float]],
        warmup: int,
        teacher: PreTrainedModel | None = None,
        teacher_cache: TeacherCache | None = None,
        rows: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        if objective.needs_teacher and teacher is None:
            raise ConfigError("this objective compares with a teacher, and there is none", hint="pass `teacher`")
        if teacher_cache is not None and objective.terms:
            raise ConfigError("this objective compares hidden layers, which the cache has not", hint="pass none")
        super().__init__(model, objective=GOLD_ONLY, teacher_cache=teacher_cache, **kwargs)
        module: Any = self.distillation  # student and objective in one module; both parts are translation's own
        module.objective = nn.Module.to(objective, self.args.device)
        module.reader = Seq2SeqReader(model, hidden=bool(objective.terms))
        self.teacher: Any = None
        if teacher is not None and objective.needs_teacher:
            self.teacher = nn.Module.to(frozen_teacher(teacher), self.args.device)
            self.reader = Seq2SeqReader(self.teacher, hidden=bool(objective.terms), rows=rows)
        self.score = score
        self.warmup = warmup

    @property
    def _autocast(self) -> torch.dtype | None:
        return AUTOCAST["bf16"] if self.args.bf16 else AUTOCAST["fp16"] if self.args.fp16 else None

    def teacher_signals(self, view: Batch, name: str = "original") -> Any:
        """What the teacher makes of a batch, teacher-forced on the same target: read from the cache if there is one."""
        reading = view.pop(READING, None)
        if self.teacher_cache is not None:
            try:
                kept = self.teacher_cache.read(view["example_ids"], self.cached_tokens(view), reading)
                return Seq2SeqOutput(kept.logits, {}, self.reader.head(), view["attention_mask"])
            except DamagedFileError as damage:
                self._do_without_cache(damage)
        dtype, device = self._autocast, self.args.device.type
        with torch.no_grad(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            return self.reader(view)

    @staticmethod
    def cached_tokens(batch: Mapping[str, Any]) -> Tensor:
        """The mask of target tokens: what is cached are the decoder's states."""
        return batch["output_mask"]

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """The inverse-square-root rate after a linear warm-up (Vaswani et al. 2017, arXiv:1706.03762)."""
        if self.lr_scheduler is None:
            chosen: Any = optimizer or self.optimizer
            self.lr_scheduler = LambdaLR(chosen, lambda step: inverse_square_root(step, self.warmup))
            self._created_lr_scheduler = True
        return self.lr_scheduler  # type: ignore[return-value]

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **generation: Any,
    ) -> dict[str, float]:
        """Translate the development text, on the first process, and log its scores."""
        found = self.score(self.student) if self.is_world_process_zero() else {}
        if self.args.world_size > 1:  # every process takes the same decision on the best checkpoint
            shared = [found]
            torch.distributed.broadcast_object_list(shared)
            found = shared[0]
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)  # type: ignore[arg-type]


def inverse_square_root(step: int, warmup: int) -> float:
    """Factor of the learning rate at step t, from 0: (t+1)/(W+1) up to W, then √((W+1)/(t+1))."""
    return (step + 1) / (warmup + 1) if step < warmup else ((warmup + 1) / (step + 1)) ** 0.5
