"""The results of a benchmark, as data that a page or a figure reads. Imports no torch."""

from pathlib import Path

from distiller.config import Config
from distiller.config.base import stored
from distiller.files import write_json

BENCH = "bench.json"
"""Where the benchmark of a run's output lies."""


class Throughput(Config):
    """Texts a second in batches of one size, all texts of the same length."""

    batch: int
    length: int
    """Tokens of each text."""
    texts_per_second: float


class Measured(Config):
    """One model in one form on one machine."""

    name: str
    role: str
    """`teacher`, `student`, or the form of an export."""
    engine: str
    folder: str
    megabytes: float
    """10^6 bytes of its weight files on disk."""
    score: float
    """On the development rows of the benchmark."""
    scores: dict[str, float] = {}
    """Further ones, by name."""
    milliseconds_p50: float
    milliseconds_p95: float
    """Median and 95th percentile of a forward pass over one development text."""
    timed: int
    """Passes that were timed."""
    throughput: list[Throughput]
    seconds_to_load: float
    peak_megabytes: float
    """Highest memory use of a process that did nothing else, 10^6 bytes: libraries, model and outputs."""

    @property
    def fastest(self) -> float:
        """Most texts a second at any batch size, at the longest length."""
        longest = max(one.length for one in self.throughput)
        return max(one.texts_per_second for one in self.throughput if one.length == longest)


class Bench(Config):
    """Models side by side, measured together on one machine."""

    format: int = 1
    created: str
    machine: dict[str, str | int]
    task: str
    metric: str | None
    rows: int
    """Development rows behind each score."""
    models: list[Measured]
    notes: list[str] = []

    @property
    def reference(self) -> Measured:
        """The model that the others are compared with: the first teacher, else the first model."""
        return next((one for one in self.models if one.role == "teacher"), self.models[0])

    def save(self, path: Path) -> Path:
        """Write it as JSON, in one step."""
        return write_json(path, self.model_dump(mode="json"))


def load_bench(path: Path) -> Bench:
    """Read what `save` wrote. Raises `OutputError`."""
    return stored(Bench, path, what="benchmark", hint="make it: distiller bench OUT")
