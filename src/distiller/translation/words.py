"""The tokenizer of a student, and how its vocabulary relates to the teacher's."""

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from distiller.cache.folders import FolderCache
from distiller.config.translation import TranslationRun
from distiller.errors import ConfigError
from distiller.translation.corpus import Splits
from distiller.translation.cut import cut_vocabulary
from distiller.translation.model import TokenIds
from distiller.translation.pairs import text_fingerprint
from distiller.translation.students import token_ids
from distiller.translation.tokenizer import (
    TranslationTokenizer,
    load_translation_tokenizer,
    tokenizer_from_sentencepiece,
    train_tokenizer,
)


@dataclass(frozen=True)
class Words:
    """The student's tokenizer and its relation to the teacher's."""

    tokenizer: TranslationTokenizer
    teachers: TranslationTokenizer | None
    """The teacher's tokenizer, if the student's is the same or a part of it; else `None`."""
    rows: Tensor | None = None
    """The id of each piece in the teacher's vocabulary; `None`: the same as the student's."""

    def token_ids(self, teacher: PreTrainedModel | None) -> TokenIds:
        """Size and special ids for the student's configuration; if the tokenizer is the teacher's, as the teacher uses
        it."""
        if self.teachers is None or teacher is None:
            return token_ids(self.tokenizer)
        ids = token_ids(self.teachers, teacher)
        if self.rows is None:
            return ids
        new = {int(old): index for index, old in enumerate(self.rows)}
        forced = None if ids.forced is None else new[ids.forced]
        return TokenIds(len(self.rows), new[ids.pad], new[ids.end], new[ids.start], forced)


def words_of(run: TranslationRun, splits: Splits, teachers: TranslationTokenizer | None, store: FolderCache) -> Words:
    """The tokenizer of the student: the teacher's or a part of it, the one that the run names, or one trained here.

    Raises `ConfigError` for a `vocabulary` that cannot be had, `ModelError` for a tokenizer that cannot be read or cut.
    """
    wish = run.vocabulary
    if wish.of == "teacher" and teachers is None and run.teacher.model is None:
        raise ConfigError(
            "vocabulary.of=teacher needs teacher.model", hint="leave it out: a teacher trained here shares it"
        )
    if wish.model is not None:
        named = tokenizer_from_sentencepiece(wish.model)
        same = teachers is not None and named.tokenizer.get_vocab() == teachers.tokenizer.get_vocab()
        return Words(named, named if same else None)
    sources = [*splits.train.source, *(text for pairs in splits.monolingual for text in pairs.source)]
    targets = [*splits.train.translations, *(text for pairs in splits.backward for text in pairs.source)]
    if teachers is not None and wish.of != "corpus":
        if not wish.cut:
            return Words(teachers, teachers)
        smaller, rows = cut_vocabulary(teachers, sources, targets)
        return Words(smaller, teachers, rows)
    if wish.cut:
        raise ConfigError(
            "vocabulary.cut cuts the tokenizer of teacher.model, and the student has one of its own",
            hint="set vocabulary.size instead",
        )
    facts = {"text": text_fingerprint(splits.train), "wish": wish.model_dump(mode="json"), "form": "marian"}
    text = [*splits.train.source, *splits.train.translations]
    folder = store.get("vocabularies", facts, lambda folder: train_tokenizer(text, wish).save(folder))
    return Words(load_translation_tokenizer(folder), None)
