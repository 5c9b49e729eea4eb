"""Finished translation models, and their forms: a plain folder, and CTranslate2 with 8-bit weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from distiller.config import load_run
from distiller.config.translation import Decoding, Languages, TranslationRun
from distiller.deploy.finished import Finished
from distiller.deploy.parity import Parity
from distiller.deploy.script import imported
from distiller.errors import ConfigError, DistillerError, ModelError, OutputError
from distiller.models.encoder_decoder import longest_text
from distiller.record import FILE, load_record
from distiller.run.changed_data import changed_text
from distiller.tasks.data import sample
from distiller.training.output_folder import RUN_FILE, STUDENT
from distiller.translation.converted import pieces_by_id
from distiller.translation.corpus import read_corpus, read_split
from distiller.translation.engines import bounds_of, convert, converted, search_of
from distiller.translation.pairs import Pairs
from distiller.translation.scores import METRIC, score
from distiller.translation.shortlist import lexical_shortlist
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import TranslationTokenizer
from distiller.translation.translate import NO_TEXT, Translate, bare_run, names_text, translates, translator

TRIED = 16
SENTENCES = ("A house.", "One two three four five.", "Seven words are in this sentence, no more and no less than that.")
"""Compared on where there are no others."""
HEAD = '''"""Prints the translation of each sentence: python use.py "a sentence" "another one"

Needs only: pip install {packages} sentencepiece. Written by Distiller beside an exported model.
"""

import sys
from pathlib import Path

{imports}

HERE = Path(__file__).resolve().parent
tokenizer = AutoTokenizer.from_pretrained(HERE{tokenizer})
{model}
NO_TEXT = set(tokenizer.all_special_ids) | set((getattr(tokenizer, "lang_code_to_id", None) or {{}}).values())


def text(ids):
    ids = [index for index in ids if index not in NO_TEXT]
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


{translate}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(*translate(sys.argv[1:]), sep="\\n")
'''
CONVERTED = {
    "packages": "ctranslate2 transformers",
    "imports": "import ctranslate2\nfrom transformers import AutoTokenizer",
    "tokenizer": ' / "tokenizer"',
    "model": "model = ctranslate2.Translator(str(HERE))\nFIRST = {first!r}\nSILENT = {silent!r}",
    "translate": """def translate(sentences):
    ids = tokenizer([{prefix!r} + sentence for sentence in sentences])["input_ids"]
    tokens = [tokenizer.convert_ids_to_tokens(row) for row in ids]
    found = model.translate_batch(
        tokens,
        target_prefix=[FIRST] * len(tokens),
        beam_size={beam},
        length_penalty={penalty},
        use_vmap=(HERE / "vmap.txt").is_file(),
        min_decoding_length=0,
        max_decoding_length={longest},
        disable_unk=True,
        suppress_sequences=[[token] for token in SILENT],
    )
    return [text(tokenizer.convert_tokens_to_ids(one.hypotheses[0])) for one in found]""",
}
PLAIN = {
    "packages": "torch transformers",
    "imports": "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig",
    "tokenizer": "",
    "model": "model = AutoModelForSeq2SeqLM.from_pretrained(HERE).eval()\n"
    "model.generation_config = GenerationConfig(**{search!r})",
    "translate": """def translate(sentences):
    said = []
    for sentence in sentences:
        inputs = tokenizer([{prefix!r} + sentence], return_tensors="pt")
        names = ("input_ids", "attention_mask")
        found = model.generate(**{{name: inputs[name] for name in names}})
        said.append(text(found[0].tolist()))
    return said""",
}
"""What differs between the scripts of the two forms."""


def script(form: dict[str, str], **known: Any) -> str:
    """The `use.py` of a form."""
    return HEAD.format(**{name: part.format(**known) for name, part in form.items()})


@dataclass(frozen=True)
class FinishedTranslator(Finished):
    """An encoder–decoder that translates."""

    described: TranslationRun | None = None
    """The run that made it, or whose text it is compared on."""
    languages: Languages = field(default_factory=Languages)
    """Of a model of several languages that no run made."""

    @cached_property
    def loaded(self) -> tuple[PreTrainedModel, TranslationTokenizer]:
        """Model and tokenizer."""
        return load_translator(self.folder, self.languages)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model alone."""
        return self.loaded[0]

    @cached_property
    def max_length(self) -> int:
        """Longest sentence in tokens."""
        return self.described.task.max_length if self.described else 128

    @property
    def decoding(self) -> Decoding:
        """The search that it was scored with."""
        return self.described.evaluation if self.described else Decoding()

    @cached_property
    def sentences(self) -> Pairs | None:
        """Development pairs, including those that the run held out, else test pairs; `None` where they do not exist.

        They are those that a run uses: limited as it says, and none longer than `max_length`.
        """
        if self.described is None or not names_text(self.described):
            self.notes.append("no run says what it translated, so it is compared on made-up sentences")
            return None
        task = self.described.task
        if self.record is not None and (said := changed_text(self.record.data, task)):
            self.notes.append(said)
        try:
            if task.dev is not None:
                pairs = read_split(task.dev, task, "dev")
            elif task.test is not None:
                pairs = read_split(task.test, task, "test")
            else:
                pairs = read_corpus(task).dev
        except DistillerError as error:
            self.notes.append(f"the text of the run cannot be read: {error.message}")
            return None
        if self.rows:
            pairs = pairs.take(sample(len(pairs), self.rows, seed=0))
        return self._short(pairs)

    @property
    def about(self) -> dict[str, Any]:
        """The text, metric and number of sentences, as a benchmark states them."""
        text = self.sentences
        return {"task": Path(text.name).name if text else "", "metric": METRIC, "rows": len(text) if text else 0}

    def _short(self, pairs: Pairs) -> Pairs | None:
        """The `pairs` with at most `max_length` tokens a side, with a note about the others."""
        tokenizer = self.loaded[1]
        longest = min(self.max_length, longest_text(self.model) or self.max_length)
        ids = zip(tokenizer.encode(pairs.source), tokenizer.encode_targets(pairs.translations), strict=True)
        kept = [row for row, sides in enumerate(ids) if max(map(len, sides)) <= longest]
        if len(kept) < len(pairs):
            left_out = len(pairs) - len(kept)
            self.notes.append(f"{left_out} of {len(pairs)} pairs of `{pairs.name}` have more than {longest} tokens")
        return pairs.take(kept) if kept else None

    def translated(self, place: Path, sentences: list[str]) -> list[str]:
        """The translations of sentences by the exported form in `place`."""
        model, tokenizer = self.loaded
        if not (place / "model.bin").is_file():
            plain = self.decoding.model_copy(update={"engine": "transformers"})
            with translator(*load_translator(place), plain) as translate:
                return translate(sentences)
        decoding = self.decoding.model_copy(update={"compute": "int8"})
        with converted(place, bounds_of(model, tokenizer, decoding), decoding) as run:
            return tokenizer.decode([found[0].tokens for found in run(tokenizer.encode(sentences), 0)])

    @property
    def pairs_learnt(self) -> Pairs:
        """The gold pairs that it was trained on. Raises `ConfigError` where no run names them, `DataError`."""
        if self.described is None or self.described.task.train.source == NO_TEXT:
            raise ConfigError(
                f"`{self.name}` has no run that says what it learnt from, so no shortlist can be made",
                hint="leave --shortlist out, or name the output folder of a run",
            )
        return read_corpus(self.described.task).seen


def open_translator(
    name: str, *, run: Path | None = None, overrides: Sequence[str] = (), rows: int | None = None
) -> FinishedTranslator | None:
    """The translation model in a run's output or a model folder; `None` for any other kind of model.

    What it translates is what its run says, or the file `run`, with `overrides`. Raises `OutputError` for a translation
    run that is not finished, `ModelError` for a file of a run that does not translate.
    """
    transformers_logging.disable_progress_bar()
    output = Path(name)
    folder = output / STUDENT if (output / STUDENT).is_dir() else output
    if not (folder / "config.json").is_file() or not translates(str(folder)):
        return None
    if folder == output:
        described = _described(run, overrides) if run else None
        if described is None and overrides:
            described = bare_run(name, overrides)
        languages = described.teacher.languages if described and not run else Languages()
        return FinishedTranslator(
            name, folder, "translation", None, rows=rows, described=described, languages=languages
        )
    if not (output / FILE).is_file():
        raise OutputError(f"`{output}` holds no finished run", hint="continue it: distiller run … --resume")
    record = load_record(output)
    file = run or output / RUN_FILE
    described = _described(file, overrides) if file.is_file() else None
    return FinishedTranslator(
        name, folder, "translation", None, output=output, rows=rows, record=record, described=described
    )


def _described(file: Path, overrides: Sequence[str]) -> TranslationRun:
    described = load_run(file, overrides)
    if not isinstance(described, TranslationRun):
        raise ModelError(f"`{file}` is no translation, and the model is one", hint="leave --run out")
    return described


def write_translator(source: FinishedTranslator, target: Path, *, shortlist: int | None = None) -> dict[str, Any]:
    """The model in CTranslate2's format with 8-bit weights, its tokenizer, and a `use.py`.

    With `shortlist`, a translation may use only that many pieces for each piece of its sentence, besides the most
    frequent.
    """
    model, tokenizer = source.loaded
    chosen = None
    if shortlist is not None:
        learnt = source.pairs_learnt
        ids = tokenizer.encode(learnt.source), tokenizer.encode_targets(learnt.translations)
        chosen = lexical_shortlist(*ids, size=shortlist)
    # the converter insists on creating the folder
    made = convert(model, tokenizer, target / "made", compute="int8", shortlist=chosen)
    for file in made.iterdir():
        file.rename(target / file.name)
    made.rmdir()
    tokenizer.save(target / "tokenizer")
    bounds = bounds_of(model, tokenizer, source.decoding)
    pieces = pieces_by_id(target)
    text = script(
        CONVERTED,
        first=[pieces[index] for index in bounds.first],
        silent=[pieces[index] for index in bounds.silent],
        prefix=tokenizer.prefix,
        beam=source.decoding.beam,
        penalty=source.decoding.length_penalty,
        longest=bounds.longest + len(bounds.first) - 1,
    )
    (target / "use.py").write_text(text, encoding="utf-8")
    return {**_facts(source), "shortlist": shortlist}


def write_plain_script(source: FinishedTranslator, target: Path) -> dict[str, Any]:
    """A `use.py` next to a copy of the model folder that needs only `transformers`."""
    model, tokenizer = source.loaded
    search = search_of(model, tokenizer, source.decoding).to_diff_dict()
    search.pop("transformers_version", None)
    (target / "use.py").write_text(script(PLAIN, prefix=tokenizer.prefix, search=search), encoding="utf-8")
    return _facts(source)


def _facts(source: FinishedTranslator) -> dict[str, Any]:
    return {"inputs": ["tokens"], "labels": None, "max_length": source.max_length}


def compare_translator(source: FinishedTranslator, place: Path) -> Parity:
    """Compare translations of the exported form and of the model in torch: same search, same sentences."""
    model, tokenizer = source.loaded
    pairs = source.sentences
    sentences = list(pairs.source if pairs else SENTENCES)
    ours = source.translated(place, sentences)
    plain = source.decoding.model_copy(update={"engine": "transformers"})
    with translator(model, tokenizer, plain) as translate:
        theirs = translate(sentences)
    measured = Parity(
        rows=len(sentences),
        made_up=pairs is None,
        lengths=sorted({len(row) for row in tokenizer.encode(sentences)}),
        largest_difference=None,
        largest_logit=None,
        equal_predictions=_equal(ours, theirs),
    )
    if pairs is None:
        return measured
    bleu = [score(said, pairs.translations).values["bleu"] / 100 for said in (ours, theirs)]
    return measured.model_copy(update={"metric": "bleu", "score": bleu[0], "torch_score": bleu[1]})


def try_translator_script(source: FinishedTranslator, place: Path) -> float:
    """Share of some sentences that `use.py` translates as the library does with the same form."""
    pairs = source.sentences
    sentences = list(pairs.source[:TRIED] if pairs else SENTENCES)
    say: Translate = imported(place / "use.py").translate
    return _equal(source.translated(place, sentences), say(sentences))


def _equal(ours: list[str], theirs: list[str]) -> float:
    return sum(one == other for one, other in zip(ours, theirs, strict=True)) / len(ours)
