"""What all seeds of a translation run share: text, vocabulary, teacher, pseudo-labels. Each is made once and kept."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from rich.console import Console
from torch import Tensor
from transformers import PreTrainedModel

from distiller.cache.folders import FolderCache, cache_root
from distiller.config.translation import (
    Languages,
    Objective,
    Optimisation,
    SequenceLevel,
    TranslationRun,
)
from distiller.errors import ConfigError, DataError
from distiller.files import write_json
from distiller.models.encoder_decoder import check_reading, decoder_inputs, longest_text
from distiller.tasks.bad_rows import BadRows
from distiller.training.fit import Fit, fit
from distiller.training.trackers import check_trackers
from distiller.translation.batches import Examples, collate
from distiller.translation.corpus import (
    Pairs,
    Splits,
    check_lengths,
    oddities,
    read_corpus,
    read_pairs,
    read_split,
    text_fingerprint,
)
from distiller.translation.cut import cut_vocabulary
from distiller.translation.model import POSITIONS, TokenIds, build_model, parameter_count, without_seed
from distiller.translation.objective import TranslationObjective, model_shapes
from distiller.translation.pseudo_labels import filtered, job_facts, pseudo_label, read_labels, training_pairs
from distiller.translation.scores import Scores, score, sentence_chrf
from distiller.translation.students import build_student, load_translator, save_translator, token_ids
from distiller.translation.teacher_states import teacher_states
from distiller.translation.tokenizer import (
    TranslationTokenizer,
    load_translation_tokenizer,
    tokenizer_from_sentencepiece,
    train_tokenizer,
)
from distiller.translation.training_data import TranslationData
from distiller.translation.translate import TextTranslator, evaluate
from distiller.translation.translators import (
    Labelled,
    Translator,
    causal_config,
    model_translator,
    prompted_translator,
    read_translations,
)

FIT = "fit.json"
GOLD_ALONE = Objective(beta1=0.0, gamma1=1.0)
"""What teachers and baselines learn."""
NO_MATTER = {"log_every", "report_to", "checkpoint_minutes", "threads", "chunk_megabytes", "cache_teacher", "cache_gb"}
"""What does not change the weights that a training ends with."""
SHARD = 1000
"""Sentences decoded between two savings."""
SHAPED = {"dropout", "embeddings"}
"""What of a shape decides a training beside its sizes and network."""
PROBED = 16
"""Pairs that a teacher is asked about to see which way it translates."""
WRONG_WAY = 0.5
"""Nats a token by which the other way must be more probable before anything is said of it."""


@dataclass(frozen=True)
class Words:
    """How the student reads and writes."""

    tokenizer: TranslationTokenizer
    teachers: TranslationTokenizer | None
    """The teacher's, of which `tokenizer` is all or a part; `None`: they have nothing in common."""
    rows: Tensor | None = None
    """Ids that the pieces have in the teacher's vocabulary; `None`: the same."""

    def token_ids(self, teacher: PreTrainedModel | None) -> TokenIds:
        """What a student must know of its tokenizer; where it is the teacher's, as the teacher uses it."""
        if self.teachers is None or teacher is None:
            return token_ids(self.tokenizer)
        ids = token_ids(self.teachers, teacher)
        if self.rows is None:
            return ids
        new = {int(old): index for index, old in enumerate(self.rows)}
        forced = None if ids.forced is None else new[ids.forced]
        return TokenIds(len(self.rows), new[ids.pad], new[ids.end], new[ids.start], forced)


@dataclass(frozen=True)
class Setup:
    """What all seeds of a run share."""

    run: TranslationRun
    store: FolderCache
    splits: Splits
    words: Words
    teacher: PreTrainedModel | None
    """`None`: nothing is known of it but its translations."""
    teacher_tokenizer: TranslationTokenizer | None
    teacher_folder: Path | None
    """Where a teacher lies that was trained for this run."""
    teacher_scores: dict[str, float]
    training_data: TranslationData
    """Of the student."""
    pseudo: int
    """Pseudo-labelled pairs among them."""
    teacher_cache: Path | None
    """What the teacher says of them, where that is kept."""
    notes: list[str]
    """What the Record should say of all this."""
    console: Console | None

    @property
    def tokenizer(self) -> TranslationTokenizer:
        """The student's."""
        return self.words.tokenizer

    def gold_data(self) -> TranslationData:
        """The gold pairs that the student may see, alone."""
        return training_data_of(self.tokenizer, self.splits.seen, self.splits.dev, self.run)

    def student(self, seed: int) -> PreTrainedModel:
        """A student before its training."""
        tokens = self.words.token_ids(self.teacher)
        return build_student(self.run.student, self.teacher, tokens=tokens, seed=seed, rows=self.words.rows)


def prepare(run: TranslationRun, console: Console | None) -> Setup:
    """Read the text, and make or find the vocabulary, the teacher and its translations. Raises `DistillerError`."""
    check_trackers([*run.training.report_to, *run.teacher.training.report_to])
    store = FolderCache(cache_root(run.cache))
    loaded = loaded_teacher(run)
    splits = read_corpus(run.task)
    odd = oddities(splits)
    words = words_of(run, splits, loaded[1] if loaded else None, store)
    splits = within_length(splits, words.tokenizer, run, loaded[0] if loaded else None)
    folder = None
    if loaded:
        teacher, tokenizer = loaded
        odd += wrong_files(run, tokenizer) or wrong_way(teacher, tokenizer, splits.train)
    elif run.teacher.says_only:
        teacher, tokenizer = None, None
    else:
        folder = trained_teacher(run, splits, words.tokenizer, store, console)
        teacher, tokenizer = load_translator(folder)
        words = replace(words, teachers=words.tokenizer)
    _check_reading(run, words, teacher)
    pseudo = pseudo_pairs(run, splits, tokenizer, teacher, store, console)
    training_data = replace(training_data_of(words.tokenizer, splits.seen, splits.dev, run), rows=words.rows)
    if run.sequence is not None:
        if not pseudo.source:
            raise DataError(
                "no pseudo-label is left to learn from",
                hint="see sequence.filter, or set sequence to null to learn from gold pairs alone",
            )
        gold = training_data.examples if run.sequence.gold_ratio > 0 else Examples([], [], gold=0)
        examples = Examples(
            gold.source + words.tokenizer.encode(pseudo.source),
            gold.target + words.tokenizer.encode_targets(pseudo.target),
            gold=len(gold),
        )
        examples, overlong = _within(examples, run, teacher)
        if overlong:
            odd.append(f"{overlong} pseudo-labels are longer than a model takes: left out")
        training_data = replace(training_data, examples=examples, gold_ratio=run.sequence.gold_ratio)
    kept, why_not = teacher_states(store, teacher, training_data.examples, run, console, rows=words.rows)
    notes = [f"{count} sentences of {name} were left out" for name, count in splits.skipped.items()]
    notes += [*odd, *pseudo.notes, *([why_not] if why_not else [])]
    return Setup(
        run=run,
        store=store,
        splits=splits,
        words=words,
        teacher=teacher,
        teacher_tokenizer=tokenizer,
        teacher_folder=folder,
        teacher_scores=pseudo.scores,
        training_data=training_data,
        pseudo=len(pseudo.source),
        teacher_cache=kept,
        notes=notes,
        console=console,
    )


def loaded_teacher(run: TranslationRun) -> tuple[PreTrainedModel, TranslationTokenizer] | None:
    """The encoder–decoder that the run names as its teacher."""
    if run.teacher.model is None or run.teacher.says_only:
        return None
    return load_translator(run.teacher.model, run.teacher.languages)


@dataclass(frozen=True)
class Outline:
    """A run before it starts: its text, and models of its sizes, perhaps without weights."""

    run: TranslationRun
    splits: Splits
    teacher: PreTrainedModel | None
    student: PreTrainedModel
    odd: list[str]
    """What is odd about the text."""
    possible: str
    """Which ways of teaching this teacher and this student have."""

    def lines(self) -> Iterable[str]:
        """For people."""
        splits = self.splits
        counts = {"training": splits.train, "development": splits.dev, "test": splits.test}
        text = ", ".join(f"{len(pairs):,} {name} pairs" for name, pairs in counts.items() if pairs is not None)
        seen = f"; the student sees {len(splits.seen):,}" if len(splits.seen) < len(splits.train) else ""
        yield text + seen
        student = parameter_count(self.student)
        if self.teacher is None:
            yield f"student {student:,} parameters"
        else:
            teacher = parameter_count(self.teacher)
            yield f"teacher {teacher:,} parameters, student {student:,}: {teacher / student:.1f} times fewer"
        yield f"this teacher and this student can do: {self.possible}"
        for word in self.odd:
            yield f"warning: {word}"


def check(run: TranslationRun) -> Outline:
    """Read the text of `run`, and put its vocabulary, its models and its objective together; trains no model.

    Raises the `DistillerError` that the run would end with. The vocabulary is kept for the run.
    """
    check_trackers([*run.training.report_to, *run.teacher.training.report_to])
    store = FolderCache(cache_root(run.cache))
    loaded = loaded_teacher(run)
    splits = read_corpus(run.task)
    odd = oddities(splits)
    words = words_of(run, splits, loaded[1] if loaded else None, store)
    splits = within_length(splits, words.tokenizer, run, loaded[0] if loaded else None)
    teacher = None
    if loaded:
        teacher = loaded[0]
        odd += wrong_files(run, loaded[1]) or wrong_way(*loaded, splits.train)
    elif not run.teacher.says_only:
        with torch.device("meta"):
            teacher = without_seed(run.teacher.shape, words.token_ids(None))
        words = replace(words, teachers=words.tokenizer)
    _check_reading(run, words, teacher)
    if run.teacher.prompt is not None and run.teacher.server is None:
        causal_config(str(run.teacher.model))
    for name in run.teacher.files:
        read_translations(name, read_pairs(run.task.train))
    if run.sequence is not None:
        for name in run.sequence.pseudo_labels:
            read_labels(name)
    tokens = words.token_ids(teacher)
    if run.student.init == "teacher":
        student = build_student(run.student, teacher, tokens=tokens, seed=0, rows=words.rows)
    else:
        with torch.device("meta"):
            student = without_seed(run.student.shape, tokens)
    TranslationObjective(
        run.objective, student=model_shapes(student), teacher=model_shapes(teacher) if teacher is not None else None
    )
    return Outline(run, splits, teacher, student, odd, what_is_possible(words, teacher))


def what_is_possible(words: Words, teacher: PreTrainedModel | None) -> str:
    """Which ways of teaching there are, in words."""
    if teacher is None:
        return "sequence-level (the teacher is known by its translations alone)"
    if words.teachers is None:
        return "sequence-level (word-level and hidden states need the teacher's vocabulary: vocabulary.of=teacher)"
    part = "" if words.rows is None else f", over the {len(words.rows)} pieces that are kept"
    return f"sequence-level, word-level and hidden states{part}"


def _check_reading(run: TranslationRun, words: Words, teacher: PreTrainedModel | None) -> None:
    """Raises `ConfigError` where the objective compares what cannot be compared, `ModelError` for unknown innards."""
    if not run.objective.compares and run.student.init != "teacher":
        return
    if words.teachers is None:
        raise ConfigError(
            "word-level distillation, hidden states and layers of the teacher need its vocabulary, and the student has "
            "another",
            hint="vocabulary.of=teacher (cut=true for a small one), or sequence-level alone: objective.beta1=0",
        )
    if teacher is not None and next(teacher.parameters()).device.type != "meta":
        check_reading(teacher, run.teacher.model or "the teacher")


def words_of(run: TranslationRun, splits: Splits, teachers: TranslationTokenizer | None, store: FolderCache) -> Words:
    """The tokenizer of the student: the teacher's or a part of it, the one that the run names, or one trained here.

    Raises `ModelError` when the run names another one than that of a teacher which it compares with.
    """
    wish = run.vocabulary
    if wish.of == "teacher" and teachers is None and run.teacher.model is None:
        raise ConfigError(
            "vocabulary.of=teacher needs teacher.model", hint="leave it out: a teacher trained here shares it"
        )
    if wish.model is not None:
        named = tokenizer_from_sentencepiece(wish.model)
        same = teachers is not None and named.tokenizer.get_vocab() == teachers.tokenizer.get_vocab()
        return Words(named, named if same else None)
    sources = [*splits.train.source, *(text for pairs in splits.monolingual for text in pairs.source)]
    targets = [*splits.train.translations, *(text for pairs in splits.backward for text in pairs.source)]
    if teachers is not None and wish.of != "corpus":
        if not wish.cut:
            return Words(teachers, teachers)
        smaller, rows = cut_vocabulary(teachers, sources, targets)
        return Words(smaller, teachers, rows)
    if wish.cut:
        raise ConfigError(
            "vocabulary.cut cuts the tokenizer of teacher.model, and the student has one of its own",
            hint="set vocabulary.size instead",
        )
    facts = {"text": text_fingerprint(splits.train), "wish": wish.model_dump(mode="json"), "form": "marian"}
    text = [*splits.train.source, *splits.train.translations]
    folder = store.get("vocabularies", facts, lambda folder: train_tokenizer(text, wish).save(folder))
    return Words(load_translation_tokenizer(folder), None)


def wrong_files(run: TranslationRun, tokenizer: TranslationTokenizer) -> list[str]:
    """A word of warning where files are called after the languages of the teacher, the other way round."""
    source, target = tokenizer.languages
    train = run.task.train
    if source is None or target is None or train.target is None:
        return []
    ends = [Path(name).suffix.removeprefix(".").casefold() for name in (train.source, train.target)]
    if ends[0] != ends[1] and all(ends) and (target[:2], source[:2]) == (ends[0][:2], ends[1][:2]):
        return [
            f"source and target look swapped: `{train.source}` and `{train.target}`, and the teacher translates from "
            f"{source} to {target}"
        ]
    return []


def wrong_way(teacher: PreTrainedModel, tokenizer: TranslationTokenizer, pairs: Pairs) -> list[str]:
    """A word of warning where the teacher finds the sources more probable as translations than the translations."""
    few = range(min(PROBED, len(pairs)))
    sources, targets = [pairs.source[row] for row in few], [pairs.translations[row] for row in few]
    if surprise(teacher, tokenizer, targets, sources) < surprise(teacher, tokenizer, sources, targets) - WRONG_WAY:
        return [f"source and target of `{pairs.name}` look swapped: the teacher translates the other way more readily"]
    return []


@torch.no_grad()
def surprise(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, sources: Sequence[str], targets: Sequence[str]
) -> float:
    """Nats a token of `targets` as translations of `sources`."""
    rows = zip(tokenizer.encode(sources), tokenizer.encode_targets(targets), strict=True)
    features = [{"id": n, "source": source, "target": target} for n, (source, target) in enumerate(rows)]
    held = longest_text(model)
    features = [one for one in features if held is None or max(len(one["source"]), len(one["target"])) <= held]
    if not features:
        return 0.0
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in collate(features, pad=tokenizer.pad).items()}
    whole: Any = model
    logits = whole(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=decoder_inputs(model, batch["labels"]),
    ).logits
    return float(F.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten()))


def _within(examples: Examples, run: TranslationRun, teacher: PreTrainedModel | None) -> tuple[Examples, int]:
    """`examples` without pseudo-labels that are longer than models take, and how many those are."""
    longest = longest_here(run, teacher)
    rows = range(len(examples))
    kept = [n for n in rows if n < examples.gold or max(len(examples.source[n]), len(examples.target[n])) <= longest]
    if len(kept) == len(examples):
        return examples, 0
    shorter = Examples([examples.source[n] for n in kept], [examples.target[n] for n in kept], gold=examples.gold)
    return shorter, len(examples) - len(kept)


def longest_here(run: TranslationRun, teacher: PreTrainedModel | None) -> int:
    """Tokens that student and teacher take."""
    held = longest_text(teacher) if teacher is not None else None
    return min(POSITIONS if run.student.init == "random" or held is None else held, held or POSITIONS)


def within_length(
    splits: Splits, tokenizer: TranslationTokenizer, run: TranslationRun, teacher: PreTrainedModel | None
) -> Splits:
    """`splits` without sentences of more tokens than `task.max_length`, or than a model has positions for.

    They are refused or counted.
    """
    longest = min(run.task.max_length, longest_here(run, teacher))
    encode = {"source": tokenizer.encode, "target": tokenizer.encode_targets}
    skipped = dict(splits.skipped)

    def short(pairs: Pairs, split: str) -> Pairs:
        bad = BadRows(run.task.skip_bad)
        sides = {"source": pairs.source} | ({"target": pairs.target} if pairs.target is not None else {})
        kept = set(range(len(pairs)))
        for side, text in sides.items():
            lengths = [len(ids) for ids in encode[side](text)]
            kept &= set(check_lengths(lengths, pairs, longest=longest, bad=bad, side=side))
        bad.warn(pairs.name)
        if len(kept) < len(pairs):
            skipped[split] = skipped.get(split, 0) + len(pairs) - len(kept)
        return pairs.take(sorted(kept)) if len(kept) < len(pairs) else pairs

    train = short(splits.train, "train")
    if not len(train):
        raise DataError(
            f"no pair of `{splits.train.name}` has at most {run.task.max_length} tokens on both sides",
            hint="raise task.max_length",
        )
    seen = train if splits.seen is splits.train else short(splits.seen, "seen")
    dev = short(splits.dev, "dev")
    test = short(splits.test, "test") if splits.test else None
    monolingual = [short(one, one.name) for one in splits.monolingual]
    return Splits(train, dev, test, seen, monolingual, splits.backward, skipped)


def training_data_of(tokenizer: TranslationTokenizer, train: Pairs, dev: Pairs, run: TranslationRun) -> TranslationData:
    """Gold pairs as tokens, and greedy development scores.

    A model that has not learnt to end would fill every sentence up to the longest length: while it trains, it stops a
    little behind the longest reference.
    """
    examples = Examples(tokenizer.encode(train.source), tokenizer.encode_targets(train.translations), gold=len(train))
    longest = min(run.evaluation.max_length, max(map(len, tokenizer.encode_targets(dev.translations))) + 5)
    greedy = run.evaluation.model_copy(update={"beam": 1, "sampling_top_k": None, "max_length": longest})
    return TranslationData(
        examples,
        1.0,
        lambda model: evaluate(model, tokenizer, dev, greedy).values,
        text_fingerprint(train, dev),
        tokenizer,
        len(dev),
    )


def trained_teacher(
    run: TranslationRun, splits: Splits, tokenizer: TranslationTokenizer, store: FolderCache, console: Console | None
) -> Path:
    """The folder of the teacher that the run describes, trained on all training pairs, or found."""
    wish = run.teacher
    folder, _ = gold_training(
        store,
        {"shape": wish.shape.sizes(), "form": wish.shape.form(), **wish.shape.model_dump(include=SHAPED)},
        wish.training,
        training_data_of(tokenizer, splits.train, splits.dev, run),
        seed=wish.seed,
        console=console,
        title="train the teacher",
        start=lambda: build_model(wish.shape, tokens=token_ids(tokenizer), seed=wish.seed),
    )
    return folder


def gold_training(
    store: FolderCache,
    model: dict[str, Any],
    training: Optimisation,
    training_data: TranslationData,
    *,
    seed: int,
    title: str,
    console: Console | None,
    start: Callable[[], PreTrainedModel],
) -> tuple[Path, Fit]:
    """A model trained on pairs alone, made once for all runs with the same facts: its folder, and how it went.

    `model` are the facts that decide what `start` makes.
    """
    facts = {
        "model": model,
        "training": training.model_dump(mode="json", exclude=NO_MATTER),
        "seed": seed,
        "vocabulary": training_data.tokenizer.fingerprint,
        "text": training_data.fingerprint,
    }

    def make(folder: Path) -> None:
        beginner = start()

        def keep(done: Fit) -> None:
            save_translator(beginner, training_data.tokenizer, folder)
            write_json(folder / FIT, asdict(done))

        fit(
            beginner,
            training_data,
            training,
            objective=GOLD_ALONE,
            folder=folder,
            seed=seed,
            title=title,
            console=console,
            resume=True,
            keep=keep,
        )

    folder = store.get("translators", facts, make, resumes=True)
    return folder, Fit(**json.loads((folder / FIT).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class PseudoPairs:
    """What a student learns from the teacher's translations."""

    source: list[str]
    target: list[str]
    notes: list[str] = field(default_factory=list)
    """What the Record should say of them."""
    scores: dict[str, float] = field(default_factory=dict)
    """Development scores of a teacher that is no model here, where it translated that text too."""


def pseudo_pairs(
    run: TranslationRun,
    splits: Splits,
    tokenizer: TranslationTokenizer | None,
    teacher: PreTrainedModel | None,
    store: FolderCache,
    console: Console | None,
) -> PseudoPairs:
    """What the teacher makes of the sentences that the student may see and of monolingual text, as pairs.

    Raises `DataError` for translations that the run cannot use as it asks.
    """
    wish = run.sequence
    if wish is None:
        return PseudoPairs([], [])
    gold: dict[str, list[str]] = {}
    for source, target in zip(splits.seen.source, splits.seen.translations, strict=True):
        gold.setdefault(source, []).append(target)
    notes: list[str] = []
    labels: list[Labelled] = []
    scores: dict[str, float] = {}
    if wish.pseudo_labels or run.teacher.files:
        made = {name: read_labels(name) for name in wish.pseudo_labels}
        made |= {name: read_translations(name, read_pairs(run.task.train)) for name in run.teacher.files}
        for name, found in made.items():
            scores = scores or _scores_of(found, splits.dev)
            labels += _usable_labels(name, found, splits, gold, wish, notes)
    else:
        translator = _translator(run, tokenizer, teacher)
        for pairs in (splits.seen, *splits.monolingual):
            labels += _labels(translator, pairs, store, console, seed=run.teacher.seed)
        if teacher is None:
            scores = _scores_of(_labels(translator, splits.dev, store, console, seed=run.teacher.seed), splits.dev)
    labels, dropped = filtered(labels, wish.filter)
    notes += [f"{count} pseudo-labels left out: {reason}" for reason, count in dropped.items()]
    backward = model_translator(*backward_model(run), wish.decoding) if wish.backward else None
    if backward is not None and wish.filter.round_trip:
        labels, lost = _read_back(labels, backward, wish.filter.round_trip, store, console)
        notes.append(f"{lost} sentences left out: their translations lead back elsewhere")
    known = gold if wish.seq_inter == "local_update" else None
    sources, targets = training_pairs(labels, inter=wish.seq_inter, gold=known, closest_by=wish.closest_by)
    if backward is not None:
        for pairs in splits.backward:
            for label in _labels(backward, pairs, store, console, seed=run.teacher.seed):
                if label.hypotheses[0].text.strip():
                    sources.append(label.hypotheses[0].text)
                    targets.append(label.source)
    return PseudoPairs(sources, targets, notes, scores)


def backward_model(run: TranslationRun) -> tuple[PreTrainedModel, TranslationTokenizer]:
    """The model that translates back; one of many languages takes those of the teacher the other way round."""
    assert run.sequence is not None
    assert run.sequence.backward is not None
    forth = run.teacher.languages
    try:
        return load_translator(run.sequence.backward)
    except ConfigError:
        return load_translator(run.sequence.backward, Languages(source=forth.target, target=forth.source))


def _read_back(
    labels: list[Labelled], backward: Translator, least: float, store: FolderCache, console: Console | None
) -> tuple[list[Labelled], int]:
    """`labels` whose best translation leads back to a sentence of at least this chrF, and how many do not."""
    said = [label.hypotheses[0].text for label in labels]
    pairs = Pairs("translations", said, None, list(range(1, len(said) + 1)))
    back = [label.hypotheses[0].text for label in _labels(backward, pairs, store, console, seed=0)]
    kept = []
    for label, text in zip(labels, back, strict=True):
        if sentence_chrf(text, label.source) >= least:
            kept.append(label)
    return kept, len(labels) - len(kept)


def _scores_of(labels: Sequence[Labelled], dev: Pairs) -> dict[str, float]:
    """Development scores of translations, if there is one of each development sentence."""
    said = {label.source: label.hypotheses[0].text for label in labels if label.hypotheses}
    if not all(source in said for source in dev.source):
        return {}
    return score([said[source] for source in dev.source], dev.translations).values


def _translator(
    run: TranslationRun, tokenizer: TranslationTokenizer | None, teacher: PreTrainedModel | None
) -> Translator:
    """What translates for the student."""
    wish = run.sequence
    assert wish is not None
    if teacher is None or tokenizer is None:
        return prompted_translator(run.teacher, wish.decoding, n_best=wish.n_best)
    return model_translator(teacher, tokenizer, wish.decoding, n_best=wish.n_best)


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
                hint="name pseudo-labels of task.train, or set sequence.seq_inter=data_mixing",
            )
        if known < len(kept):
            notes.append(f"{len(kept) - known} sentences of `{folder}` have no gold translation: the best one is taken")
    elif not known and not splits.monolingual:
        notes.append(f"no sentence of `{folder}` is a training pair: pseudo-labels of another text?")
    return kept


def _labels(
    translator: Translator, pairs: Pairs, store: FolderCache, console: Console | None, *, seed: int
) -> list[Labelled]:
    """Translations of a text: a job that other runs find, and that is continued when it was stopped."""
    job: dict[str, Any] = {"shard_size": SHARD, "seed": seed}
    folder = store.path("pseudo-labels", job_facts(pairs, translator, **job))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        pseudo_label(pairs, translator, folder, resume=True, console=console, **job)
    return read_labels(folder)


def split_scores(model: TextTranslator, split: str) -> Scores:
    """Scores of a finished model on the `dev` or `test` text of its run.

    Raises `ConfigError` for a split that the run has not.
    """
    task = model.run.task
    if model.described:
        splits = within_length(read_corpus(task), model.tokenizer, model.run, None)
        pairs = {"dev": splits.dev, "test": splits.test}.get(split)
    else:
        named = {"dev": task.dev, "test": task.test}.get(split)
        pairs = read_split(named, task, split) if named is not None else None
    if pairs is None:
        hint = "--split dev, or task.test.source=… task.test.target=…" if split == "test" else f"task.{split}.source=…"
        raise ConfigError(f"`{model.name}` has no `{split}` text", hint=hint)
    return model.scores(pairs)
