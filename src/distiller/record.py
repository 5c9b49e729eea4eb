"""The Record of a run: what was asked, what came out, what it cost. One JSON object.

Everything outside `cost`, `machine` and `created` is decided by the run, the data and the versions: repeating a run
with the same seed gives the same values there.
"""

import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import SerializeAsAny, ValidationError, model_validator

from distiller.config import Config, Run
from distiller.errors import OutputError
from distiller.files import SUMS, json_text, refuse_damage, write_last
from distiller.notebook import curves, html_table

FORMAT = 1
FILE, RUN_FILE = "record.json", "run.yaml"
OUTCOMES = "development.safetensors"
"""What teacher, baseline and student of every seed said of the development set, and the gold labels."""


class Spread(Config):
    """Mean and standard deviation over seeds (n - 1 in the denominator; 0 for one seed)."""

    mean: float
    std: float
    values: list[float]


class Comparison(Config):
    """The distilled student against the same student fine-tuned without a teacher, on the task's metric.

    Errors are standard errors of paired differences over the development examples, and with several seeds also over
    the trainings.
    """

    difference: float
    """Distilled minus fine-tuned."""
    error: float
    teacher_lead: float | None = None
    """Teacher minus fine-tuned student."""
    teacher_lead_error: float | None = None
    gap_closed: float | None = None
    """`difference` over `teacher_lead`, where that is more than two standard errors above 0."""


class ModelFacts(Config):
    """One model of a run and how well it does on the development set."""

    name: str
    parameters: int
    """Without the task head, as papers count."""
    parameters_with_head: int
    megabytes: float
    """10^6 bytes of the stored weights."""
    scores: dict[str, float]
    """Development scores; means over seeds where there are several."""
    spread: dict[str, Spread] = {}
    fingerprint: str | None = None
    """SHA-256 of the weights, where there is one set of them."""
    steps: list[int] = []
    """Optimisation steps of its training, by seed; none for a model that came fine-tuned."""
    best_steps: list[int] = []
    """After how many of them the best development score was reached, by seed; `histories` say where weights of several
    evaluations were averaged (`averaged`: how many, and the scores of their mean)."""
    start: str | None = None
    """Where the weights of its layers came from."""
    histories: list[list[dict[str, float]]] = []
    """Of a teacher or baseline that was trained: training losses and development scores by step, for each seed."""


class DataFacts(Config):
    """The data of a run."""

    task: str
    kind: str
    labels: list[str]
    metric: str
    examples: dict[str, int]
    """Rows by split."""
    truncated: dict[str, int]
    """Rows cut at `max_length`, by split."""
    soft: int = 0
    """Training rows that brought probabilities along (`task.probabilities`)."""
    unsure: int = 0
    """Rows left out because no class was as probable as `task.min_confidence`."""
    skipped: dict[str, int] = {}
    """Rows that could not be used and were left out (`task.skip_bad`), by split."""
    classes: dict[str, float] = {}
    """The share of every class among the development labels."""
    fingerprint: str
    vocabulary: str | None = None
    """Of a translation: SHA-256 of what makes tokens of text."""
    vocabulary_size: int | None = None


class VocabularyFacts(Config):
    """A vocabulary that was cut (`student.vocabulary`)."""

    pieces: int
    """Pieces that the student's tokenizer has left."""
    whole: int
    """Pieces that there were."""
    affected: dict[str, float]
    """The share of texts that are read in other, smaller pieces than with the whole vocabulary, by split."""


class SeedResult(Config):
    """One training of the student."""

    seed: int
    scores: dict[str, float]
    """Development scores of the weights that were kept: the best, or the mean of several."""
    best_step: int
    steps: int
    history: list[dict[str, float]]
    """Training losses (each component of Eq. (1)) and development scores, by step."""
    shares: dict[str, float] = {}
    """Of every term of Eq. (1), its mean share of the norms of the gradients that reached the student."""
    fingerprint: str
    """SHA-256 of the student's weights."""


class Cost(Config):
    """What the run took on this machine."""

    wall_seconds: float
    training_seconds: list[float]
    """By seed."""
    step_milliseconds: float
    """Mean time of an optimisation step, evaluation left out."""
    waiting_share: float = 0.0
    """Of that time, the share in which the training waited for its next batch."""
    augmentation: dict[str, int] = {}
    """Texts given to each operator, and of them those left unchanged, without output and failed; `gold.dropped`,
    labels that were not true any more. Over all seeds, without what was done before a `--resume`."""
    examples_per_second: float
    peak_memory_megabytes: float
    """10^6 bytes, of the accelerator or of the process."""
    teacher_cache_megabytes: float = 0.0
    milliseconds_per_example: dict[str, float] = {}
    """Latency at batch size 1 on this machine, by model."""


class EfficiencyRow(Config):
    """Size and speed of one translation model in one form."""

    model: str
    engine: str
    compute: str
    shortlist: bool = False
    """Whether a translation may use but the pieces that go with those of its sentence."""
    bleu: float | None = None
    """`None` where a slow engine was asked for a part of the text: the score would not be comparable."""
    chrf: float | None = None
    parameters: int
    compression: float
    """How many times fewer weights than the first model of the table has: the teacher."""
    megabytes: float
    """10^6 bytes of the stored model."""
    sentences_per_second: float
    """All of the measured text, in batches."""
    latency_p50: float | None = None
    """Milliseconds of a single sentence: the median."""
    latency_p95: float | None = None
    """Milliseconds that 95 of 100 single sentences stay below."""

    @property
    def form(self) -> str:
        """The engine, its numbers, and a shortlist."""
        return f"{self.engine} {self.compute}" + (", shortlist" if self.shortlist else "")


class Record(Config):
    """The result of one run. Scores are shares of 1, those of translations from 0 to 100."""

    format: int = FORMAT
    status: str = "complete"
    created: str
    run: SerializeAsAny[Run]
    versions: dict[str, str]
    revision: str | None
    """Git revision of the working directory, with `+` when it has uncommitted changes."""
    machine: dict[str, str | int]
    data: DataFacts
    teacher: ModelFacts | None
    baseline: ModelFacts | None
    """The same student fine-tuned without a teacher."""
    untaught_baseline: ModelFacts | None = None
    """The same from the teacher's layers as they were before its fine-tuning, where `baseline` is `both`."""
    student: ModelFacts
    vocabulary: VocabularyFacts | None = None
    """What was cut from the student's vocabulary, if anything."""
    seeds: list[SeedResult]
    metric: str
    score: float
    """Mean development score of the distilled student."""
    distillation_ratio: float | None
    """`score` over the teacher's; `null` where the teacher's is not positive."""
    cost: Cost
    efficiency: list[EfficiencyRow] = []
    """Of a translation: teacher and student in the forms in which they may be used."""
    signatures: dict[str, str] = {}
    """Of a translation: how sacreBLEU computed each score."""
    comparison: Comparison | None = None
    """Whether distilling paid; `null` without a baseline."""
    verdict: list[str] = []
    """The result in words."""
    notes: list[str] = []
    """What a reader should know: truncated rows, a cache that did not fit, a term that was left out."""

    @property
    def models(self) -> dict[str, ModelFacts]:
        """Facts by what tables call a model: the teacher, the student fine-tuned alone, the distilled one."""
        alone = "student, fine-tuned"
        found = {
            "teacher": self.teacher,
            f"{alone} from pretrained layers": self.untaught_baseline,
            f"{alone} from the teacher's layers" if self.untaught_baseline else alone: self.baseline,
            "student, distilled": self.student,
        }
        return {label: facts for label, facts in found.items() if facts is not None}

    @property
    def histories(self) -> dict[str, list[list[dict[str, float]]]]:
        """How each of `models` was trained, seed by seed; none for a model that came as it is."""
        student = [one.history for one in self.seeds]
        return {label: student if one is self.student else one.histories for label, one in self.models.items()}

    @model_validator(mode="before")
    @classmethod
    def _former(cls, data: Any) -> Any:
        """Records of translations that earlier versions wrote."""
        if not isinstance(data, dict) or not isinstance(text := data.get("data"), dict) or "pairs" not in text:
            return data
        facts = {name: value for name, value in text.items() if name != "pairs"}
        facts |= {"task": "translation", "kind": "translation", "labels": [], "metric": data["metric"]}
        facts |= {"examples": text["pairs"], "truncated": {}}
        rest = {name: value for name, value in data.items() if name != "compression"}
        return {**rest, "data": facts}

    @property
    def compression(self) -> float | None:
        """How many times fewer weights the student has than its teacher; `None` where that is not known."""
        if self.teacher is None or not self.teacher.parameters:
            return None
        return self.teacher.parameters / self.student.parameters

    def save(self, folder: Path) -> Path:
        """Write `record.json` in one step: a folder that has one is finished."""
        return write_last(folder / FILE, json_text(self.model_dump(mode="json")), beside=[RUN_FILE, OUTCOMES])

    def plot(self) -> Any:
        """A Matplotlib figure of the learning curves of every model: each loss and the development score, by seed.

        Raises `MissingPackageError` without Matplotlib.
        """
        histories = self.histories
        lines = {name: facts.scores[self.metric] for name, facts in self.models.items() if not any(histories[name])}
        return curves(histories, lines=lines, metric=self.metric)

    def _repr_html_(self) -> str:
        """The Record as a notebook shows it."""
        names = [self.metric, *(name for name in self.student.scores if name != self.metric)]
        rows = []
        for label, facts in self.models.items():
            scores = [f"{facts.scores[name]:.4f}" if name in facts.scores else "–" for name in names]
            rows.append([label, *scores, f"{facts.parameters:,}", f"{facts.megabytes:.1f}"])
        title = f"{self.data.task}: {self.data.examples.get('dev', 0)} development examples"
        return html_table(["", *names, "parameters", "MB"], rows, title=title, notes=self.notes)


def load_record(path: str | Path) -> Record:
    """Read a Record from its file or from the folder of a run. Raises `OutputError`, for a damaged one too."""
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        record = Record.model_validate_json(file.read_text(encoding="utf-8"))
        if (file.parent / SUMS).is_file():
            refuse_damage(file.parent)
        return record
    except FileNotFoundError:
        hint = "an interrupted run has none: `distiller run … --resume`"
        if inside := sorted(Path(path).glob(f"*/{FILE}")):
            hint = f"runs are inside of it: {', '.join(str(one.parent) for one in inside[:3])}"
        raise OutputError(f"there is no Record at `{file}`", hint=hint) from None
    except OSError as error:
        raise OutputError(f"`{file}` cannot be read: {error.strerror}", hint=f"name a {FILE}, or its folder") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutputError(
            f"`{file}` is not a Record: {where + ': ' if where else ''}{first['msg']}", hint=f"name a {FILE}"
        ) from None
    except UnicodeDecodeError as error:
        raise OutputError(f"`{file}` is not a Record: byte {error.start} is not UTF-8", hint=f"name a {FILE}") from None


def spread(values: Iterable[float]) -> Spread:
    """Mean and standard deviation of the values of several seeds."""
    listed = list(values)
    return Spread(
        mean=statistics.fmean(listed), std=statistics.stdev(listed) if len(listed) > 1 else 0.0, values=listed
    )


def spreads(scores: Iterable[Mapping[str, float]]) -> dict[str, Spread]:
    """`spread` of every score by name."""
    listed = list(scores)
    return {name: spread(score[name] for score in listed) for name in listed[0]}


def ratio(student: float, teacher: float | None) -> float | None:
    """The distillation ratio (arXiv:2109.11105, section 4): undefined for a teacher at or below 0."""
    return student / teacher if teacher is not None and teacher > 0 and math.isfinite(teacher) else None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    names = ("distiller-nlp", "torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn")
    names += ("sentencepiece", "sacrebleu", "ctranslate2")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The revision of the git checkout that this process works in, if any."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def now() -> str:
    """The present time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
