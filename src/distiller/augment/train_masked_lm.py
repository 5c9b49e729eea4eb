"""A small masked language model of the task's own texts, for the contextual operator if no other is available."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from distiller.augment.masked_lm import scores_only_at
from distiller.device import compute
from distiller.errors import ConfigError, DataError, ModelError, OutputError
from distiller.files import building, unwritable
from distiller.models.folders import explained, load_tokenizer, resolve
from distiller.tasks.encode import IGNORED

SMALL: Mapping[str, int] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
"""Shape of a model that starts from nothing."""

HELD_OUT = 0.05
"""Share of the texts on which the loss is measured, at most 500."""


class MaskedLMResult(NamedTuple):
    """The outcome of a training."""

    folder: Path
    steps: int
    seconds: float
    loss_before: float
    """Of masked tokens in texts held out, in nats."""
    loss: float
    """The same after the training."""


def train_masked_lm(
    texts: Sequence[str],
    folder: str | Path,
    *,
    start: str | None = None,
    tokenizer: str | None = None,
    config: Mapping[str, Any] | None = None,
    steps: int = 1000,
    minutes: float | None = None,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    mask_probability: float = 0.15,
    max_length: int = 128,
    seed: int = 0,
) -> MaskedLMResult:
    """Train a masked language model on `texts` and write it with its tokenizer to the new `folder`.

    `start` is an encoder (folder, hub id or `package:NAME`) whose weights are used, with a new head tied to its
    embeddings; without one, a BERT of `config` (fields of `transformers.BertConfig`, by default `SMALL`) starts at
    random with the tokenizer of the model `tokenizer`. It ends after `steps` optimisation steps or `minutes`. Texts are
    cut at `max_length` tokens. Raises `ConfigError` if there is neither `start` nor `tokenizer`, `DataError` for fewer
    than two texts, `ModelError` for a tokenizer without a mask token, `OutputError` for a folder that exists.
    Source: Devlin et al. 2019, arXiv:1810.04805.
    """
    folder = Path(folder)
    if folder.exists():
        raise OutputError(f"`{folder}` is already there", hint="name a new folder, or delete it")
    words = load_tokenizer(_tokenizer_of(start, tokenizer))
    if words.mask_token_id is None:
        raise ModelError(f"the tokenizer of `{tokenizer or start}` has no mask token", hint="name one as BERT's")
    set_seed(seed)
    model = _model(start, words, config or SMALL, max_length)
    training, held_out = _rows(texts, words, min(max_length, model.config.max_position_embeddings), seed)
    with building(folder) as place:
        trainer = MaskedTokens(
            model=model,
            args=_arguments(place, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed),
            train_dataset=training,  # pyright: ignore[reportArgumentType]
            data_collator=DataCollatorForLanguageModeling(words, mlm_probability=mask_probability),
            callbacks=[Deadline(minutes)],
        )
        trainer.remove_callback(PrinterCallback)
        before = _loss(trainer, held_out, seed)
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
        after = _loss(trainer, held_out, seed)
        _save(trainer, words, folder)
    return MaskedLMResult(folder, trainer.state.global_step, seconds, before, after)


def _tokenizer_of(start: str | None, tokenizer: str | None) -> str:
    name = tokenizer or start
    if name is None:
        raise ConfigError(
            "a masked language model needs an encoder to start from, or a tokenizer",
            hint="name the teacher's model as `start`, or any model as `tokenizer`",
        )
    return name


def _model(
    start: str | None, tokenizer: PreTrainedTokenizerBase, config: Mapping[str, Any], max_length: int
) -> PreTrainedModel:
    if start is not None:
        with explained(start):
            model = AutoModelForMaskedLM.from_pretrained(resolve(start), use_safetensors=True, dtype=torch.float32)
        if model.config.vocab_size < len(tokenizer):
            raise ModelError(
                f"`{start}` has {model.config.vocab_size} pieces, its tokenizer {len(tokenizer)}",
                hint="the tokenizer belongs to another model",
            )
        return model
    shape = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": max_length,
        "pad_token_id": tokenizer.pad_token_id,
        **config,
    }
    return BertForMaskedLM(BertConfig(**shape))


def _rows(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int, seed: int
) -> tuple[list[dict[str, list[int]]], list[dict[str, list[int]]]]:
    """Token ids of the texts to train on, and of those held out."""
    distinct = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(distinct) < 2:
        raise DataError(f"{len(distinct)} text(s) to train a masked language model on", hint="it needs at least two")
    Random(seed).shuffle(distinct)
    encoded = tokenizer(
        distinct, truncation=True, max_length=max_length, return_special_tokens_mask=True, verbose=False
    )
    columns = [name for name in ("input_ids", "special_tokens_mask") if name in encoded]
    rows = [{name: encoded[name][n] for name in columns} for n in range(len(distinct))]
    held_out = min(500, max(1, round(HELD_OUT * len(rows))))
    return rows[held_out:], rows[:held_out]


class MaskedTokens(Trainer):
    """Scores the vocabulary only at masked tokens: in small models that is most of the work."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The mean cross-entropy of masked tokens."""
        labels = inputs.pop("labels")
        masked = labels != IGNORED
        with scores_only_at(self.accelerator.unwrap_model(model), masked):
            outputs = model(**inputs)
        logits = outputs.logits if outputs.logits.dim() == 2 else outputs.logits[masked]
        loss = cross_entropy(logits.float(), labels[masked], reduction="sum") / masked.sum().clamp(min=1)
        return (loss, outputs) if return_outputs else loss


class Deadline(TrainerCallback):
    """Ends a training after `minutes`."""

    def __init__(self, minutes: float | None) -> None:
        self.seconds = 60 * (minutes or float("inf"))
        self.end = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start counting."""
        self.end = time.monotonic() + self.seconds

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when the time is over."""
        control.should_training_stop |= time.monotonic() > self.end


def _arguments(folder: Path, *, steps: int, batch_size: int, learning_rate: float, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=min(100, steps // 10),
        weight_decay=0.01,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        **compute("fp32").trainer_arguments(),
        seed=seed,
    )


def _loss(trainer: Any, rows: list[dict[str, list[int]]], seed: int) -> float:
    """The mean loss, on the same masked tokens in every call."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return float(trainer.evaluate(rows)["eval_loss"])


def _save(trainer: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write beside `folder` and rename, so that a folder that exists is complete."""
    part = Path(trainer.args.output_dir)
    with explained(str(folder)):
        trainer.model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    (part / "training_args.bin").unlink(missing_ok=True)
    with unwritable(folder, "name a new folder"):
        os.replace(part, folder)
