"""The Record of a translation run, in the spirit of `distiller.record`: one JSON object, written last."""

import json
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from distiller.config import Config
from distiller.errors import OutputError
from distiller.files import SUMS, json_text, refuse_damage, write_last
from distiller.record import FILE, RUN_FILE, Cost, ModelFacts, SeedResult, versions
from distiller.translation.config import TranslationRun

FORMAT = 1
METRIC = "bleu"
"""The score that chooses the best checkpoint, and is compared."""
PACKAGES = ("sentencepiece", "sacrebleu", "ctranslate2")


class TextFacts(Config):
    """The text of a run."""

    pairs: dict[str, int]
    """Sentences by split; `seen` are the training pairs that the student may see, `pseudo` what the teacher said."""
    skipped: dict[str, int]
    """Empty and over-long sentences that were left out, by split."""
    fingerprint: str
    vocabulary: str
    """SHA-256 of the SentencePiece model."""
    vocabulary_size: int


class EfficiencyRow(Config):
    """Size and speed of one model in one form."""

    model: str
    engine: str
    compute: str
    bleu: float
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


class TranslationRecord(Config):
    """The result of one translation run. Scores are from 0 to 100."""

    format: int = FORMAT
    status: str = "complete"
    created: str
    run: TranslationRun
    versions: dict[str, str]
    revision: str | None
    machine: dict[str, str | int]
    data: TextFacts
    signatures: dict[str, str]
    """How sacreBLEU computed each score."""
    teacher: ModelFacts | None
    """`None`: a file or a service whose development translations are not known."""
    baseline: ModelFacts | None
    """The same student trained on gold pairs alone."""
    student: ModelFacts
    seeds: list[SeedResult]
    metric: str = METRIC
    score: float
    """Mean development BLEU of the distilled student."""
    distillation_ratio: float | None
    compression: float | None
    """How many times fewer weights the student has."""
    efficiency: list[EfficiencyRow] = []
    cost: Cost
    notes: list[str] = []

    def save(self, folder: Path) -> Path:
        """Write `record.json` in one step: a folder that has one is finished."""
        return write_last(folder / FILE, json_text(self.model_dump(mode="json")), beside=[RUN_FILE])


def load_translation_record(path: str | Path) -> TranslationRecord:
    """Read a Record from its file or from the folder of a run. Raises `OutputError`, for a damaged one too."""
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        record = TranslationRecord.model_validate_json(file.read_text(encoding="utf-8"))
        if (file.parent / SUMS).is_file():
            refuse_damage(file.parent)
        return record
    except OSError:
        raise OutputError(
            f"there is no Record at `{file}`", hint="an interrupted run has none: `distiller translate run … --resume`"
        ) from None
    except (ValidationError, UnicodeDecodeError):
        raise OutputError(f"`{file}` is not the Record of a translation run", hint=f"name a {FILE}") from None


def is_translation_output(path: str | Path) -> bool:
    """Whether a record.json, or the one in a folder, is that of a translation run."""
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        return "corpus" in json.loads(file.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def all_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results, translation's own included."""
    found = versions()
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
