"""Policies: operators in sequence, each on the output of the one before, always starting from the original example."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from distiller.augment.edit_cache import EditCache, cache_key
from distiller.augment.gold import Draft, of_context, of_tagged, of_text
from distiller.augment.mixup import Mixup
from distiller.augment.operators import AUGMENTERS
from distiller.augment.passage import Edit, Operator, Passage
from distiller.augment.pretrained import stamp
from distiller.config import Component
from distiller.errors import ConfigError, DistillerError, RunError
from distiller.tasks.data import NO_ANSWER, AnySplit, QuestionSplit, TaggedSplit
from distiller.tasks.encode import IGNORED

HOPELESS = 100
"""An operator that fails on its first so many texts, each of them, or leaves nothing of them, is broken."""

OUTSIDE = "O"
"""The tag of words outside every entity."""


@dataclass(frozen=True)
class Step:
    """One text operator of a policy."""

    name: str
    options: Mapping[str, Any]
    operator: Operator
    """An edit for each passage; takes passages and a generator for each."""
    prepare: partial[None]
    """Loads what the operator needs."""
    expensive: bool
    steady: bool
    """Whether the same text always becomes the same."""


@dataclass
class Policy:
    """Text operators in order, optionally followed by mixup. Made by `build_policy`.

    The result for a row depends only on (seed, epoch, row id) and the row, so it is the same in every process, batch
    and order. A policy may be copied to other processes: each loads what it needs at first use, and counts for itself.
    """

    steps: tuple[Step, ...]
    mixup: Mixup | None = None
    refresh: int = 1
    """Epochs that share what is drawn."""
    cache: EditCache | None = None
    counts: Counter[str] = field(default_factory=Counter)
    """What happened since the start: for each operator `NAME.texts` it was given, and of them `NAME.unchanged`,
    `NAME.empty` (without an output) and `NAME.failed` (it raised); `gold.dropped`, answers and tags that are not
    labels any more. Of several processes they add up."""

    @property
    def rewrites(self) -> bool:
        """Whether the result is text, and not a mixture."""
        return bool(self.steps) and self.mixup is None

    @property
    def repeats(self) -> bool:
        """Whether several epochs see the same texts."""
        return self.refresh > 1 or all(step.steady for step in self.steps)

    def prepare(self) -> None:
        """Load what every operator needs, so that anything missing or wrong is known before any training.

        Raises `ConfigError`, `ModelError`, `DataError`, `MissingPackageError`, or `OutputError` for the cache.
        """
        for step in self.steps:
            step.prepare()
        if self.cache is not None:
            self.cache.open()

    def augment_split(
        self, split: AnySplit, rows: Iterable[int], *, seed: int, epoch: int, labels: Sequence[str] = ()
    ) -> AnySplit:
        """The rows at these positions of `split`, augmented, as a split of the same kind with the same ids.

        Labels that may no longer hold are removed: tags of new words are -100 unless the tag set `labels` has `O` and
        they replace a word with that tag; a question may lose its answer. Words of entities and answers are not edited.
        Texts on which an operator fails stay as they are. Raises `RunError` if an operator fails on every text or
        empties it, and what `prepare` raises if that was not called.
        """
        chosen = split.take(rows)
        if isinstance(chosen, TaggedSplit):
            return self._tagged(chosen, seed, epoch, labels)
        if isinstance(chosen, QuestionSplit):
            return self._questions(chosen, seed, epoch)
        keys = [str(number) for number in chosen.ids]
        texts = [of_text(text, f"{key}/text") for text, key in zip(chosen.texts, keys, strict=True)]
        pairs = [of_text(text, f"{key}/pair") for text, key in zip(chosen.pairs or (), keys, strict=False)]
        done = [draft.passage.text for draft in self._apply([*texts, *pairs], seed, epoch)]
        return replace(
            chosen, texts=tuple(done[: len(texts)]), pairs=None if chosen.pairs is None else tuple(done[len(texts) :])
        )

    def _tagged(self, split: TaggedSplit, seed: int, epoch: int, labels: Sequence[str]) -> TaggedSplit:
        outside = list(labels).index(OUTSIDE) if OUTSIDE in labels else None
        tags = split.tags or [None] * len(split)
        drafts = [
            of_tagged(words, known, f"{number}/words", outside=outside)
            for words, known, number in zip(split.words, tags, split.ids, strict=True)
        ]
        done = self._apply(drafts, seed, epoch)
        words = tuple(draft.passage.words for draft in done)
        if split.tags is None:
            return replace(split, words=words)
        followed = tuple(draft.tags or () for draft in done)
        self.counts["gold.dropped"] += sum(row.count(IGNORED) for row in followed) - sum(
            row.count(IGNORED) for row in split.tags
        )
        return replace(split, words=words, tags=followed)

    def _questions(self, split: QuestionSplit, seed: int, epoch: int) -> QuestionSplit:
        none = [right == (NO_ANSWER,) for right in split.answers or ()]  # which stays so
        answers = [() if null else right for null, right in zip(none, split.answers or (), strict=True)]
        answers = answers or [None] * len(split)
        drafts = [of_text(text, f"{number}/question") for text, number in zip(split.questions, split.ids, strict=True)]
        drafts += [
            of_context(text, known, f"{number}/context")
            for text, known, number in zip(split.contexts, answers, split.ids, strict=True)
        ]
        done = self._apply(drafts, seed, epoch)
        questions, contexts = done[: len(split)], done[len(split) :]
        kept = tuple(draft.answers or () for draft in contexts)
        if any(none):
            kept = tuple((NO_ANSWER,) if null else right for null, right in zip(none, kept, strict=True))
        self.counts["gold.dropped"] += sum(map(len, split.answers or ())) - sum(map(len, kept))
        return replace(
            split,
            questions=tuple(draft.passage.text for draft in questions),
            contexts=tuple(draft.passage.text for draft in contexts),
            answers=None if split.answers is None else kept,
        )

    def _apply(self, drafts: list[Draft], seed: int, epoch: int) -> list[Draft]:
        for position, step in enumerate(self.steps):
            keys = [f"{seed}/{epoch // self.refresh}/{position}/{draft.key}" for draft in drafts]
            edits = self._edits(step, [draft.passage for draft in drafts], keys)
            done = [draft.after(edit) for draft, edit in zip(drafts, edits, strict=True)]
            self.counts[f"{step.name}.empty"] += sum(edit is None for edit in edits)
            self.counts[f"{step.name}.unchanged"] += sum(a is b for a, b in zip(done, drafts, strict=True))
            if HOPELESS <= self.counts[f"{step.name}.empty"] == self.counts[f"{step.name}.texts"]:
                raise RunError(
                    f"the augmentation operator `{step.name}` made nothing of any of {HOPELESS} texts or more",
                    hint="take it out of `augmentation`, or change its options: are these the right models?",
                )
            drafts = done
        return drafts

    def _edits(self, step: Step, passages: list[Passage], keys: list[str]) -> list[Edit]:
        """The edits of one operator: stored ones, and the rest made and stored."""
        self.counts[f"{step.name}.texts"] += len(passages)
        if not step.expensive or self.cache is None:
            return self._made(step, passages, keys)
        facts = {"operator": step.name, "options": dict(step.options), "weights": _weights(step)}
        names = [
            cache_key(facts, passage, None if step.steady else key) for passage, key in zip(passages, keys, strict=True)
        ]
        found = self.cache.get(names)
        missing = {name: n for n, name in enumerate(names) if name not in found}
        failed = self.counts[f"{step.name}.failed"]
        made = self._made(step, [passages[n] for n in missing.values()], [keys[n] for n in missing.values()])
        new = dict(zip(missing, made, strict=True))
        if self.counts[f"{step.name}.failed"] == failed:  # a failure may be temporary
            self.cache.put(new)
        return [found[name] if name in found else new[name] for name in names]

    def _made(self, step: Step, passages: list[Passage], keys: list[str]) -> list[Edit]:
        """The edits of one operator; if it fails on all texts together, one by one."""
        if not passages:
            return []
        try:
            return step.operator(passages, [Random(key) for key in keys])
        except DistillerError:
            raise
        except Exception as error:
            if len(passages) > 1:
                pairs = zip(passages, keys, strict=True)
                return [edit for passage, key in pairs for edit in self._made(step, [passage], [key])]
            self.counts[f"{step.name}.failed"] += 1
            if HOPELESS <= self.counts[f"{step.name}.failed"] == self.counts[f"{step.name}.texts"]:
                raise RunError(
                    f"the augmentation operator `{step.name}` failed on every one of {HOPELESS} texts or more: "
                    f"{type(error).__name__}: {' '.join(str(error).split()):.200}",
                    hint="take it out of `augmentation`, or change its options",
                ) from error
            return [passages[0].unchanged]


def build_policy(
    choices: Sequence[Component], *, refresh: int = 1, cache: Path | None = None, cache_gb: float = 1.0
) -> Policy:
    """The policy that applies these operators in this order. Loads no weights: see `Policy.prepare`.

    Random edits are kept for `refresh` epochs. `cache` is a file for the edits of expensive operators, with at most
    `cache_gb` 10^9 bytes. Raises what `check_policy` raises.
    """
    checked = check_policy(choices)
    steps: list[Step] = []
    last: Mixup | None = None
    for name, options in checked.items():
        entry = AUGMENTERS[name]
        if entry.traits["on"] == "embeddings":
            last = entry.function(**options)
            continue
        steps.append(
            Step(
                name=name,
                options=options,
                operator=partial(entry.function, **options),
                prepare=partial(entry.traits["prepare"], **options),
                expensive=entry.traits["expensive"],
                steady=entry.traits.get("steady", lambda _: False)(options),
            )
        )
    return Policy(tuple(steps), last, refresh, None if cache is None else EditCache(cache, round(cache_gb * 1e9)))


def check_policy(choices: Sequence[Component]) -> dict[str, dict[str, Any]]:
    """All options of each operator by name. Reads no file.

    Raises `ConfigError` for an unknown operator or option, for an operator that occurs twice, and for one after
    `mixup`, where there are no words left.
    """
    checked: dict[str, dict[str, Any]] = {}
    for choice in choices:
        name = choice.name
        options = AUGMENTERS.options(name, choice.options)
        if name in checked:
            raise ConfigError(f"augmentation: `{name}` is in the policy twice", hint="once; raise its rate instead")
        mixed = next((before for before in checked if AUGMENTERS[before].traits["on"] == "embeddings"), None)
        if mixed is not None:
            raise ConfigError(
                f"augmentation: `{name}` follows `{mixed}`, which mixes embeddings and leaves no words to edit",
                hint=f"put `{mixed}` last",
            )
        if check := AUGMENTERS[name].traits.get("check"):
            check(**options)
        checked[name] = options
    return checked


def _weights(step: Step) -> list[str]:
    """What distinguishes the weights that a step uses from others with the same name."""
    named = AUGMENTERS[step.name].traits.get("models", ())
    return [stamp(step.options[option]) for option in named if step.options[option] is not None]
