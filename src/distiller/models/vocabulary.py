"""Cutting a vocabulary: the tokenizer keeps some of its pieces, and the model their embeddings.

The cut is exact: a text whose pieces are all kept is read as before, and the model says the same of it. Any other text
is put together from smaller pieces. Why this holds:

- WordPiece takes the longest piece that fits. Among fewer pieces the longest is the same one, if it is there.
- Unigram takes the most probable way through a text. Without other pieces there are fewer ways, and this one is left.
- BPE joins pairs in a fixed order. A piece is kept with all that it is joined from, so every join on the way to a kept
  piece is left, and still comes before the joins that came after it.
"""

import copy
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distiller.errors import ConfigError, ModelError

LATIN = 0x250
"""Characters below this number always stay: letters, digits and signs of ASCII and of Latin scripts."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""Pieces that stand for one byte of a character that is in no other piece."""
SPACE = "▁"


@dataclass(frozen=True)
class Vocabulary:
    """What is left of a tokenizer's vocabulary."""

    source: PreTrainedTokenizerBase
    """The tokenizer with all its pieces."""
    tokenizer: PreTrainedTokenizerBase
    """The tokenizer with the pieces that are left, numbered anew in their old order."""
    kept: np.ndarray
    """The old id of each, ascending, int64 `[pieces]`."""
    whole: int
    """Pieces that there were."""

    def __len__(self) -> int:
        return len(self.kept)

    def same(self, tokens: np.ndarray, whole: np.ndarray) -> bool:
        """Whether `tokens` of this tokenizer are the tokens `whole` of the one it was cut from."""
        return len(tokens) == len(whole) and bool((self.kept[tokens] == whole).all())


def cut_tokenizer(
    tokenizer: PreTrainedTokenizerBase, counts: np.ndarray, size: int | None = None, *, also: Iterable[int] = ()
) -> Vocabulary:
    """`tokenizer` with the pieces that occur, by `counts` `[ids]`, and those from which rarer ones can be assembled.

    Up to `size` pieces in all, those that occur stay, the most frequent first, then the first of the whole vocabulary,
    which are its most frequent ones. `also` are ids that must stay. Raises `ModelError` for a tokenizer that cannot be
    cut, `ConfigError` for a `size` that is too small for what must stay.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"the vocabulary of `{tokenizer.name_or_path}` cannot be cut: its tokenizer is written in Python",
            hint="leave out student.vocabulary",
        )
    with tempfile.TemporaryDirectory(prefix="distiller-vocabulary-") as temp:
        folder = Path(temp)
        tokenizer.save_pretrained(folder)
        data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        pieces = _pieces(data)
        chosen = _chosen(data["model"], pieces, _needed(data, pieces, counts, also, tokenizer), counts, size)
        kept = np.asarray(sorted(chosen), dtype=np.int64)
        numbers = {int(old): new for new, old in enumerate(kept)}
        (folder / "tokenizer.json").write_text(json.dumps(cut_description(data, numbers)), encoding="utf-8")
        for path in folder.iterdir():  # other files that hold the whole vocabulary
            if path.suffix in (".txt", ".model"):
                path.unlink()
        renumber_settings(folder / "tokenizer_config.json", numbers)
        smaller = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    expected = {pieces[old]: new for old, new in numbers.items()}
    if smaller.get_vocab() != expected:
        raise ModelError(
            f"the vocabulary of `{tokenizer.name_or_path}` cannot be cut: a `{type(tokenizer).__name__}` has pieces "
            "of its own",
            hint="leave out student.vocabulary",
        )
    smaller.name_or_path = tokenizer.name_or_path
    return Vocabulary(tokenizer, smaller, kept, len(pieces))


def with_vocabulary(config: PretrainedConfig, vocabulary: Vocabulary) -> PretrainedConfig:
    """A copy of `config` for a model with embeddings only for the pieces of `vocabulary`."""
    found = copy.deepcopy(config)
    renumber_ids(found, vocabulary.kept)
    return found


def renumber_ids(config: Any, kept: np.ndarray | Tensor) -> None:
    """Give `config`, of a model or of generation, the size and the ids of a vocabulary with only the pieces `kept`.

    `kept` `[pieces]` has the old id of each piece. An id whose piece is gone becomes `None`, or leaves its list.
    """
    new = {old: position for position, old in enumerate(kept.tolist())}
    for name, value in config.to_dict().items():
        if name in ("vocab_size", "decoder_vocab_size") and value is not None:
            setattr(config, name, len(new))
        elif name.endswith("_token_id") and isinstance(value, int):
            setattr(config, name, new.get(value))
        elif (name.endswith("_token_id") or name == "suppress_tokens") and isinstance(value, list):
            setattr(config, name, [new[one] for one in value if one in new])
        elif name == "bad_words_ids" and value:
            setattr(config, name, [[new[one] for one in word] for word in value if new.keys() >= set(word)])


def token_ids(config: PretrainedConfig) -> dict[str, int]:
    """The token ids in a model's configuration, by field."""
    rows = getattr(config, "vocab_size", 0)
    found: dict[str, int] = {}
    for name, value in config.to_dict().items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name.endswith("_token_id") and whole and 0 <= value < rows:
            found[name] = value
    return found


@torch.no_grad()
def copy_cut(model: PreTrainedModel, source: PreTrainedModel, vocabulary: Vocabulary) -> None:
    """Copy the weights of `source` into `model`, which has the rows of `vocabulary` in each table of tokens.

    Raises `ModelError` where a weight differs in anything else than these rows.
    """
    stored, rows = source.state_dict(), torch.from_numpy(vocabulary.kept)
    for name, weight in model.state_dict().items():
        weight.copy_(cut_table(stored[name], weight.shape, rows, name=name))


def cut_table(table: Tensor, shape: torch.Size, rows: Tensor, *, name: str) -> Tensor:
    """The weight `name` in `shape`: `table` as it is, or the `rows` of it (of a bias, the columns) that are kept.

    Raises `ModelError` where neither has this shape.
    """
    if table.shape == shape:
        return table
    for axis in (0, table.dim() - 1):
        if table.shape[axis] > int(rows[-1]):
            cut = table[rows] if axis == 0 else table[..., rows]
            if cut.shape == shape:
                return cut
    raise ModelError(f"the vocabulary cannot be cut: `{name}` is no table of tokens", hint="keep the whole vocabulary")


# --- what stays ------------------------------------------------------------------------------------------------------


def _pieces(data: Mapping[str, Any]) -> dict[int, str]:
    """Every piece by its id. Raises `ModelError` for a kind of tokenizer without smaller pieces to fall back on."""
    model = data["model"]
    kind = model.get("type")
    prefixed = kind == "BPE" and model.get("continuing_subword_prefix")
    if kind not in ("WordPiece", "Unigram", "BPE") or prefixed:
        reason = "BPE with a prefix inside of words" if prefixed else f"of the kind {kind or 'unknown'}"
        raise ModelError(
            f"a tokenizer {reason} cannot be cut",
            hint="leave out student.vocabulary: WordPiece, Unigram and BPE can be cut",
        )
    if kind == "Unigram":
        pieces = {number: str(piece) for number, (piece, _) in enumerate(model["vocab"])}
    else:
        pieces = {int(number): str(piece) for piece, number in model["vocab"].items()}
    listed = max(pieces, default=-1)
    for token in data.get("added_tokens") or ():
        if kind == "Unigram" and token["id"] not in pieces and token["id"] < listed:
            raise ModelError(
                f"the tokenizer cannot be cut: its added token `{token['content']}` is one of its pieces",
                hint="leave out student.vocabulary",
            )
        pieces[int(token["id"])] = str(token["content"])
    return pieces


def _needed(
    data: Mapping[str, Any],
    pieces: Mapping[int, str],
    counts: np.ndarray,
    also: Iterable[int],
    tokenizer: PreTrainedTokenizerBase,
) -> set[int]:
    """Ids that always stay: special and added tokens, single bytes and characters."""
    model = data["model"]
    needed = {int(token["id"]) for token in data.get("added_tokens") or ()} | set(tokenizer.all_special_ids)
    needed |= {number for number in also if number in pieces}
    unknown = model.get("unk_id") if model["type"] == "Unigram" else None
    by_piece = {piece: number for number, piece in pieces.items()}
    if model.get("unk_token") in by_piece:
        unknown = by_piece[model["unk_token"]]
    if unknown is not None:
        needed.add(int(unknown))
    if model["type"] == "Unigram" and model["vocab"]:  # from which it reckons how improbable an unknown character is
        needed.add(min(range(len(model["vocab"])), key=lambda number: model["vocab"][number][1]))
    pad: Any = tokenizer.pad_token_id
    if pad is not None and pad < 10:
        needed |= set(range(pad + 1)) & pieces.keys()  # models count positions from its id
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""

    def body(piece: str) -> str:
        return piece.removeprefix(prefix).removesuffix(suffix) or piece

    seen: set[str] = set()
    for number in np.flatnonzero(counts).tolist():
        seen.update(body(pieces.get(number, "")))
    for number, piece in pieces.items():
        text = body(piece)
        single = len(text) == 1 and (ord(text) < LATIN or text in seen or text == SPACE)
        if single or BYTE.fullmatch(piece):
            needed.add(number)
    return needed


def _chosen(
    model: Mapping[str, Any], pieces: Mapping[int, str], needed: set[int], counts: np.ndarray, size: int | None
) -> set[int]:
    """`needed` and the ids that occur, up to `size` if given, each with the pieces it is joined from."""
    parts = _Joins(model) if model["type"] == "BPE" else None
    chosen: set[int] = set()

    def with_parts(number: int) -> set[int]:
        return {number} if parts is None else {number, *parts.of(pieces[number])}

    for number in needed:
        chosen |= with_parts(number)
    occurring = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number] and number in pieces]
    if size is None:
        for number in occurring:
            chosen |= with_parts(number)
        return chosen
    if size < len(chosen):
        raise ConfigError(
            f"student.vocabulary is {size:,}, but {len(chosen):,} pieces must stay: special tokens and characters",
            hint=f"student.vocabulary={len(chosen):,}".replace(",", "_") + " or more",
        )
    first = [number for number in sorted(pieces) if not re.fullmatch(r"\[unused\d+\]", pieces[number])]
    for number in (*occurring, *first):
        more = with_parts(number) - chosen
        if len(chosen) + len(more) <= size:
            chosen |= more
        if len(chosen) == size:
            break
    return chosen


class _Joins:
    """The pieces from which each piece of a BPE tokenizer is joined."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.rank = {pair: rank for rank, pair in enumerate(merges_of(model))}
        self.ids: Mapping[str, int] = model["vocab"]
        self.suffix = model.get("end_of_word_suffix") or ""

    def of(self, piece: str) -> Iterator[int]:
        """Ids of every piece on the way from the characters of `piece` to itself."""
        symbols = list(piece.removesuffix(self.suffix)) if self.suffix else list(piece)
        if self.suffix and symbols and piece.endswith(self.suffix):
            symbols[-1] += self.suffix
        yield from self._known(symbols)
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            place = min(range(len(pairs)), key=lambda place: self.rank.get(pairs[place], len(self.rank)))
            if pairs[place] not in self.rank:
                return  # added by hand: read as a whole or never
            symbols[place : place + 2] = ["".join(pairs[place])]
            yield from self._known(symbols[place : place + 1])

    def _known(self, symbols: Iterable[str]) -> Iterator[int]:
        for symbol in symbols:
            if symbol in self.ids:
                yield self.ids[symbol]


def merges_of(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The merges of a BPE model, in their order."""
    for merge in model["merges"]:
        first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
        yield first, second


# --- the tokenizer's files -------------------------------------------------------------------------------------------


def cut_description(data: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """`data`, the content of `tokenizer.json`, with only the ids in `numbers`, under their new ids."""
    model = dict(data["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in numbers]
        if model.get("unk_id") is not None:
            model["unk_id"] = numbers[model["unk_id"]]
    else:
        listed = sorted(model["vocab"].items(), key=lambda entry: entry[1])
        model["vocab"] = {piece: numbers[old] for piece, old in listed if old in numbers}
    if model["type"] == "BPE":
        left: Any = model["vocab"]
        merges = []
        for merge, (first, second) in zip(model["merges"], merges_of(model), strict=True):
            if first in left and second in left and first + second in left:
                merges.append(merge)
        model["merges"] = merges
    found = {**data, "model": model}
    found["added_tokens"] = [{**token, "id": numbers[token["id"]]} for token in data.get("added_tokens") or ()]
    found["post_processor"] = _renumbered(data.get("post_processor"), numbers)
    if data.get("padding"):
        found["padding"] = {**data["padding"], "pad_id": numbers[data["padding"]["pad_id"]]}
    return found


def _renumbered(part: Any, numbers: Mapping[int, int]) -> Any:
    """A post-processor with new ids: in lists called `ids`, and in the `[token, id]` of separator and first token."""
    if isinstance(part, list):
        return [_renumbered(one, numbers) for one in part]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = {}
    for name, value in part.items():
        if name == "ids":
            found[name] = [numbers[old] for old in value]
        elif name in ("sep", "cls") and isinstance(value, Sequence) and not isinstance(value, str):
            found[name] = [value[0], numbers[value[1]]]
        else:
            found[name] = _renumbered(value, numbers)
    return found


def renumber_settings(path: Path, numbers: Mapping[int, int]) -> None:
    """New ids in the settings file beside the tokenizer, if it names any."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    decoder = settings.get("added_tokens_decoder")
    if decoder:
        settings["added_tokens_decoder"] = {str(numbers[int(old)]): token for old, token in decoder.items()}
        path.write_text(json.dumps(settings), encoding="utf-8")
