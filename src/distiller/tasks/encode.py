"""Texts to token ids, once; token ids to padded batches, many times."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.errors import ConfigError, DataError, ModelError
from distiller.tasks.data import IGNORED, Split
from distiller.tasks.segments import aligned

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOWHERE = -1
"""The position of a teacher's token where it has none."""
NO_ANSWER_HERE = -2
"""Among the characters of a window's tokens: where an answer begins and ends that is not in it."""
CHUNK = 2000
"""Rows tokenized at a time: enough for the tokenizer's threads, few enough for the memory."""


@dataclass(frozen=True)
class EncodedSplit:
    """A tokenized split. Rows are stored end to end in flat arrays, 4 bytes per token; indexing gives dictionaries."""

    name: str
    lengths: list[int]
    """Tokens of each row, special tokens included."""
    tokens: np.ndarray
    """Token ids of all rows `[sum of lengths]`, int32."""
    types: np.ndarray | None
    """Segment ids of all rows, int8, if the tokenizer has them."""
    labels: np.ndarray | None
    """Class ids (int64) or numbers (float32) `[rows]`, or several per row `[rows, k]`; with `per_token` an id for each
    token, `[sum of lengths]`. -100 or NaN for missing ones. `None`: unlabelled."""
    truncated: int
    """Number of rows that were cut."""
    per_token: bool = False
    """Whether there is a label for each token."""
    output_mask: np.ndarray | None = None
    """1 for each token whose output counts, else 0, int8 `[sum of lengths]`; `None`: one output per row."""
    cut_words: int = 0
    """Number of words that were cut off."""
    skipped: int = 0
    """Number of rows that could not be tokenized and were left out."""
    soft: np.ndarray | None = None
    """Class probabilities that come with the data, float32 `[rows, classes]`; NaN for rows without any."""
    characters: np.ndarray | None = None
    """First and one past the last character of each token, counted through all texts of its row, int32
    `[sum of lengths, 2]`; -1 twice for special tokens, `NO_ANSWER_HERE` for one that stands for no answer. `None`
    unless requested."""
    starts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """`input_ids`, `attention_mask` and `example_id`, the row number; perhaps `token_type_ids`, `output_mask`,
        `labels`, `soft_labels` and `characters`."""
        row = range(len(self))[row]
        span = slice(self.starts[row], self.starts[row + 1])
        feature: dict[str, Any] = {
            "input_ids": self.tokens[span].tolist(),
            "attention_mask": [1] * self.lengths[row],
            "example_id": row,
        }
        if self.types is not None:
            feature["token_type_ids"] = self.types[span].tolist()
        if self.output_mask is not None:
            feature["output_mask"] = self.output_mask[span].tolist()
        if self.labels is not None:
            feature["labels"] = self.labels[span if self.per_token else row].tolist()
        if self.soft is not None:
            feature["soft_labels"] = self.soft[row].tolist()
        if self.characters is not None:
            feature["characters"] = self.characters[span]
        return feature

    @property
    def gold(self) -> np.ndarray | None:
        """The labels for `scores`: `labels`, or with `per_token` `[rows, longest]`, padded with -100."""
        if self.labels is None or not self.per_token:
            return self.labels
        rows = np.split(self.labels, self.starts[1:-1])
        return _padded(rows, max(self.lengths), IGNORED, left=False)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokens, segments, labels and mask."""
        digest = hashlib.sha256(self.starts.data)
        digest.update(self.tokens.data)
        for column in (self.types, self.labels, self.output_mask):
            digest.update(b"-" if column is None else column.dtype.str.encode())
            digest.update(b"" if column is None else np.ascontiguousarray(column).data)
        if self.soft is not None:
            digest.update(self.soft.tobytes())
        return digest.hexdigest()


def encode(
    split: Split,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    truncate: bool = True,
    *,
    characters: bool = False,
) -> EncodedSplit:
    """`split` in the tokens of `tokenizer`, cut at `max_length` tokens (of a pair, the longer text first).

    With `characters`, for which the tokenizer must be fast, the split also has the characters of each token. Raises
    `DataError` for a longer row unless `truncate`; `ConfigError` if `max_length` leaves no room for text.
    """
    check_max_length(max_length, tokenizer, pairs=split.pairs is not None)
    lengths: list[int] = []
    tokens: list[np.ndarray] = []
    types: list[np.ndarray] = []
    spans: list[np.ndarray] = []
    truncated = 0
    for start in range(0, len(split), CHUNK):
        rows = range(start, min(start + CHUNK, len(split)))
        ids, segments, cut, encodings = _tokenize(split, rows, tokenizer, max_length if truncate else None)
        long = next((position for position, row in enumerate(ids) if len(row) > max_length), None)
        if long is not None:
            place = f"split `{split.name}`, row {split.ids[rows[long]] + 1}"
            raise too_long(place, len(ids[long]), max_length)
        truncated += cut
        lengths += map(len, ids)
        tokens.append(np.concatenate([np.asarray(row, dtype=np.int32) for row in ids]))
        if segments:
            types.append(np.concatenate([np.asarray(segment, dtype=np.int8) for segment in segments]))
        if characters:
            spans += [_characters(split, row, one) for row, one in zip(rows, encodings, strict=True)]
    return EncodedSplit(
        name=split.name,
        lengths=lengths,
        tokens=np.concatenate(tokens),
        types=np.concatenate(types) if types else None,
        labels=label_array(split),
        truncated=truncated,
        soft=split.soft,
        characters=np.concatenate(spans) if spans else None,
    )


def check_max_length(max_length: int, tokenizer: Any, *, pairs: bool) -> None:
    """Raise `ConfigError` if `max_length` tokens leave no room for text beside special tokens."""
    special = tokenizer.num_special_tokens_to_add(pair=pairs)
    if max_length <= special:
        raise ConfigError(
            f"task.max_length is {max_length}, but {special} special tokens are added to every text",
            hint=f"task.max_length={special + 1} or more",
        )


def too_long(place: str, tokens: int, max_length: int) -> DataError:
    """The error for a too long row that must not be cut."""
    return DataError(
        f"{place}: {tokens} tokens, but task.max_length is {max_length}",
        hint="task.truncate=true cuts longer texts; or raise task.max_length",
    )


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest of them, rounded up to a multiple of `pad_to_multiple_of` but not beyond `max_length`.

    A batch has the int64 tensors `input_ids`, `attention_mask` and, if the rows have them, `token_type_ids`,
    `output_mask`, `teacher_places`, `teacher_starts` and `teacher_ends`, each `[rows, length]`, and `example_ids`
    `[rows]`. `labels` are int64, or float32 for numbers; labels of tokens are padded with -100 to `[rows, length]`.
    Padding ids, padding side and the default of `max_length` are the tokenizer's. With `align_segments`, pairs of texts
    are also padded between the two, so that all second texts begin at the same position.
    """

    tokenizer: Any
    pad_to_multiple_of: int = 8
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise ModelError(
                f"the tokenizer of `{self.tokenizer.name_or_path}` has no padding token",
                hint="set pad_token in its tokenizer_config.json",
            )

    def __call__(self, features: Sequence[Mapping[str, Any]], *, align_segments: bool = False) -> dict[str, Any]:
        """The batch of some rows of an `EncodedSplit`."""
        import torch

        fill = {
            "input_ids": self.tokenizer.pad_token_id,
            "attention_mask": 0,
            "token_type_ids": self.tokenizer.pad_token_type_id,
            "output_mask": 0,
            "teacher_places": 0,
            "teacher_starts": NOWHERE,
            "teacher_ends": NOWHERE,
        }
        if _per_token(features):
            fill["labels"] = IGNORED
        limit = self.max_length or self.tokenizer.model_max_length
        if align_segments:
            features = aligned(features, separator=self.tokenizer.sep_token_id, fill=fill, limit=limit)
        longest = max(len(feature["input_ids"]) for feature in features)
        width = max(longest, min(-(-longest // self.pad_to_multiple_of) * self.pad_to_multiple_of, limit))
        batch = {
            name: torch.from_numpy(_padded([feature[name] for feature in features], width, value, self._left))
            for name, value in fill.items()
            if name in features[0]
        }
        if "example_id" in features[0]:
            batch["example_ids"] = torch.tensor([feature["example_id"] for feature in features], dtype=torch.long)
        if "labels" in features[0] and "labels" not in batch:
            labels = [feature["labels"] for feature in features]
            first = labels[0][0] if isinstance(labels[0], list) else labels[0]
            kind = torch.float32 if isinstance(first, float) else torch.long
            batch["labels"] = torch.tensor(labels, dtype=kind)
        if "soft_labels" in features[0]:
            batch["soft_labels"] = torch.tensor([feature["soft_labels"] for feature in features], dtype=torch.float32)
        return batch

    @property
    def _left(self) -> bool:
        return self.tokenizer.padding_side == "left"


def _per_token(features: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is a label for each token, rather than one number or a short list per row."""
    return all(
        isinstance(labels := feature.get("labels"), list)
        and len(labels) == len(feature["input_ids"])
        and isinstance(labels[0], int)
        for feature in features
    )


def _tokenize(
    split: Split, rows: Sequence[int], tokenizer: Any, max_length: int | None
) -> tuple[list[list[int]], list[list[int]], int, Sequence[Any]]:
    """(token ids, segment ids if the tokenizer has them, number of rows cut, encodings of a fast tokenizer); nothing is
    cut if `max_length` is `None`."""
    found = tokenizer(
        [split.texts[row] for row in rows],
        None if split.pairs is None else [split.pairs[row] for row in rows],
        truncation="longest_first" if max_length else False,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        verbose=False,  # do not warn of texts beyond the model's limit: they are cut or refused here
    )
    ids, segments = found["input_ids"], found.get("token_type_ids") or []
    full = [position for position, row in enumerate(ids) if len(row) == max_length]
    if found.encodings is not None:  # a fast tokenizer keeps what it cut off
        cut = sum(bool(found.encodings[position].overflowing) for position in full)
    elif full:
        whole, *_ = _tokenize(split, [rows[position] for position in full], tokenizer, None)
        cut = sum(len(row) > len(ids[position]) for position, row in zip(full, whole, strict=True))
    else:
        cut = 0
    return ids, segments, cut, found.encodings or ()


def _characters(split: Split, row: int, encoding: Any) -> np.ndarray:
    """`EncodedSplit.characters` of a row; spaces before a word are not part of its token."""
    texts = (split.texts[row],) if split.pairs is None else (split.texts[row], split.pairs[row])
    spans = np.full((len(encoding.ids), 2), -1, dtype=np.int32)
    for place, (number, (begin, end)) in enumerate(zip(encoding.sequence_ids, encoding.offsets, strict=True)):
        if number is None:
            continue
        behind = len(texts[0]) + 1 if number else 0
        spans[place] = behind + without_space(texts[number], begin, end), behind + end
    return spans


def without_space(text: str, begin: int, end: int) -> int:
    """Where what a token has of `text` begins: `begin`, or behind the spaces there."""
    while begin < end and text[begin].isspace():
        begin += 1
    return begin


def label_array(split: Split) -> np.ndarray | None:
    """The labels of `split` as in an `EncodedSplit`."""
    if split.labels is None:
        return None
    return np.asarray(split.labels, dtype=np.int64 if isinstance(split.labels[0], int) else np.float32)


def _padded(rows: Sequence[Sequence[int] | np.ndarray], width: int, value: int, left: bool) -> np.ndarray:
    padded = np.full((len(rows), width), value, dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        if left:
            target[width - len(row) :] = row
        else:
            target[: len(row)] = row
    return padded
