"""Text to token ids and back: the tokenizer of a translation model with its languages, or one trained here.

A tokenizer trained here has the form of Marian's: two SentencePiece files and `vocab.json`, with `</s>` first and
`<pad>` last, as Marian and its converters expect.
"""

import io
import json
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import MarianTokenizer, PreTrainedTokenizerBase

from distiller.config import translation as config
from distiller.config.translation import Languages
from distiller.errors import ConfigError, DataError, ModelError, importing
from distiller.models.folders import explained, load_tokenizer, tokenizer_fingerprint
from distiller.tasks.table import listed

END, UNKNOWN = 0, 1
"""Ids in tokenizers that are trained here; padding is the last id."""
EARLIER = "vocabulary.model"
"""The SentencePiece model in folders that earlier versions wrote: padding 0, unknown 1, start 2, end 3."""
PLAIN = Languages()
"""No languages: a model for one pair of languages, or one whose folder says which."""
MARIAN_FILES = ("source.spm", "target.spm")


class TranslationTokenizer:
    """The tokenizer of a translation model: text of both sides to ids, and ids to text.

    `prefix` stands before each source text: `translate German to English: ` of T5, `>>fra<< ` of Marian.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, prefix: str = "") -> None:
        self.tokenizer: Any = tokenizer
        self.prefix = prefix
        if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no padding or end token", hint="translation needs both")

    def __len__(self) -> int:
        return len(self.tokenizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TranslationTokenizer) and self.fingerprint == other.fingerprint

    __hash__ = None  # type: ignore[assignment]

    @property
    def pad(self) -> int:
        """Id of padding."""
        return self.tokenizer.pad_token_id

    @property
    def end(self) -> int:
        """Id of the end of a sentence."""
        return self.tokenizer.eos_token_id

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids that are not text: start, end, padding, unknown, languages."""
        languages = getattr(self.tokenizer, "lang_code_to_id", None) or {}  # M2M100 does not call them special
        return frozenset(self.tokenizer.all_special_ids) | frozenset(languages.values())

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """Codes of the source and target language; `None` twice if the tokenizer has none."""
        pairs = (("source_lang", "target_lang"), ("src_lang", "tgt_lang"))
        for source, target in pairs:
            said = getattr(self.tokenizer, source, None), getattr(self.tokenizer, target, None)
            if all(isinstance(code, str) for code in said):
                return said
        return None, None

    @cached_property
    def forced(self) -> int | None:
        """The id with which every translation begins (the target language of mBART-50, M2M100, NLLB), if any."""
        first = self.encode_targets(["a"])[0][0]
        return first if first in self.special and first != self.end and first != self.tokenizer.unk_token_id else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokenizer's files and its languages."""
        facts = [self.prefix, *(getattr(self.tokenizer, name, None) for name in ("src_lang", "tgt_lang"))]
        return tokenizer_fingerprint(self.tokenizer, facts)

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of each source sentence, including special tokens."""
        texts = [self.prefix + sentence for sentence in sentences]
        return self.tokenizer(texts, verbose=False)["input_ids"] if texts else []

    def encode_targets(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of each translation, as training labels."""
        texts = list(sentences)
        return self.tokenizer(text_target=texts, verbose=False)["input_ids"] if texts else []

    def decode(self, tokens: Iterable[Sequence[int]]) -> list[str]:
        """Text without special tokens."""
        rows = [[index for index in ids if index not in self.special] for ids in tokens]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def save(self, folder: Path) -> None:
        """Write its files into a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)


def load_translation_tokenizer(
    name: str | Path, languages: Languages = PLAIN, *, prefix: str | None = None
) -> TranslationTokenizer:
    """The tokenizer of the model in a folder, package or hub id, set to its languages.

    `prefix` is that of the model's configuration. Raises `ModelError` if there is no tokenizer, `ConfigError` for
    languages that it does not know, or if it needs languages and none are given.
    """
    earlier = Path(name).expanduser() / EARLIER
    if earlier.is_file() and not (earlier.parent / "tokenizer_config.json").is_file():
        return TranslationTokenizer(_from_sentencepiece(_model_bytes(earlier)))
    _check_whole(Path(name).expanduser())
    with quiet():
        tokenizer: Any = load_tokenizer(name)
    before = languages.prefix if languages.prefix is not None else prefix
    if codes := getattr(tokenizer, "supported_language_codes", []):  # Marian of several target languages
        if languages.target is not None:
            before = f"{_known(languages.target, [code[2:-2] for code in codes], name, '>>', '<<')} "
        elif not before:
            raise ConfigError(
                f"`{name}` translates into several languages and has to be told which",
                hint=f"teacher.languages.target, one of {listed([code[2:-2] for code in codes])}",
            )
    elif hasattr(tokenizer, "src_lang"):
        _set_languages(tokenizer, languages, name)
    else:
        _check_named(tokenizer, languages, name)
    return TranslationTokenizer(tokenizer, prefix=before or "")


def _check_whole(folder: Path) -> None:
    """Raise `ModelError` for a folder that holds only some files of Marian's tokenizer."""
    held = [name for name in (*MARIAN_FILES, "vocab.json") if (folder / name).is_file()]
    if any(name in held for name in MARIAN_FILES) and len(held) < 3:
        missing = next(name for name in (*MARIAN_FILES, "vocab.json") if name not in held)
        raise ModelError(
            f"`{folder}` holds no {missing}: its tokenizer is not whole",
            hint="Marian's is source.spm, target.spm and vocab.json: copy the folder again",
        )


def _set_languages(tokenizer: Any, languages: Languages, name: str | Path) -> None:
    """Set the languages of mBART, M2M100 or NLLB: those that are asked for, or those of the folder."""
    codes = _codes(tokenizer)
    said = tokenizer.init_kwargs
    source, target = languages.source or said.get("src_lang"), languages.target or said.get("tgt_lang")
    if source is None or target is None:
        raise ConfigError(
            f"`{name}` translates between many languages and has to be told which",
            hint=f"teacher.languages.source and .target, among {listed(codes)}",
        )
    tokenizer.src_lang = _known(source, codes, name)
    tokenizer.tgt_lang = _known(target, codes, name)
    tokenizer.init_kwargs |= {"src_lang": source, "tgt_lang": target}  # what is saved with the tokenizer


def _codes(tokenizer: Any) -> list[str]:
    """The languages that a tokenizer of mBART, M2M100 or NLLB knows."""
    found = getattr(tokenizer, "lang_code_to_id", None)
    if found:
        return list(found)
    return [token for token in tokenizer.all_special_tokens if "_" in token]


def _check_named(tokenizer: Any, languages: Languages, name: str | Path) -> None:
    """Raise `ConfigError` if a model for one pair of languages is asked for others."""
    for side in ("source", "target"):
        asked = getattr(languages, side)
        said = getattr(tokenizer, f"{side}_lang", None)
        if asked is None:
            continue
        if said is None:
            raise ConfigError(
                f"`{name}` has no codes of languages: teacher.languages.{side} = {asked} would change nothing",
                hint="leave it out; T5 is told by teacher.languages.prefix",
            )
        if asked != said:
            raise ConfigError(f"the {side} language of `{name}` is {said}, not {asked}", hint="name another model")


def _known(code: str, codes: Sequence[str], name: str | Path, before: str = "", behind: str = "") -> str:
    if code not in codes:
        near = [known for known in codes if known.startswith(code[:2])] or codes
        raise ConfigError(f"`{name}` knows no language `{code}`", hint=f"its codes are {listed(near)}")
    return before + code + behind


# --- tokenizers that are trained here --------------------------------------------------------------------------------


def train_tokenizer(sentences: Iterable[str], wish: config.Vocabulary) -> TranslationTokenizer:
    """A shared SentencePiece vocabulary of `wish.size` pieces. The same sentences give the same one.

    Raises `DataError` when the text is too small for so many pieces. Source: Kudo and Richardson 2018,
    arXiv:1808.06226.
    """
    written = io.BytesIO()
    try:
        sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=wish.size - 1,  # and padding
            model_type=wish.kind,
            normalization_rule_name=wish.normalisation,
            character_coverage=wish.coverage,
            eos_id=END,
            unk_id=UNKNOWN,
            bos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _no_vocabulary(wish.size, str(error)) from None
    return TranslationTokenizer(_from_sentencepiece(written.getvalue()))


def _no_vocabulary(size: int, reason: str) -> DataError:
    """SentencePiece's `reason` in words, with the nearest size that the text allows."""
    said = f"no vocabulary of {size} pieces can be made of this text"
    if most := re.search(r"too high.*<= (\d+)", reason):
        largest = int(most[1]) + 1  # and padding
        return DataError(f"{said}, which has too few", hint=f"vocabulary.size={largest}, or more text")
    if fewest := re.search(r"required_chars\. \d+ vs (\d+)", reason):
        least = int(fewest[1]) + 1
        return DataError(f"{said}, which has more characters", hint=f"vocabulary.size={least} or more")
    reason = reason.rpartition("] ")[2].strip() or reason.strip()
    return DataError(f"{said}: {reason:.160}", hint="another vocabulary.size, or more text")


def tokenizer_from_sentencepiece(path: str | Path) -> TranslationTokenizer:
    """A Marian tokenizer with the SentencePiece model in a file. Raises `ModelError`."""
    return TranslationTokenizer(_from_sentencepiece(_model_bytes(Path(path).expanduser())))


def _from_sentencepiece(model: bytes) -> PreTrainedTokenizerBase:
    """A Marian tokenizer with the pieces of `model` under their own ids, and `<pad>` appended if there is none."""
    processor: Any = sentencepiece().SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    if processor.eos_id() < 0 or processor.unk_id() < 0:
        raise ModelError("the vocabulary has no end or no unknown piece", hint="train it with both: spm_train has them")
    ids = {piece: index for index, piece in enumerate(pieces)}
    pad = "<pad>" if processor.pad_id() < 0 else pieces[processor.pad_id()]
    ids.setdefault(pad, len(pieces))
    with tempfile.TemporaryDirectory(prefix="distiller-tokenizer-") as folder:
        for name in MARIAN_FILES:
            (Path(folder) / name).write_bytes(model)
        (Path(folder) / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
        files = (str(Path(folder) / name) for name in (*MARIAN_FILES, "vocab.json"))
        end, unknown = pieces[processor.eos_id()], pieces[processor.unk_id()]
        with explained(folder), quiet():
            return MarianTokenizer(*files, eos_token=end, unk_token=unknown, pad_token=pad)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Marian's advice to install a package that is not used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
        yield


def _model_bytes(file: Path) -> bytes:
    try:
        model = file.read_bytes()
        sentencepiece().SentencePieceProcessor(model_proto=model)
    except OSError as error:
        raise ModelError(
            f"the vocabulary `{file}` cannot be read: {error.strerror}", hint="a file that spm_train wrote"
        ) from None
    except RuntimeError:
        raise ModelError(f"`{file}` is not a SentencePiece model", hint="a file that spm_train wrote") from None
    return model


def check_fit(tokenizer: TranslationTokenizer, pieces: int, name: str) -> None:
    """Raise `ModelError` unless the model called `name` has an embedding for each piece."""
    if len(tokenizer) > pieces:
        raise ModelError(
            f"the vocabulary has {len(tokenizer)} pieces, {name} has {pieces}",
            hint="teacher and student share one vocabulary: leave vocabulary.model out to take the teacher's",
        )


def sentencepiece() -> Any:
    """The package `sentencepiece`. Raises `MissingPackageError`."""
    with importing("translation needs", extra="translation"):
        import sentencepiece
    return sentencepiece
