"""Whether the teacher and the student of an ordinary script fit together: heads, classes, tokens."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.errors import ConfigError, warn
from distiller.models.folders import LIBRARY_ERRORS
from distiller.models.heads import class_names, label_permutation
from distiller.models.layers import inputs_of
from distiller.tasks.labels import says_nothing
from distiller.training.problem import is_causal, kind_of
from distiller.training.readout import Kind

NAMED: tuple[Kind, ...] = ("classification", "multilabel", "tagging")
"""Kinds whose outputs are classes with names."""
PADDED = 0.01
"""Share of a vocabulary that may be padding: tables are often rounded up to a size that hardware likes."""

logger = logging.getLogger(__name__)


def check_model(model: Any, role: str) -> None:
    """Raise `ConfigError` where `model`, the teacher or the student of a script, cannot be read."""
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"the {role} is a `{type(model).__name__}`, not a model",
            hint="load it first, e.g. AutoModelForSequenceClassification.from_pretrained(…)",
        )
    if hasattr(model, "_orig_mod"):
        raise ConfigError(
            f"the {role} went through torch.compile, which hides its inputs",
            hint="pass the model itself, and torch_compile=True in `args` or compiled=True",
        )
    if not isinstance(getattr(model, "config", None), PretrainedConfig):
        raise ConfigError(
            f"the {role}, a `{type(model).__name__}`, has no configuration that says what its outputs are",
            hint="a module of your own needs a `config`: a `PretrainedConfig` with `num_labels`",
        )
    adapters: Mapping[str, Any] = getattr(model, "peft_config", None) or {}
    if any(getattr(one, "is_prompt_learning", False) for one in adapters.values()):
        raise ConfigError(
            f"prompt tuning gives the {role} tokens that the other has not",
            hint="use LoRA or another adapter of the weights",
        )


def check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """Raise `ConfigError` where training the student would change the teacher."""
    # other than plain tensors (quantised ones) are not trained, and may have no address
    theirs = {weight.data_ptr() for weight in teacher.parameters() if type(weight.data) is Tensor}
    for name, weight in student.named_parameters():
        if weight.requires_grad and weight.data_ptr() in theirs and weight.numel() > 0:
            raise ConfigError(
                f"student and teacher share weights that are trained: {name}",
                hint="give each its own: copy.deepcopy(teacher)",
            )


def check_heads(student: PreTrainedModel, kind: Kind, teacher: PreTrainedModel, label: Any) -> None:
    """Raise `ConfigError` where the outputs of the two mean different things; `kind` is the student's kind of task.

    `label` is that of an example, where it is known.
    """
    teachers = kind_of(teacher, label)
    if {kind, teachers} == {"classification", "multilabel"} and not teacher.config.problem_type:
        return  # the config does not say which
    ours = "causal" if is_causal(student) else kind
    theirs = "causal" if is_causal(teacher) else teachers
    if ours != theirs:
        raise ConfigError(
            f"the student's outputs are those of a {ours} model, the teacher's of a {theirs} model",
            hint="load both with the head of one task; beta1=0 compares no outputs",
        )


def class_order(student: PretrainedConfig, teacher: PretrainedConfig, kind: Kind) -> list[int] | None:
    """For each of the student's classes its position among the teacher's outputs; `None` where the order is the same.

    Classes are matched by name. Names that only count (`LABEL_0`, `LABEL_1`, …) are assumed to be in the other's order.
    Raises `ConfigError` where the two have different classes.
    """
    if kind not in NAMED:
        return None
    ours, theirs = class_names(student), class_names(teacher)
    if len(ours) != len(theirs):
        raise ConfigError(
            f"the student has {len(ours)} classes and the teacher {len(theirs)}", hint="`num_labels` of both must agree"
        )
    order = [*range(len(ours))] if says_nothing(ours) else label_permutation(teacher, ours)
    if order is None:
        strange = sorted(set(ours) - set(theirs))
        raise ConfigError(
            f"the student's class `{strange[0] if strange else ours[0]}` is none of the teacher's: {', '.join(theirs)}",
            hint="give both models the same names in `id2label`, each in its own order",
        )
    return None if order == [*range(len(order))] else order


def check_vocabularies(student: PretrainedConfig, teacher: PretrainedConfig, tokenizer: Any) -> None:
    """Raise `ConfigError` where the teacher cannot read the student's tokens.

    The tokenizers are compared if the teacher's is stored beside its weights; otherwise the sizes of the two tables.
    """
    ours, theirs = (getattr(config.get_text_config(), "vocab_size", None) for config in (student, teacher))
    known = _tokenizer_beside(teacher)
    hint = "give each example a nested `teacher`: the teacher's own tokens (see the guide on Python)"
    if known is not None and isinstance(tokenizer, PreTrainedTokenizerBase):
        if known.get_vocab() != tokenizer.get_vocab():
            raise ConfigError("teacher and student have different vocabularies", hint=hint)
        return
    if ours is None or theirs is None:  # CANINE reads characters
        return
    if abs(ours - theirs) > PADDED * max(ours, theirs):
        raise ConfigError(f"teacher and student have different vocabularies: {theirs} and {ours} tokens", hint=hint)
    if ours != theirs:
        logger.warning(
            "Teacher and student have tables of %d and %d tokens; their tokens are taken to be the same.", theirs, ours
        )


def warn_of_segments(teacher: PreTrainedModel, inputs: Mapping[str, Any], tokenizer: Any) -> None:
    """Warn if pairs of texts in `inputs` `[b, l]` do not tell a teacher like BERT which tokens are in the second text.

    The tokenizer of a student like DistilBERT returns no `token_type_ids`.
    """
    ids, end = inputs.get("input_ids"), getattr(tokenizer, "sep_token_id", None)
    if "token_type_ids" in inputs or ids is None or end is None:
        return
    reads = "token_type_ids" in inputs_of(teacher) and getattr(teacher.config, "type_vocab_size", 0) > 1
    if reads and bool(((ids == end).sum(-1) > 1).any()):
        told = tokenizer("a", "a", return_token_type_ids=True).get("token_type_ids", [])
        warn(
            "the examples are pairs of texts without `token_type_ids`, by which the teacher tells the second from the "
            f"first; give them: {'tokenizer(…, return_token_type_ids=True)' if any(told) else '1 where the second is'}"
        )


def _tokenizer_beside(config: PretrainedConfig) -> PreTrainedTokenizerBase | None:
    """The tokenizer in the folder that a model was loaded from, if there is one."""
    folder = Path(config._name_or_path or "/nowhere")
    if not folder.is_dir() or not any(folder.glob("tokenizer*")):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, *LIBRARY_ERRORS):
        return None
