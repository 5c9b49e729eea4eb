"""What the collator of an ordinary `Trainer` script returns, in the form that the objective reads.

Labels are then placed beside their outputs: start and end of an answer as `[b, 2]`, the next token of a causal model at
the position that predicts it. -100 is no label.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils.generic import ModelOutput

from distiller.errors import ConfigError
from distiller.objectives.prediction import IGNORED
from distiller.training.batching import Batch
from distiller.training.problem import plain_model
from distiller.training.readout import Kind
from distiller.training.view import View


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
