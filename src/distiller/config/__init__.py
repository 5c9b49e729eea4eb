"""A distillation pipeline as data: `Run` and its parts, and how they are made of what was written.

What a translation says instead of these parts stands in `distiller.config.translation`; YAML and `a.b=value` overrides,
which know nothing of these parts, in `distiller.config.plain`; what is said of a wrong field in
`distiller.config.field_errors`.

The classes here say what may be written; whether the names and options exist is checked against the families by
`distiller.run.plan.make_plan`, which needs torch. Reading a run does not.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from distiller.config.field_errors import config_error
from distiller.config.plain import apply_override, load_yaml, read_yaml, refuse_impossible, to_yaml
from distiller.errors import ConfigError, did_you_mean, warn
from distiller.registry import Count, NonNegative, Number, Positive, Probability, Seed

__all__ = [
    "Component",
    "Config",
    "Critic",
    "Objective",
    "Optimisation",
    "Projection",
    "Run",
    "Share",
    "Stage",
    "Student",
    "Task",
    "Teacher",
    "Term",
    "Training",
    "apply_override",
    "load_run",
    "load_yaml",
    "parse",
    "parse_run",
    "read_yaml",
    "to_yaml",
]


class Config(BaseModel):
    """Frozen data; unknown keys are refused, with a `ConfigError` that names the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise config_error(error, type(self), type(self).__name__) from None

    # as in pydantic's own RootModel: parts of a larger whole are validated without it, and the whole names their place
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(
            f"a `{type(self).__name__}` stays as it was made", hint=f'copy it: .model_copy(update={{"{name}": …}})'
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with the fields in `update` replaced. Raises `ConfigError` for a name that is no field."""
        for name, value in (update or {}).items():
            if name not in type(self).model_fields:
                raise ConfigError(
                    f"{type(self).__name__}: no field is called `{name}`",
                    hint=did_you_mean(name, [*type(self).model_fields]),
                )
            kept = getattr(self, name)
            if isinstance(kept, Config) and isinstance(value, Mapping):
                raise ConfigError(
                    f"{type(self).__name__}: `{name}` is a `{type(kept).__name__}`, not a mapping",
                    hint=f'copy that too: {name}.model_copy(update={{"{next(iter(value), "field")}": …}})',
                )
        return super().model_copy(update=update, deep=deep)


C = TypeVar("C", bound=Config)


class Component(Config):
    """A row of a family by name, with its options. In YAML `kl` is short for `{name: kl}`."""

    name: str
    options: dict[str, Any] = {}


def _component(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Choice = Annotated[Component, BeforeValidator(_component)]


def _words(value: Any) -> Any:
    """A list of names in which some look like numbers to YAML."""
    if not isinstance(value, list):
        return value
    return [str(one) if isinstance(one, bool | int | float) else one for one in value]


def _separator(value: Any) -> Any:
    return "\t" if value in ("tab", "\\t") else value


def _place(value: str) -> str:
    if found := re.search(r"\$(\w+|\{\w+\})", value):
        raise ValueError(f"`{found[0]}` is not replaced by a variable's value: write it out")
    return value


Words = Annotated[list[str], BeforeValidator(_words)]
Folder = Annotated[str, AfterValidator(_place)]
Separator = Annotated[str, BeforeValidator(_separator), Field(min_length=1, max_length=1)]


class Task(Config):
    """What is to be learnt: a row of the task table, your own files, or a data set that `datasets` resolves."""

    name: str = "custom"
    """A row of `distiller components task` (`rte`, `sst2`, `rotten-tomatoes`, …), or `custom` for your own data."""
    data: str | None = None
    """Where the data is: the folder of a benchmark's official files, or for `custom` a data set name or folder
    that `datasets` resolves. Not needed when `train` names a file."""
    config: str | None = None
    """The configuration of a `datasets` data set, e.g. `sst2` of `glue`."""
    train: str | None = None
    """Training file (.csv .tsv .txt .jsonl .ndjson .json .parquet .conll; also .csv.gz, .bz2, .xz, .zst), or the
    name of the split in `data`."""
    dev: str | None = None
    """Development file or split name. Without one, `dev_fraction` of the training rows is held out."""
    test: str | None = None
    """Test file or split name; scored only by `distiller evaluate --split test`."""
    unlabelled: str | list[str] | None = None
    """More texts to learn from, without labels: a file or split of `data`, or a list of them, with the columns `text`
    and `text_pair` (for tagging words, for question answering questions and contexts); `.txt` has a text a line. The
    student learns of them what the teacher says. So it does of training rows whose label is empty."""
    text: str = "text"
    """Column of the text (or of the first of two)."""
    text_pair: str | None = None
    """Column of the second text of a pair."""
    label: str = "label"
    """Column of the label. A list of class names that repeats one holds several answers to the same text, whose
    shares are probabilities; lists of numbers that sum to one, or class names with numbers, are `probabilities`."""
    probabilities: str | list[str] | None = None
    """How probable each class is, as an LLM, an ensemble or `distiller label` says (they sum to one, or with
    `kind: multilabel` stand each for itself): a column of lists in the order of
    `labels`, or of class names with numbers; or a column for each class, as a list of names or with a `*` where the
    class stands (`p(*)`). They stand in for what the teacher says, and for a label where there is none."""
    min_confidence: Probability | None = None
    """Leave out rows whose most probable class has less than this probability (counted in the Record). Where several
    classes may apply, rows of which one class is less certain than this to be there, or not to be."""
    kind: Literal["classification", "multilabel", "regression", "tagging", "qa"] | None = None
    """`translation` makes a run of parallel text, whose task has fields of its own. `null`: the task table's kind; for
    `custom` it follows from the data: `tagging` for CoNLL files and columns of lists, `qa` for SQuAD files,
    `regression` when every label is written with a fraction and not all are whole."""
    labels: Words | None = None
    """The label set, in the order of the class ids. `null`: the labels of the training rows, sorted."""
    metric: str | None = None
    """The score that chooses the best checkpoint. `null`: the first metric of the task."""
    max_length: Count | None = None
    """Longest input in tokens. `null`: 64 for single texts, 128 for pairs and tagging, 320 for question answering
    (arXiv:2109.11105, appendix G)."""
    truncate: bool = True
    """Cut longer inputs at `max_length` (and count them in the Record); `false` refuses them."""
    train_limit: Count | None = None
    """Use only so many training rows, chosen by `split_seed`."""
    label_limit: Count | None = None
    """Use the labels of only so many training rows, chosen by `split_seed`; the others are texts without labels."""
    unlabelled_limit: Count | None = None
    """Use only so many texts without labels, chosen by `split_seed`."""
    dev_limit: Count | None = None
    """Use only so many development rows, chosen by `split_seed`."""
    dev_fraction: Annotated[float, Field(gt=0, lt=1), Number] = 0.1
    """Share of the training rows held out when there is no development file."""
    split_seed: Seed = 13
    """Fixes which rows are held out or kept."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of refusing the data: they are counted in the Record, and listed in
    `left_out.txt` of the output folder."""
    encoding: str | None = None
    """How the files are encoded, e.g. `cp1252` or `latin-1`. `null`: UTF-8, or what a byte order mark says."""
    separator: Separator | None = None
    """What stands between the cells of .csv, .tsv and .txt files; `tab` for a tab. `null`: what divides the header."""
    columns: Words | None = None
    """Names of all columns, in their order, of files without a header line: .csv, .tsv and .txt, and CoNLL files.
    `null`: the first line names them; for CoNLL `text` first, `label` last, numbers between."""
    stride: Count = 128
    """Question answering: tokens by which the windows of a long context overlap (`doc_stride`)."""
    max_question_length: Count = 64
    """Question answering: longest question in tokens; longer ones are cut."""
    max_answer_length: Count = 30
    """Question answering: longest predicted answer in tokens."""
    n_best: Count = 20
    """Question answering: starts and ends considered for each window."""

    @property
    def answer_limits(self) -> dict[str, int]:
        """What bounds the answers to a question, as `distiller.tasks.answers.answers` takes it."""
        return {"n_best": self.n_best, "max_answer_length": self.max_answer_length}


class Optimisation(Config):
    """How weights are trained: by default until they have learnt, the same rule for teacher, baseline and student."""

    epochs: Annotated[Positive, Field(le=100_000)] | None = None
    """Passes over the training data. `null`: until the development score has not improved for `patience` evaluations,
    between `min_steps` and `max_steps`; the rate is constant until then and falls to 0 over a quarter of the steps
    before."""
    min_steps: Count | None = None
    """Without `epochs`: the fewest optimisation steps. `null`: 3 epochs, at least 200 steps and at most 1,000."""
    max_steps: Count | None = None
    """Stop after so many optimisation steps, whatever else is said. `null`: `epochs`; or without them 20 epochs, at
    least 800 steps and at most 6,000 or two epochs."""
    batch_size: Annotated[Count, Field(le=2**20)] = 32
    """Examples per optimisation step and device, before accumulation."""
    accumulate: Annotated[Count, Field(le=2**20)] = 1
    """Micro-batches per optimisation step."""
    learning_rate: Positive | None = None
    """`null`: 5e-5 · 768 / hidden width for pretrained weights, half of it from 24 layers on, and three times as much,
    at most 1e-3, for weights that start at random."""
    head_learning_rate: Positive | None = None
    """Learning rate of projections and critics, which start at random. `null`: 1e-3."""
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """How the rate moves where `epochs` are given."""
    warmup: Probability = 0.1
    """Share of the steps (without `epochs`: of the fewest) spent warming up."""
    weight_decay: NonNegative = 0.01
    """Not applied to biases and layer norms."""
    max_grad_norm: NonNegative = 1.0
    """Clips the gradient norm; 0 does not clip."""
    evaluations: Count | None = None
    """Development scores per epoch. `null`: 1; without `epochs`, 40 on the way to `max_steps`, or fewer where they
    would take more than a fifth of the training's time."""
    patience: Count | None = None
    """Evaluations without a better score after which a training ends. `null`: never; without `epochs`, 6."""
    checkpoint_minutes: NonNegative = 5.0
    """An interrupted training goes on from its newest checkpoint, written after so many minutes (0: after every step)
    and when it is asked to stop. Changes no result."""


class OtherTeacher(Config):
    """One more teacher, whose probabilities are averaged with those of the first."""

    model: str
    """A model id, a folder, or `package:NAME`; it reads the tokens of the first teacher."""
    weight: Positive = 1.0
    """How much it counts beside the others."""
    finetune: Literal["auto", "always", "never"] = "auto"
    """As of the first teacher."""
    learning_rate: Positive | None = None
    """Of its fine-tuning, which is otherwise that of the first. `null`: `teacher.training.learning_rate`, or what the
    kind of model says."""
    seed: Seed = 0
    """Seed of the fine-tuning."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Only for sources you trust."""


class Teacher(Config):
    """The model that is imitated."""

    model: str
    """A model id, a folder, or `package:NAME` for weights that an installed package carries."""
    finetune: Literal["auto", "always", "never"] = "auto"
    """`auto`: fine-tune first unless the model already has a head for this task; the result is kept and reused."""
    training: Optimisation = Optimisation()
    seed: Seed = 0
    """Seed of the fine-tuning, so that all seeds of a run share one teacher."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Only for sources you trust."""
    weight: Positive = 1.0
    """How much it counts where there are others."""
    others: list[OtherTeacher] = []
    """More teachers. The probabilities of all are averaged (numbers, for a regression); layers are compared with those
    of the first, and students cut from it. A list of teachers, or `{models: […], weights: […]}`, is short for this."""

    @property
    def names(self) -> list[str]:
        """The models, the first one first."""
        return [self.model, *(one.model for one in self.others)]


def _one_teacher(value: Any) -> Any:
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
        raise ValueError("several teachers are said once: as a list, or as `others`")
    return {**parts[0], "others": parts[1:]}


class Student(Config):
    """The model that learns."""

    architecture: str | None = None
    """A row of `distiller components student` (`bert-tiny`, …). `null`: that of `model`, or the teacher's cut
    to `layers`."""
    model: str | None = None
    """Pretrained weights to start from: a model id, a folder, or `package:NAME`."""
    config: dict[str, Any] = {}
    """Any field of the `transformers` configuration, e.g. `{hidden_size: 128}`."""
    layers: Count | None = None
    """Number of layers kept. `null`: all that the architecture has."""
    init: Literal["pretrained", "teacher", "random"] | None = None
    """Where the weights come from. `null`: `pretrained` with `model`, `random` with `architecture` or `config`,
    else `teacher`."""
    pick: Literal["first", "last", "every"] | list[Annotated[int, Number]] = "every"
    """Which layers of the source are kept, as a rule or as 0-based layer numbers. `every` keeps the last of each
    block: 2, 4, 6 of 6 for three layers (1-based), the layers that the `skip` mapping compares with."""
    vocabulary: Annotated[int, Field(gt=0, le=10_000_000), Number] | Literal["task"] | None = None
    """Pieces of the tokenizer's vocabulary that are kept, with their embeddings: `task` keeps those that occur in the
    training texts, a number those that occur most and then the first of the vocabulary. Special tokens, characters and
    bytes always stay, so rarer pieces are put together from smaller ones. `null`: all."""
    dropout: Probability | None = None
    """Hidden dropout. `null`: what the architecture says."""
    attention_dropout: Probability | None = 0.0
    """Dropout of attention weights: 0 lets the fast attention kernels run. `null`: what the architecture says."""
    trust_remote_code: bool = False


class Projection(Config):
    """A linear map from student width to teacher width; exists only where the widths differ, or on request."""

    shared: bool = False
    """One map for all layer pairs (TinyBERT) instead of one for each (arXiv:2109.11105, authors' code)."""
    always: bool = False
    """Also where the widths are equal."""


class Critic(Config):
    """The critic of a mutual-information objective."""

    name: str | None = None
    """`transformer`, `mlp` or `joint`. `null`: `transformer`, or `mlp` under the `emd` mapping (as the authors)."""
    options: dict[str, Any] = {}
    shared: bool | None = None
    """One critic for all layer pairs. `null`: shared, or one per pair under `emd` (as the authors)."""
    concat_views: bool = False
    """Score original and augmented examples together, so that they are each other's negatives, instead of each view
    for itself (as the paper). The term is then counted once, not once for each view."""
    gather: bool | None = None
    """Take negatives from the batches of all processes that train together, not only from an example's own, so that
    several learn what one does. `null`: where the critic reads student and teacher apart (all but `joint`)."""


class Share(Config):
    """A weight that follows from what a term does: its share of the gradient that reaches the student."""

    share: Annotated[float, Field(gt=0, lt=1), Number]
    """Of the sum of all terms' gradient norms; measured at the beginning and every 50 optimisation steps."""


class Term(Config):
    """One intermediate objective over the layer pairs of one mapping: `weight` · Σ m_ij · loss(H_i, H_j)."""

    loss: str
    """A row of the intermediate objectives (`mse`, `mi_alpha`, …)."""
    weight: NonNegative | Share = 1.0
    """Multiplies the loss; 0 switches the term off. `{share: 0.3}`: whatever number makes 0.3 of the gradient come from
    this term, so that neither its units nor its number of layers decide how much it counts."""
    pairs: Literal["sum", "mean"] = "sum"
    """Whether the losses of the layer pairs are added up (arXiv:2109.11105) or averaged."""
    warmup: Probability = 0.0
    """Share of the training in which the weight rises from 0."""
    fade: Probability = 0.0
    """Share of the training, at its end, in which the weight falls to 0."""
    head_start: Annotated[int, Field(ge=0), Number] = 0
    """Optimisation steps in which the projection or critic learns before the student hears of this term."""
    options: dict[str, Any] = {}
    """The loss's own options."""
    mapping: Choice = Component(name="skip")
    """Which teacher layer each student layer is compared with."""
    projection: Projection = Projection()
    critic: Critic | None = None
    """Only for losses that have one. `null`: the published default."""

    @property
    def active(self) -> bool:
        """Whether it counts at all."""
        return isinstance(self.weight, Share) or self.weight > 0


class Objective(Config):
    """Eq. (1) of arXiv:2109.11105: two views of each example, each with a soft, a label and intermediate terms."""

    defaults: Literal["distiller", "paper"] = "distiller"
    """What the fields below mean where they are `null`: `distiller` is what did best on tasks that nobody had tuned
    for, `paper` is arXiv:2109.11105, appendix G."""
    prediction: Choice | None = None
    """Compares student and teacher outputs. `null`: `kl` at temperature 4 (paper: `ce`), or `mse` for regression.
    Switch it off with beta1 = 0."""
    beta1: NonNegative = 1.0
    """Weight of the prediction objective on the original view."""
    gamma1: NonNegative | None = None
    """Weight of the gold labels on the original view. `null`: 0.5 where there are any (paper: 0, or 0.5 with
    augmentation)."""
    beta2: NonNegative | None = None
    """Weight of the prediction objective on the augmented view. `null`: 1 with augmentation, else 0."""
    gamma2: NonNegative | None = None
    """Weight of the augmented view's labels. `null`: 0.5 with augmentation, else 0."""
    class_weights: Literal["balanced"] | dict[str, NonNegative] | None = None
    """How much rows of each class count in the label terms, also where teacher and baseline are fine-tuned: `balanced`
    is the inverse of how often a class occurs, a class that is not named counts 1. Their mean over the labelled
    training rows (of tagging, words) is 1, so that gamma keeps its meaning."""
    augmented_label: Literal["teacher_soft", "teacher_hard", "gold"] | None = None
    """Which label the augmented view has: the paper says the teacher's soft one, its code takes the argmax. `null`:
    `gold` where mixup is the only operator (the mixed labels of both examples), else `teacher_soft`."""
    intermediate: list[Term] | None = None
    """Terms on hidden states or attention. `null`: `mse` over the pairs of the `skip` mapping with half of the gradient
    (for models that read other tokens `pkd` with 0.3 of it; with beta1 = 0, where a model has no layers that can be
    compared, and in the paper, none). `[]` is none."""
    intermediate_weight: NonNegative = 1.0
    """Multiplies all intermediate terms, on both views."""

    @property
    def terms(self) -> list[Term]:
        """The intermediate terms; those left open are none before a run is resolved."""
        return self.intermediate or []


class Training(Optimisation):
    """How the student is trained, and on what."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the processor or accelerator computes it natively, else fp32. Losses are always fp32."""
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """`auto`: the kernel that is faster on this device."""
    threads: Annotated[Count, Field(le=1024)] | None = None
    """CPU threads of this process. `null`: what torch chooses."""
    workers: Annotated[int, Field(ge=0, le=128), Number] | None = None
    """Processes that rewrite and tokenize text beside the training. `null`: one where text is augmented, else none."""
    compile: bool = False
    """Run teacher, student and objective through `torch.compile`; batches are padded to multiples of 32 tokens, so that
    few graphs are made. The first steps, which compile, take long: for long trainings on a GPU."""
    cache_teacher: Literal["auto", "always", "never"] = "auto"
    """Compute the teacher's outputs once and keep them on disk. `auto`: when they fit into `cache_gb`."""
    cache_gb: Positive = 8.0
    """Room for one run's teacher outputs, in 10^9 bytes."""
    report_to: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = []
    """Trackers that follow every training of the run. TensorBoard files lie in the output folder, the others go where
    their own settings say, e.g. `MLFLOW_TRACKING_URI`."""
    log_every: Count = 20
    """Optimisation steps between two log lines."""

    @model_validator(mode="before")
    @classmethod
    def _former_tensorboard(cls, data: Any) -> Any:
        """Records and run files of earlier versions say `tensorboard: true` or `false`."""
        if not isinstance(data, dict) or not isinstance(data.get("tensorboard"), bool):
            return data
        rest = {name: value for name, value in data.items() if name != "tensorboard"}
        return {"report_to": ["tensorboard"], **rest} if data["tensorboard"] else rest


class Stage(Config):
    """One of several consecutive trainings of the same student; what it does not say is the run's."""

    name: Annotated[str, Field(pattern=r"^[\w][\w .+-]{0,63}$")]
    """Names the stage's folder in the output: letters, digits, `_`, `-`, `+`, `.` and spaces."""
    objective: Objective
    training: dict[str, Any] = {}
    """Fields of `training` that differ in this stage; `threads` and `attention` are those of the whole run."""


class Run(Config):
    """One distillation: everything that decides its result.

    Where `task.kind` is `translation` it is a `TranslationRun`, whichever way it was made.
    """

    recipe: str | None = None
    """The recipe this run was made from; a label only."""
    task: Task
    teacher: Annotated[Teacher | None, BeforeValidator(_one_teacher)] = None
    """`null`: no model is imitated, but the probabilities that training rows bring along (`task.probabilities`)."""
    student: Student = Student()
    augmentation: list[Choice] = []
    """The augmentation policy: operators in the order in which they are applied."""
    augmentation_refresh: Count = 1
    """Epochs that share what was augmented; 1 makes every example anew in every epoch."""
    crossovers: Annotated[int, Field(ge=0, le=100), Number] | None = None
    """Texts for each training text that begin like it and end like another; the student learns what the teacher says of
    them. `null`: 4, up to 16 where there are fewer than 3,000 texts, fewer where the texts have more than 120,000 words
    and none from 300,000 on, or where the teacher's outputs would not fit into `cache_gb`; none for question answering,
    without a teacher, with `augmentation`, in a recipe, or where `training` says `epochs` or `max_steps`."""
    objective: Objective = Objective()
    stages: list[Stage] = []
    """Train in consecutive stages, each with an objective of its own, instead of once with `objective`."""
    training: Training = Training()
    baseline: bool | Literal["both"] = True
    """Also fine-tune the same student without a teacher, to know what distillation adds. Kept and reused. A student cut
    from a teacher that is fine-tuned here starts from its fine-tuned layers, so has its baseline; `both` fine-tunes
    another one that starts from the same layers as they were before, and never heard of the teacher."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    """One training per seed; the Record has mean and standard deviation."""
    output: Folder = "outputs/run"
    """Folder of the result: the student, the resolved run and the Record."""
    cache: Folder | None = None
    """Folder of what runs share: fine-tuned teachers, baselines, teacher outputs. `null`: `$DISTILLER_CACHE` or
    `~/.cache/distiller`."""

    def __new__(cls, /, **data: Any) -> "Run":
        """`Run(task={"kind": "translation", …})` is of that kind."""
        kind: Any = kind_of(data) if cls is Run else cls
        return super().__new__(kind)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, data: Any, handler: Any) -> "Run":
        kind = kind_of(data) if cls is Run else cls
        return handler(data) if kind is cls else kind.model_validate(data)

    @property
    def objectives(self) -> list[Objective]:
        """What its consecutive trainings minimise."""
        return [stage.objective for stage in self.stages] or [self.objective]

    @model_validator(mode="after")
    def _distinct_seeds(self) -> "Run":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct, got {self.seeds}")
        return self

    @model_validator(mode="after")
    def _distinct_stages(self) -> "Run":
        taken = {"student", "result.json"}  # what else stands in a seed's folder
        for stage in self.stages:
            name = stage.name.casefold().rstrip(". ")  # as file systems that ignore case compare names
            if name in taken:
                raise ValueError(f"each stage needs a name of its own, and `{stage.name}` is taken")
            taken.add(name)
        return self


def kind_of(data: Any) -> type[Run]:
    """The class of the run that is written in `data`: it follows from the kind of its task."""
    if not isinstance(data, Mapping):
        return Run
    from distiller.config.translation import Translation, TranslationRun, is_former

    task = data.get("task")
    translates = isinstance(task, Translation) or is_former(data)
    if isinstance(task, Mapping):
        two_sides = isinstance(task.get("train"), Mapping | Config)
        translates = task.get("kind") == "translation" or (two_sides and task.get("kind") is None)
    return TranslationRun if translates else Run


def parse_run(data: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "run") -> Run:
    """A `Run` from plain data and `a.b=value` overrides. Raises `ConfigError` that names the field."""
    from distiller.config.translation import former, is_former

    if is_former(data):
        data = former(data)
        warn(f"{where}: `corpus` is now a `task` of the kind translation, `nll` is gamma1 and `word_kd` beta1")
    merged = dict(data)
    for override in overrides:
        merged = apply_override(merged, override)
    if "corpus" in merged and kind_of(merged) is not Run:
        raise ConfigError(f"{where}: no field is called `corpus`", hint="what stood there stands in `task`: task.train")
    return parse(kind_of(merged), merged, where=where)


def parse(kind: type[C], data: Mapping[str, Any], *, where: str) -> C:
    """A `kind` from plain data. Raises `ConfigError` that begins with `where` and names the field."""
    refuse_impossible(data, where)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise config_error(error, kind, where) from None


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read a run from a YAML file. Raises `ConfigError` for a missing file, bad YAML or an unknown field."""
    return parse_run(read_yaml(path), overrides, where=str(path))
