"""Tokenized texts, kept once for all runs that read them in the same way."""

from functools import partial
from typing import Any

import numpy as np
import tokenizers
import transformers
from transformers import PreTrainedTokenizerBase

from distiller.cache.arrays import KEPT, kept_arrays
from distiller.cache.folders import FolderCache
from distiller.config import Task
from distiller.models.folders import tokenizer_fingerprint
from distiller.tasks.data import AnySplit, Split
from distiller.tasks.encode import EncodedSplit, label_array
from distiller.tasks.tokens import encode_split


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

    Raises as `encode_split` and `kept_arrays` do.
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

    def make() -> dict[str, np.ndarray]:
        encoded = encode()
        found = {
            "tokens": encoded.tokens,
            "types": encoded.types,
            "lengths": np.asarray(encoded.lengths, dtype=np.int32),
            "truncated": np.asarray(encoded.truncated),
            "characters": encoded.characters,
        }
        return {name: array for name, array in found.items() if array is not None}

    kept = kept_arrays(store, "tokens", facts, make)
    return EncodedSplit(
        name=split.name,
        lengths=kept["lengths"].tolist(),
        tokens=kept["tokens"],
        types=kept.get("types"),
        labels=label_array(split),
        truncated=int(kept["truncated"]),
        soft=split.soft,
        characters=kept.get("characters"),
    )


def _switches(tokenizer: Any) -> list[tuple[str, bool]]:
    """Settings that only a tokenizer written in Python keeps, such as `do_lower_case`."""
    return sorted((name, value) for name, value in tokenizer.init_kwargs.items() if isinstance(value, bool))
