"""The one entrance to the encoders: any kind of split as tokens, and the scores of a model on it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.config import Task
from distiller.errors import DataError, ModelError
from distiller.tasks.alignment import encode_tagged
from distiller.tasks.answers import question_scores
from distiller.tasks.bad_rows import BadRows
from distiller.tasks.data import AnySplit, QuestionSplit, Split, TaggedSplit, TaskData
from distiller.tasks.encode import EncodedSplit, encode
from distiller.tasks.metrics import scores
from distiller.tasks.windows import EncodedQuestions, encode_questions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = Mapping[str, EncodedSplit]
"""Splits in tokens, by name."""

LONGEST = 256
"""Tokens of an input at most, where a run does not say: for twice as many attention takes four times the memory."""
WHOLE = 1_000_000
"""Tokens that no text has: nothing is cut there."""
COVERED, SAMPLE = 0.95, 1_000
"""Share of the training texts that are read to their end where a run does not say, and how many texts tell it."""


def with_ends(
    split: AnySplit, tokenizer: Any, shape: Any, role: str, bad: BadRows, place: Callable[[int], str] | None = None
) -> Sequence[int]:
    """The rows of `split` whose end an encoder–decoder that classifies finds: it goes by the token of the end.

    Texts in which this token is written are reported to `bad`, at the `place` of their row. Raises `ModelError` for a
    tokenizer that ends no text with it.
    """
    rows = range(len(split))
    if not shape.is_encoder_decoder or not isinstance(split, Split) or not isinstance(shape.eos_token_id, int):
        return rows
    end = tokenizer.convert_ids_to_tokens(shape.eos_token_id)
    if shape.eos_token_id not in tokenizer("a")["input_ids"]:
        raise ModelError(
            f"the tokenizer of {role} does not end texts with `{end}`, by which a `{shape.model_type}` model finds "
            "their end",
            hint="take the tokenizer that the model was trained with",
        )
    kept: list[int] = []
    for row, text in enumerate(zip(split.texts, split.pairs or split.texts, strict=True)):
        if any(end in side for side in text):
            where = place(row) if place else f"split `{split.name}`, row {split.ids[row] + 1}"
            why = f"{where}: a text holds `{end}`, by which a `{shape.model_type}` model finds its end"
            bad.meet(DataError(why, hint="write it otherwise"))
        else:
            kept.append(row)
    return rows if len(kept) == len(rows) else kept


def readable(data: TaskData, task: Task, readers: Sequence[tuple[str, Any, Any]]) -> TaskData:
    """`data` without the rows whose end a model would not find, where `task` leaves bad rows out; else `DataError`.

    `readers` are the models: role, tokenizer and configuration.
    """
    splits, skipped, left_out = dict(data.splits), dict(data.skipped), list(data.left_out)
    for name in data.splits:
        bad = BadRows(task.skip_bad)
        for role, tokenizer, shape in readers:
            kept = with_ends(splits[name], tokenizer, shape, role, bad)
            if len(kept) < len(splits[name]):
                splits[name] = splits[name].take(kept)
        if bad.errors and not len(splits[name]):
            raise DataError(f"split `{name}` has no row that can be used", hint=bad.first)
        if bad.errors:
            bad.warn(f"{data.name}: {name}")
            skipped[name] = skipped.get(name, 0) + len(bad.errors)
            left_out += [error.message for error in bad.errors]
    if len(left_out) == len(data.left_out):
        return data
    return replace(data, splits=splits, skipped=skipped, left_out=tuple(left_out), as_read=data.fingerprint)


def encode_split(
    split: AnySplit,
    tokenizer: "PreTrainedTokenizerBase",
    task: Task,
    max_length: int,
    *,
    unanswered: bool = False,
    characters: bool = False,
) -> EncodedSplit:
    """`split` as tokens of `tokenizer`, at most `max_length` in a row. Raises as the encoder of its kind does.

    `unanswered` admits questions without an answer in any window, as augmented ones may be. `characters` adds the
    characters of each token.
    """
    if isinstance(split, TaggedSplit):
        return encode_tagged(split, tokenizer, max_length, task.truncate, characters=characters)
    if isinstance(split, QuestionSplit):
        encoded = encode_questions(
            split,
            tokenizer,
            max_length,
            stride=task.stride,
            max_question_length=task.max_question_length,
            unanswered=unanswered,
            skip_bad=task.skip_bad,
            characters=characters,
        )
        if encoded.truncated and not task.truncate:
            raise DataError(
                f"{split.where}: {encoded.truncated} question(s) are longer than task.max_question_length, "
                f"{task.max_question_length} tokens",
                hint="task.truncate=true cuts them; or raise task.max_question_length",
            )
        return encoded
    return encode(split, tokenizer, max_length, task.truncate, characters=characters)


def usual_max_length(data: TaskData, task: Task, tokenizers: "Sequence[PreTrainedTokenizerBase]", *, limit: int) -> int:
    """The longest input in tokens where `task` does not say; `limit` is the most that the models take.

    Named tasks have the published length. Users' own files have at least that, and more where 95 % of the training
    texts, in the tokens of any of `tokenizers`, are longer; where `task` forbids cutting, enough for all of them.
    """
    length = data.published_max_length
    if task.name == "custom" and data.kind != "qa":
        for split in data.transfer:
            some = split.take(range(0, len(split), max(1, len(split) // SAMPLE)))
            for tokenizer in tokenizers:
                encoded = encode_split(some, tokenizer, task.model_copy(update={"truncate": True}), WHOLE)
                longest = np.quantile(encoded.lengths, COVERED if task.truncate else 1.0, method="higher")
                length = max(length, min(LONGEST, 8 * math.ceil(longest / 8)))
    return min(length, limit)


def scorer(
    data: TaskData, task: Task, split: AnySplit, encoded: EncodedSplit
) -> Callable[[Any, Any], dict[str, float]]:
    """A function from (logits, labels) of the rows of `encoded`, in their order, to scores by name."""
    if not isinstance(split, QuestionSplit):
        return partial(scores, data)
    assert isinstance(encoded, EncodedQuestions)
    return lambda logits, labels: question_scores(
        encoded, split, logits, **task.answer_limits
    )  # the answers are in the split
