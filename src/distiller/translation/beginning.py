"""What a translation run starts from, before anything is trained: its text, its vocabulary, and its teacher."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from distiller.cache.folders import FolderCache, cache_root
from distiller.config.shapes import LONGEST
from distiller.config.translation import Optimisation, TranslationRun
from distiller.errors import ConfigError, DataError
from distiller.models.encoder_decoder import check_reading, decoder_inputs, longest_text
from distiller.tasks.bad_rows import BadRows
from distiller.training.trackers import check_trackers
from distiller.translation.batches import collate
from distiller.translation.corpus import Splits, check_lengths, read_corpus
from distiller.translation.doubts import oddities
from distiller.translation.model import POSITIONS
from distiller.translation.pairs import Pairs
from distiller.translation.students import load_translator
from distiller.translation.token_rows import kept_rows
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.words import Words, words_of

PROBED = 16
"""Pairs on which it is checked in which direction a teacher translates."""
WRONG_WAY = 0.5
"""Nats per token by which the other direction must be more probable before the user is warned."""


@dataclass(frozen=True)
class Beginning:
    """A run that can start."""

    run: TranslationRun
    store: FolderCache
    splits: Splits
    words: Words
    teacher: PreTrainedModel | None
    """The encoder–decoder that the run names; `None`: one is trained, or only its translations are available."""
    teacher_tokenizer: TranslationTokenizer | None
    odd: list[str]
    """Warnings about the text."""


def begin(run: TranslationRun) -> Beginning:
    """Read the text and load the teacher that `run` names; make the vocabulary or find it in the cache.

    Raises `DistillerError`.
    """
    check_trackers([*run.training.report_to, *run.teacher.training.report_to])
    store = FolderCache(cache_root(run.cache))
    teacher, tokenizer = None, None
    if run.teacher.model is not None and not run.teacher.says_only:
        teacher, tokenizer = load_translator(run.teacher.model, run.teacher.languages)
    splits = read_corpus(run.task)
    odd = oddities(splits)
    words = words_of(run, splits, tokenizer, store)
    splits = within_length(splits, words, run, teacher, tokenizer, store)
    if teacher is not None and tokenizer is not None:
        odd += wrong_files(run, tokenizer) or wrong_way(teacher, tokenizer, splits.train)
        if run.teacher.training != Optimisation():
            odd.append("teacher.training is not read: teacher.model is taken as it is")
    elif not run.teacher.says_only:
        words = replace(words, teachers=words.tokenizer)  # a teacher that is trained here shares it
    if run.objective.compares or run.student.init == "teacher":
        if words.teachers is None:
            raise ConfigError(
                "word-level distillation, hidden states and layers of the teacher need its vocabulary, and the student "
                "has another",
                hint="vocabulary.of=teacher (cut=true for a small one), or sequence-level alone: objective.beta1=0",
            )
        if teacher is not None:
            check_reading(teacher, str(run.teacher.model))
    return Beginning(run, store, splits, words, teacher, tokenizer, odd)


def longest_here(run: TranslationRun, teacher: PreTrainedModel | None) -> int:
    """The longest sentence, in tokens, that both student and teacher can read."""
    held = longest_text(teacher) if teacher is not None else None
    if held is None:
        return POSITIONS
    return min(POSITIONS, held) if run.student.init == "random" else held


def within_length(
    splits: Splits,
    words: Words,
    run: TranslationRun,
    teacher: PreTrainedModel | None = None,
    teachers: TranslationTokenizer | None = None,
    store: FolderCache | None = None,
) -> Splits:
    """`splits` without sentences that are longer than `task.max_length` or than a model can read.

    Such sentences are refused, or with `task.skip_bad` left out and counted. `teachers` is the tokenizer of `teacher`,
    which reads the sources too. The tokens of a long text are kept in `store`. Raises `DataError` if no sentence of a
    text is left.
    """
    most = min(LONGEST, longest_here(run, teacher))
    longest = min(run.task.max_length, most)
    held = longest_text(teacher) if teacher is not None else None
    skipped = dict(splits.skipped)

    def lengths(side: str, text: Sequence[str]) -> list[int]:
        found = kept_rows(store, words.tokenizer, text, targets=side == "target").lengths.tolist()
        if side == "source" and teachers is not None and teachers is not words.teachers and held is not None:
            read = kept_rows(store, teachers, text, targets=False).lengths.tolist()
            found = [max(ours, theirs) if theirs > held else ours for ours, theirs in zip(found, read, strict=True)]
        return found

    def short(pairs: Pairs, split: str, side: str = "source") -> Pairs:
        bad = BadRows(run.task.skip_bad)
        limits = {"longest": longest, "most": most, "bad": bad}
        found = pairs.take(check_lengths(lengths(side, pairs.source), pairs, side=side, **limits))
        if found.target is not None:
            found = found.take(check_lengths(lengths("target", found.target), found, side="target", **limits))
        bad.warn(pairs.name)
        if not len(found):
            raise DataError(
                f"no line of `{pairs.name}` has at most {longest} tokens on each side",
                hint="raise task.max_length" if longest < most else f"the model takes {most}: split it into sentences",
            )
        if len(found) < len(pairs):
            skipped[split] = skipped.get(split, 0) + len(pairs) - len(found)
        return found

    train = short(splits.train, "train")
    lines = set(train.lines)
    seen = splits.seen.take(row for row, line in enumerate(splits.seen.lines) if line in lines)
    return Splits(
        train=train,
        dev=short(splits.dev, "dev"),
        test=short(splits.test, "test") if splits.test else None,
        seen=train if splits.seen is splits.train else seen,
        monolingual=[short(one, one.name) for one in splits.monolingual],
        backward=[short(one, one.name, "target") for one in splits.backward],
        skipped=skipped,
        fingerprint=splits.fingerprint,
    )


def wrong_files(run: TranslationRun, tokenizer: TranslationTokenizer) -> list[str]:
    """A warning if the file names state the teacher's languages the other way round."""
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
    """A warning if the teacher finds the sources more probable as translations than the translations themselves."""
    few = range(min(PROBED, len(pairs)))
    sources, targets = [pairs.source[row] for row in few], [pairs.translations[row] for row in few]
    if surprise(teacher, tokenizer, targets, sources) < surprise(teacher, tokenizer, sources, targets) - WRONG_WAY:
        return [f"source and target of `{pairs.name}` look swapped: the teacher translates the other way more readily"]
    return []


@torch.no_grad()
def surprise(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, sources: Sequence[str], targets: Sequence[str]
) -> float:
    """Mean negative log-likelihood of `targets` as translations of `sources`, in nats per token."""
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
