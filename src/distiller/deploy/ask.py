"""One text put to the teacher, the student and the exported forms of a run: what each answers, and how fast."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
from scipy.special import expit, softmax

from distiller.deploy.bench_translators import TranslatorEntrant, is_translator, translator_entrants
from distiller.deploy.entrants import Entrant, entrants, reading
from distiller.deploy.finished import Finished
from distiller.deploy.forms import engine_runtime, input_arrays
from distiller.deploy.runtimes import Runtime
from distiller.device import seconds_of
from distiller.errors import DataError, DistillerError, ModelError, OutputError
from distiller.models.encoder_decoder import longest_text
from distiller.tasks.alignment import tag_names
from distiller.tasks.answers import NOTHING, answers
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit
from distiller.tasks.encode import EncodedSplit
from distiller.tasks.tokens import encode_split
from distiller.tasks.windows import EncodedQuestions
from distiller.tasks.words import words_of
from distiller.translation.converted import Engine
from distiller.translation.engines import bounds_of, converted, engine, generating
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import TranslationTokenizer

REPEATS = 5


@dataclass(frozen=True)
class Answer:
    """What one model answers for one text."""

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


Said = tuple[str, dict[str, float], Callable[[], object]]
"""What a model makes of a text, the shares of the classes, and the pass that is timed."""


@dataclass(frozen=True)
class _Loaded:
    name: str
    engine: str
    say: Callable[[str, str | None], Said]
    """What it makes of a text, and of a second one where the task reads two. Raises `DistillerError`."""

    def answer(self, text: str, pair: str | None) -> Answer:
        try:
            said, shares, again = self.say(text, pair)
        except DistillerError as error:
            return Answer(self.name, self.engine, "", error=error.message)
        return Answer(self.name, self.engine, said, shares, _median_milliseconds(again))


class LoadedModels:
    """The models of one finished run, loaded once and asked about any number of texts.

    `output` is a run's output folder, or a single model or export whose task is in the run file `run`. Raises
    `DistillerError`. A form that cannot be loaded says so in its answers. Translation models run in CTranslate2 where
    it is installed and can convert them.
    """

    def __init__(self, output: str | Path, *, run: Path | None = None) -> None:
        self.notes: list[str] = []
        """What was left out, in words."""
        self.pairs = False
        """Whether the task reads two texts."""
        if is_translator(str(output)):
            voices = translator_entrants(str(output), notes=self.notes, teacher=True, rows=1)
            self._engines = ExitStack()  # deleted together with this object
            asked = [one for one in voices if one.converted is not None or one.fastest]
            self._models = [_translator(one, self._engines) for one in asked]
            return
        found = entrants(str(output), run=run, notes=self.notes)
        source = found[0].source
        if source.run is None:
            raise OutputError(f"nothing says what the task of `{output}` is", hint="name a run's output, or its run")
        self.pairs = source.pairs
        self._models = [_encoder(one) for one in found]
        self.notes += source.notes

    def ask(self, text: str, pair: str | None = None) -> list[Answer]:
        """What every model answers for `text` and, where the task reads two texts, `pair` (the context of a question).

        Raises `DataError` where one of them is missing or empty.
        """
        if not text.strip():
            raise DataError("there is no text", hint="type one")
        if self.pairs and not (pair or "").strip():
            raise DataError("this task reads two texts, and the second is missing", hint="type both")
        return [model.answer(text, pair) for model in self._models]


def _encoder(one: Entrant) -> _Loaded:
    name = one.name.rpartition(": ")[2]
    try:
        source = reading(one)
        run = engine_runtime(one.engine, Path(one.folder), source=source)
    except DistillerError as error:
        return _Loaded(name, one.engine, partial(_refused, error))
    return _Loaded(name, one.engine, partial(_said, source, run))


def _refused(error: DistillerError, text: str, pair: str | None) -> NoReturn:
    raise error


def _said(source: Finished, run: Runtime, text: str, pair: str | None) -> Said:
    split, encoded = _tokens(source, text, pair)
    arrays = input_arrays(source, encoded, range(len(encoded)))
    return *_decoded(source, split, encoded, run(arrays)), partial(run, arrays)


def _translator(one: TranslatorEntrant, engines: ExitStack) -> _Loaded:
    model, tokenizer = load_translator(one.folder, one.languages)
    decoding = one.source.decoding.model_copy(update={"engine": one.engine, "compute": one.compute})
    used = one.engine
    if one.converted is not None:
        run = engines.enter_context(converted(one.converted, bounds_of(model, tokenizer, decoding), decoding))
    else:
        try:
            run = engines.enter_context(engine(model, tokenizer, decoding))
        except ModelError:  # CTranslate2 cannot convert it
            used, run = "transformers", generating(model, tokenizer, decoding)
    return _Loaded(one.name.rpartition(": ")[2], used, partial(_translated, tokenizer, longest_text(model), run))


def _translated(tokenizer: TranslationTokenizer, longest: int | None, run: Engine, text: str, pair: str | None) -> Said:
    ids = tokenizer.encode([" ".join(text.split())])
    if longest is not None and len(ids[0]) > longest:
        raise DataError(f"the text has {len(ids[0])} tokens, and the model takes {longest}")
    return tokenizer.decode([run(ids, 0)[0][0].tokens])[0], {}, partial(run, ids, 0)


def _median_milliseconds(answer: Callable[[], object]) -> float:
    """The median time of several passes."""
    return 1000 * statistics.median(seconds_of(answer) for _ in range(REPEATS))


def _tokens(source: Finished, text: str, pair: str | None) -> tuple[AnySplit, EncodedSplit]:
    assert source.run is not None
    split: AnySplit
    if source.kind == "tagging":
        words = tuple(words_of(text))
        split = TaggedSplit("asked", (words,), ((0,) * len(words),))  # marks the token at which each word is classified
    elif source.kind == "qa":
        split = QuestionSplit("asked", (text,), (pair or "",), null_answers=bool(source.run.task.null_answers))
    else:
        split = Split("asked", (text,), (pair or "",) if source.pairs else None)
    task = source.run.task.model_copy(update={"truncate": True})
    return split, encode_split(split, source.tokenizer, task, source.max_length, unanswered=True)


def _decoded(
    source: Finished, split: AnySplit, encoded: EncodedSplit, logits: np.ndarray
) -> tuple[str, dict[str, float]]:
    """What the logits `[1, c]`, `[1, l, c]`, or `[n, l, 2]` of windows, mean, and the probabilities of the classes."""
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
        words = split.words[0]
        tags = tag_names(logits[0].argmax(-1), encoded.gold[0], labels, words=len(words))
        return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True)), {}
    if source.kind == "multilabel":
        shares = dict(zip(labels, map(float, expit(logits[0])), strict=True))
        return ", ".join(name for name, share in shares.items() if share > 0.5) or "none", shares
    shares = dict(zip(labels, map(float, softmax(logits[0])), strict=True))
    return max(shares, key=shares.__getitem__), shares
