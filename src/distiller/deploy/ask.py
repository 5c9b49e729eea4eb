"""One text to teacher, student and exported forms of a run: what each says, and how long it takes."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit, softmax

from distiller.deploy.entrants import Entrant, entrants, reading
from distiller.deploy.finished import Finished
from distiller.deploy.forms import engine_runtime, input_names
from distiller.deploy.runtimes import Runtime
from distiller.errors import DataError, DistillerError, OutputError
from distiller.tasks.answers import NOTHING, answers
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import IGNORED, EncodedSplit
from distiller.tasks.tokens import encode_split
from distiller.tasks.windows import EncodedQuestions
from distiller.tasks.words import words_of

REPEATS = 5


@dataclass(frozen=True)
class Answer:
    """What one model says of one text."""

    name: str
    """`teacher`, `student`, the form, or the model's folder."""
    engine: str
    said: str
    """The class, classes, number, tagged words or answer."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Probabilities of the classes, where there are any."""
    milliseconds: float | None = None
    """Median of some passes over the tokens; making tokens of the text is left out."""
    error: str | None = None
    """Why it cannot answer, in one line."""


@dataclass(frozen=True)
class _Loaded:
    name: str
    engine: str
    source: Finished
    run: Runtime | None
    error: str | None


class LoadedModels:
    """The models of one finished run, loaded once and asked as often as some texts come.

    `output` is a run's output folder, or a single model or export whose task the file `run` says. Raises
    `DistillerError`. A form that cannot be loaded says so in its answers.
    """

    def __init__(self, output: str | Path, *, run: Path | None = None) -> None:
        self.notes: list[str] = []
        """What was left out, in words."""
        found = entrants(str(output), run=run, notes=self.notes)
        if found[0].source.run is None:
            raise OutputError(f"nothing says what the task of `{output}` is", hint="name a run's output, or its run")
        self.source = found[0].source
        self._models = [_loaded(one) for one in found]
        self.notes += self.source.notes

    def ask(self, text: str, pair: str | None = None) -> list[Answer]:
        """What every model says of `text`, and of `pair` where the task reads two: of a question its context.

        Raises `DataError` where one of them is missing or empty.
        """
        if not text.strip():
            raise DataError("there is no text", hint="type one")
        if self.source.pairs and not (pair or "").strip():
            raise DataError("this task reads two texts, and the second is missing", hint="type both")
        return [_answer(model, text, pair) for model in self._models]


def _loaded(one: Entrant) -> _Loaded:
    name = one.name.rpartition(": ")[2]
    try:
        source = reading(one)
        return _Loaded(name, one.engine, source, engine_runtime(one.engine, one.folder, source=source), None)
    except DistillerError as error:
        return _Loaded(name, one.engine, one.source, None, error.message)


def _answer(model: _Loaded, text: str, pair: str | None) -> Answer:
    if model.run is None:
        return Answer(model.name, model.engine, "", error=model.error)
    source = model.source
    try:
        split, encoded = _tokens(source, text, pair)
        batch = source.collate([encoded[row] for row in range(len(encoded))])
    except DistillerError as error:
        return Answer(model.name, model.engine, "", error=error.message)
    arrays = {name: batch[name].numpy() for name in input_names(source)}
    said, shares = _decoded(source, split, encoded, model.run(arrays))
    return Answer(model.name, model.engine, said, shares, median_milliseconds(partial(model.run, arrays)))


def median_milliseconds(answer: Callable[[], object]) -> float:
    """Of some passes."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def _tokens(source: Finished, text: str, pair: str | None) -> tuple[AnySplit, EncodedSplit]:
    assert source.run is not None
    split: AnySplit
    if source.kind == "tagging":
        words = tuple(words_of(text))
        split = TaggedSplit("asked", (words,), ((0,) * len(words),))  # marks the token on which each word is read
    elif source.kind == "qa":
        split = QuestionSplit("asked", (text,), (pair or "",), null_answers=bool(source.run.task.null_answers))
    else:
        split = Split("asked", (text,), (pair or "",) if source.pairs else None)
    task = source.run.task.model_copy(update={"truncate": True})
    return split, encode_split(split, source.tokenizer, task, source.max_length, unanswered=True)


def _decoded(
    source: Finished, split: AnySplit, encoded: EncodedSplit, logits: np.ndarray
) -> tuple[str, dict[str, float]]:
    """What the logits `[1, c]`, `[1, l, c]` or of windows `[n, l, 2]` say, and the shares of the classes."""
    labels = source.labels or []
    if source.kind == "regression":
        return f"{float(logits.reshape(-1)[0]):.4g}", {}
    if isinstance(split, QuestionSplit):
        assert isinstance(encoded, EncodedQuestions)
        assert source.run is not None
        starts, ends = logits[..., 0], logits[..., 1]
        found = next(iter(answers(encoded, split, starts, ends, **source.run.task.answer_limits).values()), None)
        return (found.text or NOTHING, {"probability": found.probability}) if found else ("", {})
    if isinstance(split, TaggedSplit):
        assert encoded.gold is not None
        places = encoded.gold[0] != IGNORED
        tags = [labels[int(tag)] for tag in logits[0].argmax(-1)[: len(places)][places]]
        tags += ["_"] * (len(split.words[0]) - len(tags))  # behind the longest input
        return " ".join(f"{word}/{tag}" for word, tag in zip(split.words[0], tags, strict=True)), {}
    if source.kind == "multilabel":
        shares = dict(zip(labels, map(float, expit(logits[0])), strict=True))
        return ", ".join(name for name, share in shares.items() if share > 0.5) or "none", shares
    shares = dict(zip(labels, map(float, softmax(logits[0])), strict=True))
    return max(shares, key=shares.__getitem__), shares
