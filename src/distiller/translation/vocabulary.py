"""The SentencePiece vocabulary that teacher and student share: trained, loaded, compared."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from distiller.errors import DataError, MissingPackageError, ModelError
from distiller.translation import config
from distiller.translation.model import END, PAD, START, UNKNOWN

FILE = "vocabulary.model"
"""Its name in a model folder."""


class SharedVocabulary:
    """Text to token ids and back; the same object serves both sides."""

    def __init__(self, model: bytes) -> None:
        self.model = model
        self.processor: Any = _sentencepiece().SentencePieceProcessor(model_proto=model)
        ids = [self.processor.pad_id(), self.processor.unk_id(), self.processor.bos_id(), self.processor.eos_id()]
        if ids != [PAD, UNKNOWN, START, END]:
            raise ModelError(
                f"the vocabulary has padding, unknown, start and end at {ids}, not at {[PAD, UNKNOWN, START, END]}",
                hint="train it with pad_id=0, unk_id=1, bos_id=2, eos_id=3, or leave vocabulary.model out",
            )

    def __len__(self) -> int:
        return self.processor.get_piece_size()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedVocabulary) and self.fingerprint == other.fingerprint

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the SentencePiece model."""
        return hashlib.sha256(self.model).hexdigest()

    @cached_property
    def pieces(self) -> list[str]:
        """Every piece, by id."""
        return [self.processor.id_to_piece(index) for index in range(len(self))]

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of each sentence with the end token."""
        return [[*ids, END] for ids in self.processor.encode(list(sentences))]

    def decode(self, tokens: Iterable[Sequence[int]]) -> list[str]:
        """Detokenised text; special tokens say nothing."""
        return [self.processor.decode([index for index in ids if index > END or index == UNKNOWN]) for ids in tokens]

    def save(self, folder: Path) -> None:
        """Write it into a model folder."""
        temporary = folder / (FILE + ".part")
        temporary.write_bytes(self.model)
        temporary.replace(folder / FILE)


def train_vocabulary(sentences: Iterable[str], wish: config.Vocabulary) -> SharedVocabulary:
    """A SentencePiece model of `wish.size` pieces. The same sentences give the same model.

    Raises `DataError` when the text is too small for so many pieces. Source: Kudo and Richardson 2018,
    arXiv:1808.06226.
    """
    written = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=wish.size,
            model_type=wish.kind,
            normalization_rule_name=wish.normalisation,
            character_coverage=wish.coverage,
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=START,
            eos_id=END,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2].strip() or str(error).strip()
        raise DataError(
            f"no vocabulary of {wish.size} pieces can be made of this text: {reason:.160}",
            hint="lower vocabulary.size, or give more text",
        ) from None
    return SharedVocabulary(written.getvalue())


def load_vocabulary(path: str | Path) -> SharedVocabulary:
    """The SentencePiece model in a file or in a model folder. Raises `ModelError`."""
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        return SharedVocabulary(file.read_bytes())
    except OSError as error:
        raise ModelError(
            f"the vocabulary `{file}` cannot be read: {error.strerror}",
            hint="a folder written by this library holds one",
        ) from None
    except RuntimeError:
        raise ModelError(f"`{file}` is not a SentencePiece model", hint="a file that spm_train wrote") from None


def check_fit(vocabulary: SharedVocabulary, pieces: int, name: str) -> None:
    """Raises `ModelError` unless the model called `name` has one row for each piece."""
    if len(vocabulary) != pieces:
        raise ModelError(
            f"the vocabulary has {len(vocabulary)} pieces, {name} has {pieces}",
            hint="teacher and student share one vocabulary: leave vocabulary.model out to take the teacher's",
        )


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise MissingPackageError(
            "translation needs the package `sentencepiece`", hint='pip install "distiller-nlp[translation]"'
        ) from None
    return sentencepiece
