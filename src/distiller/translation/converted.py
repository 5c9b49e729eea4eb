"""Translating with a converted model, using CTranslate2 alone. Imports no torch: a server does not need it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distiller.config.translation import Decoding

VMAP = "vmap.txt"
"""The shortlist beside a converted model: which pieces may translate which."""


ORDER = "order.json"
"""Beside it, where the two orders differ: the tokenizer's id of each piece of the converted vocabulary."""


@dataclass(frozen=True)
class Hypothesis:
    """One translation as tokens without special ones, and its length-normalised log-probability."""

    tokens: list[int]
    score: float


Engine = Callable[[Sequence[list[int]], int], list[list[Hypothesis]]]
"""(token ids of sentences, each with its end token; seed for sampling) → hypotheses of each sentence, best first."""


@dataclass(frozen=True)
class Bounds:
    """What a model may generate, as token ids, according to its configuration and its tokenizer."""

    first: list[int]
    """The tokens that every translation begins with: the start token, and perhaps a language."""
    silent: list[int]
    """Tokens that no translation contains: padding, start, unknown."""
    special: list[int]
    """Tokens that are not text."""
    longest: int
    """The longest translation in tokens."""

    @property
    def named(self) -> list[int]:
        """All tokens that a search refers to."""
        return [*self.first, *self.silent]


def pieces_by_id(folder: Path) -> list[str]:
    """The pieces of a converted model in the order of the tokenizer's ids."""
    pieces: list[str] = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
    if not (folder / ORDER).is_file():
        return pieces
    order: list[int] = json.loads((folder / ORDER).read_text(encoding="utf-8"))
    return [piece for _, piece in sorted(zip(order, pieces, strict=True))]


@contextmanager
def loaded(
    folder: Path, bounds: Bounds, decoding: Decoding, *, n_best: int = 1, threads: int = 0, device: str = "cpu"
) -> Iterator[Engine]:
    """An engine for the converted model in `folder`, with the shortlist in that folder if there is one."""
    import ctranslate2

    def begin() -> Any:
        return ctranslate2.Translator(
            str(folder),
            device=device,
            compute_type="default" if decoding.compute == "int8" else decoding.compute,
            inter_threads=1,
            intra_threads=decoding.threads or threads,
        )

    sampled = decoding.sampling_top_k is not None
    kept = None if sampled else begin()
    pieces = pieces_by_id(folder)
    ids = {piece: index for index, piece in enumerate(pieces)}
    special = set(bounds.special)

    def run(sentences: Sequence[list[int]], seed: int) -> list[list[Hypothesis]]:
        ctranslate2.set_random_seed(seed)
        translator = kept or begin()  # a worker takes its seed when it starts, and never again
        results = translator.translate_batch(
            [[pieces[index] for index in sentence] for sentence in sentences],
            target_prefix=[[pieces[index] for index in bounds.first]] * len(sentences),
            beam_size=decoding.beam,
            num_hypotheses=n_best,
            length_penalty=decoding.length_penalty,
            min_decoding_length=0,
            max_decoding_length=bounds.longest + len(bounds.first) - 1,
            max_batch_size=decoding.batch_tokens,
            batch_type="tokens",
            return_scores=True,
            sampling_topk=decoding.sampling_top_k if sampled else 1,
            sampling_temperature=decoding.sampling_temperature if sampled else 1.0,
            disable_unk=True,
            suppress_sequences=[[pieces[index]] for index in bounds.silent],
            use_vmap=(folder / VMAP).is_file(),
        )
        found = []
        for result in results:
            hypotheses = []
            for said, score in zip(result.hypotheses, result.scores, strict=True):
                tokens = [ids[piece] for piece in said]
                hypotheses.append(Hypothesis([one for one in tokens if one not in special], score))
            found.append(hypotheses)
        return found

    try:
        yield run
    finally:
        if kept is not None:
            kept.unload_model()
