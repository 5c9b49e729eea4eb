"""Text to text: translating sentences with a model, and scoring what comes out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel

from distiller.errors import DataError
from distiller.models.encoder_decoder import longest_text
from distiller.translation.config import Decoding, Languages
from distiller.translation.corpus import Pairs
from distiller.translation.engines import engine
from distiller.translation.scores import Scores, score
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import PLAIN, TranslationTokenizer

Translate = Callable[[Sequence[str]], list[str]]


@contextmanager
def translator(model: PreTrainedModel, tokenizer: TranslationTokenizer, decoding: Decoding) -> Iterator[Translate]:
    """What translates sentences with `model`: the best hypothesis of each, detokenised."""
    with engine(model, tokenizer, decoding) as run:
        yield lambda sentences: tokenizer.decode([found[0].tokens for found in run(tokenizer.encode(sentences), 0)])


def evaluate(model: PreTrainedModel, tokenizer: TranslationTokenizer, pairs: Pairs, decoding: Decoding) -> Scores:
    """BLEU and chrF of the model's translations of `pairs`."""
    with translator(model, tokenizer, decoding) as translate:
        return score(translate(pairs.source), pairs.translations)


def evaluate_folder(folder: str | Path, pairs: Pairs, decoding: Decoding, languages: Languages = PLAIN) -> Scores:
    """`evaluate` of the model in a folder. Raises `ModelError`."""
    return evaluate(*load_translator(folder, languages), pairs, decoding)


def model_folder(name: str) -> str:
    """`name`, or the student in it where it is the output folder of a run."""
    student = Path(name).expanduser() / "student"
    return str(student) if (student / "config.json").is_file() else name


def translated_lines(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, lines: Sequence[str], decoding: Decoding
) -> list[str]:
    """A translation for each line; an empty line stays one. Raises `DataError` for a line the model cannot take."""
    longest = longest_text(model)
    rows = [row for row, line in enumerate(lines) if line.strip()]
    ids = tokenizer.encode([lines[row] for row in rows])
    for row, one in zip(rows, ids, strict=True):
        if longest is not None and len(one) > longest:
            raise DataError(
                f"line {row + 1} has {len(one)} tokens, the model takes {longest}", hint="split it into sentences"
            )
    said = [""] * len(lines)
    with translator(model, tokenizer, decoding) as translate:
        for row, text in zip(rows, translate([lines[row] for row in rows]) if rows else [], strict=True):
            said[row] = text
    return said
