"""`DistillationTrainer`: a `transformers.Trainer` whose loss is Eq. (1).

It adds what distillation needs and nothing else: a frozen teacher beside the trained module, losses normalised over
the whole optimisation step, component losses in the log, and checkpoints whose student is a plain model folder.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PretrainedConfig, PreTrainedModel, Trainer, set_seed

from distiller import config
from distiller.cache.augmented_outputs import AugmentedOutputs
from distiller.cache.teacher_outputs import TeacherCache
from distiller.errors import ConfigError, RunError
from distiller.models.signals import SignalReader, Signals
from distiller.record import write_json
from distiller.training.augmented import AugmentedSplit
from distiller.training.batching import COUNTS, Batch, LengthBucketSampler, count, views_of
from distiller.training.mixing import embedded, mix_of
from distiller.training.objective import Anatomy, DistillationObjective
from distiller.training.readout import Kind
from distiller.training.teacher import FrozenTeacher
from distiller.training.view import Totals, View

PARTS = "objective.safetensors"
"""Projections, critics and mapping state of a checkpoint, beside the student's own files."""
COUNTED = "augmentation.json"
"""What the augmentation policy had counted by then."""


class DistillationModel(nn.Module):
    """Student and every trained part of the objective in one module.

    Multi-process training, checkpointing and compiling therefore see every trained weight.
    """

    def __init__(self, student: PreTrainedModel, objective: DistillationObjective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.config = student.config
        self.reader = SignalReader(
            student,
            hidden_layers=objective.layers("student"),
            attention_layers=objective.layers("student", "attention_scores"),
        )

    def forward(
        self,
        views: Mapping[str, Batch] | None = None,
        teacher: Mapping[str, Signals] | None = None,
        totals: Mapping[str, Totals] | None = None,
        measure: bool = False,
        **inputs: Any,
    ) -> Any:
        """Loss and components of `views`; without views, what the student makes of `inputs`.

        With `measure`, the share of every term in the student's gradient is noted in `objective.balance`.
        """
        if views is None or totals is None:
            return self.student(**inputs)
        compared = {
            name: View(
                student=self.reader(embedded(self.student, view)),
                teacher=teacher[name] if teacher else None,
                labels=view.get("labels"),
                totals=totals[name],
                output_mask=view.get("output_mask"),
                mix=mix_of(view),
            )
            for name, view in views.items()
        }
        measured = [parameter for parameter in self.student.parameters() if parameter.requires_grad] if measure else []
        return self.objective(compared, measured)


class DistillationTrainer(Trainer):
    """Distils `teacher` into `model`. Every other argument is that of `transformers.Trainer`.

    Args:
        model: The student, with the head of its task.
        teacher: The model to imitate: kept in eval mode, never trained. `None` is allowed where the objective
            compares with no teacher (plain fine-tuning).
        objective: Eq. (1): a `distiller.config.Objective`, or a mapping with its fields.
        teacher_cache: Stored teacher outputs of the training set; examples then need an `example_ids` column.
        augmented_cache: Keeps what the teacher says of augmented texts, where these come up again.
        head_learning_rate: Learning rate of projections and critics; `None` is that of the student.
        rate: The factor of the learning rate by step (from 0); `None` is what `args` say.

    Examples may carry a nested `teacher` (the teacher's own tokens) and `augmented` (the second view).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        teacher: PreTrainedModel | None = None,
        objective: config.Objective | Mapping[str, Any] | None = None,
        teacher_cache: TeacherCache | None = None,
        augmented_cache: AugmentedOutputs | None = None,
        head_learning_rate: float | None = None,
        rate: Callable[[int], float] | None = None,
        **kwargs: Any,
    ) -> None:
        wish = (
            objective
            if isinstance(objective, config.Objective)
            else config.parse(config.Objective, objective or {}, where="objective")
        )
        set_seed(kwargs["args"].seed)  # as `Trainer` does, but before projections and critics are drawn
        parts = DistillationObjective(
            wish,
            student=anatomy(model.config),
            teacher=anatomy(teacher.config) if teacher is not None else None,
            kind=kind_of(model),
        )
        if parts.needs_teacher and teacher is None:
            raise ConfigError("this objective compares with a teacher, and there is none", hint="pass `teacher`")
        if any(term.loss.startswith("mi_") for term in wish.intermediate) and kwargs["args"].train_batch_size < 3:
            raise ConfigError(
                "mutual information compares at least three examples, and a batch has fewer",
                hint="raise training.batch_size; training.accumulate does not help",
            )
        kwargs["args"].remove_unused_columns = False
        kwargs["args"].logging_nan_inf_filter = False  # a NaN is an error here, and the filter syncs every step
        kwargs["args"].label_names = ["labels"]
        super().__init__(model=DistillationModel(model, parts), **kwargs)
        if self.args.n_gpu > 1:
            raise ConfigError(
                "several GPUs in one process are not supported", hint="start one process for each: torchrun …"
            )
        self.model_accepts_loss_kwargs = True  # the loss is normalised over all micro-batches: do not divide again
        self.loss_is_scaled_for_ga = True
        self.head_learning_rate = head_learning_rate
        self.rate = rate
        self.teacher_cache = teacher_cache
        self.augmented_cache = augmented_cache
        self.teacher = self._freeze(teacher) if teacher is not None and parts.needs_teacher else None
        self.augmentation: Counter[str] = Counter()
        self.seconds_waited = 0.0
        self._components: dict[str, Tensor] = {}
        self._component_steps = 0
        self._arrived = -1

    @property
    def distillation(self) -> DistillationModel:
        """The trained module without any wrapper."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def student(self) -> PreTrainedModel:
        """The student without any wrapper."""
        return self.distillation.student

    # --- one step ---------------------------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of one optimisation step, and the totals their losses are divided by."""
        batches: list[Batch] = []
        if self.state.global_step >= self.state.max_steps:  # resumed after its last step: `Trainer` would take another
            return batches, {}
        started = time.perf_counter()
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            self.augmentation.update(batch.pop(COUNTS, {}))
            batches.append(batch)
        self.seconds_waited += time.perf_counter() - started
        return batches, self._totals(batches)

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Eq. (1) on one micro-batch: its share of the optimisation step's loss."""
        totals = num_items_in_batch if isinstance(num_items_in_batch, dict) else self._totals([inputs])
        views = views_of(inputs)
        objective = self.distillation.objective
        if any(objective.weights["augmented"]) and "augmented" not in views:
            raise ConfigError(
                "the objective weights an augmented view, and the examples have none",
                hint="set beta2 and gamma2 to 0, or give each example an `augmented` one",
            )
        if not any(objective.weights["augmented"]) and not objective.terms:
            views = {"original": views["original"]}
        teacher = {name: self.teacher_signals(view, name) for name, view in views.items()} if self.teacher else None
        loss, components = model(views=views, teacher=teacher, totals=totals, measure=self._arrive(objective))
        if self.args.world_size > 1:
            loss = loss * self.args.world_size  # totals span all processes, and gradients are averaged over them
        self._note(components)
        return (loss, components) if return_outputs else loss

    def _arrive(self, objective: DistillationObjective) -> bool:
        """Tell the objective where the training is; whether this micro-batch is one whose gradients are measured."""
        step = self.state.global_step
        first, self._arrived = step != self._arrived, step
        objective.step, objective.progress = step, step / max(1, self.state.max_steps)
        return first and objective.measures(step)

    def teacher_signals(self, view: Batch, name: str = "original") -> Signals:
        """What the teacher says of a view `[b, l]`; it is read from the cache of this view when there is one."""
        inputs = view.get("teacher", view)
        if self.teacher_cache is not None and "example_ids" in view and name == "original":
            return self.teacher_cache.read(view["example_ids"], inputs["attention_mask"])
        assert self.teacher is not None
        if self.augmented_cache is not None and name == "augmented" and mix_of(inputs) is None:
            return self.augmented_cache.outputs(inputs, self.teacher)
        return self.teacher(inputs)

    def _freeze(self, teacher: PreTrainedModel) -> FrozenTeacher:
        objective = self.distillation.objective
        return FrozenTeacher(
            teacher,
            objective.layers("teacher"),
            objective.layers("teacher", "attention_scores"),
            device=self.args.device,
            precision="bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "fp32",
        )

    def _totals(self, batches: list[Batch]) -> dict[str, Totals]:
        def whole(number: Tensor) -> Tensor:
            number = number.to(self.args.device)
            summed: Any = self.accelerator.reduce(number, "sum") if self.args.world_size > 1 else number
            return summed.clamp(min=1)

        return {name: Totals(*map(whole, numbers)) for name, numbers in count(batches).items()}

    # --- logging ----------------------------------------------------------------------------------------------

    def _note(self, components: dict[str, Tensor]) -> None:
        """Add to the running sums on the device; nothing is copied to the host before the next log line."""
        for name, value in components.items():
            self._components[name] = self._components[name] + value if name in self._components else value
        if self.accelerator.sync_gradients:
            self._component_steps += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of every component since the last log line. Raises `RunError` for a loss that is not finite."""
        if "loss" in logs and self._component_steps:
            # each process has seen its share of what the totals count
            sums: dict[str, Any] = {
                name: self.accelerator.reduce(value, "sum") for name, value in self._components.items()
            }
            logs = logs | {f"loss/{name}": value.item() / self._component_steps for name, value in sums.items()}
            self._components, self._component_steps = {}, 0
            shares = self.distillation.objective.balance.latest
            logs |= {f"share/{name}": share.item() for name, share in shares.items()}
            self.distillation.objective.balance.latest = {}
        losses = [name for name in logs if name.startswith("loss/")] + ["loss", "train_loss"]
        broken = [name for name in losses if not math.isfinite(logs.get(name, 0.0))]
        if broken:  # `train_loss`, the mean over all steps, comes last: no step is left out
            raise RunError(
                f"{broken[0]} is not a number by step {self.state.global_step}",
                hint="lower training.learning_rate, set training.max_grad_norm=1, or training.precision=fp32",
            )
        super().log(logs, start_time)

    # --- data, optimiser, checkpoints -------------------------------------------------------------------------

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Batches of every development example: `dataloader_drop_last` is for training alone."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        lengths = getattr(dataset, "lengths", None)
        if lengths is None:
            return super()._get_train_sampler(train_dataset)
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return LengthBucketSampler(lengths, batch_size, seed, epochs=isinstance(dataset, AugmentedSplit))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over four groups: student and parts of the objective, each with and without weight decay."""
        if self.optimizer is None:
            trained: Any = model if model is not None else self.model
            decayed = set(self.get_decay_parameter_names(trained))
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in trained.named_parameters():
                if parameter.requires_grad:
                    is_head = name.removeprefix("module.").startswith("objective.")
                    groups.setdefault((is_head, name in decayed), []).append(parameter)
            cls, options = self.get_optimizer_cls_and_kwargs(self.args, self.student)
            head_rate = self.head_learning_rate or self.args.learning_rate
            self.optimizer = cls(
                [
                    {
                        "params": parameters,
                        "weight_decay": self.args.weight_decay if decay else 0.0,
                        "lr": head_rate if is_head else self.args.learning_rate,
                    }
                    for (is_head, decay), parameters in groups.items()
                ],
                **options,
            )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The schedule of `args`, or that of `rate`."""
        if self.rate is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            factor = self.rate
            # a plain function: the state of any other callable would be pickled into the checkpoint
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: factor(step))  # type: ignore[arg-type]
        return self.lr_scheduler

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        return grad_norm  # without clipping nobody asked for the norm, and it is a pass over all weights

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[None, Tensor | None, Tensor | None]:
        """The student's logits; development scores decide, so no development loss is computed."""
        inputs = self._prepare_inputs(views_of(inputs)["original"])
        with torch.inference_mode(), self.accelerator.autocast():
            signals = self.distillation.reader(inputs)
        return None, signals.logits.float(), inputs.get("labels")

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        self.student.save_pretrained(folder)
        if self.distillation.objective.state_dict():
            save_model(self.distillation.objective, str(folder / PARTS))
        if self.augmentation:
            write_json(folder / COUNTED, self.augmentation)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = Path(resume_from_checkpoint)
        self._load_folder(folder)
        if (folder / COUNTED).is_file():
            self.augmentation.update(json.loads((folder / COUNTED).read_text(encoding="utf-8")))

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            self._load_folder(Path(self.state.best_model_checkpoint))

    def _load_folder(self, folder: Path) -> None:
        saved = type(self.student).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.student.load_state_dict(saved.state_dict())
        if (folder / PARTS).is_file():
            load_model(self.distillation.objective, str(folder / PARTS))


def kind_of(model: PreTrainedModel) -> Kind:
    """The kind of task that the head of `model` is for."""
    name = type(model).__name__
    if name.endswith("ForTokenClassification"):
        return "tagging"
    if name.endswith("ForQuestionAnswering"):
        return "qa"
    return "regression" if model.config.num_labels == 1 else "classification"


def anatomy(shape: PretrainedConfig) -> Anatomy:
    """Encoder layers and hidden width of a model with this configuration."""
    return Anatomy(shape.num_hidden_layers, shape.hidden_size)
