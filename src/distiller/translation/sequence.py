"""What a student learns from besides gold pairs: translations by its teacher or others, and back-translations."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from filelock import FileLock
from rich.console import Console
from transformers import PreTrainedModel

from distiller import processes
from distiller.cache.folders import FolderCache
from distiller.config.translation import Languages, SequenceLevel, TranslationRun
from distiller.errors import DamagedError, DataError, warn
from distiller.translation.batches import Examples
from distiller.translation.corpus import Splits
from distiller.translation.pairs import Pairs, read_pairs
from distiller.translation.pseudo_labels import filtered, job_facts, pseudo_label, read_labels, training_pairs
from distiller.translation.scores import score, sentence_chrf
from distiller.translation.students import load_translator
from distiller.translation.token_rows import encoded
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.translators import (
    Labelled,
    Translator,
    model_translator,
    prompted_translator,
    read_translations,
)

SHARD = 1000
"""Sentences per shard, after which results are saved."""


@dataclass(frozen=True)
class Given:
    """Translations that exist before a run starts."""

    labels: list[Labelled] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Warnings about them."""
    scores: dict[str, float] = field(default_factory=dict)
    """Their development scores, if they include the development text."""


def given_translations(run: TranslationRun, splits: Splits) -> Given | None:
    """The translations of finished jobs and of files; `None` if the run names none, so its teacher is asked.

    Raises `DataError` for translations that the run cannot use.
    """
    wish = run.sequence
    if wish is None or not (wish.pseudo_labels or run.teacher.files):
        return None
    made = {name: read_labels(name) for name in wish.pseudo_labels}
    made |= {name: read_translations(name, read_pairs(run.task.train, run.task.encoding)) for name in run.teacher.files}
    found, seen = Given(), set[tuple[str, str]]()
    usable = {name: _of_the_run(name, labels, splits, wish, found.notes) for name, labels in made.items()}
    if wish.seq_inter == "local_update":
        _check_choice(list(usable), [label for labels in usable.values() for label in labels], splits)
    for name, labels in usable.items():  # each by the scores of its own teacher
        if not found.scores:
            found.scores.update(_scores_of(made[name], splits.dev))
        found.labels.extend(_kept(labels, wish, found.notes, seen, of=f" of `{name}`"))
    return found


@dataclass(frozen=True)
class PseudoPairs:
    """Pairs of sentences and the teacher's translations, on which a student is trained."""

    source: list[str]
    target: list[str]
    notes: list[str] = field(default_factory=list)
    """Notes for the Record."""
    scores: dict[str, float] = field(default_factory=dict)
    """Development scores of a teacher that is not loaded here, if it translated the development text."""


def pseudo_pairs(
    run: TranslationRun,
    splits: Splits,
    tokenizer: TranslationTokenizer | None,
    teacher: PreTrainedModel | None,
    store: FolderCache,
    console: Console | None,
    given: Given | None = None,
) -> PseudoPairs:
    """The teacher's translations of the sentences available to the student and of monolingual text, as pairs.

    If translations are `given`, the teacher is not asked. Raises `ConfigError` for a filter that cannot be used.
    """
    wish = run.sequence
    if wish is None:
        return PseudoPairs([], [])
    if given is None:
        given = _asked(run, splits, _translator(run, tokenizer, teacher), store, console)
    labels, notes = given.labels, [*given.notes]
    backward = model_translator(*backward_model(run), wish.decoding) if wish.backward else None
    if backward is not None and wish.filter.round_trip:
        labels, lost = _read_back(labels, backward, wish.filter.round_trip, store, console)
        notes.append(f"{lost} sentences left out: their translations lead back elsewhere")
    known = gold_of(splits) if wish.seq_inter == "local_update" else None
    sources, targets = training_pairs(labels, inter=wish.seq_inter, gold=known, closest_by=wish.closest_by)
    if backward is not None:
        held = {*splits.dev.translations, *(splits.test.translations if splits.test else [])}
        for pairs in splits.backward:
            pairs = _without(pairs, held, notes)
            for label in _labels(backward, pairs, store, console, seed=run.teacher.seed):
                if label.hypotheses[0].text.strip():
                    sources.append(label.hypotheses[0].text)
                    targets.append(label.source)
    return PseudoPairs(sources, targets, notes, given.scores)


def _asked(
    run: TranslationRun, splits: Splits, translator: Translator, store: FolderCache, console: Console | None
) -> Given:
    """The teacher's translations of all source text; development scores of a teacher that is not loaded here."""
    assert run.sequence is not None
    ask = partial(_labels, translator, store=store, console=console, seed=run.teacher.seed)
    found, held = Given(), held_sources(splits)
    said = ask(splits.seen)
    for pairs in splits.monolingual:
        said += ask(_without(pairs, held, found.notes))
    found.labels.extend(_kept(said, run.sequence, found.notes, set()))
    if run.teacher.says_only:
        found.scores.update(_scores_of(ask(splits.dev), splits.dev))
    return found


def _kept(
    labels: Sequence[Labelled], wish: SequenceLevel, notes: list[str], seen: set[tuple[str, str]], *, of: str = ""
) -> list[Labelled]:
    """The labels of one teacher that pass the filter; `notes` says what was left out."""
    kept, dropped = filtered(labels, wish.filter, seen)
    notes += [f"{count} pseudo-labels{of} left out: {reason}" for reason, count in dropped.items()]
    return kept


def _without(pairs: Pairs, held: set[str], notes: list[str]) -> Pairs:
    """Monolingual text without held-out sentences; `notes` says how many there were."""
    kept = [row for row, sentence in enumerate(pairs.source) if sentence not in held]
    if len(kept) < len(pairs):
        notes.append(f"{len(pairs) - len(kept)} sentences of `{pairs.name}` are held-out ones: left out")
    return pairs.take(kept)


def held_sources(splits: Splits) -> set[str]:
    """The source sentences on which a run is scored."""
    return {*splits.dev.source, *(splits.test.source if splits.test else [])}


def gold_of(splits: Splits) -> dict[str, list[str]]:
    """The gold translations of each sentence that is available to the student."""
    gold: dict[str, list[str]] = {}
    for source, target in zip(splits.seen.source, splits.seen.translations, strict=True):
        gold.setdefault(source, []).append(target)
    return gold


def mixed_examples(
    gold: Examples, pseudo: PseudoPairs, run: TranslationRun, tokenizer: TranslationTokenizer, longest: int
) -> tuple[Examples, int]:
    """Gold pairs (if the run mixes them in) and pseudo-labels as tokens, and how many pseudo-labels were too long.

    Raises `DataError` if no pseudo-label is left.
    """
    assert run.sequence is not None
    found = gold if run.sequence.gold_ratio > 0 else Examples.of([], [], gold=0)
    sources, targets = encoded(tokenizer.encode, pseudo.source), encoded(tokenizer.encode_targets, pseudo.target)
    fit = np.flatnonzero(np.maximum(sources.lengths, targets.lengths) <= longest)
    if not len(fit):
        raise DataError(
            "no pseudo-label is left to learn from",
            hint="see sequence.filter, or set sequence to null to learn from gold pairs alone",
        )
    both = Examples(found.source + sources.take(fit), found.target + targets.take(fit), gold=len(found))
    return both, len(sources) - len(fit)


def backward_model(run: TranslationRun) -> tuple[PreTrainedModel, TranslationTokenizer]:
    """The model that translates back; a multilingual one gets the teacher's languages, swapped."""
    assert run.sequence is not None
    assert run.sequence.backward is not None
    forth = run.teacher.languages
    return load_translator(run.sequence.backward, otherwise=Languages(source=forth.target, target=forth.source))


def _read_back(
    labels: list[Labelled], backward: Translator, least: float, store: FolderCache, console: Console | None
) -> tuple[list[Labelled], int]:
    """The labels whose back-translation has a chrF of at least `least` to the source, and the number of the others."""
    said = [label.hypotheses[0].text for label in labels]
    pairs = Pairs("translations", said, None, list(range(1, len(said) + 1)))
    back = [label.hypotheses[0].text for label in _labels(backward, pairs, store, console, seed=0)]
    kept = []
    for label, text in zip(labels, back, strict=True):
        if sentence_chrf(text, label.source) >= least:
            kept.append(label)
    return kept, len(labels) - len(kept)


def _scores_of(labels: Sequence[Labelled], dev: Pairs) -> dict[str, float]:
    """Development scores, if `labels` include every development sentence; else nothing."""
    said = {label.source: label.hypotheses[0].text for label in labels if label.hypotheses}
    if not all(source in said for source in dev.source):
        return {}
    return score([said[source] for source in dev.source], dev.translations).values


def _translator(
    run: TranslationRun, tokenizer: TranslationTokenizer | None, teacher: PreTrainedModel | None
) -> Translator:
    """The translator whose output the student learns from."""
    wish = run.sequence
    assert wish is not None
    if teacher is None or tokenizer is None:
        return prompted_translator(run.teacher, wish.decoding, n_best=wish.n_best)
    return model_translator(teacher, tokenizer, wish.decoding, n_best=wish.n_best)


def _of_the_run(
    folder: str, labels: list[Labelled], splits: Splits, wish: SequenceLevel, notes: list[str]
) -> list[Labelled]:
    """The labels of a finished job without those of held-out sentences; `notes` gets warnings about them."""
    held, gold = held_sources(splits), set(splits.seen.source)
    kept = [label for label in labels if label.source not in held]
    if len(kept) < len(labels):
        notes.append(f"{len(labels) - len(kept)} pseudo-labels of `{folder}` translate held-out sentences: left out")
    unknown = sum(label.source not in gold for label in kept)
    without = len(gold - {label.source for label in kept})
    if without and unknown < len(kept):
        notes.append(f"`{folder}` translates {len(gold) - without} of {len(gold)} training sentences")
    if wish.seq_inter == "local_update" and unknown:
        notes.append(f"{unknown} sentences of `{folder}` have no gold translation: the best one is taken")
    elif unknown == len(kept) and not splits.monolingual:
        notes.append(f"no sentence of `{folder}` is a training pair: pseudo-labels of another text?")
    return kept


def _check_choice(names: list[str], labels: Sequence[Labelled], splits: Splits) -> None:
    """Raise `DataError` if `local_update` has nothing to choose from, or nothing to choose by."""
    where = ", ".join(f"`{name}`" for name in names)
    counts: dict[str, int] = {}
    for label in labels:
        counts[label.source] = counts.get(label.source, 0) + len(label.hypotheses)
    if max(counts.values(), default=0) < 2:
        raise DataError(
            f"{where} holds one translation of each sentence: seq_inter = local_update has nothing to choose",
            hint="make it with --n-best 4, or set sequence.seq_inter=data_mixing",
        )
    if not any(source in counts for source in splits.seen.source):
        raise DataError(
            f"no sentence of {where} is a training pair: seq_inter = local_update has no gold translation",
            hint="name pseudo-labels of task.train, or set sequence.seq_inter=data_mixing",
        )


def _labels(
    translator: Translator, pairs: Pairs, store: FolderCache, console: Console | None, *, seed: int
) -> list[Labelled]:
    """Translations of a text, as a job in the cache that other runs find and that is continued if it was stopped."""
    if not len(pairs):
        return []
    job: dict[str, Any] = {"shard_size": SHARD, "seed": seed}
    folder = store.path("pseudo-labels", job_facts(pairs, translator, **job))

    def make() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            try:
                pseudo_label(pairs, translator, folder, resume=True, console=console, **job)
            except DamagedError as error:
                warn(f"{error.message}: the translations are made again")
                shutil.rmtree(folder)
                pseudo_label(pairs, translator, folder, resume=True, console=console, **job)

    processes.from_first(make)
    return read_labels(folder)
