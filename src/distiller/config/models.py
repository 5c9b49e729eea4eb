"""The teacher, which is imitated, and the student, which learns."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from distiller.config.base import Config
from distiller.config.training import Optimisation, Training
from distiller.registry import Count, Number, Positive, Probability, Seed


class OtherTeacher(Config):
    """One more teacher, whose probabilities are averaged with those of the first."""

    model: str
    """A model id, a folder, or `package:NAME`; it reads the tokens of the first teacher."""
    weight: Positive = 1.0
    """Weight of this teacher's probabilities in the average."""
    finetune: Literal["auto", "always", "never"] = "auto"
    """As `teacher.finetune`."""
    learning_rate: Positive | None = None
    """Learning rate of its fine-tuning; all other settings are those of the first teacher. `null`:
    `teacher.training.learning_rate`, or the default for this model."""
    seed: Seed = 0
    """Seed of the fine-tuning."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Only for sources you trust."""


def _only_optimisation(value: Any) -> Any:
    """A `Training` as the `Optimisation` in it; what it says beyond that is the student's alone."""
    if not isinstance(value, Training):
        return value
    beyond = sorted(value.model_fields_set - set(Optimisation.model_fields))
    if beyond:
        raise ValueError(f"a teacher's training has no `{beyond[0]}`; that of the run holds for the teacher too")
    return Optimisation(**{name: getattr(value, name) for name in value.model_fields_set})


class Teacher(Config):
    """The teacher: the model whose outputs and hidden states the student learns to reproduce. It is never trained
    during distillation."""

    model: str
    """A model id, a folder, or `package:NAME` for weights that an installed package carries."""
    finetune: Literal["auto", "always", "never"] = "auto"
    """`auto`: fine-tune first unless the model already has a head for this task; the result is kept and reused."""
    training: Annotated[Optimisation, BeforeValidator(_only_optimisation)] = Optimisation()
    seed: Seed = 0
    """Seed of the fine-tuning, so that all seeds of a run share one teacher."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Only for sources you trust."""
    weight: Positive = 1.0
    """Weight of this teacher's probabilities in the average, where there are `others`."""
    others: list[OtherTeacher] = []
    """Further teachers. The class probabilities of all teachers (for a regression, their predictions) are averaged.
    Hidden states are compared with the first teacher alone, and students are cut from it. `teacher` may also be
    written as a list of teachers, or as `{models: […], weights: […]}`."""

    @property
    def names(self) -> list[str]:
        """Names of all teachers, beginning with the first."""
        return [self.model, *(one.model for one in self.others)]


def one_teacher(value: Any) -> Any:
    """A list of teachers, or `models` with `weights`, as the first teacher and the `others`."""
    if isinstance(value, Mapping) and "models" in value:
        shared = {name: one for name, one in value.items() if name not in ("models", "weights")}
        models, weights = value["models"], value.get("weights")
        numbers = isinstance(models, list) and isinstance(weights, list) and len(weights) == len(models)
        if not isinstance(models, list) or not (weights is None or numbers):
            raise ValueError("`models` is a list of names, and `weights` has a number for each of them")
        kept = {name: shared[name] for name in ("finetune", "seed", "trust_remote_code") if name in shared}
        parts: list[Any] = [
            {**(shared if number == 0 else kept), "model": model} for number, model in enumerate(models)
        ]
        if weights is not None:
            parts = [{**part, "weight": weight} for part, weight in zip(parts, weights, strict=True)]
    elif isinstance(value, list):
        parts = [{"model": one} if isinstance(one, str) else one for one in value]
    else:
        return value
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError("several teachers are a list of `{model: …}`, or `models` with `weights`")
    if any("others" in part for part in parts):
        raise ValueError("give several teachers only once: as a list, or as `others`")
    return {**parts[0], "others": parts[1:]}


class Student(Config):
    """The student: which model is trained, and from which weights it starts."""

    architecture: str | None = None
    """A row of `distiller components student` (`bert-tiny`, …). `null`: that of `model`, or the teacher's cut
    to `layers`."""
    model: str | None = None
    """Pretrained weights to start from: a model id, a folder, or `package:NAME`."""
    config: dict[str, Any] = {}
    """Any field of the `transformers` configuration, e.g. `{hidden_size: 128}`."""
    layers: Count | None = None
    """Number of layers. `null`: all that the architecture has."""
    init: Literal["pretrained", "teacher", "random"] | None = None
    """Where the weights come from. `null`: `pretrained` with `model`, `random` with `architecture` or `config`,
    else `teacher`."""
    pick: Literal["first", "last", "every"] | list[Annotated[int, Number]] = "every"
    """Which layers of the source are kept, as a rule or as 0-based layer numbers. `every` keeps the last of each
    block: 2, 4, 6 of 6 for three layers (1-based), the layers that the `skip` mapping compares with."""
    vocabulary: Annotated[int, Field(gt=0, le=10_000_000), Number] | Literal["task"] | None = None
    """Which part of the tokenizer's vocabulary is kept, with its embeddings. `task`: the pieces that occur in the
    training texts. A number: that many pieces, the most frequent ones of the training texts and then the first ones of
    the vocabulary. Special tokens, single characters and bytes are always kept, so a piece that was removed is split
    into smaller ones. `null`: all."""
    dropout: Probability | None = None
    """Hidden dropout. `null`: the architecture's own."""
    attention_dropout: Probability | None = 0.0
    """Dropout of attention weights: 0 lets the fast attention kernels run. `null`: the architecture's own."""
    trust_remote_code: bool = False
