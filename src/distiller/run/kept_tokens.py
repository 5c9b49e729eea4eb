"""Tokenized texts, kept once for all runs that read them in the same way."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import transformers
from transformers import PreTrainedTokenizerBase

from distiller.cache.folders import FolderCache, writable
from distiller.config import Task
from distiller.models.folders import tokenizer_fingerprint
from distiller.tasks.data import AnySplit, Split
from distiller.tasks.encode import EncodedSplit, label_array
from distiller.tasks.tokens import encode_split

KEPT = 100_000
"""So many texts are tokenized once for all runs; fewer are sooner tokenized than looked up."""
TOKENS, TYPES, LENGTHS, TRUNCATED = "tokens.npy", "types.npy", "lengths.npy", "truncated.npy"
CHARACTERS = "characters.npy"


def kept_split(
    store: FolderCache | None,
    split: AnySplit,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    max_length: int,
    *,
    characters: bool = False,
) -> EncodedSplit:
    """As `encode_split`, but if there are many texts, tokens from an earlier run are mapped from `store`.

    Raises as `encode_split` and `FolderCache.get` do.
    """
    encode = partial(encode_split, split, tokenizer, task, max_length, characters=characters)
    if store is None or not isinstance(split, Split) or len(split) < KEPT:
        return encode()
    facts = {
        "texts": Split("texts", split.texts, split.pairs, ids=split.ids).fingerprint,
        "tokenizer": tokenizer_fingerprint(tokenizer, [type(tokenizer).__name__, _switches(tokenizer)]),
        "max_length": max_length,
        "truncate": task.truncate,
        "characters": characters,
        "versions": [transformers.__version__, tokenizers.__version__],
    }
    if not writable(store.root) and store.find("tokens", facts) is None:
        return encode()

    def make(folder: Path) -> None:
        encoded = encode()
        np.save(folder / TOKENS, encoded.tokens)
        np.save(folder / LENGTHS, np.asarray(encoded.lengths, dtype=np.int32))
        np.save(folder / TRUNCATED, encoded.truncated)
        if encoded.types is not None:
            np.save(folder / TYPES, encoded.types)
        if encoded.characters is not None:
            np.save(folder / CHARACTERS, encoded.characters)

    folder = store.get("tokens", facts, make)
    return EncodedSplit(
        name=split.name,
        lengths=np.load(folder / LENGTHS).tolist(),
        tokens=np.load(folder / TOKENS, mmap_mode="r"),
        types=np.load(folder / TYPES, mmap_mode="r") if (folder / TYPES).exists() else None,
        labels=label_array(split),
        truncated=int(np.load(folder / TRUNCATED)),
        soft=split.soft,
        characters=np.load(folder / CHARACTERS, mmap_mode="r") if characters else None,
    )


def _switches(tokenizer: Any) -> list[tuple[str, bool]]:
    """Settings that only a tokenizer written in Python keeps, such as `do_lower_case`."""
    return sorted((name, value) for name, value in tokenizer.init_kwargs.items() if isinstance(value, bool))
