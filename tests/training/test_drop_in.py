"""`DistillationTrainer` in place of `Trainer`: every script runs once with `Trainer` and twice with ours.

Without a teacher our loss is the label loss alone, so `Trainer` itself is the oracle: the same evaluation loss and the
same trained weights. With a teacher and matched layers the script has to run as it stands.
"""

import gc
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertPreTrainedModel,
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from distiller import DistillationTrainer
from distiller.errors import ConfigError, DataError, DistillerError, ModelError, Notice
from distiller.training.fit import ScoredTrainer
from distiller.training.pairing import warn_of_segments
from distiller.translation.trainer import TranslationTrainer

Dataset = pytest.importorskip("datasets").Dataset

WORDS = [
    "the",
    "a",
    "film",
    "soup",
    "novel",
    "was",
    "is",
    "good",
    "bad",
    "lovely",
    "bleak",
    "very",
    "not",
    "it",
    "with",
]
GOLD = {"beta1": 0.0, "gamma1": 1.0}
MATCHED = {"gamma1": 0.5, "intermediate": [{"loss": "mse"}]}
OUTPUTS = {"gamma1": 0.5, "prediction": "kl"}

Make = Callable[..., Any]
Script = Callable[[Make, Path], Any]


def tokenizer() -> PreTrainedTokenizerFast:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    made = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    special = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        eos_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


TOKENIZER = tokenizer()
SHAPES: dict[str, Callable[[int, int], Any]] = {
    "bert": lambda layers, width: BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ),
    "llama": lambda layers, width: LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, pad_token_id=0, bos_token_id=2, eos_token_id=3,
    ),
    "bart": lambda layers, width: BartConfig(
        vocab_size=len(TOKENIZER), d_model=width, encoder_layers=layers, decoder_layers=layers, dropout=0.0,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3,
        forced_eos_token_id=None,
    ),
}  # fmt: skip


def model(head: Any, family: str = "bert", *, large: bool = False, **given: Any) -> Any:
    shape = SHAPES[family](*((4, 24) if large else (2, 16)))
    shape.update(given)
    with torch.random.fork_rng():
        torch.manual_seed(int(large))
        return head.from_config(shape)


class OwnHead(BertPreTrainedModel):
    """A classifier as people write them: it hands nothing on to its encoder, and gives a dictionary."""

    def __init__(self, shape: BertConfig) -> None:
        super().__init__(shape)
        self.bert = BertModel(shape)
        self.scores = torch.nn.Linear(shape.hidden_size, shape.num_labels)
        self.post_init()

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None) -> dict[str, Any]:
        logits = self.scores(self.bert(input_ids, attention_mask=attention_mask).pooler_output)
        return ({} if labels is None else {"loss": F.cross_entropy(logits, labels)}) | {"logits": logits}

    @classmethod
    def from_config(cls, shape: BertConfig) -> "OwnHead":
        return cls(shape)


class OtherName(BertForSequenceClassification):
    """Its labels are called `target`."""

    def forward(self, input_ids: Any, attention_mask: Any = None, target: Any = None, **given: Any) -> Any:
        return super().forward(input_ids, attention_mask=attention_mask, labels=target, **given)

    @classmethod
    def from_config(cls, shape: BertConfig) -> "OtherName":
        return cls(shape)


def texts(size: int = 16, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(3, 8))) for _ in range(size)]


def reviews(label: Callable[[str], Any] = lambda text: int("good" in text or "lovely" in text)) -> Dataset:
    rows = Dataset.from_list([{"text": text, "label": label(text), "idx": i} for i, text in enumerate(texts())])
    return rows.map(lambda batch: TOKENIZER(batch["text"], truncation=True), batched=True)


def arguments(folder: Path, **given: Any) -> TrainingArguments:
    kind = Seq2SeqTrainingArguments if "predict_with_generate" in given else TrainingArguments
    fixed = {"max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "use_cpu": True}
    given = {"save_strategy": "no", **fixed, **given}
    return kind(output_dir=str(folder), report_to=[], disable_tqdm=True, **given)


def accuracy(found: Any) -> dict[str, float]:
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}


def classifier(make: Make, folder: Path, **given: Any) -> Any:
    """The text-classification example: a data set that still has its text, `DataCollatorWithPadding`, a metric."""
    own = ("callbacks", "compute_loss_func", "compute_metrics", "model", "teacher", "own")
    keep = {name: given.pop(name) for name in own if name in given}
    data = given.pop("data", None) or reviews()
    labels, head = given.pop("labels", 2), given.pop("head", AutoModelForSequenceClassification)
    usual = {
        "model": model(head, num_labels=labels),
        "teacher": lambda: model(head, large=True, num_labels=labels),
        "compute_metrics": accuracy,
    }
    return make(
        args=arguments(folder, **given),
        train_dataset=data,
        eval_dataset=data,
        processing_class=TOKENIZER,
        data_collator=DataCollatorWithPadding(tokenizer=TOKENIZER),
        **{**usual, **keep},
    )


def finished(trainer: Any) -> Any:
    trainer.train()
    return trainer


def tagged(make: Make, folder: Path) -> Any:
    def aligned(batch: Any) -> Any:
        encoded = TOKENIZER(batch["tokens"], truncation=True, is_split_into_words=True)
        encoded["labels"] = [
            [-100 if word is None else tags[word] for word in encoded.word_ids(row)]
            for row, tags in enumerate(batch["ner_tags"])
        ]
        return encoded

    words = [text.split() for text in texts()]
    rows = [
        {"id": str(i), "tokens": line, "ner_tags": [len(word) % 3 for word in line]} for i, line in enumerate(words)
    ]
    data = Dataset.from_list(rows).map(aligned, batched=True)
    return finished(
        make(
            model=model(AutoModelForTokenClassification, num_labels=3),
            teacher=lambda: model(AutoModelForTokenClassification, large=True, num_labels=3),
            args=arguments(folder, eval_strategy="epoch"),
            train_dataset=data,
            eval_dataset=data,
            processing_class=TOKENIZER,
            data_collator=DataCollatorForTokenClassification(tokenizer=TOKENIZER),
            compute_metrics=lambda found: {"size": int((found.label_ids != -100).sum())},
        )
    )


def answered(make: Make, folder: Path) -> Any:
    def prepared(batch: Any) -> Any:
        given = {"truncation": "only_second", "max_length": 16, "padding": "max_length"}
        encoded = TOKENIZER(batch["question"], batch["context"], return_offsets_mapping=True, **given)
        encoded["start_positions"] = [4 + start for start in batch["start"]]
        encoded["end_positions"] = [4 + start + 1 for start in batch["start"]]
        encoded["example_id"] = [f"question {start}" for start in batch["start"]]  # as for a metric of whole texts
        return encoded

    rng = np.random.default_rng(0)
    rows = [
        {"question": "it was", "context": " ".join(rng.choice(WORDS, size=6)), "start": int(rng.integers(4))}
        for _ in range(16)
    ]
    data = Dataset.from_list(rows).map(prepared, batched=True, remove_columns=["question", "context"])
    return finished(
        make(
            model=model(AutoModelForQuestionAnswering),
            teacher=lambda: model(AutoModelForQuestionAnswering, large=True),
            args=arguments(folder, eval_strategy="epoch"),
            train_dataset=data,
            eval_dataset=data,
            processing_class=TOKENIZER,
            data_collator=DefaultDataCollator(),
        )
    )


def chosen(make: Make, folder: Path) -> Any:
    """Which of four texts goes on: SWAG's example."""
    rows = []
    for row, text in enumerate(texts()):
        encoded = TOKENIZER([text] * 4, ["good", "very bad", "the soup was", "it"])
        rows.append({**encoded, "label": row % 4, "text": text})
    data = Dataset.from_list(rows)
    return finished(
        make(
            model=model(AutoModelForMultipleChoice),
            teacher=lambda: model(AutoModelForMultipleChoice, large=True),
            args=arguments(folder),
            train_dataset=data,
            eval_dataset=data,
            processing_class=TOKENIZER,
            data_collator=DataCollatorForMultipleChoice(tokenizer=TOKENIZER),
        )
    )


def called_alike(make: Make, folder: Path) -> Any:
    """Columns of a script that have the names of ours, in a stream too."""
    other = {"teacher": "Ms Smith", "epoch": "1990s", "augmented": False, "example_id": "q1", "example_ids": "q"}
    other |= {"soft_labels": "none", "output_mask": "x", "teacher_places": "Rome"}
    data = reviews().map(lambda _: other)
    finished(classifier(make, folder / "stream", data=data.to_iterable_dataset(), compute_metrics=None, max_steps=1))
    trainer = finished(classifier(make, folder, data=data))
    assert len(trainer.predict(data).predictions) == len(data)
    return trainer


def translated(make: Make, folder: Path) -> Any:
    rows = Dataset.from_list([{"translation": {"en": text, "fr": text[::-1]}} for text in texts()])

    def prepared(batch: Any) -> Any:
        pairs = [[pair[side] for pair in batch["translation"]] for side in ("en", "fr")]
        return TOKENIZER(pairs[0], text_target=pairs[1], max_length=16, truncation=True)

    data = rows.map(prepared, batched=True)
    small = model(AutoModelForSeq2SeqLM, "bart")
    return finished(
        make(
            model=small,
            teacher=lambda: model(AutoModelForSeq2SeqLM, "bart", large=True),
            args=arguments(folder, predict_with_generate=True, generation_max_length=8, eval_strategy="epoch"),
            train_dataset=data,
            eval_dataset=data,
            processing_class=TOKENIZER,
            data_collator=DataCollatorForSeq2Seq(tokenizer=TOKENIZER, model=small),
            compute_metrics=lambda found: {"size": len(found.predictions)},
        )
    )


def continued(make: Make, folder: Path) -> Any:
    data = Dataset.from_list([TOKENIZER(text) for text in texts()])
    return finished(
        make(
            model=model(AutoModelForCausalLM, "llama"),
            teacher=lambda: model(AutoModelForCausalLM, "llama", large=True),
            args=arguments(folder, label_smoothing_factor=0.1),
            train_dataset=data,
            eval_dataset=data,
            data_collator=DataCollatorForLanguageModeling(tokenizer=TOKENIZER, mlm=False),
        )
    )


def unmasked(make: Make, folder: Path) -> Any:
    """Words of three are hidden, and the label is the word."""
    rows = []
    for text in texts():
        row = TOKENIZER(text)
        words = row["input_ids"]
        hidden = [place % 3 == 1 for place in range(len(words))]
        row["labels"] = [word if hide else -100 for word, hide in zip(words, hidden, strict=True)]
        row["input_ids"] = [4 if hide else word for word, hide in zip(words, hidden, strict=True)]
        rows.append(dict(row))
    return finished(
        make(
            model=model(AutoModelForMaskedLM),
            teacher=lambda: model(AutoModelForMaskedLM, large=True),
            args=arguments(folder),
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=DataCollatorForTokenClassification(tokenizer=TOKENIZER),
        )
    )


def best_of(make: Make, folder: Path) -> Any:
    every = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1, "eval_steps": 1}
    trainer = classifier(make, folder, load_best_model_at_end=True, learning_rate=0.3, **every)
    args = json.dumps(trainer.args.to_dict(), default=str)
    trainer.train()
    assert json.dumps(trainer.args.to_dict(), default=str) == args
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.state.best_metric == min(losses)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses))
    return trainer


def resumed(make: Make, folder: Path) -> Any:
    classifier(make, folder, max_steps=2, save_strategy="steps", save_steps=1, lr_scheduler_type="constant").train()
    trainer = classifier(make, folder, save_strategy="steps", save_steps=1, lr_scheduler_type="constant")
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3
    return trainer


def weighted(make: Make, folder: Path) -> Any:
    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        rates = torch.tensor([1.0, 3.0])
        each = F.cross_entropy(outputs.logits, labels, weight=rates, reduction="none")
        return each.sum() / num_items_in_batch if num_items_in_batch is not None else each.mean()

    return finished(classifier(make, folder, compute_loss_func=loss, gradient_accumulation_steps=2))


def own_keys(make: Make, folder: Path) -> Any:
    def measured(found: Any) -> dict[str, Any]:
        return {"tokens": int((found.inputs > 0).sum()), "losses": len(found.losses)}

    trainer = classifier(make, folder, compute_metrics=measured, include_for_metrics=["inputs", "loss"])
    scores = trainer.evaluate()
    assert scores["eval_losses"] == 16
    assert scores["eval_tokens"] > 16
    return trainer


class OwnLoss:
    """The loss of a subclass, by the number of labels that it is given, and by what it reads of the model."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = 0) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        rates = torch.tensor([1.0, 3.0], device=model.device, dtype=model.dtype)
        losses = F.cross_entropy(
            outputs.logits.view(-1, model.config.num_labels), labels, weight=rates, reduction="none"
        )
        loss = losses.sum() / num_items_in_batch if num_items_in_batch else losses.mean()
        return (loss, outputs) if return_outputs else loss


class MoreLoss:
    """A subclass that adds to the loss of the trainer, from what the student says."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **given: Any) -> Any:
        base: Any = super()
        loss, outputs = base.compute_loss(model, inputs, return_outputs=True, **given)
        loss = loss + 0.1 * outputs.logits.square().mean()
        return (loss, outputs) if return_outputs else loss


class Listener(TrainerCallback):
    def __init__(self) -> None:
        self.models: set[type] = set()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.models.add(type(model))


def heard(make: Make, folder: Path) -> Any:
    listener = Listener()
    trainer = finished(classifier(make, folder, callbacks=[listener]))
    assert listener.models == {type(model(AutoModelForSequenceClassification))}
    return trainer


def searched(make: Make, folder: Path) -> Any:
    pytest.importorskip("optuna")
    trainer = make(
        model_init=lambda: model(AutoModelForSequenceClassification),
        teacher=lambda: model(AutoModelForSequenceClassification, large=True),
        args=arguments(folder, eval_strategy="epoch"),
        train_dataset=reviews(),
        eval_dataset=reviews(),
        processing_class=TOKENIZER,
    )
    rates = iter([1e-9, 1e-2])
    found = trainer.hyperparameter_search(
        lambda trial: {"learning_rate": next(rates)}, n_trials=2, direction="minimize", backend="optuna"
    )
    assert found.run_id in ("0", "1")
    return finished(trainer)


def adapted(make: Make, folder: Path) -> Any:
    peft = pytest.importorskip("peft", reason="needs the package `peft`")
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])

    def wrapped() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return peft.get_peft_model(model(AutoModelForSequenceClassification), lora)

    every = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1, "eval_steps": 1}
    trainer = make(
        model=wrapped(),
        teacher=lambda: model(AutoModelForSequenceClassification, large=True),
        args=arguments(folder, load_best_model_at_end=True, **every),
        train_dataset=reviews(),
        eval_dataset=reviews(),
        processing_class=TOKENIZER,
    )
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    return trainer


def by_position(make: Make, folder: Path) -> Any:
    return finished(
        make(
            model(AutoModelForSequenceClassification),
            arguments(folder),
            DataCollatorWithPadding(tokenizer=TOKENIZER),
            reviews(),
            reviews(),
            TOKENIZER,
            teacher=lambda: model(AutoModelForSequenceClassification, large=True),
        )
    )


def own_optimizer(make: Make, folder: Path, *, scheduled: bool = False) -> Any:
    small = model(AutoModelForSequenceClassification)
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step) if scheduled else None
    return finished(
        make(
            model=small,
            teacher=lambda: model(AutoModelForSequenceClassification, large=True),
            args=arguments(folder),
            train_dataset=reviews(),
            eval_dataset=reviews(),
            processing_class=TOKENIZER,
            optimizers=(optimizer, schedule),
        )
    )


SCRIPTS: dict[str, Script] = {
    "text classification, its text still there": lambda make, folder: finished(classifier(make, folder)),
    "regression": lambda make, folder: finished(
        classifier(make, folder, labels=1, data=reviews(lambda text: len(text) / 20), compute_metrics=None)
    ),
    "several labels at once": lambda make, folder: finished(
        classifier(
            make,
            folder,
            labels=3,
            compute_metrics=None,
            data=reviews(lambda text: [float(word in text) for word in ("good", "soup", "was")]),
        )
    ),
    "tagging": tagged,
    "question answering": answered,
    "multiple choice": chosen,
    "columns called as ours": called_alike,
    "translation": translated,
    "causal language model": continued,
    "masked language model": unmasked,
    "by position": by_position,
    "best model by the default metric": best_of,
    "resume_from_checkpoint=True": resumed,
    "gradient checkpointing": lambda make, folder: finished(classifier(make, folder, gradient_checkpointing=True)),
    "label smoothing": lambda make, folder: finished(classifier(make, folder, label_smoothing_factor=0.3)),
    "class weights": weighted,
    "metrics with their own keys": own_keys,
    "callbacks": heard,
    "hyperparameter search": searched,
    "an optimizer of one's own": own_optimizer,
    "an optimizer and a scheduler of one's own": lambda make, folder: own_optimizer(make, folder, scheduled=True),
    "PEFT": adapted,
    "a head of one's own": lambda make, folder: finished(classifier(make, folder, head=OwnHead)),
    "a loss of one's own": lambda make, folder: finished(
        classifier(make, folder, own=OwnLoss, gradient_accumulation_steps=2)
    ),
    "more loss": lambda make, folder: finished(classifier(make, folder, own=MoreLoss)),
    "labels under another name": lambda make, folder: finished(
        classifier(
            make, folder, head=OtherName, label_names=["target"], data=reviews().rename_column("label", "target")
        )
    ),
    "torch_compile": lambda make, folder: finished(
        classifier(make, folder, torch_compile=True, torch_compile_backend="eager", max_steps=1)
    ),
}
WITHOUT_LAYERS = ("translation", "multiple choice")
"""Scripts whose hidden states are not compared."""


def maker(objective: dict[str, Any] | None, *, taught: bool) -> Make:
    """Three lines changed: the class, `teacher` and `objective`."""

    def make(*given: Any, teacher: Callable[[], Any], own: type = object, **named: Any) -> Any:
        set_seed(0)
        base: Any = Seq2SeqTrainer if isinstance(named.get("args"), Seq2SeqTrainingArguments) else Trainer
        if objective is not None:
            base = DistillationTrainer
            named |= {"teacher": teacher() if taught else None, "objective": objective}
        return (base if own is object else type("Own", (own, base), {}))(*given, **named)

    return make


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_as_with_trainer(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    oracle = script(maker(None, taught=False), tmp_path / "trainer")
    ours = script(maker(GOLD, taught=False), tmp_path / "gold")
    assert type(ours.model) is type(oracle.model)
    torch.testing.assert_close(ours.model.state_dict(), oracle.model.state_dict(), rtol=1e-3, atol=1e-5)
    expected, found = oracle.model.config.to_dict(), ours.model.config.to_dict()
    if expected.get("problem_type") is None:  # `Trainer` learns it from a forward pass with labels
        found["problem_type"] = expected.get("problem_type")
    assert found == expected
    expected, found = oracle.evaluate(), ours.evaluate()
    timed = ("runtime", "per_second", "preparation_time")
    assert {key for key in found if not key.endswith(timed)} == {key for key in expected if not key.endswith(timed)}
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-4)
    taught = script(maker(OUTPUTS if name in WITHOUT_LAYERS else MATCHED, taught=True), tmp_path / "taught")
    assert set(taught.evaluate()) == set(found)
    logged = [entry for entry in taught.state.log_history if "train_loss" in entry]
    assert all(np.isfinite(entry["train_loss"]) for entry in logged)


def refused(
    tmp_path: Path, match: str, *, head: Any = AutoModelForSequenceClassification, family: str = "bert", **given: Any
) -> None:
    own = ("objective", "optimizers", "compute_loss_func", "class_weights", "head_learning_rate")
    named = {name: given.pop(name) for name in own if name in given}
    shape = {name: given.pop(name) for name in ("num_labels", "problem_type") if name in given}
    with pytest.raises(ConfigError, match=match):
        DistillationTrainer(
            model(head, family, **shape),
            arguments(tmp_path, **given),
            teacher=model(head, family, large=True, **shape),
            **{"objective": MATCHED, **named},
        )


def test_what_would_be_ignored_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "label_smoothing_factor", num_labels=1, label_smoothing_factor=0.1)
    refused(tmp_path, "label_smoothing_factor", head=AutoModelForQuestionAnswering, label_smoothing_factor=0.1)
    several = {"num_labels": 3, "problem_type": "multi_label_classification"}
    refused(tmp_path, "label_smoothing_factor", **several, label_smoothing_factor=0.1)
    refused(tmp_path, "compute_loss_func", head=AutoModelForQuestionAnswering, compute_loss_func=F.cross_entropy)
    refused(tmp_path, "class_weights do nothing for qa", head=AutoModelForQuestionAnswering, class_weights=[1, 2])
    refused(tmp_path, "a custom label loss", label_smoothing_factor=0.1, class_weights=[1, 2])
    refused(tmp_path, "3 class_weights for 2 classes", class_weights=[1, 2, 3])
    refused(tmp_path, "3 outputs", num_labels=3, problem_type="regression")
    reentrant = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    refused(tmp_path, "use_reentrant", **reentrant)
    refused(tmp_path, "encoder-decoder", head=AutoModelForSeq2SeqLM, family="bart")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    refused(tmp_path, "scheduler", optimizers=(optimizer, schedule), head_learning_rate=1e-3)


CLASSIFIER = model(AutoModelForSequenceClassification)
TEACHERS: dict[str, tuple[Any, str]] = {
    "a folder": ("outputs/teacher", "the teacher is a `str`"),
    "the student itself": (CLASSIFIER, "share weights that are trained: bert.embeddings"),
    "no configuration": (torch.nn.Linear(2, 2), "a `Linear`, has no configuration"),
    "compiled": (torch.compile(model(AutoModelForSequenceClassification, large=True)), "torch.compile"),
    "another head": (model(AutoModelForTokenClassification, large=True), "the teacher's of a tagging model"),
    "another order of generation": (model(AutoModelForCausalLM, "llama"), "the teacher's of a causal model"),
    "another problem": (
        model(AutoModelForSequenceClassification, large=True, problem_type="single_label_classification"),
        "those of a multilabel model, the teacher's of a classification",
    ),
}


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    teacher, match = TEACHERS[name]
    small = CLASSIFIER
    if name == "another problem":
        small = model(AutoModelForSequenceClassification, problem_type="multi_label_classification")
    with pytest.raises(ConfigError, match=match):
        DistillationTrainer(small, arguments(tmp_path), teacher=teacher)


LABELS: dict[str, tuple[Any, str]] = {
    "a word": ("good", "first example is 'good', and classes are numbers"),
    "a list of a word": (["good"], r"first example is \['good'\]"),
    "an object": ({"good": 1}, "first example is {'good': 1}"),
    "bits": ([1, 0], "numbers for every class, and the student has one class"),
    "another class": (5, "Target 5 is out of bounds"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_are_no_classes_are_refused_in_a_line(name: str, tmp_path: Path) -> None:
    label, match = LABELS[name]
    rows = [{"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "labels": label}] * 8
    small = model(AutoModelForSequenceClassification)
    given = {"train_dataset": rows, "processing_class": TOKENIZER, "objective": GOLD}
    with pytest.raises(DistillerError, match=match) as error:
        DistillationTrainer(small, arguments(tmp_path), **given).train()
    assert error.value.hint


ROW = {"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "labels": 0}
LONGER = {"input_ids": [2, 5, 5, 3], "attention_mask": [1, 1, 1, 1], "labels": 0}
NO_BATCH: dict[str, tuple[Any, str]] = {
    "no examples": ([], "train_dataset has no examples"),
    "several sets": ({"train": [ROW], "test": [ROW]}, "train_dataset is a `dict` of train, test"),
    "no tokens": ([{"label": 1, "attention_mask": [1]}] * 4, "no `input_ids`, only label, attention_mask"),
    "a label that is None": ([ROW, {**ROW, "labels": None}] * 2, "2 examples have no `labels`, in a batch of 4"),
    "a label that is missing": (
        [ROW, ROW, LONGER, {"input_ids": [2, 3]}],
        "an example has no `(labels|attention_mask)`",
    ),
    "no padding": ([ROW, LONGER] * 2, "texts of 3 to 4 tokens are in one batch, and nothing pads them"),
}


@pytest.mark.parametrize("name", NO_BATCH)
def test_examples_that_make_no_batch_are_refused_in_a_line(name: str, tmp_path: Path) -> None:
    rows, match = NO_BATCH[name]
    given = {"processing_class": TOKENIZER} if name != "no padding" else {}
    made = DistillationTrainer(
        model(AutoModelForSequenceClassification), arguments(tmp_path), train_dataset=rows, objective=GOLD, **given
    )
    with pytest.raises(DataError, match=match) as error:
        made.train()
    assert error.value.hint


def test_whole_numbers_and_truth_values_are_several_labels_at_once(tmp_path: Path) -> None:
    losses = []
    for kind in (float, int, bool):
        several = {"num_labels": 3, "problem_type": "multi_label_classification"}
        small = model(AutoModelForSequenceClassification, **several)
        data = reviews(lambda text, kind=kind: [kind(word in text) for word in ("good", "soup", "was")])
        trainer = classifier(maker(GOLD, taught=False), tmp_path, model=small, data=data, compute_metrics=None)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1] == losses[2]


TOO_MUCH: dict[str, tuple[dict[str, Any], str, str]] = {
    "positions": ({"max_position_embeddings": 8}, "texts of 9 tokens, and the {} takes 8", "max_length=8"),
    "tokens": ({"vocab_size": 6}, r"token 19, and the {} has embeddings of 6", "resize_token_embeddings"),
}


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_a_model_has_no_place_for_is_said_in_a_line(name: str, role: str, tmp_path: Path) -> None:
    shape, match, hint = TOO_MUCH[name]
    head = AutoModelForSequenceClassification
    ids = [2, 19, 19, 19, 19, 19, 19, 19, 3]
    rows = [{"input_ids": ids, "attention_mask": [1] * 9, "labels": 0}] * 8
    asked = {"teacher": model(head, large=True, **shape), "objective": OUTPUTS} if role == "teacher" else {}
    given = {"train_dataset": rows, "objective": GOLD, **asked}
    trainer = DistillationTrainer(model(head, **shape), arguments(tmp_path), **given)
    with pytest.raises(DataError, match=match.format(role)) as error:
        trainer.train()
    assert error.value.hint
    assert hint in error.value.hint


@pytest.mark.parametrize("pads", [None, 7])
def test_a_causal_teacher_reads_what_pads_the_student(pads: int | None, tmp_path: Path) -> None:
    """It looks for the last token by the id of padding, which its own configuration may not name, or otherwise."""
    large = model(AutoModelForSequenceClassification, "llama", large=True, pad_token_id=pads)
    trainer = DistillationTrainer(
        model(AutoModelForSequenceClassification, "llama", pad_token_id=None),
        arguments(tmp_path, max_steps=1),
        train_dataset=reviews(),
        processing_class=TOKENIZER,
        teacher=large,
        objective=OUTPUTS,
    )
    trainer.train()
    padded = TOKENIZER(["a very good film", "it"], padding=True, return_tensors="pt").to(large.device)
    with torch.no_grad():
        found = large(padded["input_ids"], attention_mask=padded["attention_mask"]).logits[1]
        alone = large(padded["input_ids"][1:, :3]).logits[0]
    torch.testing.assert_close(found, alone)


def test_pairs_without_segments_are_said_where_the_teacher_reads_them(tmp_path: Path) -> None:
    def ran(pair: str | None, *kept: str) -> None:
        rows = [dict(TOKENIZER(text, pair)) for text in texts()]
        rows = [{**{name: row[name] for name in ("input_ids", "attention_mask", *kept)}, "labels": 0} for row in rows]
        DistillationTrainer(
            model(AutoModelForSequenceClassification, "llama"),
            arguments(tmp_path, max_steps=1),
            train_dataset=rows,
            processing_class=TOKENIZER,
            teacher=model(AutoModelForSequenceClassification, large=True),
            objective=OUTPUTS,
        ).train()

    with pytest.warns(Notice, match=r"pairs of texts without `token_type_ids`.*return_token_type_ids=True"):
        ran("the soup")
    inputs = {"input_ids": torch.tensor([TOKENIZER("it", "the soup")["input_ids"]])}
    teacher = model(AutoModelForSequenceClassification, large=True)
    silent = Mock(return_value={"token_type_ids": [0, 0]}, sep_token_id=TOKENIZER.sep_token_id)
    with pytest.warns(Notice, match="give them: 1 where the second is"):  # this tokenizer does not tell them either
        warn_of_segments(teacher, inputs, silent)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        ran(None)
        ran("the soup", "token_type_ids")


def test_lengths_of_a_data_set_of_one_s_own_change_no_order(tmp_path: Path) -> None:
    class Rows(list[Any]):
        lengths = (1, 9, 1, 9, 1, 9, 1, 9)

    orders = []
    for kind in (Trainer, DistillationTrainer):
        named: dict[str, Any] = {"objective": GOLD} if kind is DistillationTrainer else {}
        rows = Rows({**ROW, "labels": place % 2, "input_ids": [2, 5 + place, 3]} for place in range(8))
        made = kind(model(AutoModelForSequenceClassification), arguments(tmp_path), train_dataset=rows, **named)
        set_seed(0)
        orders.append([batch["input_ids"][:, 1].tolist() for batch in made.get_train_dataloader()])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("collate", [DefaultDataCollator(), DataCollatorWithPadding(TOKENIZER)])
def test_truth_values_are_classes(collate: Any, tmp_path: Path) -> None:
    losses = []
    for kind in (int, bool):
        data = reviews(lambda text, kind=kind: kind("good" in text))
        data = data.map(lambda row: TOKENIZER(row["text"], max_length=9, padding="max_length", truncation=True))
        trainer = classifier(maker(GOLD, taught=False), tmp_path, data=data)
        trainer.data_collator = collate
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]


def test_outputs_that_cannot_be_read_are_refused_in_a_line(tmp_path: Path) -> None:
    given = {"args": arguments(tmp_path), "train_dataset": reviews(), "processing_class": TOKENIZER}
    own = torch.nn.Linear(2, 2)
    own.config = PretrainedConfig(num_labels=2)
    with pytest.raises(ModelError, match="has a configuration without `num_hidden_layers`"):
        DistillationTrainer(own, teacher=model(AutoModelForSequenceClassification), objective=MATCHED, **given)
    bare = model(AutoModel, large=True)
    with pytest.raises(ModelError, match="`BertModel` gives no `logits`"):
        DistillationTrainer(model(AutoModelForSequenceClassification), teacher=bare, objective=OUTPUTS, **given).train()
    frozen = model(AutoModelForSequenceClassification).requires_grad_(False)
    with pytest.raises(ConfigError, match="no weight of the student is trained"):
        DistillationTrainer(frozen, objective=GOLD, **given).train()
    given["train_dataset"] = [{"inputs_embeds": torch.zeros(3, 16), "labels": 0}]
    small = model(AutoModelForSequenceClassification)
    with pytest.raises(ConfigError, match="no `input_ids`, only: inputs_embeds"):
        DistillationTrainer(small, objective=GOLD, data_collator=DefaultDataCollator(), **given).train()


@pytest.mark.parametrize("loss", ["mse", "mi_alpha"])
@pytest.mark.parametrize("halved", ["student", "teacher"])
def test_models_in_half_precision_distil(halved: str, loss: str, tmp_path: Path) -> None:
    """`from_pretrained` gives a model in the number format in which it was saved."""
    small, large = (model(AutoModelForSequenceClassification, large=large) for large in (False, True))
    {"student": small, "teacher": large}[halved].to(torch.bfloat16)
    term = {"loss": loss, "critic": {"name": "mlp", "options": {"hidden": 8}}} if loss == "mi_alpha" else {"loss": loss}
    wish = {"intermediate": [term]}
    made = classifier(maker(wish, taught=True), tmp_path, model=small, teacher=lambda: large, logging_steps=1)
    made.train()
    losses = [entry[f"loss/{loss}"] for entry in made.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert made.model.dtype == (torch.bfloat16 if halved == "student" else torch.float32)


class OwnOptimizer:
    def create_optimizer(self, *_: Any) -> Any:
        trainer: Any = self
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
        return trainer.optimizer


@pytest.mark.parametrize("brought", ["argument", "method", "with its scheduler"])
def test_projections_join_the_optimizer_that_a_script_brings(brought: str, tmp_path: Path) -> None:
    make = maker(MATCHED, taught=True)
    if brought == "method":
        trainer = finished(classifier(make, tmp_path, own=OwnOptimizer))
    else:
        trainer = own_optimizer(make, tmp_path, scheduled=brought == "with its scheduler")
    trained = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    if brought == "with its scheduler":  # which knows the rate of one group
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [pytest.approx(0.1 * 0.5**3)]
    parts = [*trainer.distillation.objective.parameters()]
    assert parts
    assert {id(weight) for weight in parts} <= trained


def test_a_checkpoint_of_another_objective_is_refused(tmp_path: Path) -> None:
    classifier(maker(GOLD, taught=False), tmp_path, max_steps=1, save_strategy="steps", save_steps=1).train()
    trainer = classifier(maker(MATCHED, taught=True), tmp_path)
    with pytest.raises(ConfigError, match="checkpoint-1 has not the projections and critics"):
        trainer.train(resume_from_checkpoint=True)


def test_a_teacher_is_left_without_hooks(tmp_path: Path) -> None:
    teacher = model(AutoModelForSequenceClassification, large=True)
    trainer = DistillationTrainer(model(AutoModelForSequenceClassification), arguments(tmp_path), teacher=teacher)
    student = trainer.model
    assert any(part._forward_hooks for both in (teacher, student) for part in both.modules())
    del trainer
    gc.collect()
    assert not any(part._forward_hooks for both in (teacher, student) for part in both.modules())


def test_what_is_private_and_overridden_is_named_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "why.md").read_text(encoding="utf-8")
    section = page.partition("is private in `Trainer`")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `(_\w+)`", section, re.MULTILINE))
    ours = (DistillationTrainer, ScoredTrainer, TranslationTrainer)
    private = {
        name for one in ours for name in vars(one) if re.match(r"_[a-z]", name) and hasattr(Seq2SeqTrainer, name)
    }
    assert private == listed


def test_the_student_is_the_model_of_the_trainer(tmp_path: Path) -> None:
    trainer = classifier(maker(MATCHED, taught=True), tmp_path / "run")
    assert trainer.model is trainer.student
    trainer.model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(loaded.state_dict(), trainer.model.state_dict(), rtol=0, atol=0)


def test_the_teacher_has_columns_of_its_own(tmp_path: Path) -> None:
    """A student without segments beside a teacher with them: the column is not dropped."""
    data = reviews()
    taught = DistillationTrainer(
        model(AutoModelForSequenceClassification, "llama", num_labels=2),
        arguments(tmp_path, max_steps=1),
        train_dataset=data,
        processing_class=TOKENIZER,
        teacher=model(AutoModelForSequenceClassification, large=True),
        objective={},
    )
    batch = next(iter(taught.get_train_dataloader()))
    assert "token_type_ids" in batch
    assert "text" not in batch
    taught.train()
