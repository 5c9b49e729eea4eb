"""What the arguments of an ordinary `Trainer` script ask for and nobody would do, refused before a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainingArguments

from distiller import config
from distiller.errors import ConfigError
from distiller.training.objective import DistillationObjective
from distiller.training.readout import Kind


def check_label(label: Any, collate: Any) -> None:
    """Raise `ConfigError` for the label of an example that no collator of `transformers` makes numbers of."""
    if not getattr(collate, "__module__", "").startswith("transformers."):
        return  # one of the script's own may do so
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
    """Raise `ConfigError` for a label loss that `model`, a student of this `kind`, has not.

    `own`: there is a `compute_loss_func`. `smoothed`: there is a `label_smoothing_factor`.
    """
    if class_weights is not None:
        if own or smoothed or kind not in ("classification", "tagging"):
            label_loss = "a label loss of one's own" if own or smoothed else kind
            raise ConfigError(f"class_weights do nothing for {label_loss}", hint="leave them out")
        if len(class_weights) != model.config.num_labels:
            raise ConfigError(
                f"there are {len(class_weights)} class_weights for {model.config.num_labels} classes",
                hint="give one for each, in the order of the model's outputs",
            )
    if smoothed and kind in ("regression", "qa"):
        raise ConfigError(
            f"label_smoothing_factor does nothing for {'question answering' if kind == 'qa' else kind}",
            hint="set it to 0",
        )
    if own and kind == "qa":
        raise ConfigError(
            "compute_loss_func is given no start and end positions", hint="leave it out: the label loss has them"
        )


def check_terms(
    wish: config.Objective, parts: DistillationObjective, model: Any, kind: Kind, args: TrainingArguments
) -> None:
    """Raise `ConfigError` for intermediate terms of `wish` that cannot be what they say; `parts` is made of it."""
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
    """Whether layers are checkpointed in the way that keeps no graph of what is inside; the option has two names."""
    for name in ("activation_checkpointing", "gradient_checkpointing"):
        options = getattr(args, f"{name}_kwargs", None) or {}
        if getattr(args, name, False) and options.get("use_reentrant", False):
            return True
    return False
