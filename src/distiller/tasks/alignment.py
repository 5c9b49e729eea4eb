"""Words to sub-words: each word's tag becomes the label of its first sub-word."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distiller.errors import DataError, ModelError
from distiller.tasks.data import TaggedSplit
from distiller.tasks.encode import CHUNK, IGNORED, EncodedSplit, check_max_length, too_long

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_tagged(
    split: TaggedSplit,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    truncate: bool = True,
    *,
    characters: bool = False,
) -> EncodedSplit:
    """`split` in the tokens of `tokenizer`, cut at `max_length` tokens.

    The first sub-word of a word is labelled with the word's tag, every other token with -100. `output_mask` is 1 at all
    tokens of words, whose outputs are compared with the teacher's. A word for which the tokenizer has no token becomes
    the unknown token, so that every word has a label. Words beyond `max_length` have none and are not scored, as in the
    scripts of `transformers`; `cut_words` counts them. With `characters`, the split also has the characters of each
    token.

    Raises `DataError` for a longer sentence unless `truncate`, `ModelError` for a tokenizer that cannot align words,
    `ConfigError` if `max_length` does not fit.
    """
    check_max_length(max_length, tokenizer, pairs=False)
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of `{tokenizer.name_or_path}` cannot tell which tokens a word became",
            hint="tagging needs a fast tokenizer, one with a tokenizer.json",
        )
    columns: dict[str, list[np.ndarray]] = {"tokens": [], "types": [], "labels": [], "mask": []}
    spans: list[np.ndarray] = []
    truncated = cut_words = 0
    for start in range(0, len(split), CHUNK):
        rows = range(start, min(start + CHUNK, len(split)))
        for row, encoding in zip(
            rows, _encodings(split, rows, tokenizer, max_length if truncate else None), strict=True
        ):
            if len(encoding.ids) > max_length:
                raise too_long(split.place(row), len(encoding.ids), max_length)
            words = np.asarray([-1 if word is None else word for word in encoding.word_ids])
            first = (words >= 0) & (np.diff(words, prepend=-1) != 0)
            labels = np.full(len(words), IGNORED, dtype=np.int32)
            if split.tags is not None:
                labels[first] = np.asarray(split.tags[row])[words[first]]
            columns["tokens"].append(np.asarray(encoding.ids, dtype=np.int32))
            columns["types"].append(np.asarray(encoding.type_ids, dtype=np.int8))
            columns["labels"].append(labels)
            columns["mask"].append((words >= 0).astype(np.int8))
            if characters:
                spans.append(_characters(split.words[row], words, encoding.offsets, len(_space(tokenizer))))
            truncated += bool(encoding.overflowing)
            cut_words += len(split.words[row]) - int(first.sum())
    flat = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    return EncodedSplit(
        name=split.name,
        lengths=[*map(len, columns["tokens"])],
        tokens=flat["tokens"],
        types=flat["types"] if "token_type_ids" in tokenizer.model_input_names else None,
        labels=None if split.tags is None else flat["labels"],
        truncated=truncated,
        per_token=True,
        output_mask=flat["mask"],
        cut_words=cut_words,
        characters=np.concatenate(spans) if spans else None,
    )


def tags_read(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """The predicted tag ids of the words that a model has read, from those of all tokens, `predicted` `[l]`.

    `gold` `[l]` is -100 at tokens that are not the first of a word. One of the two may be longer, by padding.
    """
    length = min(len(predicted), len(gold))
    return predicted[:length][gold[:length] != IGNORED]


def tag_names(predicted: np.ndarray, gold: np.ndarray, labels: Sequence[str], *, words: int) -> list[str]:
    """The predicted tag of each of the `words` of a sentence; `_` for those cut off at the longest input."""
    ids: list[int] = tags_read(predicted, gold).tolist()
    return [*(labels[tag] for tag in ids), *["_"] * (words - len(ids))]


def _encodings(split: TaggedSplit, rows: Sequence[int], tokenizer: Any, max_length: int | None) -> list[Any]:
    """One encoding per row, in which every word has at least one token (possibly cut off)."""
    space = _space(tokenizer)
    words = [[space + word for word in split.words[row]] for row in rows]
    found = _tokenize(words, tokenizer, max_length)
    again: list[int] = []
    for position, encoding in enumerate(found):
        if vanished := set(range(len(words[position]))) - _words_of(encoding):
            if tokenizer.unk_token is None:
                raise DataError(
                    f"{split.place(rows[position])}: the tokenizer leaves nothing of word {min(vanished) + 1}, and has "
                    "no unknown token",
                    hint="replace the word, or choose another teacher",
                )
            words[position] = [tokenizer.unk_token if n in vanished else word for n, word in enumerate(words[position])]
            again.append(position)
    if again:
        for position, encoding in zip(again, _tokenize([words[p] for p in again], tokenizer, max_length), strict=True):
            found[position] = encoding
    return found


def _space(tokenizer: Any) -> str:
    """What is put before each word: byte-level tokenizers know most words with a leading space."""
    return " " if "ByteLevel" in repr(tokenizer.backend_tokenizer.pre_tokenizer) else ""


def _characters(words: Sequence[str], numbers: np.ndarray, offsets: Any, space: int) -> np.ndarray:
    """`EncodedSplit.characters` of a sentence; `numbers` is the word of each token, -1 for special tokens.

    Characters are counted in the words joined by one space; a word that became an unknown token keeps its own.
    """
    sizes = np.asarray([len(word) for word in words])
    begins = np.cumsum(sizes + 1) - sizes - 1
    inside = np.clip(np.asarray(offsets).reshape(-1, 2) - space, 0, sizes[numbers][:, None])
    inside[:, 1] = np.maximum(inside[:, 1], inside[:, 0] + 1)  # the space before a word may be its first piece
    spans = begins[numbers][:, None] + inside
    return np.where(numbers[:, None] >= 0, spans, -1).astype(np.int32)


def _tokenize(words: list[list[str]], tokenizer: Any, max_length: int | None) -> list[Any]:
    """Encodings of the `tokenizers` library; nothing is cut if `max_length` is `None`."""
    found = tokenizer(
        words,
        is_split_into_words=True,
        truncation=max_length is not None,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        verbose=False,  # do not warn of sentences beyond the model's limit: they are cut or refused here
    )
    return list(found.encodings)


def _words_of(encoding: Any) -> set[int]:
    """The words that have a token, including those that were cut off."""
    return {word for part in (encoding, *encoding.overflowing) for word in part.word_ids if word is not None}
