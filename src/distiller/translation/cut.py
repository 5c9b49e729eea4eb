"""A smaller vocabulary: a tokenizer that has only the pieces that a text uses.

Most weights of a small student of a multilingual teacher are embeddings of languages that it never meets. Pieces that a
segmentation passes through (merges of BPE) are kept too, so the text is split into the same pieces as before; any other
text falls back to shorter pieces.
"""

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer

from distiller.errors import MissingPackageError, ModelError
from distiller.models.folders import explained
from distiller.models.vocabulary import BYTE, cut_description, merges_of, renumber_settings
from distiller.translation.token_rows import encoded
from distiller.translation.tokenizer import TranslationTokenizer, quiet

SAMPLE = 200
"""Sentences whose pieces are compared before and after."""
SPM_FILES = ("source.spm", "target.spm", "sentencepiece.bpe.model")


def cut_vocabulary(
    tokenizer: TranslationTokenizer, sources: Sequence[str], targets: Sequence[str]
) -> tuple[TranslationTokenizer, Tensor]:
    """A tokenizer of the pieces that `sources` and `targets` use, and the old id of each piece, int64 `[pieces]`.

    Raises `ModelError` for a tokenizer whose files cannot be cut.
    """
    whole: Any = tokenizer.tokenizer
    kept = set(tokenizer.special) | set(whole.added_tokens_decoder)
    for read, text in ((tokenizer.encode, sources), (tokenizer.encode_targets, targets)):
        kept.update(np.unique(encoded(read, text).tokens).tolist())
    known: dict[str, int] = whole.get_vocab()
    letters = {letter for text in (*sources, *targets) for letter in text}
    kept.update(known[letter] for letter in letters if letter in known)
    kept.update(index for piece, index in known.items() if BYTE.fullmatch(piece))
    with tempfile.TemporaryDirectory(prefix="distiller-cut-") as name:
        folder = Path(name)
        whole.save_pretrained(folder)
        if (folder / "tokenizer.json").is_file():
            rows = _cut_fast(folder, kept)
        elif (folder / "vocab.json").is_file() and any((folder / spm).is_file() for spm in SPM_FILES):
            rows = _cut_sentencepiece(folder, kept, known)
        else:
            raise _impossible(whole)
        with explained(folder), quiet():
            smaller = TranslationTokenizer(AutoTokenizer.from_pretrained(folder), prefix=tokenizer.prefix)
    for side in ("src_lang", "tgt_lang"):
        if getattr(whole, side, None) is not None:
            setattr(smaller.tokenizer, side, getattr(whole, side))
            smaller.tokenizer.init_kwargs[side] = getattr(whole, side)
    _check_same(tokenizer, smaller, rows, sources[:SAMPLE], targets[:SAMPLE])
    return smaller, torch.tensor(rows)


def _cut_fast(folder: Path, kept: set[int]) -> list[int]:
    """Cut `tokenizer.json` to `kept` and the pieces that lead there; returns the old id of each new one."""
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    kept |= {token["id"] for token in data["added_tokens"]}
    if "ByteLevel" in json.dumps([data.get("pre_tokenizer"), data.get("decoder")]):  # any text is cut into bytes
        kept |= {index for piece, index in vocab.items() if len(piece) == 1}
    if isinstance(vocab, dict):
        wanted = _with_parts({piece for piece, index in vocab.items() if index in kept}, merges_of(data["model"]))
        kept |= {vocab[piece] for piece in wanted if piece in vocab}
    rows = sorted(kept)
    new = {old: index for index, old in enumerate(rows)}
    file.write_text(json.dumps(cut_description(data, new)), encoding="utf-8")
    renumber_settings(folder / "tokenizer_config.json", new)
    for spare in ("vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"):
        (folder / spare).unlink(missing_ok=True)
    return rows


def _with_parts(wanted: set[str], merges: Iterable[tuple[str, ...]]) -> set[str]:
    """The `wanted` pieces and all pieces that BPE merges on the way to them."""
    parts: dict[str, list[tuple[str, ...]]] = {}
    for merge in merges:
        parts.setdefault("".join(merge), []).append(merge)
    found, waiting = set(wanted), list(wanted)
    while waiting:
        for merge in parts.get(waiting.pop(), []):
            fresh = set(merge) - found
            found |= fresh
            waiting += fresh
    return found


def _cut_sentencepiece(folder: Path, kept: set[int], known: dict[str, int]) -> list[int]:
    """Cut `vocab.json` and the SentencePiece models beside it (Marian, M2M100); returns the old id of each new one."""
    file = folder / "vocab.json"
    pieces: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))
    words = {piece for piece, index in known.items() if index in kept}
    for name in SPM_FILES:
        if (folder / name).is_file():
            words |= _cut_model(folder / name, words)
    kept = kept | {index for piece, index in pieces.items() if piece in words}
    rows = sorted(kept)
    new = {old: index for index, old in enumerate(rows)}
    smaller = {piece: new[index] for piece, index in pieces.items() if index in new}
    file.write_text(json.dumps(smaller, ensure_ascii=False), encoding="utf-8")
    renumber_settings(folder / "tokenizer_config.json", new)
    return rows


def _cut_model(file: Path, words: set[str]) -> set[str]:
    """Cut one SentencePiece model to `words` and the pieces that lead to them; returns all of these."""
    try:
        from sentencepiece import sentencepiece_model_pb2 as formats
    except ImportError:
        raise MissingPackageError(
            "vocabulary.cut of this tokenizer needs the package `protobuf`", hint="pip install protobuf"
        ) from None
    protocol: Any = formats  # its classes are made when it is imported
    model: Any = protocol.ModelProto()
    model.ParseFromString(file.read_bytes())
    usual = 1  # a piece of text; all other kinds (unknown, control, bytes) stay
    held = {piece.piece for piece in model.pieces}
    wanted = {word for word in words if word in held}
    if model.trainer_spec.model_type == model.trainer_spec.BPE:
        waiting = list(wanted)
        while waiting:
            word = waiting.pop()
            for middle in range(1, len(word)):
                parts = {word[:middle], word[middle:]}
                if parts <= held:
                    waiting += parts - wanted
                    wanted |= parts
    pieces = [piece for piece in model.pieces if piece.type != usual or piece.piece in wanted]
    del model.pieces[:]
    model.pieces.extend(pieces)
    file.write_bytes(model.SerializeToString())
    return wanted


def _check_same(
    before: TranslationTokenizer,
    after: TranslationTokenizer,
    rows: list[int],
    sources: Sequence[str],
    targets: Sequence[str],
) -> None:
    """Raise `ModelError` unless both tokenizers split the text into the same pieces."""
    for one, other in ((before.encode, after.encode), (before.encode_targets, after.encode_targets)):
        texts = sources if one == before.encode else targets
        for wanted, found in zip(one(texts), other(texts), strict=True):
            if any(index >= len(rows) for index in found) or [rows[index] for index in found] != wanted:
                raise _impossible(before.tokenizer)
    if len(after) > len(rows):
        raise _impossible(before.tokenizer)


def _impossible(tokenizer: Any) -> ModelError:
    return ModelError(
        f"the vocabulary of a {type(tokenizer).__name__} cannot be cut here", hint="leave vocabulary.cut out"
    )
