"""Translating sentences with a model, and scoring the translations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel

from distiller.config import parse_run
from distiller.config.translation import Decoding, TranslationRun
from distiller.errors import ConfigError, DataError
from distiller.models.encoder_decoder import longest_text
from distiller.models.folders import load_config
from distiller.tasks.bad_rows import BadRows
from distiller.translation.beginning import within_length
from distiller.translation.corpus import Splits, check_lengths, read_corpus, read_split
from distiller.translation.engines import engine
from distiller.translation.pairs import Pairs
from distiller.translation.scores import Scores, score, sentence_counts
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.words import Words

Translate = Callable[[Sequence[str]], list[str]]
GENERATORS = ("ForConditionalGeneration", "MTModel", "TranslationModel")
"""Endings of the classes that generate text."""
NO_TEXT = "-"
"""The training text in the run of a model without one."""


@contextmanager
def translator(model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding) -> Iterator[Translate]:
    """A function that translates sentences with `model`: the best hypothesis of each, detokenised."""
    with engine(model, tokenizer, decoding) as run:
        yield lambda sentences: tokenizer.decode([found[0].tokens for found in run(tokenizer.encode(sentences), 0)])


def evaluate(model: PreTrainedModel, tokenizer: TranslationTokenizer, pairs: Pairs, decoding: Decoding) -> Scores:
    """BLEU and chrF of the model's translations of `pairs`."""
    with translator(model, tokenizer, decoding) as translate:
        return score(translate(pairs.source), pairs.translations)


class Examined(NamedTuple):
    """Final scores of a model."""

    scores: dict[str, float]
    """On the development text and, with the prefix `test_`, on the test text."""
    signatures: dict[str, str]
    counts: np.ndarray
    """The BLEU statistics of the development sentences: `sentence_counts`."""


def examine(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, dev: Pairs, test: Pairs | None, decoding: Decoding
) -> Examined:
    """Translate and score the development text and, if there is one, the test text."""
    with translator(model, tokenizer, decoding) as translate:
        said = translate(dev.source)
        found = score(said, dev.translations)
        values = dict(found.values)
        if test is not None:
            more = score(translate(test.source), test.translations).values
            values |= {f"test_{name}": value for name, value in more.items()}
    return Examined(values, found.signatures, sentence_counts(said, dev.translations))


def translates(name: str) -> bool:
    """Whether the model in a folder, package or hub id generates text from text."""
    shape: Any = load_config(name)
    classes = [str(one) for one in shape.architectures or []]
    return bool(shape.is_encoder_decoder) and any(one.endswith(GENERATORS) for one in classes)


def bare_run(name: str, changed: Sequence[str] = ()) -> TranslationRun:
    """The run of a model that comes without one, with the fields in `changed`. Raises `ConfigError`."""
    data = {"task": {"kind": "translation", "train": {"source": NO_TEXT}}, "teacher": {"model": name}}
    made = parse_run(data, changed, where=name)
    assert isinstance(made, TranslationRun)
    return made


def names_text(run: TranslationRun) -> bool:
    """Whether there are sentences with translations."""
    return run.task.train.source != NO_TEXT or run.task.dev is not None or run.task.test is not None


class TextTranslator:
    """A translation model that stays loaded, with the search that `run` describes.

    For a model without a run, `changed` are fields of a run: `evaluation.beam=1`,
    `teacher.languages.source=deu_Latn`, `task.dev.source=…`. Raises `DistillerError`.
    """

    def __init__(self, name: str, run: TranslationRun | None = None, changed: Sequence[str] = ()) -> None:
        self.name = name
        self.described = run is not None
        self.run = bare_run(name, changed) if run is None else run
        languages = self.run.teacher.languages
        if self.described:  # a finished student knows its languages; another model may not
            self.model, self.tokenizer = load_translator(name, otherwise=languages)
        else:
            self.model, self.tokenizer = load_translator(name, languages)

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """A translation for each line; an empty line stays empty."""
        return translated_lines(self.model, self.tokenizer, lines, self.run.evaluation)

    @cached_property
    def text(self) -> Splits:
        """The text of its run. Raises `DataError`."""
        return read_corpus(self.run.task)

    def scores(self, pairs: Pairs) -> Scores:
        """BLEU and chrF of its translations of `pairs`."""
        return evaluate(self.model, self.tokenizer, pairs, self.run.evaluation)

    def split_scores(self, split: str) -> Scores:
        """The same for the `dev` or `test` text of its run. Raises `ConfigError` if the run has no such text."""
        task = self.run.task
        if self.described:
            splits = within_length(self.text, Words(self.tokenizer, None), self.run)
            pairs = {"dev": splits.dev, "test": splits.test}.get(split)
        else:
            named = {"dev": task.dev, "test": task.test}.get(split)
            pairs = self._within_reach(read_split(named, task, split)) if named is not None else None
        if pairs is None:
            hint = f"task.{split}.source=… task.{split}.target=…"
            if split not in ("dev", "test"):
                hint = "a translation has the splits dev and test"
            elif split == "test":
                hint = f"--split dev, or {hint}"
            raise ConfigError(f"`{self.name}` has no `{split}` text", hint=hint)
        return self.scores(pairs)

    def _within_reach(self, pairs: Pairs) -> Pairs:
        """The pairs whose source the model can read. Longer ones are refused, or left out with `task.skip_bad`."""
        longest = longest_text(self.model)
        if longest is None:
            return pairs
        bad = BadRows(self.run.task.skip_bad)
        lengths = [len(ids) for ids in self.tokenizer.encode(pairs.source)]
        kept = check_lengths(lengths, pairs, longest=longest, most=longest, bad=bad)
        if not kept:
            raise DataError(
                f"no source in `{pairs.name}` has at most {longest} tokens, which the model takes", hint=bad.first
            )
        bad.warn(pairs.name)
        return pairs.take(kept)


def translated_lines(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, lines: Sequence[str], decoding: Decoding
) -> list[str]:
    """A translation for each line; an empty line stays empty. Raises `DataError` for a line that is too long."""
    longest = longest_text(model)
    rows = [row for row, line in enumerate(lines) if line.strip()]
    ids = tokenizer.encode([lines[row] for row in rows])
    for row, one in zip(rows, ids, strict=True):
        if longest is not None and len(one) > longest:
            raise DataError(
                f"line {row + 1} has {len(one)} tokens, the model takes {longest}", hint="split it into sentences"
            )
    said = [""] * len(lines)
    with translator(model, tokenizer, decoding) as translate:
        for row, text in zip(rows, translate([lines[row] for row in rows]) if rows else [], strict=True):
            said[row] = text
    return said
