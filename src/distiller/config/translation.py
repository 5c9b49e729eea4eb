"""What a run means where its task is a translation: parallel text, vocabulary, shapes, decoding, pseudo-labels.

Everything else of a run is that of `distiller.config`, and is read by the same functions.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from distiller import config
from distiller.config.base import Component, Config, Files
from distiller.config.decoding import Decoding, SequenceLevel
from distiller.config.former import former
from distiller.config.names import Prediction
from distiller.config.run import Folder
from distiller.config.shapes import LONGEST, Shape
from distiller.registry import Count, NonNegative, Number, Positive, Seed


def _refuse_set(part: Config, names: tuple[str, ...], where: str = "") -> None:
    """What only other kinds of task read may not be said."""
    for name in names:
        if getattr(part, name) != type(part).model_fields[name].get_default(call_default_factory=True):
            raise ValueError(f"{where}{name} has no meaning where the task is a translation: leave it out")


Column = Annotated[int, Field(ge=0), Number] | str


class Parallel(Config):
    """Sentences and their translations: two files of equal length, or two columns of one file."""

    source: str
    """A text file with one sentence a line, or a table; `package:NAME/FILE` is a file that a package carries."""
    target: str | None = None
    """The translations, line by line. `null`: `source` is a table with both (.tsv .csv .jsonl .json .parquet)."""
    columns: tuple[Column, Column] | None = None
    """Columns of source and target: by name, including `translation.de` for an object; or by number from 0, in a .tsv
    file without a header. `null`: the first two columns of a .tsv file; otherwise `source` and `target`, or the only
    two."""
    limit: Count | None = None
    """Use only this many pairs, chosen by `task.split_seed`."""


ParallelText = Annotated[
    Parallel, BeforeValidator(lambda value: {"source": value} if isinstance(value, str) else value)
]
"""In YAML `pairs.csv` is short for `{source: pairs.csv}`."""


class Translation(Config):
    """A task of the kind `translation`: the text to learn from, and the text to score on."""

    kind: Literal["translation"] = "translation"
    """May be left out where `train` names two sides."""
    train: ParallelText
    dev: ParallelText | None = None
    """Chooses the best checkpoint. `null`: `held_out` source sentences of `train`."""
    test: ParallelText | None = None
    """Scored once, at the end."""
    held_out: Count | None = None
    """Distinct source sentences held out for each missing one of `dev` and, with `hold_out_test`, `test`. Training
    pairs that share a side with them are left out. `null`: 500, or a tenth where there are fewer than 5,000."""
    hold_out_test: bool = False
    """Hold out a test set too, when `test` names none."""
    monolingual: Files = []
    """Files of source sentences without translations: the teacher translates them for the student."""
    monolingual_target: Files = []
    """Files of target sentences without sources: `sequence.backward` translates them back, and the student learns to
    produce them (Sennrich et al. 2016, arXiv:1511.06709)."""
    fraction: Annotated[float, Field(gt=0, le=1), Number] = 1.0
    """Share of the training pairs that the student may see, chosen by `split_seed`: the low-data regime."""
    split_seed: Seed = 13
    """Random seed of the choice of pairs that are held out or kept."""
    max_length: Annotated[int, Field(ge=1, le=LONGEST), Number] = 128
    """Longest sentence in tokens, on either side."""
    skip_bad: bool = False
    """Leave out empty and over-long sentences (counted in the Record) instead of refusing the data."""
    encoding: str | None = None
    """How the files are written: `cp1252`, `latin-1`, … `null`: UTF-8, or what a byte order mark says. Files may be
    compressed (.gz, .bz2, .xz, .zst)."""


class Vocabulary(Config):
    """How text becomes tokens for the student; word-level distillation needs the teacher's own vocabulary."""

    model: str | None = None
    """An existing SentencePiece model. `null`: see `of`."""
    of: Literal["auto", "teacher", "corpus"] = "auto"
    """`teacher`: its tokenizer. `corpus`: SentencePiece, trained on both sides of `task.train`. `auto`: that of
    `teacher.model` where one is named, else of the corpus."""
    cut: bool = False
    """Leave out the pieces of the teacher's tokenizer that the training text does not use, and their embeddings."""
    size: Count = 8000
    """Pieces, special ones included; the slides have 32,000."""
    kind: Literal["bpe", "unigram"] = "bpe"
    normalisation: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    """SentencePiece's rule for input text; `_cf` folds case, `identity` changes nothing."""
    coverage: Annotated[float, Field(gt=0, le=1), Number] = 1.0
    """Share of the characters of the text that the pieces must cover."""


class Optimisation(Config):
    """How weights are trained: Adam with β = (0.9, 0.98) and an inverse-square-root rate, as on the slides."""

    epochs: Annotated[Positive, Field(le=100_000)] | None = None
    """Passes over the training pairs. `null`: `max_steps`, or without them until the model stops improving, by the same
    rule as in every run: chrF has not improved for `patience` evaluations, and the rate is constant until then."""
    min_steps: Count | None = None
    """Without `epochs` and `max_steps`: the fewest optimisation steps. `null`: 3 epochs, 200 to 1,000 steps."""
    max_steps: Count | None = None
    """Take this many optimisation steps, whatever `epochs` says; the slides take 150,000."""
    batch_tokens: Annotated[Count, Field(le=2**24)] = 4096
    """Tokens of the longer side in a batch, padding included; the slides take 8,000 on each of their devices."""
    accumulate: Annotated[Count, Field(le=2**20)] = 1
    """Micro-batches per optimisation step."""
    learning_rate: Positive = 4e-4
    """The learning rate at the end of the warm-up."""
    warmup_steps: Count | None = None
    """Steps of linear warm-up, W; then the rate falls as √((W+1)/(t+1)). `null`: a tenth of all, or of the fewest."""
    weight_decay: NonNegative = 0.0
    max_grad_norm: NonNegative = 0.0
    """Clips the gradient norm; 0 does not clip."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Number] = 0.0
    """Off for teacher and student when distilling, as on the slides."""
    source_dropout: Annotated[float, Field(ge=0, lt=1), Number] = 0.0
    """Share of the source tokens that are left out of each batch: the noise of a noisy student."""
    evaluations: Count | None = None
    """Development scores in one training; the weights of the best BLEU are kept. `null`: 10; or until the model has
    learnt 40, or fewer where they would take more than a fifth of the training's time."""
    checkpoint_minutes: NonNegative = 5.0
    """Minutes between two checkpoints, from which an interrupted training resumes (0: one after every step). One more
    is written when the process is asked to stop. Does not change the result."""
    patience: Count | None = None
    """Stop after this many evaluations without a better score. `null`: never; without `epochs` and `max_steps`, 6."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the processor or accelerator computes it natively, else fp32. Losses are always fp32."""
    chunk_megabytes: Positive = 256.0
    """Room for one vocabulary-sized tensor, in 10^6 bytes; larger batches are computed in chunks of tokens and
    recomputed in the backward pass."""
    threads: Annotated[Count, Field(le=1024)] | None = None
    """CPU threads of this process. `null`: torch's default."""
    report_to: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = []
    """Trackers that follow the training, as in every run."""
    log_every: Count = 50
    """Optimisation steps between two log lines."""

    @model_validator(mode="after")
    def _ends_by_itself(self) -> Self:
        for name in ("epochs", "max_steps"):
            if self.min_steps is not None and getattr(self, name) is not None:
                raise ValueError(
                    f"min_steps is for a training that ends by itself, and {name} says when: leave one of them out"
                )
        return self


class Training(Optimisation):
    """How the student is trained."""

    cache_teacher: Literal["auto", "always", "never"] = "auto"
    """If only word-level distillation uses the teacher: compute its last decoder states on all pairs once, keep them on
    disk and apply its head in each step. `auto`: when a pair is read more than once, and they fit into `cache_gb`."""
    cache_gb: Positive = 8.0
    """Room for one run's teacher outputs, in 10^9 bytes."""
    quantization_aware: bool = False
    """Let the distilled student compute in 8 bits, as CTranslate2 does, in the last fifth of the steps: for a student
    that will run in 8 bits and loses accuracy by it. Its weights stay float32."""

    @model_validator(mode="after")
    def _rounds_at_the_end(self) -> Self:
        lasts = self.epochs is not None or self.max_steps is not None
        if self.quantization_aware and self.patience is not None and lasts:
            raise ValueError(
                "`patience` may end a training of given length before `quantization_aware` begins: set one of them"
            )
        return self


class Languages(Config):
    """How a model is told what to translate. A finished student does not need this."""

    source: str | None = None
    """Code of the source language, as the model writes it: `de_DE` for mBART, `de` for M2M100, `deu_Latn` for NLLB."""
    target: str | None = None
    """Code of the target language."""
    prefix: str | None = None
    """Text before each source sentence: `"translate German to English: "` for T5."""


class Teacher(Config):
    """The teacher: a translation model, or translations that exist already."""

    model: str | None = None
    """Any encoder–decoder of `transformers` (Marian, mBART, M2M100, NLLB, T5, BART, Pegasus, …, or one of this
    library): a folder, `package:NAME` or a hub id. `null`: one of `shape` is trained, kept and reused."""
    languages: Languages = Languages()
    """For models of several languages."""
    translations: str | Files | None = None
    """Files of translations made elsewhere (by a language model, a service), instead of a model: .jsonl with `source`,
    `translation` or `translations`, and `score` or `scores` if there are any; .tsv with source, translation and perhaps
    score; any other file holds line i of the translation of line i of `task.train.source`."""
    prompt: str | None = None
    """Prompt for a causal language model as teacher, with `{source}` in place of the sentence: `"Translate to English:
    {source}"`."""
    server: str | None = None
    """Address of a server with an OpenAI-compatible API (`http://127.0.0.1:8000/v1`) for `model`; it receives `prompt`
    for each sentence. `$OPENAI_API_KEY` is sent if it is set."""
    shape: Shape = Shape(architecture="teacher-24x6")
    training: Optimisation = Optimisation()
    seed: Seed = 0
    """Seed of the teacher's training, so that all seeds of a run share one teacher."""

    @property
    def files(self) -> list[str]:
        """The files of `translations`."""
        return [self.translations] if isinstance(self.translations, str) else list(self.translations or [])

    @property
    def names(self) -> list[str]:
        """What the teacher is called: its model, the files of its translations, or its architecture."""
        return [self.model] if self.model else self.files or [self.shape.architecture]

    @property
    def says_only(self) -> bool:
        """Whether only its translations are available, not its probabilities and hidden states."""
        return bool(self.files or self.prompt or self.server)

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Teacher":
        if self.files and (self.model or self.prompt or self.server):
            raise ValueError("translations replace a teacher: leave out model, prompt and server")
        if (self.prompt or self.server) and not self.model:
            raise ValueError("prompt and server need the name of a model")
        if self.server and not self.prompt:
            raise ValueError('a server is asked with a prompt: "Translate to English: {source}"')
        if self.prompt and "{source}" not in self.prompt:
            raise ValueError("prompt must contain {source} in place of the sentence")
        return self


class Student(Config):
    """The student: its size, and the weights from which it starts."""

    shape: Shape = Shape()
    init: Literal["random", "teacher"] = "random"
    """`teacher`: keep one of every n layers of the teacher, and its embeddings, norms and softmax (DistilBERT)."""
    encoder_layers: Count | None = None
    """With `init: teacher`: this many layers of the teacher's encoder, whatever its architecture; `shape` is ignored.
    `null`: all of them, or those of `shape` where `decoder_layers` is `null` too."""
    decoder_layers: Count | None = None
    """The same for the decoder."""
    pick: Literal["first", "last"] = "first"
    """Which layer of each block of n is kept: 0, 8, 16 of 24, or 7, 15, 23."""

    @model_validator(mode="after")
    def _cuts_a_teacher(self) -> "Student":
        if self.init == "random" and (self.encoder_layers or self.decoder_layers or self.pick != "first"):
            raise ValueError(
                "encoder_layers, decoder_layers and pick cut a teacher: init=teacher; a student from random weights "
                "has shape.encoder_layers and shape.decoder_layers"
            )
        return self


class Term(config.Term):
    """One intermediate objective over layers of the encoder or of the decoder."""

    side: Literal["encoder", "decoder"] = "encoder"


class Objective(config.Objective):
    """Eq. (1) without a second view, and the cosine of DistilBERT's triple loss."""

    prediction: Prediction = Component(name="kl")  # pyright: ignore[reportIncompatibleVariableOverride] # runs are frozen
    """Compares the two distributions over the vocabulary: `kl` or `ce`, with `temperature` and `scale_T2`."""
    beta1: NonNegative = 1.0
    """Weight of word-level distillation: the prediction objective, teacher-forced on the target. If not set, it is 0
    where only the teacher's translations are available, or where the student has another vocabulary."""
    gamma1: NonNegative = 1.0  # pyright: ignore[reportIncompatibleVariableOverride]
    """Weight of the negative log-likelihood of the target, gold or pseudo-label, whichever the batch carries."""
    cosine: NonNegative = 0.0
    """Weight of 1 - cos, averaged over tokens and over the matched layers of encoder and decoder."""
    intermediate: list[Term] = []  # pyright: ignore[reportIncompatibleVariableOverride]
    """Further intermediate objectives, as in any other run."""

    @property
    def reads_layers(self) -> bool:
        """Whether hidden layers of the teacher are compared."""
        wanted = any(term.active for term in self.intermediate) or self.cosine > 0
        return wanted and self.intermediate_weight > 0

    @property
    def compares(self) -> bool:
        """Whether anything but its translations is read of the teacher."""
        return self.beta1 > 0 or self.reads_layers

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Objective":
        _refuse_set(self, ("defaults", "beta2", "gamma2", "class_weights", "augmented_label"), "objective.")
        if not (self.gamma1 or self.beta1):
            raise ValueError("gamma1 and beta1 are both 0: nothing would teach the student to translate")
        return self


class TranslationRun(config.Run):
    """A run whose task is a translation; other fields are as in every run."""

    task: Translation  # pyright: ignore[reportIncompatibleVariableOverride] # runs are frozen
    vocabulary: Vocabulary = Vocabulary()
    teacher: Teacher = Teacher()  # pyright: ignore[reportIncompatibleVariableOverride]
    student: Student = Student()  # pyright: ignore[reportIncompatibleVariableOverride]
    objective: Objective = Objective()  # pyright: ignore[reportIncompatibleVariableOverride]
    sequence: SequenceLevel | None = None
    """Train on the teacher's translations too, or only on them. `null`: on gold pairs."""
    training: Training = Training()  # pyright: ignore[reportIncompatibleVariableOverride]
    evaluation: Decoding = Decoding()
    """How translations are generated for the scores. During training, decoding is greedy."""
    baseline: bool = True  # pyright: ignore[reportIncompatibleVariableOverride]
    """Also train the same student on gold pairs alone, to measure what distillation adds; the result is cached."""
    efficiency: bool = True
    """Measure size and speed of teacher and student in fp32 and int8."""
    output: Folder = "outputs/translation"
    """Folder of the result: the student, the resolved run and the Record."""
    cache: Folder | None = None
    """Folder of what runs share: vocabulary, teacher, baselines, pseudo-labels. `null`: `$DISTILLER_CACHE` or
    `~/.cache/distiller`."""

    @model_validator(mode="before")
    @classmethod
    def _left_open(cls, data: Any) -> Any:
        """Without a word about it, what cannot be compared is not."""
        if not isinstance(data, Mapping):
            return data
        data = former(data)
        objective = data.get("objective") or {}
        if isinstance(objective, Mapping) and "beta1" not in objective and _speaks_otherwise(data):
            return {**data, "objective": {**objective, "beta1": 0.0}}
        return data

    @model_validator(mode="after")
    def _makes_sense(self) -> "TranslationRun":
        _refuse_set(self, ("augmentation", "augmentation_refresh", "crossovers", "taught_words", "stages"))
        if self.task.monolingual and self.sequence is None:
            raise ValueError("monolingual text needs `sequence`: it has no targets but the teacher's translations")
        backward = self.sequence.backward if self.sequence else None
        read_back = bool(self.task.monolingual_target or (self.sequence and self.sequence.filter.round_trip))
        if read_back != bool(backward):
            raise ValueError(
                "sequence.backward and what it translates need each other: task.monolingual_target, or "
                "sequence.filter.round_trip"
            )
        hears = self.teacher.model is not None and not self.teacher.says_only
        if self.teacher.languages != Languages() and not (hears or backward):
            raise ValueError("teacher.languages are told to an encoder–decoder that teacher.model names, and none is")
        if self.sequence is not None and self.sequence.filter.worst and self.teacher.server:
            raise ValueError(
                "sequence.filter.worst asks for the teacher's scores, and a server gives none: set it to 0"
            )
        self._chooses_among_hypotheses()
        self._teaches_as_it_can()
        return self

    def _chooses_among_hypotheses(self) -> None:
        """Hypotheses are asked of the teacher, or they are there already; one of several may be chosen."""
        wish = self.sequence
        if wish is None:
            return
        made = wish.pseudo_labels or self.teacher.files
        if wish.n_best > 1 and made:
            raise ValueError(
                f"sequence.n_best is asked of the teacher, and the translations in {made[0]} are there already: leave "
                "it out, or make them with --n-best"
            )
        if wish.seq_inter == "local_update" and wish.n_best == 1 and not made:
            raise ValueError(
                "sequence.seq_inter = local_update chooses among n_best hypotheses, and n_best is 1: raise it"
            )

    def _teaches_as_it_can(self) -> None:
        """A teacher of which nothing is known but its translations teaches by them alone."""
        if not self.teacher.says_only:
            return
        if self.objective.compares or self.student.init == "teacher" or self.vocabulary.of == "teacher":
            raise ValueError(
                "this teacher is known by its translations alone: set beta1, cosine and intermediate weights to 0, "
                "student.init to random and vocabulary.of to corpus"
            )
        if self.sequence is None:
            raise ValueError(
                "a teacher known by its translations alone needs `sequence`, e.g. `sequence.gold_ratio=0.5`"
            )


def _speaks_otherwise(data: Mapping[str, Any]) -> bool:
    """Whether the teacher is known by its translations alone, or has another vocabulary than the student."""
    named, words = _said_of(data.get("teacher")), _said_of(data.get("vocabulary"))
    if named.get("translations") or named.get("prompt") or named.get("server"):
        return True
    return bool(named.get("model")) and (words.get("of") == "corpus" or bool(words.get("model")))


def _said_of(part: Any) -> Mapping[str, Any]:
    """The fields of a part of a run; none of what is no part, which is refused where it is read."""
    if isinstance(part, Config):
        return part.model_dump()
    return part if isinstance(part, Mapping) else {}
