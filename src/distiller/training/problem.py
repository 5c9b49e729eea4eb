"""What a script's model and its first example say about the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto

from distiller import config
from distiller.errors import ConfigError
from distiller.models.heads import PROBLEMS, names_head
from distiller.models.layers import inputs_of
from distiller.training.augmented import AugmentedSplit
from distiller.training.defaults import filled_in
from distiller.training.readout import Kind
from distiller.training.script_checks import check_label, selected

CAUSAL = frozenset(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
SEQUENCE_TO_SEQUENCE = frozenset(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values())
MASKED = frozenset(modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values())
CHOICES = frozenset(modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES.values())
LABELS = ("labels", "label", "label_ids", "start_positions")
"""Columns of which one is there where an example has a gold label."""


@dataclass(frozen=True)
class Problem:
    """What a script's model and its first example say about the task."""

    kind: Kind
    label: Any
    """That of the example, if it is a single number or list."""
    wish: config.Objective
    """The objective, with its open fields filled in."""


def problem_of(
    model: PreTrainedModel,
    example: Mapping[str, Any],
    wish: config.Objective,
    *,
    label_names: Sequence[str],
    collate: Any,
    layers: bool,
) -> Problem:
    """`wish` is filled in as in a run; the configuration of `model` then names its problem type.

    `layers`: there is a teacher whose layers could be compared. Raises `ConfigError` for a label that `collate` makes
    no numbers of, and for outputs that no loss compares.
    """
    label = next((example[name] for name in ("labels", "label", *label_names) if name in example), None)
    check_label(label, collate)
    kind = kind_of(model, label)
    say_problem(model, kind)
    collated = kind == "generation" or not example  # labels are made with the batch, or cannot be known
    filled = filled_in(
        wish,
        "regression" if kind == "regression" else "classification",  # only regression differs
        ["augmented"] if "augmented" in example else [],
        labelled=collated or any(name in example for name in (*LABELS, *label_names)),
        layers=layers and kind != "generation" and not chooses(model),
        tokens="teacher" not in example,
    )
    return Problem(kind, label, filled)


def first_example(data: Any, *, selects: bool) -> Mapping[str, Any]:
    """The first training example; none of a data set without indices.

    `selects`: columns that have the names of ours and hold something else are left out.
    """
    if isinstance(data, (AugmentedSplit, IterableDataset, Mapping)) or not hasattr(data, "__getitem__"):
        return {}
    example = data[0] if hasattr(data, "__len__") and len(data) else {}
    if not isinstance(example, Mapping):
        return {}
    return selected(example) if selects else example


def plain_model(model: Any) -> PreTrainedModel:
    """The `transformers` model inside an adapter's wrapper (PEFT); any other as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def chooses(model: PreTrainedModel) -> bool:
    """Whether the model chooses one of several texts, and reads all of them at once: `[b, choices, l]`."""
    return bool(_class_names(plain_model(model)) & CHOICES)


def is_causal(model: PreTrainedModel) -> bool:
    """Whether the output at a position is for the next token."""
    plain = plain_model(model)
    return bool(_class_names(plain) & CAUSAL) and not plain.config.is_encoder_decoder


def accepted(model: PreTrainedModel) -> frozenset[str]:
    """The names of the inputs that the model accepts."""
    return inputs_of(plain_model(model))


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


def _class_names(model: PreTrainedModel) -> set[str]:
    return {kind.__name__ for kind in type(model).__mro__}


def _is_numbers(label: Any) -> bool:
    """Whether a label is a list of numbers with fractions, as `transformers` expects several labels at once."""
    return _is_list(label) and torch.as_tensor(label).is_floating_point()


def _is_list(label: Any) -> bool:
    """Whether a label is a list of more than one number."""
    return not isinstance(label, str | None) and torch.as_tensor(label).dim() == 1 and len(label) > 1
