"""Refuses, before a training, arguments of an ordinary `Trainer` script that could not be honoured."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainingArguments

from distiller import config
from distiller.errors import ConfigError, DataError
from distiller.models.load import longest_input
from distiller.training.objective import DistillationObjective
from distiller.training.readout import Kind

NUMBERS, ROWS = (Integral, Tensor), (list, tuple, np.ndarray, Tensor)
OURS: dict[str, type | tuple[type, ...]] = {
    "augmented": Mapping,
    "teacher": Mapping,
    "epoch": NUMBERS,
    "example_id": NUMBERS,
    "example_ids": NUMBERS,
    "output_mask": ROWS,
    "soft_labels": ROWS,
    "teacher_places": ROWS,
    "teacher_starts": ROWS,
    "teacher_ends": ROWS,
}
"""Columns that the objective reads, and no model, and what they hold: a script may call others so, as SQuAD does."""


def selected(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    """`feature` without columns that have the names of ours and hold something else."""
    strange = {name for name, held in OURS.items() if name in feature and not isinstance(feature[name], held)}
    return {name: value for name, value in feature.items() if name not in strange} if strange else feature


class Explained:
    """The collator of a script; its failures on examples that cannot be batched become one line.

    Truth values as labels become numbers, which losses read as classes; those of `several` classes at once become
    floats. Where columns are selected, one that has the name of ours and holds something else is left out. `labels` are
    the names that labels may have.
    """

    def __init__(
        self, collate: Callable[[Any], Any], labels: Sequence[str], *, several: bool = False, selects: bool = False
    ) -> None:
        self.collate = collate
        self.labels = labels
        self.several = several
        self.selects = selects

    def __call__(self, features: Any) -> Any:
        """The batch of these features. Raises `DataError` where the reason for a failure is known."""
        if self.selects and all(isinstance(feature, Mapping) for feature in features):
            features = [selected(feature) for feature in features]
        try:
            batch = self.collate(features)
        except (KeyError, TypeError, ValueError, RuntimeError):
            if all(isinstance(feature, Mapping) for feature in features):
                self._explain(features)
            raise
        for name in self.labels:
            if isinstance(batch, MutableMapping) and isinstance(found := batch.get(name), Tensor):
                batch[name] = self._numbers(found)
        return batch

    def _numbers(self, labels: Tensor) -> Tensor:
        if self.several and not labels.is_floating_point():
            return labels.float()
        return labels.long() if labels.dtype == torch.bool else labels

    def _explain(self, features: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(name for feature in features for name in feature)  # a set has no order
        if names and "input_ids" not in names and "inputs_embeds" not in names:
            raise DataError(
                f"the examples are not tokenized: they have no `input_ids`, only {', '.join(names)}",
                hint='rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)',
            )
        for name in names:
            lacking = sum(feature.get(name) is None for feature in features)
            if lacking:
                number = "an example has" if lacking == 1 else f"{lacking} examples have"
                hint = "leave them out, or give them -100, which is no class"
                if name not in self.labels:
                    hint = "every example needs what the first has"
                raise DataError(f"{number} no `{name}`, in a batch of {len(features)}", hint=hint)
        sizes = {len(feature["input_ids"]) for feature in features if hasattr(feature.get("input_ids"), "__len__")}
        named = getattr(self.collate, "__name__", type(self.collate).__name__)
        if len(sizes) > 1 and named in ("default_data_collator", "DefaultDataCollator"):
            raise DataError(
                f"texts of {min(sizes)} to {max(sizes)} tokens are in one batch, and nothing pads them",
                hint="pass the tokenizer as `processing_class`, or a DataCollatorWithPadding as `data_collator`",
            )


@contextmanager
def read_by(model: nn.Module, role: str, batch: Mapping[str, Any]) -> Iterator[None]:
    """While `model`, the `role` of a script, reads `batch`: unsuitable inputs become a one-line error."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        ids = batch.get("input_ids")
        if ids is None or not isinstance(model, PreTrainedModel):
            raise
        length, limit = ids.shape[-1], longest_input(model)
        if length > limit:
            raise DataError(
                f"a batch has texts of {length} tokens, and the {role} takes {limit}",
                hint=f"truncate them: tokenizer(…, truncation=True, max_length={limit})",
            ) from error
        if ids.device.type != "cpu":  # one that has failed reports no more
            raise
        table: Any = model.get_input_embeddings()
        highest, rows = int(ids.max()), table.weight.shape[0]
        if highest >= rows:
            raise DataError(
                f"a batch has token {highest}, and the {role} has embeddings of {rows}",
                hint="model.resize_token_embeddings(len(tokenizer)), or the tokenizer that it was trained with",
            ) from error
        raise


def check_parallelism(args: TrainingArguments, *, divided: bool) -> None:
    """Raise `ConfigError` for several GPUs in one process, and for weights `divided` among processes.

    Processors that are asked to divide weights do not, and are refused like GPUs, which do.
    """
    if args.n_gpu > 1:
        raise ConfigError(
            "several GPUs in one process are not supported", hint="start one process for each: torchrun …"
        )
    if divided or args.fsdp or args.deepspeed:
        raise ConfigError(
            "DeepSpeed and FSDP would divide the student alone, without the parts of the objective",
            hint="torchrun trains with one whole copy in each process",
        )


def check_examples(data: Any) -> None:
    """Raise `DataError` for a training set that has no examples, or is several sets."""
    if isinstance(data, Mapping):
        raise DataError(
            f"train_dataset is a `{type(data).__name__}` of {', '.join(map(str, data))}",
            hint=f'pass one of them: data["{next(iter(data), "train")}"]',
        )
    if hasattr(data, "__len__") and len(data) == 0:
        raise DataError("train_dataset has no examples", hint="look at what filters and splits left of it")


def check_label(label: Any, collate: Any) -> None:
    """Raise `ConfigError` for the label of an example that no collator of `transformers` turns into numbers."""
    if not getattr(collate, "__module__", "").startswith("transformers."):
        return  # a script's own collator may
    values = label if isinstance(label, list | tuple) else [label]
    word = next((value for value in values if isinstance(value, str | Mapping)), None)
    if word is not None:
        raise ConfigError(
            f"the label of the first example is {label!r:.60}, and classes are numbers from 0",
            hint='give the numbers of its label2id, or dataset.class_encode_column("labels") of `datasets`',
        )


def check_label_loss(
    model: Any, kind: Kind, *, class_weights: Sequence[float] | None, own: bool, smoothed: bool
) -> None:
    """Raise `ConfigError` for a label loss that does not exist for `model`, a student of this `kind`.

    `own`: there is a `compute_loss_func`. `smoothed`: there is a `label_smoothing_factor`.
    """
    if class_weights is not None:
        if own or smoothed or kind not in ("classification", "tagging"):
            label_loss = "a custom label loss" if own or smoothed else kind
            raise ConfigError(f"class_weights do nothing for {label_loss}", hint="leave them out")
        if len(class_weights) != model.config.num_labels:
            raise ConfigError(
                f"there are {len(class_weights)} class_weights for {model.config.num_labels} classes",
                hint="give one for each, in the order of the model's outputs",
            )
    if smoothed and kind in ("regression", "qa", "multilabel"):
        named = {"qa": "question answering", "multilabel": "several labels at once"}.get(kind, kind)
        raise ConfigError(
            f"label_smoothing_factor does nothing for {named}",
            hint="set it to 0",
        )
    if own and kind == "qa":
        raise ConfigError(
            "compute_loss_func is given no start and end positions", hint="leave it out: the label loss has them"
        )


def check_terms(
    wish: config.Objective, parts: DistillationObjective, model: Any, kind: Kind, args: TrainingArguments
) -> None:
    """Raise `ConfigError` for intermediate terms of `wish` that cannot work as described; `parts` is made from it."""
    if any(term.loss.startswith("mi_") for term in wish.terms) and args.train_batch_size < 3:
        raise ConfigError(
            "mutual information compares at least three examples, and a batch has fewer",
            hint="raise training.batch_size; training.accumulate does not help",
        )
    if parts.terms and kind == "generation" and model.config.is_encoder_decoder:
        raise ConfigError(
            "hidden states of an encoder-decoder of tokens are not compared here, its outputs are",
            hint="leave out `intermediate`; a run whose task is a translation compares the layers of either side",
        )
    if parts.terms and recomputes_without_graph(args):
        raise ConfigError(
            "use_reentrant=True gives no gradient to hidden states", hint="leave it out of the checkpointing kwargs"
        )


def recomputes_without_graph(args: TrainingArguments) -> bool:
    """Whether gradient checkpointing keeps no graph of what is inside a layer; the option has two names."""
    for name in ("activation_checkpointing", "gradient_checkpointing"):
        options = getattr(args, f"{name}_kwargs", None) or {}
        if getattr(args, name, False) and options.get("use_reentrant", False):
            return True
    return False
