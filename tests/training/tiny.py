"""Tiny random BERT models, ragged in-memory examples, and Eq. (1) on one batch of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, TrainerCallback, TrainingArguments

from distiller import config
from distiller.training.batching import Batch, ViewCollator, count, views_of
from distiller.training.distillation_model import DistillationModel
from distiller.training.fit import Job
from distiller.training.objective import DistillationObjective, model_shape, prediction_choice
from distiller.training.teacher import FrozenTeacher
from distiller.training.trainer import DistillationTrainer

CRITICS = {
    "transformer": {"layers": 1, "feedforward": 16, "heads": 2, "dropout": 0.0, "embedding": 8},
    "mlp": {"layers": 2, "hidden": 16, "embedding": 8},
}
DECOMPOSABLE = ["mse", "l2", "cos", "ce", "pkd", "attention_mse"]
"""Intermediate objectives that are sums over examples; mutual information is not."""


def bert(layers: int, width: int, *, labels: int = 2, seed: int = 0, dropout: float = 0.0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=100,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                intermediate_size=2 * width,
                max_position_embeddings=40,
                num_labels=labels,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
        )
        for parameter in model.parameters():  # fresh weights make nearly constant logits and equal layers
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def teacher(layers: int = 4, width: int = 32, **given: Any) -> Any:
    return bert(layers, width, seed=1, **given)


def student(layers: int = 2, width: int = 16, **given: Any) -> Any:
    return bert(layers, width, seed=2, **given)


class Examples:
    """`size` examples of 3 to 12 tokens; the label says whether most token ids are large."""

    def __init__(self, size: int, seed: int = 0, *, augmented: bool = False) -> None:
        rng = torch.Generator().manual_seed(seed)
        sizes = torch.randint(3, 13, (size,), generator=rng).tolist()
        self.tokens = [torch.randint(5, 100, (length,), generator=rng).tolist() for length in sizes]
        self.lengths = sizes
        self.fingerprint = f"{size}-{seed}"
        self.augmented = Examples(size, seed + 1000) if augmented else None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, position: int) -> dict[str, Any]:
        tokens = self.tokens[position]
        label = int(sum(token > 50 for token in tokens) * 2 > len(tokens))
        example = {"input_ids": tokens, "labels": label, "example_id": position}
        return example | ({"augmented": self.augmented[position]} if self.augmented else {})


def pad(features: list[Mapping[str, Any]], *, extra: int = 0, fill: int = 0) -> Batch:
    """The longest example's length and `extra` more, with the token `fill` in all padding."""
    length = max(len(feature["input_ids"]) for feature in features) + extra
    ids = torch.full((len(features), length), fill)
    mask = torch.zeros(len(features), length, dtype=torch.long)
    for row, feature in enumerate(features):
        size = len(feature["input_ids"])
        ids[row, :size], mask[row, :size] = torch.tensor(feature["input_ids"]), 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.tensor([feature["labels"] for feature in features]),
        "example_ids": torch.tensor([feature["example_id"] for feature in features]),
    }


collate = ViewCollator(pad)


def batch(size: int = 6, seed: int = 0, *, augmented: bool = False) -> Batch:
    examples = Examples(size, seed, augmented=augmented)
    return collate([examples[position] for position in range(size)])


def term(loss: str, mapping: str = "skip", **given: Any) -> config.Term:
    """A term whose critic, if it has one, is small."""
    if loss.startswith("mi_"):
        name = "mlp" if mapping == "emd" else "transformer"
        given = {"critic": config.Critic(name=name, options=CRITICS[name])} | given
    options = {"pairs": [[1, 2], [-1, -1]]} if mapping == "pairs" else {}
    return config.Term(loss=loss, mapping=config.Component(name=mapping, options=options), **given)


class Eq1:
    """Eq. (1) for two models, without a trainer around it."""

    def __init__(self, objective: config.Objective, small: Any, large: Any | None = None) -> None:
        torch.manual_seed(0)
        self.parts = DistillationObjective(
            objective,
            student=model_shape(small.config),
            teacher=model_shape(large.config) if large is not None else None,
            kind="regression" if small.config.num_labels == 1 else "classification",
        )
        self.model = DistillationModel(small, self.parts).eval()
        self.teacher = large and FrozenTeacher(
            large, self.parts.layers("teacher"), self.parts.layers("teacher", "attention_scores"),
            device=torch.device("cpu"),
        )  # fmt: skip

    def __call__(self, examples: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        views = views_of(examples)
        totals = count([examples])
        heard = {name: self.teacher(view) for name, view in views.items()} if self.teacher else None
        return self.model(views=views, teacher=heard, totals=totals)

    def gradients(self, examples: Batch) -> dict[str, Tensor]:
        self.model.zero_grad()
        self(examples)[0].backward()
        return gradients_of(self.model)


def gradients_of(model: torch.nn.Module) -> dict[str, Tensor]:
    named = ((name.removeprefix("module."), parameter.grad) for name, parameter in model.named_parameters())
    return {name: gradient.clone() for name, gradient in named if gradient is not None}


class Gradients(TrainerCallback):
    """Keeps the gradients of the first optimisation step, before it is taken; of `module`, which `trainer` sets."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self.module = torch.nn.Module()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.first = self.first or gradients_of(self.module)


def arguments(folder: Path, **given: Any) -> TrainingArguments:
    defaults = {
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        "max_grad_norm": 0,
        "use_cpu": True,
    }
    return TrainingArguments(output_dir=str(folder), report_to=[], disable_tqdm=True, **defaults | given)


def as_written(objective: config.Objective | Mapping[str, Any]) -> config.Objective:
    """Eq. (1) with nothing but what is written: no default of a run takes the place of what is left open."""
    wish = objective if isinstance(objective, config.Objective) else config.Objective(**objective)
    closed = {"gamma1": 0.0, "beta2": 0.0, "gamma2": 0.0, "augmented_label": "teacher_soft", "intermediate": []}
    left_open = {name: value for name, value in closed.items() if getattr(wish, name) is None}
    return wish.model_copy(update={**left_open, "prediction": prediction_choice(wish, regression=False)})


def trainer(
    folder: Path,
    objective: config.Objective | Mapping[str, Any] | None,
    *,
    small: Any = None,
    large: Any = None,
    data: Any = None,
    callbacks: list[Any] | None = None,
    cache: Any = None,
    compiled: bool = False,
    **given: Any,
) -> DistillationTrainer:
    made = DistillationTrainer(
        small if small is not None else student(),
        teacher=large if large is not None else teacher(),
        objective=objective if objective is None else as_written(objective),
        teacher_cache=cache,
        compiled=compiled,
        args=arguments(folder, **given),
        train_dataset=data if data is not None else Examples(32),
        data_collator=collate,
        callbacks=callbacks,
    )
    for callback in callbacks or []:
        if isinstance(callback, Gradients):
            callback.module = made.distillation
    return made


def job(size: int = 40, dev: int = 20) -> Job:
    def score(logits: Any, labels: Any) -> dict[str, float]:
        return {"accuracy": float((logits.argmax(-1) == labels).mean())}

    return Job(Examples(size), Examples(dev, 1), collate, score, "accuracy")


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
