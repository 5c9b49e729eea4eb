"""Heads for the kinds of task: which one a model has, what its classes are, and how it differs from the one needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
)

from distiller.errors import ModelError, did_you_mean
from distiller.models.folders import load_config, resolve
from distiller.tasks.labels import plainly, same_names, says_nothing
from distiller.tasks.table import listed

HEADS: dict[str, Any] = {
    "classification": AutoModelForSequenceClassification,
    "multilabel": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "tagging": AutoModelForTokenClassification,
    "qa": AutoModelForQuestionAnswering,
}
"""Kind of task to the class that puts the head for it on an encoder."""

ARCHITECTURE_ENDINGS = {
    "classification": "ForSequenceClassification",
    "multilabel": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "tagging": "ForTokenClassification",
    "qa": "ForQuestionAnswering",
}
"""Kind of task to the end of the class name that a fine-tuned checkpoint states."""

SIMPLE = "Simple"
"""What XLM, FlauBERT and XLNet put behind it where start and end are two plain outputs."""

NAMED = ("classification", "multilabel", "tagging")
"""Kinds whose outputs are named classes; regression has one number, question answering a start and an end."""

PROBLEMS: dict[str, Any] = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}
"""Kind of task to what `transformers` calls it, where it tells one head from another."""


def names_head(architecture: str, kind: str) -> bool:
    """Whether a class name in `transformers` is that of a model with a head for this kind of task."""
    return architecture.removesuffix(SIMPLE).endswith(ARCHITECTURE_ENDINGS[kind])


def kind_of_head(config: PretrainedConfig) -> str | None:
    """The kind of task that a model's head is for; `None` for a model without one."""
    architecture = str((config.architectures or [""])[0])
    kind = next((kind for kind in ARCHITECTURE_ENDINGS if names_head(architecture, kind)), None)
    if kind == "classification" and config.problem_type == PROBLEMS["multilabel"]:
        return "multilabel"
    return "regression" if kind == "classification" and config.num_labels == 1 else kind


def with_labels(config: PretrainedConfig, *, kind: str, labels: Sequence[str] | None) -> PretrainedConfig:
    """`config` with the outputs that `kind` needs: one per label, one number, or two. Changes and returns `config`."""
    if kind == "regression":
        config.num_labels = 1
        config.problem_type = "regression"
    elif kind == "qa":
        config.num_labels = 2
    else:
        config.id2label = dict(enumerate(labels or ()))
        config.label2id = {label: index for index, label in enumerate(labels or ())}
        config.problem_type = PROBLEMS.get(kind)
    return config


def supported_attention(config: PretrainedConfig, kind: str, attention: str | None) -> str | None:
    """`attention`, or `eager` where the architecture has no other kernel (MPNet, DeBERTa)."""
    model_class = HEADS[kind]._model_mapping.get(type(config), None)
    return "eager" if attention == "sdpa" and not getattr(model_class, "_supports_sdpa", True) else attention


def has_head_for(name: str | Path, *, kind: str, labels: Sequence[str] | None, trust_remote_code: bool = False) -> bool:
    """Whether the model is already fine-tuned for this kind of task and these labels, in whatever order."""
    config = load_config(name, trust_remote_code=trust_remote_code)
    if not fits_kind(config, kind) or not holds_head(name, config, kind):
        return False
    if kind not in NAMED:
        return config.num_labels == (1 if kind == "regression" else 2)
    return label_permutation(config, labels) is not None


def holds_head(name: str | Path, config: PretrainedConfig, kind: str) -> bool:
    """Whether a folder's weights have as many outputs for `kind`, outside the encoder, as `config` says.

    Nobody checks a config.json, and `transformers` would initialise a missing head at random. True where the weights
    are not local, or cannot be read.
    """
    return _has_outputs(name, config, kind) is not False


def _has_outputs(name: str | Path, config: PretrainedConfig, kind: str) -> bool | None:
    """The same; `None` where it cannot be known."""
    place = resolve(name)
    model_class = HEADS[kind]._model_mapping.get(type(config), None)
    files = sorted(place.glob("*.safetensors")) if isinstance(place, Path) else []
    if not files or model_class is None:
        return None
    inside = f"{model_class.base_model_prefix}."
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                outside = [key for key in weights.keys() if not key.startswith(inside)]  # noqa: SIM118 - no mapping
                shapes = [weights.get_slice(key).get_shape() for key in outside]
        except (SafetensorError, OSError):
            return None
        if any(len(shape) == 2 and shape[0] == config.num_labels for shape in shapes):
            return True
    return False


def head_names(config: PretrainedConfig) -> list[str]:
    """The classes of a fine-tuned model in the order of its outputs; empty where it does not name them."""
    if not any(fits_kind(config, kind) for kind in NAMED):
        return []
    names = class_names(config)
    return [] if says_nothing(names) else names


def label_permutation(config: PretrainedConfig, labels: Sequence[str] | None) -> list[int] | None:
    """For each of `labels` its position in the model's outputs, or `None` if the two sets differ.

    Names that only count (`LABEL_0`, `LABEL_1`, …) are assumed to be in the order of `labels` if there are as many.
    """
    ours, theirs = list(labels or ()), class_names(config)
    order = same_names(ours, theirs)
    if order is None and len(ours) == len(theirs) and says_nothing(theirs):
        return list(range(len(ours)))
    return order


def class_names(config: PretrainedConfig) -> list[str]:
    """The names of the model's classes in the order of its outputs, from `id2label` or else `label2id`."""
    names: dict[Any, Any] = config.id2label or {}
    found = [str(names[index]) for index in sorted(names, key=int)]
    back = {number: name for name, number in _places(config).items()}
    if says_nothing(found) and back.keys() == set(range(len(found))):
        return [str(back[number]) for number in range(len(found))]
    return found


def _places(config: PretrainedConfig) -> dict[str, int]:
    """`label2id` as far as it is valid: nobody checks a config.json."""
    written: Any = config.label2id
    found = written.items() if isinstance(written, dict) else ()
    return {str(name): number for name, number in found if isinstance(number, int)}


def contradicts_itself(config: PretrainedConfig) -> bool:
    """Whether `label2id` gives the classes in `id2label` other positions."""
    names, back = class_names(config), _places(config)
    return set(names) == set(back) and any(back[name] != number for number, name in enumerate(names))


def fits_kind(config: PretrainedConfig, kind: str) -> bool:
    """Whether the model has, by its configuration, a head for this kind of task. Raises `ModelError`."""
    if kind not in HEADS:
        raise ModelError(f"there is no model head for `{kind}`", hint=did_you_mean(kind, list(HEADS)))
    if PROBLEMS["multilabel"] in (config.problem_type, PROBLEMS.get(kind)) and config.problem_type != PROBLEMS.get(
        kind
    ):
        return False  # exclusive classes or not: the outputs mean different things
    return any(names_head(name, kind) for name in config.architectures or ())


class Difference(NamedTuple):
    """How a model's head differs from the one that a task needs."""

    what: str
    keep: str | None
    """What would let the head stay."""


def head_differs(
    name: str | Path, config: PretrainedConfig, *, kind: str, labels: Sequence[str] | None
) -> Difference | None:
    """How the head of model `name` differs from that of a task of this kind with these labels, which it does not fit.

    `None` for a model without a head, or with one for another kind of task: then no usable head is lost.
    """
    if not config.architectures and len(class_names(config)) > 1 and kind in HEADS and _has_outputs(name, config, kind):
        wanted = HEADS[kind]._model_mapping[type(config)].__name__
        what = f"its config.json names no architecture, and its weights have {config.num_labels} outputs"
        return Difference(what, f'"architectures": ["{wanted}"] in its config.json keeps it, if they are those of one')
    if not any(names_head(name, kind) for name in config.architectures or ()):
        return None
    theirs = class_names(config)
    if kind in PROBLEMS and kind != "regression" and len(theirs) > 1 and not fits_kind(config, kind):
        return _other_problem(config, kind)
    if not holds_head(name, config, kind):
        return Difference(f"its config.json says {len(theirs)} outputs, and its weights hold no such head", None)
    if kind not in NAMED or labels is None:
        wanted = "a number" if kind == "regression" else "a start and an end"
        return Difference(f"it has {len(theirs)} outputs, and the task is {wanted}", None)
    what = f"its classes are {listed(theirs)}, those of the task {listed(labels)}"
    return Difference(what, _what_keeps(theirs, labels))


def _other_problem(config: PretrainedConfig, kind: str) -> Difference:
    """The message about a classifier with exclusive classes for a task without them, or the other way round."""
    if kind == "classification":
        keep = "task.kind=multilabel keeps it, if they are those of the task"
        return Difference(f"several of its classes ({listed(class_names(config))}) may apply at once", keep)
    keep = f'"problem_type": "{PROBLEMS[kind]}" in its config.json keeps it, if they do not'
    return Difference(f"its classes ({listed(class_names(config))}) exclude each other", keep)


def _what_keeps(theirs: Sequence[str], labels: Sequence[str]) -> str | None:
    """`task.labels` in the teacher's words, where the labels in the data are some of them or are their numbers."""
    named = f"task.labels=[{', '.join(theirs)}] keeps it"
    if len(theirs) == 1 or len(theirs) > 20:
        return None
    if {plainly(label) for label in labels} <= {plainly(name) for name in theirs}:
        return named
    if all(label.isdecimal() and int(label) < len(theirs) for label in labels):
        return f"{named}, if {labels[0]} means `{theirs[int(labels[0])]}`"
    if len(labels) == len(theirs):
        return "it is kept if the label column has its names, or the id2label of its config.json those of the task"
    return None
