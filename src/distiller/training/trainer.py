"""`DistillationTrainer`: a `transformers.Trainer` whose loss is Eq. (1).

It adds what distillation needs and nothing else: a frozen teacher beside the trained module, losses normalised over
the whole optimisation step, component losses in the log, and checkpoints whose student is a plain model folder.
"""

import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import convert_to_fp32, find_batch_size
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel, Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainingArguments
from transformers.trainer_utils import PredictionOutput, get_last_checkpoint
from transformers.utils.generic import ModelOutput

from distiller import config
from distiller.cache.augmented_outputs import AugmentedOutputs
from distiller.cache.checksums import DamagedFileError
from distiller.cache.folders import forget
from distiller.cache.teacher_outputs import READING, TeacherCache, WithReadings
from distiller.device import Precision, seeded
from distiller.errors import ConfigError, warn
from distiller.files import check_sums, write_sums
from distiller.models.masks import unread_masks
from distiller.models.signals import Signals
from distiller.training.batching import COUNTS, Batch, count, shared_evenly, views_of
from distiller.training.checkpoints import CheckpointState, Completion, load_renamed
from distiller.training.correspondence import at_student
from distiller.training.distillation_model import DistillationModel
from distiller.training.mixing import mix_of
from distiller.training.objective import DistillationObjective, model_shape
from distiller.training.objective_state import read_counted, read_parts, read_running, write_parts, write_running
from distiller.training.output_places import PLACES, KnownPlaces, WithPlaces
from distiller.training.pairing import (
    check_apart,
    check_heads,
    check_model,
    check_vocabularies,
    class_order,
    warn_of_segments,
)
from distiller.training.problem import (
    LABELS,
    Problem,
    accepted,
    first_example,
    is_causal,
    plain_model,
    problem_of,
)
from distiller.training.readout import Kind
from distiller.training.running_losses import TOTAL, RunningLosses
from distiller.training.script_batch import label_loss, objective_batch, with_decoder_inputs
from distiller.training.script_checks import (
    OURS,
    Explained,
    check_examples,
    check_label_loss,
    check_parallelism,
    check_terms,
    read_by,
    recomputes_without_graph,
)
from distiller.training.several_teachers import OtherTeachers
from distiller.training.soft_labels import signals_of, with_soft_labels
from distiller.training.teacher import FrozenTeacher
from distiller.training.view import Totals

GRAPHS = 64
"""Compiled graphs that are kept: as many lengths of batches, and the last, smaller one."""

TRAINING_ARGS_NAME = "training_args.bin"


class DistillationTrainer(Seq2SeqTrainer):
    """A `transformers.Trainer` (or `Seq2SeqTrainer`, depending on `args`) that distils `teacher` into `model`.

    Args:
        model: The student, with a head for its task. It may be a PEFT model, e.g. with LoRA adapters.
        args: This and all arguments up to `preprocess_logits_for_metrics` are those of `Trainer`, in the same order.
            `args` is not modified.
        compute_loss_func: Replaces the loss on the gold labels.
        teacher: The teacher, with a head for the same task. It is set to eval mode and never trained. `None` is
            allowed if the objective does not need a teacher (plain fine-tuning).
        objective: The weighted loss terms, Eq. (1) of arXiv:2109.11105: a `distiller.config.Objective`, or a mapping
            with its fields. `None` and fields left out have the defaults of a run: `kl` at temperature 4 (tagging: 1);
            the loss on gold labels with weight 0.5, if the first example has a label; and `mse` of hidden states with
            half of the gradient, except for tagging and for models that generate.
        other_teachers: Further teachers, whose class probabilities are averaged with those of `teacher`. Their classes
            must be in the order of its classes.
        teacher_cache: Stored teacher outputs for the training set. Each example then needs its row number in the
            column `example_ids`.
        augmented_cache: Stores the teacher's outputs for augmented texts, so that a text which occurs again is not
            computed twice.
        head_learning_rate: Learning rate of projections and critics. `None`: that of the student.
        rate: Maps the step number (from 0) to a factor of the learning rate. `None`: the schedule of `args`.
        soft_labels: Examples have a column `soft_labels`, class probabilities `[c]` that replace the teacher's; NaN
            where an example has none. `teacher` may then be `None`.
        class_weights: Weight of each class in the label terms, `[c]`, in the order of the model's outputs.
        compiled: Compile teacher, student and objective with `torch.compile`. There is one graph per batch length, so
            pad to a few lengths. Of use on GPUs, where launching many small kernels costs time.

    An example may also have the mapping `teacher`, with the teacher's own `input_ids` and `attention_mask`, and the
    mapping `augmented`, with the augmented view. `trainer.model` is the student. The evaluation loss is the loss on the
    gold labels, as in `Trainer`.

    Raises `ConfigError` if teacher and student have different classes or vocabularies, if the objective needs an input
    that is missing, and for an argument that would have no effect.
    """

    loss_is_scaled_for_ga = True
    """`Trainer` must not divide the loss by the number of micro-batches: it is already normalised over all of them."""

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., PreTrainedModel] | None = None,
        compute_loss_func: Callable[..., Tensor] | None = None,
        compute_metrics: Callable[..., dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Tensor], Any] | None = None,
        *,
        teacher: PreTrainedModel | None = None,
        objective: config.Objective | Mapping[str, Any] | None = None,
        teacher_cache: TeacherCache | None = None,
        augmented_cache: AugmentedOutputs | None = None,
        head_learning_rate: float | None = None,
        rate: Callable[[int], float] | None = None,
        soft_labels: bool = False,
        class_weights: Sequence[float] | None = None,
        other_teachers: OtherTeachers | None = None,
        compiled: bool = False,
    ) -> None:
        self._given_objective = (
            objective
            if isinstance(objective, config.Objective)
            else config.parse(config.Objective, objective or {}, where="objective")
        )
        self.generates = isinstance(args, Seq2SeqTrainingArguments)
        self._distillation: DistillationModel | None = None
        self._given_teacher = teacher
        self._given_soft_labels = soft_labels
        self._given_class_weights = class_weights
        self._other_teachers = other_teachers
        self._resumed: Path | None = None
        self._saved: Path | None = None
        """The folder that `save_model` wrote last, until it is a complete checkpoint."""
        self._step_items: Tensor | None = None
        self._step_totals: dict[str, Totals] = {}
        self._places = KnownPlaces()
        self._readers: weakref.finalize | None = None
        # past `Seq2SeqTrainer`, whose own constructor takes no `optimizer_cls_and_kwargs`
        Trainer.__init__(
            self,
            model,
            args,
            data_collator,
            train_dataset,
            eval_dataset,
            processing_class,
            model_init,
            compute_loss_func,
            compute_metrics,
            callbacks,
            optimizers,
            optimizer_cls_and_kwargs,
            preprocess_logits_for_metrics,
        )
        # before all others, so that they find a complete checkpoint
        self.callback_handler.callbacks.insert(0, Completion(self._complete_checkpoint))
        if isinstance(args, Seq2SeqTrainingArguments) and args.generation_config is not None:
            generator, wish = cast("tuple[Any, Any]", (self.model, args.generation_config))
            generator.generation_config = self.load_generation_config(wish)
        self.head_learning_rate = head_learning_rate
        self.rate = rate
        self.teacher_cache = teacher_cache
        self.augmented_cache = augmented_cache
        self.compiled = compiled
        self.teacher: FrozenTeacher | None = None
        self.augmentation: Counter[str] = Counter()
        self.seconds_waited = 0.0
        self.examples_read = 0
        """Training examples that this process has read since it started."""
        self.running = RunningLosses()
        self._arrived = -1
        check_parallelism(self.args, divided=self.is_deepspeed_enabled or self.is_fsdp_enabled)
        self._assemble(self.model)
        parts = any(True for _ in self.distillation.objective.parameters())
        if optimizers[1] is not None and head_learning_rate is not None and parts:
            raise ConfigError(
                "the scheduler in `optimizers` knows nothing of a group of weights with `head_learning_rate`",
                hint="pass (optimizer, None), and say lr_scheduler_type in `args`",
            )

    @property
    def distillation(self) -> DistillationModel:
        """The trained module without any wrapper: the student and every trained part of the objective."""
        assert self._distillation is not None
        return self._distillation

    @property
    def student(self) -> PreTrainedModel:
        """The student without any wrapper."""
        return self.distillation.student

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """A fresh student, and fresh parts of the objective around it."""
        model = super().call_model_init(trial)
        if self._distillation is not None:
            self._assemble(model)
        return model

    def _assemble(self, model: Any) -> None:
        """Put the student and the trained parts of the objective into one module, and freeze the teacher."""
        teacher = self._given_teacher
        check_model(model, "student")
        if teacher is not None:
            check_model(teacher, "teacher")
            check_apart(model, teacher)
        problem = problem_of(
            model,
            first_example(self.train_dataset, selects=bool(self.args.remove_unused_columns)),
            self._given_objective,
            label_names=self.label_names,
            collate=self.data_collator,
            layers=teacher is not None,
        )
        self.wish, kind = problem.wish, problem.kind
        parts = self._parts(model, problem)
        self.soft_labels = self._given_soft_labels and parts.needs_teacher
        if self._readers is not None:
            self._readers()
        self._distillation = DistillationModel(model, parts, kind)
        self._trained: nn.Module | None = None
        self._causal = is_causal(model)
        self._accepted = accepted(model)
        self._weights: int | None = None
        self._tokens_checked = False
        self.teacher = None
        if teacher is not None and parts.needs_teacher:
            self.teacher = self.freeze(teacher, parts, kind)
        # both models may outlive this trainer
        self._readers = weakref.finalize(self, _close, self._distillation.reader, self.teacher)
        self._readers.atexit = False
        if self.compiled:
            torch._dynamo.config.cache_size_limit = max(GRAPHS, torch._dynamo.config.cache_size_limit)
            self._distillation.compile_parts()

    def _parts(self, model: Any, problem: Problem) -> DistillationObjective:
        """The objective, with what the script gives for its label terms."""
        with seeded(self.args.seed):  # the parts depend only on it, and the training does not depend on them
            parts = self.make_objective(model, problem)
        if self._given_class_weights is not None:
            parts.class_weights = torch.tensor(self._given_class_weights, dtype=torch.float32)
        if self.compute_loss_func is not None or self.label_smoother is not None:
            parts.gold = partial(
                label_loss,
                own=self.compute_loss_func,
                smoothing=self.args.label_smoothing_factor,
                causal=is_causal(model),
            )
        nn.Module.to(parts, self.args.device)
        return parts

    def make_objective(self, model: Any, problem: Problem) -> DistillationObjective:
        """Eq. (1) for `model` and the teacher. Raises `ConfigError` where it cannot work with them."""
        teacher = self._given_teacher
        compared = any(term.active for term in problem.wish.terms)  # otherwise their layers do not matter
        parts = DistillationObjective(
            problem.wish,
            student=model_shape(plain_model(model)) if compared else None,
            teacher=model_shape(plain_model(teacher)) if compared and teacher is not None else None,
            kind=problem.kind,
        )
        self._check(model, parts, problem)
        return parts

    def freeze(self, teacher: PreTrainedModel, parts: DistillationObjective, kind: Kind) -> FrozenTeacher:
        """The teacher, and the reader of what `parts` compare in it."""
        return FrozenTeacher(
            teacher,
            parts.layers("teacher"),
            parts.layers("teacher", "attention_scores"),
            device=self.args.device,
            precision=self.precision,
            order=class_order(self.student.config, teacher.config, kind) if parts.reads_outputs else None,
            others=self._other_teachers,
            compiled=self.compiled,
        )

    @property
    def precision(self) -> Precision:
        """The number format of the autocast."""
        if self.args.bf16:
            return "bf16"
        return "fp16" if self.args.fp16 else "fp32"

    def _check(self, model: Any, parts: DistillationObjective, problem: Problem) -> None:
        """Raises `ConfigError` for an objective that cannot work with this student and these `args`."""
        if parts.needs_teacher and self._given_teacher is None and not self._given_soft_labels:
            raise ConfigError("this objective compares with a teacher, and there is none", hint="pass `teacher`")
        if parts.reads_outputs and self._given_teacher is not None:
            check_heads(model, problem.kind, self._given_teacher, problem.label)
        if problem.wish.class_weights is not None and self._given_class_weights is None:
            raise ConfigError(
                "objective.class_weights needs the numbers of rows by class, which a run counts",
                hint="pass `class_weights`, one number for each class",
            )
        check_label_loss(
            model,
            problem.kind,
            class_weights=self._given_class_weights,
            own=self.compute_loss_func is not None,
            smoothed=self.args.label_smoothing_factor != 0,
        )
        check_terms(problem.wish, parts, model, problem.kind, self.args)

    # --- one step ---------------------------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The micro-batches of one optimisation step, and the totals their losses are divided by."""
        batches: list[Batch] = []
        ended = self.control.should_training_stop or self.state.global_step >= self.state.max_steps
        if ended:  # resumed after its last step: `Trainer` would make another
            return batches, None
        started = time.perf_counter()
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            self.augmentation.update(batch.pop(COUNTS, {}))
            batches.append(batch)
            self.examples_read += find_batch_size(batch) or 0
        self.seconds_waited += time.perf_counter() - started
        self._places.take(batches, self.args.device)
        self._step_totals = self._totals([self._form(batch) for batch in batches])
        self._step_items = self._step_totals["original"].labels if batches else None
        return batches, self._step_items

    @property
    def _form(self) -> Callable[[Batch], Batch]:
        """Puts a batch into the form that the objective reads."""
        kind = self.distillation.kind
        return partial(objective_batch, kind=kind, causal=self._causal, label_names=tuple(self.label_names))

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward pass of one micro-batch."""
        self.current_gradient_accumulation_steps = 1  # before `loss_is_scaled_for_ga`, some models' loss was divided
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Eq. (1) on one micro-batch of a training: its share of the optimisation step's loss.

        With the student itself as `model`, as in an evaluation, it is `Trainer`'s loss. The outputs are the student's
        logits, under their names in `transformers`.
        """
        if model is not self._trained:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        places = self._places.of(inputs)
        inputs = self._form(inputs)
        of_step = num_items_in_batch is not None and num_items_in_batch is self._step_items
        totals = self._step_totals if of_step else self._totals([inputs])
        views = views_of(inputs)
        for name, found in places.items():
            views[name][PLACES] = found
        objective = self.distillation.objective
        if any(objective.weights["augmented"]) and "augmented" not in views:
            raise ConfigError(
                "the objective weights an augmented view, and the examples have none",
                hint="set beta2 and gamma2 to 0, or give each example an `augmented` one",
            )
        if not any(objective.weights["augmented"]) and not objective.terms:
            views = {"original": views["original"]}
        teacher = None
        if self.teacher is not None or self.soft_labels:
            teacher = {name: self.teacher_signals(view, name) for name, view in views.items()}
        measure = self._arrive(objective)
        # a measurement takes gradients within the step, which is not compiled
        stance = torch.compiler.set_stance("force_eager") if measure and self.compiled else nullcontext()
        student = read_by(plain_model(self.student), "student", views["original"])
        with unread_masks(self.args.device), stance, student:
            loss, components, *logits = model(
                views=views, teacher=teacher, totals=totals, measure=measure, outputs=return_outputs
            )
        share = loss.detach()
        if self.args.world_size > 1:
            loss = loss * self.args.world_size  # totals span all processes, and gradients are averaged over them
        step, ends = self.state.global_step + 1, self.accelerator.sync_gradients
        self.running.note(step, components | {TOTAL: share}, inputs.get("example_ids"), ends=ends)
        return (loss, _named(logits[0], self.distillation.kind)) if return_outputs else loss

    def _arrive(self, objective: DistillationObjective) -> bool:
        """Tell the objective where the training is; whether gradients are measured in this micro-batch."""
        step = self.state.global_step
        first, self._arrived = step != self._arrived, step
        objective.step, objective.progress = step, step / max(1, self.state.max_steps)
        return first and objective.measures(step) and not recomputes_without_graph(self.args)

    def teacher_signals(self, view: Batch, name: str = "original") -> Signals:
        """The teacher's signals for a view `[b, l]`, from the cache of this view if there is one.

        An example's own probabilities replace the teacher's, unless the example was augmented.
        """
        several = self.distillation.kind == "multilabel"
        if self.teacher is None:
            return signals_of(view, several=several)
        signals = self._teacher_signals(view, name)
        if "teacher_places" in view:
            signals = at_student(signals, view)
        return with_soft_labels(signals, view, several=several) if self.soft_labels and name == "original" else signals

    def _teacher_signals(self, view: Batch, name: str) -> Signals:
        kept = self._cached(view) if name == "original" else None
        if kept is not None:
            return kept
        inputs = view.get("teacher", view)
        assert self.teacher is not None
        if inputs is view and not self._tokens_checked:
            check_vocabularies(self.student.config, self.teacher.model.config, self.processing_class)
            warn_of_segments(self.teacher.model, inputs, self.processing_class)
            self.teacher.pad_with(self.student.config.get_text_config().pad_token_id)
            self._tokens_checked = True
        if self.augmented_cache is not None and name == "augmented" and mix_of(inputs) is None:
            return self.augmented_cache.outputs(inputs, self.teacher)
        if self.distillation.kind == "generation":
            inputs = with_decoder_inputs(self.teacher.model, inputs)
        with read_by(self.teacher.model, "teacher", inputs):
            return self.teacher(inputs)

    def _cached(self, view: Batch) -> Signals | None:
        """What the teacher's cache has of a batch; nothing where there is none, or where it proves damaged."""
        reading = view.pop(READING, None)
        if self.teacher_cache is None or "example_ids" not in view:
            return None
        try:
            return self.teacher_cache.read(view["example_ids"], self.cached_tokens(view), reading)
        except DamagedFileError as damage:
            self._do_without_cache(damage)
            return None

    @staticmethod
    def cached_tokens(batch: Mapping[str, Any]) -> Tensor:
        """The mask `[b, l]` of the tokens whose outputs the teacher's cache holds."""
        return batch.get("teacher", batch)["attention_mask"]

    def _do_without_cache(self, damage: DamagedFileError) -> None:
        """Ask the teacher itself from now on; the next run rebuilds the cache."""
        assert self.teacher_cache is not None
        forget(self.teacher_cache.folder)
        self.teacher_cache.close()
        self.teacher_cache = None
        warn(f"{damage.message}; the teacher is asked in every step instead")

    def _totals(self, batches: list[Batch]) -> dict[str, Totals]:
        def whole(number: Tensor) -> Tensor:
            return self._over_processes(number.to(self.args.device)).clamp(min=1)

        return {name: Totals(*map(whole, numbers)) for name, numbers in count(batches).items()}

    def _over_processes(self, number: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.args.world_size == 1:
            return number
        summed: Any = self.accelerator.reduce(number.to(self.args.device), "sum")
        return summed

    # --- logging ----------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of every component since the last log line. Raises `RunError` for a loss that is not finite."""
        self.running.settle()
        if "loss" in logs and self.running.steps:
            means = self.running.take(self._over_processes)
            # `Trainer` forgets the steps before a checkpoint between two log lines; these sums do not
            logs = logs | {"loss": means.pop(TOTAL, logs["loss"])}
            logs |= {f"loss/{name}": value for name, value in means.items()}
            balance = self.distillation.objective.balance
            logs |= {f"share/{name}": float(share) for name, share in balance.latest.items()}
            balance.latest = {}
        super().log(logs, start_time)

    # --- data, optimiser -------------------------------------------------------------------------

    def get_train_dataloader(self) -> Any:
        """Batches whose cached teacher outputs are loaded ahead of their step, split among the processes."""
        with self._collating(drop_last=self.args.dataloader_drop_last):
            if self._loader_finds_places():
                self.data_collator = WithPlaces(self.data_collator, self._form)
            if self.teacher_cache is not None:
                try:
                    self.teacher_cache.prepare(self.args.device)
                    self.data_collator = WithReadings(self.data_collator, self.teacher_cache, self.cached_tokens)
                except DamagedFileError as damage:
                    self._do_without_cache(damage)
            return shared_evenly(super().get_train_dataloader(), self.args.world_size, self.args.process_index)

    def _loader_finds_places(self) -> bool:
        """Whether the loader finds output positions: in a training, unless one process reads for all."""
        dispatches = isinstance(self.train_dataset, IterableDataset) or self.accelerator.dispatch_batches
        shared = self.args.world_size > 1 and dispatches
        return self.is_in_train and self.distillation.kind == "generation" and not shared

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Batches of every development example: `dataloader_drop_last` applies only to training."""
        with self._collating(drop_last=False):
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """The same for the examples of a prediction."""
        with self._collating(drop_last=False):
            return super().get_test_dataloader(test_dataset)

    @contextmanager
    def _collating(self, *, drop_last: bool) -> Iterator[None]:
        """Within it the collator explains its failures, and the last, smaller batch is dropped or not."""
        given = self.data_collator, self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop_last
        self.data_collator = Explained(
            self.data_collator,
            (*LABELS, *self.label_names),
            several=self.distillation.kind == "multilabel",
            selects=bool(self.args.remove_unused_columns),
        )
        try:
            yield
        finally:
            self.data_collator, self.args.dataloader_drop_last = given

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """`Trainer`'s optimizer for the student, and two more groups: parts of the objective with and without decay."""
        if not any(weight.requires_grad for weight in self.student.parameters()):
            raise ConfigError(
                "no weight of the student is trained: all have requires_grad=False",
                hint="model.requires_grad_(True); a model that was a teacher here stays frozen",
            )
        optimizer: torch.optim.Optimizer = super().create_optimizer()
        self._add_parts(optimizer)
        return optimizer

    def _add_parts(self, optimizer: Any) -> None:
        """Add to `optimizer` the parts of the objective that it does not hold yet.

        They get their own groups, unless there is a scheduler already, which knows the rates of the groups that it
        found.
        """
        objective = self.distillation.objective
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        new = {name: one for name, one in objective.named_parameters() if one.requires_grad and id(one) not in held}
        if self.lr_scheduler is not None:
            optimizer.param_groups[0]["params"] += new.values()
            return
        decayed = new.keys() & self.get_decay_parameter_names(objective)
        rate = self.args.learning_rate if self.head_learning_rate is None else self.head_learning_rate
        for names, decay in ((decayed, self.args.weight_decay), (new.keys() - decayed, 0.0)):
            if parameters := [one for name, one in new.items() if name in names]:
                optimizer.add_param_group({"params": parameters, "lr": rate, "weight_decay": decay})

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The schedule of `args`, or that of `rate`."""
        if self.rate is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            factor = self.rate
            # a plain function: the state of any other callable would be pickled into the checkpoint
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: factor(step))  # type: ignore[arg-type]
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Batch) -> int:
        """`Trainer`'s estimate for the student; its weights are counted once."""
        if self._weights is None:
            counted = getattr(self.student, "num_parameters", None)  # a user's own module has none, as in `Trainer`
            self._weights = 0 if counted is None else int(counted(exclude_embeddings=True))
        return 6 * inputs["input_ids"].numel() * self._weights if "input_ids" in inputs else 0

    # --- training, evaluation, checkpoints ---------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | os.PathLike[str] | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """`Trainer.train`. Resuming and loading the best checkpoint also restore the trained parts of the objective.

        Raises `ConfigError` for a checkpoint of another objective.
        """
        check_examples(self.train_dataset)
        found = resume_from_checkpoint
        if found is True:
            found = get_last_checkpoint(str(self.args.output_dir))
        self._resumed = Path(found) if found else None
        if self._resumed is not None:
            check_sums(self._resumed)
        filtered = self.args.logging_nan_inf_filter
        self.args.logging_nan_inf_filter = False  # a NaN is an error here, and the filter syncs every step
        try:
            # `Trainer` refuses `True` where there is none
            given = bool(resume_from_checkpoint) if self._resumed is None else str(self._resumed)
            outcome = super().train(given, trial, ignore_keys_for_eval)
        finally:
            self.args.logging_nan_inf_filter = filtered
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            best = Path(self.state.best_model_checkpoint)
            load_renamed(self.student, best)
            read_parts(best, self.distillation.objective)
        return outcome

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        """For a training the student together with the parts of the objective; otherwise the student."""
        if not training:
            return super()._wrap_model(model, training=False, dataloader=dataloader)
        if self.optimizer is not None:  # perhaps a script's, with its own scheduler
            self._add_parts(self.optimizer)
        if self._trained is None:
            self._trained = self.accelerator.prepare_model(self.distillation)
        if self._resumed is not None:
            self._load_rest(self._resumed)
        return self._trained

    def _set_signature_columns_if_needed(self) -> None:
        """The columns of examples that the student, the teacher or the objective reads."""
        super()._set_signature_columns_if_needed()
        teacher = accepted(self.teacher.model) if self.teacher is not None else frozenset()
        ours = [*sorted(teacher), *OURS, COUNTS]
        columns = self._signature_columns or []
        self._signature_columns = [*columns, *(name for name in ours if name not in columns)]

    @property
    def _parent(self) -> Any:
        """`Seq2SeqTrainer` if `args` are for it, else `Trainer`: their evaluations differ."""
        return super() if self.generates else super(Seq2SeqTrainer, self)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **generation: Any,
    ) -> Any:
        """Loss, outputs and labels of the student, as in `Trainer`."""
        read = {name: value for name, value in inputs.items() if name in self._accepted or name in self.label_names}
        with self.accelerator.autocast():
            loss, outputs, labels = self._parent.prediction_step(
                model, read, prediction_loss_only, ignore_keys, **generation
            )
        return loss, convert_to_fp32(outputs), labels

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **generation: Any,
    ) -> dict[str, float]:
        """`Trainer.evaluate`; options for `generate` may follow where `args` are `Seq2SeqTrainingArguments`."""
        return self._parent.evaluate(eval_dataset, ignore_keys, metric_key_prefix, **generation)

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        **generation: Any,
    ) -> PredictionOutput:
        """`Trainer.predict`; options for `generate` may follow where `args` are `Seq2SeqTrainingArguments`."""
        return self._parent.predict(test_dataset, ignore_keys, metric_key_prefix, **generation)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The student as a plain model folder, and the parts of the objective beside it."""
        super().save_model(output_dir, _internal_call)
        self._saved = None if output_dir is None else Path(output_dir)
        folder = self._saved or Path(str(self.args.output_dir))
        if not self.args.should_save:
            return
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle that nobody reads
        write_parts(folder, self.distillation.objective, self.augmentation)

    def _complete_checkpoint(self) -> None:
        """Add to the checkpoint just written what `Trainer` does not know, and the checksums of its files, once."""
        folder, self._saved = self._saved, None
        if folder is None:
            return
        write_running(folder, self.args.process_index, self.running, self.distillation.objective)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            for callback in self._kept():
                callback.write(folder, self.state.global_step)
            write_sums(folder)

    def _load_rest(self, folder: Path) -> None:
        """Load what a checkpoint holds besides the weights and what `Trainer` keeps."""
        load_renamed(self.student, folder)
        read_parts(folder, self.distillation.objective)
        self.augmentation.update(read_counted(folder))
        read_running(folder, self.args.process_index, self.running, self.distillation.objective)
        for callback in self._kept():
            callback.read(folder)

    def _kept(self) -> list[CheckpointState]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, CheckpointState)]


def _named(logits: Tensor, kind: Kind) -> ModelOutput:
    """The student's outputs, under their names in `transformers`."""
    if kind == "qa":
        return ModelOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])
    return ModelOutput(logits=logits)


def _close(*readers: Any) -> None:
    for reader in readers:
        if reader is not None:
            reader.close()
