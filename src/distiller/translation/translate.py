"""Text to text: translating sentences with a model, and scoring what comes out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distiller.translation.config import Decoding
from distiller.translation.corpus import Pairs
from distiller.translation.engines import engine
from distiller.translation.model import TranslationModel
from distiller.translation.scores import Scores, score
from distiller.translation.students import load_translator
from distiller.translation.vocabulary import SharedVocabulary

Translate = Callable[[Sequence[str]], list[str]]


@contextmanager
def translator(model: TranslationModel, vocabulary: SharedVocabulary, decoding: Decoding) -> Iterator[Translate]:
    """What translates sentences with `model`: the best hypothesis of each, detokenised."""
    with engine(model, vocabulary, decoding) as run:
        yield lambda sentences: vocabulary.decode([found[0].tokens for found in run(vocabulary.encode(sentences), 0)])


def evaluate(model: TranslationModel, vocabulary: SharedVocabulary, pairs: Pairs, decoding: Decoding) -> Scores:
    """BLEU and chrF of the model's translations of `pairs`."""
    with translator(model, vocabulary, decoding) as translate:
        return score(translate(pairs.source), pairs.translations)


def evaluate_folder(folder: str | Path, pairs: Pairs, decoding: Decoding) -> Scores:
    """`evaluate` of the model in a folder. Raises `ModelError`."""
    return evaluate(*load_translator(folder), pairs, decoding)
