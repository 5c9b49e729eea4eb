"""What the collator of an ordinary `Trainer` script returns, in the form that the objective reads.

Labels are then placed beside their outputs: start and end of an answer as `[b, 2]`, the next token of a causal model at
the position that predicts it. -100 is no label.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.utils.generic import ModelOutput

from distiller import config
from distiller.errors import ConfigError
from distiller.models.heads import PROBLEMS, names_head
from distiller.models.layers import inputs_of
from distiller.objectives.prediction import IGNORED
from distiller.training.augmented import AugmentedSplit
from distiller.training.batching import Batch
from distiller.training.defaults import filled_in
from distiller.training.readout import Kind
from distiller.training.view import View

CAUSAL = frozenset(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
SEQUENCE_TO_SEQUENCE = frozenset(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values())
MASKED = frozenset(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
CHOICES = frozenset(modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES.values())
LABELS = ("labels", "label", "label_ids", "start_positions")
"""Columns of which one is there where an example has a gold label."""


def plain_model(model: Any) -> PreTrainedModel:
    """The `transformers` model inside an adapter's wrapper (PEFT); any other as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def some_example(data: Any) -> Mapping[str, Any]:
    """The first training example; none of a data set without indices."""
    if isinstance(data, (AugmentedSplit, IterableDataset, Mapping)) or not hasattr(data, "__getitem__"):
        return {}
    example = data[0] if hasattr(data, "__len__") and len(data) else {}
    return example if isinstance(example, Mapping) else {}


def some_label(example: Mapping[str, Any], label_names: Sequence[str]) -> Any:
    """The label of an example, if it is a single number or list."""
    return next((example[name] for name in ("labels", "label", *label_names) if name in example), None)


def has_label(example: Mapping[str, Any], label_names: Sequence[str]) -> bool:
    """Whether an example has a gold label, of whatever kind."""
    return any(name in example for name in (*LABELS, *label_names))


def kind_of(model: PreTrainedModel, label: Any = None) -> Kind:
    """The kind of task that the head of `model` is for; `label` is that of an example, where it is known.

    As in `transformers`, a number for each class means several labels at once where the configuration does not say.
    Raises `ConfigError` for outputs that no loss compares.
    """
    plain = plain_model(model)
    names = _class_names(plain)
    if names & (CAUSAL | SEQUENCE_TO_SEQUENCE | MASKED):
        return "generation"
    if any(names_head(name, "tagging") for name in names):
        return "tagging"
    if any(names_head(name, "qa") for name in names):
        return "qa"
    outputs: int = plain.config.num_labels or 0
    wish = getattr(plain.config, "problem_type", None)
    if wish == "multi_label_classification" or (wish is None and outputs > 1 and _is_numbers(label)):
        return "multilabel"
    if wish == "regression" and outputs > 1:
        raise ConfigError(
            f"a regression with {outputs} outputs is not offered", hint="distil one number at a time: num_labels=1"
        )
    if not any(names_head(name, "classification") for name in names) and _is_list(label):
        return "tagging"  # a user's own head
    return "regression" if outputs == 1 else "classification"


def say_problem(model: PreTrainedModel, kind: Kind) -> None:
    """Write the student's problem type into its configuration, as a forward pass with labels would.

    Whoever loads it then knows whether its classes are exclusive.
    """
    plain = plain_model(model)
    if any(names_head(name, "classification") for name in _class_names(plain)):
        plain.config.problem_type = plain.config.problem_type or PROBLEMS.get(kind)


def chooses(model: PreTrainedModel) -> bool:
    """Whether the model chooses one of several texts, and reads all of them at once: `[b, choices, l]`."""
    return bool(_class_names(plain_model(model)) & CHOICES)


def is_causal(model: PreTrainedModel) -> bool:
    """Whether the output at a position is for the next token."""
    plain = plain_model(model)
    return bool(_class_names(plain) & CAUSAL) and not plain.config.is_encoder_decoder


def objective_batch(batch: Batch, kind: Kind, *, causal: bool = False, label_names: Sequence[str] = ()) -> Batch:
    """`batch` and its views with labels as the readout of `kind` expects them; the given batch is not changed.

    A single name in `label_names` is what the script calls its labels.
    """
    made = dict(batch)
    if len(label_names) == 1 and label_names[0] in made:
        made["labels"] = made.pop(label_names[0])
    if "input_ids" not in made:
        raise ConfigError(
            f"a batch has no `input_ids`, only: {', '.join(made)}", hint="students read the ids of tokens"
        )
    if "augmented" in made:
        made["augmented"] = objective_batch(made["augmented"], kind, causal=causal, label_names=label_names)
    labels = made.get("labels")
    if kind == "qa" and labels is None and made.get("start_positions") is not None:
        made["labels"] = _spans(made)
    elif kind == "generation":
        made |= _tokens(made, causal=causal)
    elif kind == "classification" and labels is not None and labels.dim() > 1:
        if labels.is_floating_point() or labels[0].numel() > 1:
            raise ConfigError(
                "the labels are numbers for every class, and the student has one class for each example",
                hint='floats, and problem_type="multi_label_classification" in its configuration, are several at once',
            )
        made["labels"] = labels.flatten()
    return made


def with_decoder_inputs(model: nn.Module, batch: Batch) -> Batch:
    """`batch` with the decoder inputs of an encoder–decoder: the labels, shifted to the right."""
    shift = getattr(plain_model(model), "prepare_decoder_input_ids_from_labels", None)
    if shift is None or "decoder_input_ids" in batch or batch.get("labels") is None:
        return batch
    return {**batch, "decoder_input_ids": shift(batch["labels"])}


def accepted(model: PreTrainedModel) -> frozenset[str]:
    """The names of the inputs that the model accepts."""
    return inputs_of(plain_model(model))


def labels_as_given(labels: Tensor, *, causal: bool) -> Tensor:
    """The reverse of `objective_batch` for labels `[b, l]`; the first token of a causal model is never predicted."""
    return nn.functional.pad(labels, (1, 0), value=IGNORED)[:, :-1] if causal else labels


def _spans(batch: Batch) -> Tensor:
    """Start and end `[b, 2]`; a position beyond the end of the text is no label, as in `transformers`."""
    ends = [batch[name].reshape(len(batch[name])) for name in ("start_positions", "end_positions")]
    found = torch.stack(ends, dim=1).clamp(min=0)
    return found.masked_fill(found >= batch["input_ids"].shape[1], IGNORED)


def _tokens(batch: Batch, *, causal: bool) -> Batch:
    """Labels of tokens, and the outputs that count: those with a label, or every token where no labels are given."""
    labels, mask = batch.get("labels"), batch.get("attention_mask")
    if labels is None and not causal:
        raise ConfigError("the examples have no labels, so nothing says which tokens count", hint="give `labels`")
    if labels is None:
        mask = torch.ones_like(batch["input_ids"]) if mask is None else mask
        return {"output_mask": nn.functional.pad(mask[:, 1:], (0, 1))}
    if causal:
        labels = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    return {"labels": labels, "output_mask": (labels != IGNORED).long()}


def _class_names(model: PreTrainedModel) -> set[str]:
    return {kind.__name__ for kind in type(model).__mro__}


def _is_numbers(label: Any) -> bool:
    """Whether a label is a list of numbers with fractions, as `transformers` expects several labels at once."""
    return _is_list(label) and torch.as_tensor(label).is_floating_point()


def _is_list(label: Any) -> bool:
    """Whether a label is a list of more than one number."""
    return not isinstance(label, str | None) and torch.as_tensor(label).dim() == 1 and len(label) > 1


def filled_in_by_example(
    wish: config.Objective, kind: Kind, example: Mapping[str, Any], label_names: Sequence[str], *, layers: bool
) -> config.Objective:
    """`wish` with its open fields filled in as in a run, from what an example of this `kind` shows.

    `layers`: there is a teacher whose layers could be compared.
    """
    collated = kind == "generation" or not example  # labels are made with the batch, or cannot be known
    return filled_in(
        wish,
        "regression" if kind == "regression" else "classification",  # only regression differs
        ["augmented"] if "augmented" in example else [],
        labelled=collated or has_label(example, label_names),
        layers=layers and kind != "generation",
        tokens="teacher" not in example,
    )


def label_loss(view: View, *, own: Callable[..., Tensor] | None, smoothing: float, causal: bool) -> Tensor:
    """The mean loss on gold labels by the script's `own` `compute_loss_func`, else with label `smoothing`."""
    if view.labels is None or view.mix is not None:
        raise ConfigError("mixed examples have no label for this loss", hint="use mixup without it")
    if own is not None:
        outputs = ModelOutput(logits=view.student.logits)
        return own(outputs, labels_as_given(view.labels, causal=causal), num_items_in_batch=view.totals.labels)
    scores = view.student.logits.flatten(0, -2).float()
    losses = F.cross_entropy(scores, view.labels.flatten(), reduction="sum", label_smoothing=smoothing)
    return losses / view.totals.labels
