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

from pydantic import SerializeAsAny, model_validator

from distiller.config import Config, Run
from distiller.config.base import stored
from distiller.files import SUMS, json_text, refuse_damage, write_last
from distiller.notebook import curves, html_table

FORMAT = 1
FILE, RUN_FILE = "record.json", "run.yaml"
INTERRUPTED = "an interrupted run has none: `distiller run … --resume`"
OUTCOMES = "development.safetensors"
"""Predictions of teacher, baseline and student for the development set, by seed, and the gold labels."""


class Spread(Config):
    """Mean and standard deviation over seeds (n - 1 in the denominator; 0 for one seed)."""

    mean: float
    std: float
    values: list[float]


class Comparison(Config):
    """Comparison of the distilled student with the same student fine-tuned without a teacher, on the task's metric.

    Errors are standard errors of paired differences over the development examples; with several seeds they include
    the variation between trainings.
    """

    difference: float
    """Distilled minus fine-tuned."""
    error: float
    teacher_lead: float | None = None
    """Teacher minus fine-tuned student."""
    teacher_lead_error: float | None = None
    gap_closed: float | None = None
    """`difference / teacher_lead`; `None` unless `teacher_lead` is more than two standard errors above 0."""


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
    """SHA-256 of the weights; `None` for a model that was trained once per seed."""
    steps: list[int] = []
    """Optimisation steps of its training, by seed; empty for a model that was already fine-tuned."""
    best_steps: list[int] = []
    """The step of the best development score, by seed. Where the weights of several evaluations were averaged,
    `histories` has an entry `averaged` with their number and the scores of the averaged weights."""
    start: str | None = None
    """The source of the initial weights of its layers."""
    histories: list[list[dict[str, float]]] = []
    """Training losses and development scores by step, one list per seed; empty for a model that was not trained."""


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
    """Training rows with class probabilities (`task.probabilities`)."""
    unsure: int = 0
    """Rows left out because no class was as probable as `task.min_confidence`."""
    skipped: dict[str, int] = {}
    """Rows that could not be used and were left out (`task.skip_bad`), by split."""
    classes: dict[str, float] = {}
    """The share of every class among the development labels."""
    fingerprint: str
    vocabulary: str | None = None
    """Translation: SHA-256 of the tokenizer."""
    vocabulary_size: int | None = None


class VocabularyFacts(Config):
    """A vocabulary that was cut (`student.vocabulary`)."""

    pieces: int
    """Size of the student's vocabulary."""
    whole: int
    """Size of the vocabulary before the cut."""
    affected: dict[str, float]
    """Share of the texts whose tokens differ from those of the whole vocabulary, by split."""


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
    """Each term's share of the sum of all terms' gradient norms at the student, averaged over the training."""
    fingerprint: str
    """SHA-256 of the student's weights."""


class Cost(Config):
    """Time and memory that the run took on this machine."""

    wall_seconds: float
    training_seconds: list[float]
    """By seed."""
    step_milliseconds: float
    """Mean time of an optimisation step, evaluation left out."""
    waiting_share: float = 0.0
    """Share of the step time spent waiting for the next batch."""
    augmentation: dict[str, int] = {}
    """For each augmentation operator, the number of its input texts, and of those that it left unchanged, that gave no
    output and that failed; `gold.dropped` counts labels that no longer applied. Summed over all seeds; work before a
    `--resume` is not counted."""
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
    """Whether the output vocabulary is restricted to a shortlist of pieces that fit the source sentence."""
    bleu: float | None = None
    """`None` where a slow engine translated only part of the text: that score would not be comparable."""
    chrf: float | None = None
    parameters: int
    compression: float
    """Parameters of the teacher (the first row) divided by those of this model."""
    megabytes: float
    """10^6 bytes of the stored model."""
    sentences_per_second: float
    """All of the measured text, in batches."""
    latency_p50: float | None = None
    """Milliseconds of a single sentence: the median."""
    latency_p95: float | None = None
    """Milliseconds of a single sentence: the 95th percentile."""

    @property
    def form(self) -> str:
        """Engine and number format, and whether there is a shortlist."""
        return f"{self.engine} {self.compute}" + (", shortlist" if self.shortlist else "")


class Record(Config):
    """The result of one run. Scores lie between 0 and 1, except those of translations (BLEU, chrF), which lie between
    0 and 100."""

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
    """With `baseline: both`, the same student fine-tuned from the layers of the teacher before its fine-tuning."""
    student: ModelFacts
    vocabulary: VocabularyFacts | None = None
    """What was cut from the student's vocabulary, if anything."""
    seeds: list[SeedResult]
    metric: str
    score: float
    """Mean development score of the distilled student."""
    distillation_ratio: float | None
    """`score` divided by the teacher's score; `null` if the teacher's score is not positive."""
    cost: Cost
    efficiency: list[EfficiencyRow] = []
    """Translation: size and speed of teacher and student, for each engine and number format."""
    signatures: dict[str, str] = {}
    """Translation: the sacreBLEU signature of each score."""
    comparison: Comparison | None = None
    """Distilled student and baseline compared; `null` without a baseline."""
    verdict: list[str] = []
    """The result in words."""
    notes: list[str] = []
    """Remarks on the run, e.g. truncated rows, a cache that did not fit, or a term that was left out."""

    @property
    def models(self) -> dict[str, ModelFacts]:
        """Facts by the name that tables use: the teacher, the student fine-tuned alone, the distilled one."""
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
        """The training histories of each of `models`, one per seed; empty for a model that was not trained."""
        student = [one.history for one in self.seeds]
        return {label: student if one is self.student else one.histories for label, one in self.models.items()}

    @model_validator(mode="before")
    @classmethod
    def _former(cls, data: Any) -> Any:
        """Reads Records of translations that earlier versions wrote."""
        if not isinstance(data, dict) or not isinstance(text := data.get("data"), dict) or "pairs" not in text:
            return data
        facts = {name: value for name, value in text.items() if name != "pairs"}
        facts |= {"task": "translation", "kind": "translation", "labels": [], "metric": data["metric"]}
        facts |= {"examples": text["pairs"], "truncated": {}}
        rest = {name: value for name, value in data.items() if name != "compression"}
        return {**rest, "data": facts}

    @property
    def compression(self) -> float | None:
        """Parameters of the teacher divided by those of the student; `None` where the teacher's are not known."""
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
    hint = f"name a {FILE}, or its folder"
    if not file.exists():
        inside = ", ".join(str(one.parent) for one in sorted(Path(path).glob(f"*/{FILE}"))[:3])
        hint = f"runs are inside of it: {inside}" if inside else INTERRUPTED
    record = stored(Record, file, what="Record", hint=hint)
    if (file.parent / SUMS).is_file():
        refuse_damage(file.parent)
    return record


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
    return {"python": ".".join(map(str, sys.version_info[:3])), **installed(names)}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those `packages` that are installed."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The revision of the git checkout that this process runs in, if any."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def now() -> str:
    """The present time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
