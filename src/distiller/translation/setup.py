"""What all seeds of a translation run share: text, vocabulary, teacher, pseudo-labels. Each is made once and kept."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console

from distiller.cache.folders import FolderCache
from distiller.errors import DataError, ModelError
from distiller.record import write_json
from distiller.tasks.bad_rows import BadRows
from distiller.translation.batches import Examples
from distiller.translation.config import Optimisation, SequenceLevel, Shape, TranslationObjective, TranslationRun
from distiller.translation.corpus import Pairs, Splits, check_lengths, read_corpus, text_fingerprint
from distiller.translation.fit import Fit, Lessons, fit
from distiller.translation.model import TranslationModel, build_model, translation_config
from distiller.translation.objective import Objective, anatomies
from distiller.translation.pseudo_labels import Labelled, job_facts, pseudo_label, read_labels, training_pairs
from distiller.translation.students import copy_layers, load_translator, save_translator
from distiller.translation.teacher_states import teacher_states
from distiller.translation.translate import evaluate
from distiller.translation.vocabulary import SharedVocabulary, check_fit, load_vocabulary, train_vocabulary

FIT = "fit.json"
NO_MATTER = {"log_every", "threads", "chunk_megabytes", "cache_teacher", "cache_gb"}
"""What does not change the weights that a training ends with."""
SHARD = 1000
"""Sentences decoded between two savings."""


@dataclass(frozen=True)
class Setup:
    """What all seeds of a run share."""

    run: TranslationRun
    store: FolderCache
    splits: Splits
    vocabulary: SharedVocabulary
    teacher: TranslationModel
    lessons: Lessons
    """Of the student."""
    pseudo: int
    """Pseudo-labelled pairs among them."""
    teacher_cache: Path | None
    """What the teacher says of them, where that is kept."""
    notes: list[str]
    """What the Record should say of all this."""
    console: Console | None

    def gold_lessons(self) -> Lessons:
        """The gold pairs that the student may see, alone."""
        return lessons_of(self.vocabulary, self.splits.seen, self.splits.dev, self.run)


def prepare(run: TranslationRun, console: Console | None) -> Setup:
    """Read the text, and make or find the vocabulary, the teacher and its translations. Raises `DistillerError`."""
    store = FolderCache(Path(run.cache).expanduser() if run.cache else None)
    loaded = load_translator(run.teacher.model) if run.teacher.model else None
    splits = read_corpus(run.corpus)
    vocabulary = shared_vocabulary(run, splits, loaded[1] if loaded else None, store)
    splits = within_length(splits, vocabulary, run)
    teacher = loaded[0] if loaded else trained_teacher(run, splits, vocabulary, store, console)
    check_fit(vocabulary, teacher.config.vocab_size, "the teacher")
    pseudo = pseudo_pairs(run, splits, vocabulary, teacher, store, console)
    lessons = lessons_of(vocabulary, splits.seen, splits.dev, run)
    if run.sequence is not None:
        drawn = run.sequence.gold_ratio > 0 or not pseudo.source
        gold = lessons.examples if drawn else Examples([], [], gold=0)
        examples = Examples(
            gold.source + vocabulary.encode(pseudo.source),
            gold.target + vocabulary.encode(pseudo.target),
            gold=len(gold),
        )
        lessons = replace(lessons, examples=examples, gold_ratio=run.sequence.gold_ratio)
    kept, why_not = teacher_states(store, teacher, lessons.examples, run, console)
    notes = [f"{count} sentences of {name} were left out" for name, count in splits.skipped.items()]
    notes += [*pseudo.notes, *([why_not] if why_not else [])]
    return Setup(run, store, splits, vocabulary, teacher, lessons, len(pseudo.source), kept, notes, console)


@dataclass(frozen=True)
class Outline:
    """A run before it starts: its text, and models of its sizes, perhaps without weights."""

    splits: Splits
    teacher: TranslationModel
    student: TranslationModel


def check(run: TranslationRun) -> Outline:
    """Read the text of `run`, and put its vocabulary, its models and its objective together; trains no model.

    Raises the `DistillerError` that the run would end with. The vocabulary is kept for the run.
    """
    store = FolderCache(Path(run.cache).expanduser() if run.cache else None)
    loaded = load_translator(run.teacher.model) if run.teacher.model else None
    splits = read_corpus(run.corpus)
    vocabulary = shared_vocabulary(run, splits, loaded[1] if loaded else None, store)
    splits = within_length(splits, vocabulary, run)
    pieces = len(vocabulary)
    teacher = loaded[0] if loaded else _without_weights(run.teacher.shape, pieces)
    check_fit(vocabulary, teacher.config.vocab_size, "the teacher")
    student = _without_weights(run.student.shape, pieces)
    if run.student.init == "teacher":
        copy_layers(student, teacher, pick=run.student.pick)
    Objective(run.objective, student=anatomies(student), teacher=anatomies(teacher))
    return Outline(splits, teacher, student)


def _without_weights(shape: Shape, pieces: int) -> TranslationModel:
    with torch.device("meta"):
        return TranslationModel(translation_config(shape, vocabulary=pieces))


def shared_vocabulary(
    run: TranslationRun, splits: Splits, teachers: SharedVocabulary | None, store: FolderCache
) -> SharedVocabulary:
    """The teacher's vocabulary, the one that the run names, or one trained on both sides of the training pairs.

    Raises `ModelError` when the run names another one than the teacher's.
    """
    if run.vocabulary.model is not None:
        named = load_vocabulary(run.vocabulary.model)
        if teachers is not None and named != teachers:
            check_fit(named, len(teachers), "the teacher")
            raise ModelError(
                f"`{run.vocabulary.model}` is not the vocabulary of the teacher `{run.teacher.model}`",
                hint="teacher and student share one: leave vocabulary.model out to take the teacher's",
            )
        return named
    if teachers is not None:
        return teachers
    text = [*splits.train.source, *splits.train.translations]
    facts = {"text": text_fingerprint(splits.train), "wish": run.vocabulary.model_dump(mode="json")}
    folder = store.get("vocabularies", facts, lambda folder: train_vocabulary(text, run.vocabulary).save(folder))
    return load_vocabulary(folder)


def within_length(splits: Splits, vocabulary: SharedVocabulary, run: TranslationRun) -> Splits:
    """`splits` without the sentences of more than `corpus.max_tokens` tokens, which are refused or counted."""
    skipped = dict(splits.skipped)

    def short(pairs: Pairs, split: str) -> Pairs:
        bad = BadRows(run.corpus.skip_bad)
        sides = {"source": pairs.source} | ({"target": pairs.target} if pairs.target is not None else {})
        kept = set(range(len(pairs)))
        for side, text in sides.items():
            lengths = [len(ids) for ids in vocabulary.encode(text)]
            kept &= set(check_lengths(lengths, pairs, longest=run.corpus.max_tokens, bad=bad, side=side))
        bad.warn(pairs.name)
        if len(kept) < len(pairs):
            skipped[split] = skipped.get(split, 0) + len(pairs) - len(kept)
        return pairs.take(sorted(kept)) if len(kept) < len(pairs) else pairs

    train = short(splits.train, "train")
    if not len(train):
        raise DataError(
            f"no pair of `{splits.train.name}` has at most {run.corpus.max_tokens} tokens on both sides",
            hint="raise corpus.max_tokens",
        )
    seen = train if splits.seen is splits.train else short(splits.seen, "seen")
    dev = short(splits.dev, "dev")
    test = short(splits.test, "test") if splits.test else None
    return Splits(train, dev, test, seen, [short(one, one.name) for one in splits.monolingual], skipped)


def lessons_of(vocabulary: SharedVocabulary, train: Pairs, dev: Pairs, run: TranslationRun) -> Lessons:
    """Gold pairs as tokens, and greedy development scores.

    A model that has not learnt to end would fill every sentence up to the longest length: while it trains, it stops a
    little behind the longest reference.
    """
    examples = Examples(vocabulary.encode(train.source), vocabulary.encode(train.translations), gold=len(train))
    longest = min(run.evaluation.max_length, max(map(len, vocabulary.encode(dev.translations))) + 5)
    greedy = run.evaluation.model_copy(update={"beam": 1, "sampling_top_k": None, "max_length": longest})
    return Lessons(
        examples, 1.0, lambda model: evaluate(model, vocabulary, dev, greedy).values, text_fingerprint(train, dev)
    )


def trained_teacher(
    run: TranslationRun, splits: Splits, vocabulary: SharedVocabulary, store: FolderCache, console: Console | None
) -> TranslationModel:
    """The teacher that the run describes, trained on all training pairs, or found."""
    wish = run.teacher
    lessons = lessons_of(vocabulary, splits.train, splits.dev, run)
    folder, _ = gold_training(
        store,
        wish.shape,
        wish.training,
        lessons,
        vocabulary,
        seed=wish.seed,
        console=console,
        title="train the teacher",
    )
    return load_translator(folder)[0]


def gold_training(
    store: FolderCache,
    shape: Shape,
    training: Optimisation,
    lessons: Lessons,
    vocabulary: SharedVocabulary,
    *,
    seed: int,
    title: str,
    console: Console | None,
    start: Callable[[], TranslationModel] | None = None,
    origin: str = "random",
) -> tuple[Path, Fit]:
    """A model trained on pairs alone, made once for all runs with the same facts: its folder, and how it went."""
    facts = {
        "shape": shape.sizes() | {"dropout": shape.dropout},
        "training": training.model_dump(mode="json", exclude=NO_MATTER),
        "seed": seed,
        "origin": origin,
        "vocabulary": vocabulary.fingerprint,
        "text": lessons.fingerprint,
    }

    def make(folder: Path) -> None:
        model = start() if start else build_model(shape, vocabulary=len(vocabulary), seed=seed)
        done = fit(
            model,
            lessons,
            training,
            objective=TranslationObjective(),
            folder=folder,
            seed=seed,
            title=title,
            console=console,
        )
        save_translator(model, vocabulary, folder)
        write_json(folder / FIT, asdict(done))

    folder = store.get("translators", facts, make)
    return folder, Fit(**json.loads((folder / FIT).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class PseudoPairs:
    """What a student learns from the teacher's translations."""

    source: list[str]
    target: list[str]
    notes: list[str] = field(default_factory=list)
    """What the Record should say of them."""


def pseudo_pairs(
    run: TranslationRun,
    splits: Splits,
    vocabulary: SharedVocabulary,
    teacher: TranslationModel,
    store: FolderCache,
    console: Console | None,
) -> PseudoPairs:
    """What the teacher makes of the sentences that the student may see and of monolingual text, as pairs.

    Raises `DataError` for finished jobs that the run cannot use as it asks.
    """
    wish = run.sequence
    if wish is None:
        return PseudoPairs([], [])
    gold: dict[str, list[str]] = {}
    for source, target in zip(splits.seen.source, splits.seen.translations, strict=True):
        gold.setdefault(source, []).append(target)
    notes: list[str] = []
    labels: list[Labelled] = []
    if wish.pseudo_labels:
        for folder in wish.pseudo_labels:
            labels += _usable_labels(folder, read_labels(folder), splits, gold, wish, notes)
    else:
        for pairs in (splits.seen, *splits.monolingual):
            labels += _labels(run, pairs, vocabulary, teacher, store, console)
    known = gold if wish.seq_inter == "local_update" else None
    return PseudoPairs(*training_pairs(labels, inter=wish.seq_inter, gold=known, closest_by=wish.closest_by), notes)


def _usable_labels(
    folder: str,
    labels: list[Labelled],
    splits: Splits,
    gold: dict[str, list[str]],
    wish: SequenceLevel,
    notes: list[str],
) -> list[Labelled]:
    """The labels of a finished job without those of held-out sentences; `notes` says what is odd about them."""
    held = {*splits.dev.source, *(splits.test.source if splits.test else [])}
    kept = [label for label in labels if label.source not in held]
    if len(kept) < len(labels):
        notes.append(f"{len(labels) - len(kept)} pseudo-labels of `{folder}` translate held-out sentences: left out")
    known = sum(label.source in gold for label in kept)
    if wish.seq_inter == "local_update":
        if not any(len(label.hypotheses) > 1 for label in kept):
            raise DataError(
                f"`{folder}` holds one translation of each sentence: seq_inter = local_update has nothing to choose",
                hint="make it with --n-best 4, or set sequence.seq_inter=data_mixing",
            )
        if not known:
            raise DataError(
                f"no sentence of `{folder}` is a training pair: seq_inter = local_update has no gold translation",
                hint="name pseudo-labels of corpus.train, or set sequence.seq_inter=data_mixing",
            )
        if known < len(kept):
            notes.append(f"{len(kept) - known} sentences of `{folder}` have no gold translation: the best one is taken")
    elif not known and not splits.monolingual:
        notes.append(f"no sentence of `{folder}` is a training pair: pseudo-labels of another text?")
    return kept


def _labels(
    run: TranslationRun,
    pairs: Pairs,
    vocabulary: SharedVocabulary,
    teacher: TranslationModel,
    store: FolderCache,
    console: Console | None,
) -> list[Labelled]:
    """The teacher's translations of a text: a job that other runs find, and that is continued when it was stopped."""
    wish = run.sequence
    assert wish is not None
    job: dict[str, Any] = {"n_best": wish.n_best, "shard_size": SHARD, "seed": run.teacher.seed}
    folder = store.path("pseudo-labels", job_facts(pairs, teacher, vocabulary, wish.decoding, **job))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        pseudo_label(pairs, teacher, vocabulary, wish.decoding, folder, resume=True, console=console, **job)
    return read_labels(folder)
