"""One door to the encoders: any kind of split in tokens, and the scores of what a model makes of it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from distiller.config import Task
from distiller.tasks.alignment import encode_tagged
from distiller.tasks.data import AnySplit, Split, TaggedSplit, TaskData
from distiller.tasks.encode import EncodedSplit, encode
from distiller.tasks.metrics import scores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = Mapping[str, EncodedSplit]
"""Splits in tokens, by name."""


def encode_split(split: AnySplit, tokenizer: "PreTrainedTokenizerBase", task: Task, max_length: int) -> EncodedSplit:
    """`split` in the tokens of `tokenizer`, at most `max_length` of them a row. Raises as the kind's encoder does."""
    if isinstance(split, TaggedSplit):
        return encode_tagged(split, tokenizer, max_length, task.truncate)
    assert isinstance(split, Split)
    return encode(split, tokenizer, max_length, task.truncate)


def scorer(data: TaskData) -> Callable[[Any, Any], dict[str, float]]:
    """(logits, labels) of a split, in its order, to scores by name."""
    return partial(scores, data)
