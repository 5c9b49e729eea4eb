"""The results of examining a finished run, as data that a page reads. Imports no torch."""

from distiller.config import Config


class ClassResult(Config):
    """How well one class, or one tag, is recognised on the development set."""

    name: str
    support: int
    """Rows (words) that have it."""
    precision: float
    recall: float
    f1: float


class Bin(Config):
    """Predictions of similar confidence."""

    confidence: float
    """Their mean."""
    right: float
    """Share of them that is right."""
    rows: int


class Calibration(Config):
    """Whether a model is right as often as its confidence says."""

    bins: list[Bin]
    error: float
    """Expected calibration error: the mean distance of confidence and share of right answers, weighted by rows."""


class Look(Config):
    """How one model does on the development set."""

    score: float
    classes: list[ClassResult] = []
    calibration: Calibration | None = None


class Disagreement(Config):
    """A development text on which teacher and student disagree."""

    text: str
    gold: str
    teacher: str
    student: str
    distance: float
    """How far apart they are: half the summed difference of probabilities, the difference of numbers, or the share of
    words with different tags."""


class Matched(Config):
    """The layers that one term of the objective compared."""

    term: str
    pairs: list[tuple[int, int]]
    """(student layer, teacher layer); 0 is the embeddings."""


class Difference(Config):
    """The student's score minus another model's on the same rows."""

    than: str
    d: float
    se: float
    """Standard error over development rows, by a paired bootstrap."""


class Examination(Config):
    """The examination of a finished run."""

    metric: str
    rows: int
    student_layers: int
    teacher_layers: int | None
    matched: list[Matched]
    student: Look
    teacher: Look | None
    difference: Difference | None
    disagreements: list[Disagreement]
    share_disagreeing: float | None
    notes: list[str]
