"""Finished translation models, and their one form: CTranslate2 with 8-bit weights."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from distiller.deploy.finished import Finished
from distiller.deploy.parity import Parity
from distiller.deploy.script import imported
from distiller.errors import DistillerError, OutputError
from distiller.record import FILE
from distiller.tasks.data import sample
from distiller.training.output_folder import RUN_FILE, STUDENT
from distiller.translation.config import Decoding, TranslationRun, load_translation
from distiller.translation.corpus import Pairs, read_pairs
from distiller.translation.engines import convert, loaded
from distiller.translation.model import TranslationConfig
from distiller.translation.record import load_translation_record
from distiller.translation.scores import score
from distiller.translation.students import load_translator
from distiller.translation.translate import translator
from distiller.translation.vocabulary import FILE as VOCABULARY
from distiller.translation.vocabulary import SharedVocabulary

SENTENCES = ("A house.", "One two three four five.", "Seven words are in this sentence, no more and no less than that.")
"""Compared on where there are no others."""
SCRIPT = '''"""Prints the translation of each sentence: python use.py "a sentence" "another one"

Needs only: pip install ctranslate2 sentencepiece. Written by Distiller beside an exported model.
"""

import sys
from pathlib import Path

import ctranslate2
import sentencepiece

HERE = Path(__file__).resolve().parent
pieces = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "{vocabulary}"))
model = ctranslate2.Translator(str(HERE))


def translate(sentences):
    tokens = [[*row, "</s>"] for row in pieces.encode(list(sentences), out_type=str)]
    found = model.translate_batch(
        tokens, beam_size={beam}, length_penalty={penalty}, max_decoding_length={longest}, min_decoding_length=0,
        disable_unk=True, suppress_sequences=[["<pad>"], ["<s>"]],
    )  # fmt: skip
    return [pieces.decode(one.hypotheses[0]) for one in found]


if __name__ == "__main__":
    print(*translate(sys.argv[1:]), sep="\\n")
'''


@dataclass(frozen=True)
class FinishedTranslator(Finished):
    """A translation model of this library."""

    described: TranslationRun | None = None

    @cached_property
    def loaded(self) -> tuple[Any, SharedVocabulary]:
        """Model and vocabulary."""
        return load_translator(self.folder)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model alone."""
        return self.loaded[0]

    @cached_property
    def max_length(self) -> int:
        """Longest sentence in tokens."""
        return self.described.corpus.max_tokens if self.described else 128

    @property
    def decoding(self) -> Decoding:
        """How it was scored."""
        return self.described.evaluation if self.described else Decoding()

    def sentences(self) -> Pairs | None:
        """Development pairs, else test, else training pairs (with a note); `None` where they are not there."""
        if self.described is None:
            return None
        corpus = self.described.corpus
        try:
            pairs = read_pairs(corpus.dev or corpus.test or corpus.train)
        except DistillerError as error:
            self.notes.append(f"the text of the run cannot be read: {error.message}")
            return None
        if corpus.dev is None and corpus.test is None:
            self.notes.append("the run held its development pairs out: compared on the file of its training pairs")
        return pairs.take(sample(len(pairs), self.rows, seed=0)) if self.rows else pairs


def open_translator(name: str, *, rows: int | None = None) -> FinishedTranslator | None:
    """The translation model of a run's output or model folder; `None` for what holds another kind of model.

    Raises `OutputError` for a translation run that is not finished.
    """
    output = Path(name)
    folder = output / STUDENT if (output / STUDENT).is_dir() else output
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
    if kind != TranslationConfig.model_type:
        return None
    if folder == output:
        return FinishedTranslator(name, folder, "translation", None, rows=rows)
    if not (output / FILE).is_file():
        raise OutputError(f"`{output}` holds no finished run", hint="continue it: distiller translate run … --resume")
    load_translation_record(output)
    described = load_translation(output / RUN_FILE) if (output / RUN_FILE).is_file() else None
    return FinishedTranslator(name, folder, "translation", None, output=output, rows=rows, described=described)


def write_translator(source: FinishedTranslator, target: Path) -> dict[str, Any]:
    """The model in CTranslate2's format with 8-bit weights, its vocabulary, and a `use.py`."""
    model, vocabulary = source.loaded
    convert(model, vocabulary, target, compute="int8")
    vocabulary.save(target)
    decoding = source.decoding
    text = SCRIPT.format(
        vocabulary=VOCABULARY, beam=decoding.beam, penalty=decoding.length_penalty, longest=decoding.max_length
    )
    (target / "use.py").write_text(text, encoding="utf-8")
    return {"inputs": ["tokens"], "labels": None, "max_length": source.max_length}


def compare_translator(source: FinishedTranslator, place: Path) -> Parity:
    """Translations of the exported form and of the model in torch, the same search on the same sentences."""
    model, vocabulary = source.loaded
    pairs = source.sentences()
    sentences = list(pairs.source) if pairs else list(SENTENCES)
    decoding = source.decoding
    tokens = vocabulary.encode(sentences)
    with loaded(place, vocabulary, decoding.model_copy(update={"compute": "int8"})) as run:
        ours = vocabulary.decode([found[0].tokens for found in run(tokens, 0)])
    with translator(model, vocabulary, decoding.model_copy(update={"engine": "transformers"})) as translate:
        theirs = translate(sentences)
    measured = Parity(
        rows=len(sentences),
        made_up=pairs is None,
        lengths=sorted({len(row) for row in tokens}),
        largest_difference=None,
        largest_logit=None,
        equal_predictions=sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(sentences),
    )
    if pairs is None:
        return measured
    bleu = [score(said, pairs.translations).values["bleu"] / 100 for said in (ours, theirs)]
    return measured.model_copy(update={"metric": "bleu", "score": bleu[0], "torch_score": bleu[1]})


def try_translator_script(source: FinishedTranslator, place: Path) -> float:
    """Share of some sentences that `use.py` translates as the library does with the same form."""
    pairs = source.sentences()
    sentences = list(pairs.source[:16]) if pairs else list(SENTENCES)
    script, (_, vocabulary) = imported(place / "use.py"), source.loaded
    with loaded(place, vocabulary, source.decoding.model_copy(update={"compute": "int8"})) as run:
        ours = vocabulary.decode([found[0].tokens for found in run(vocabulary.encode(sentences), 0)])
    return sum(one == other for one, other in zip(ours, script.translate(sentences), strict=True)) / len(sentences)
