"""One sentence to teacher, student and exports of a translation run: what each makes of it, and how long it takes."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distiller.deploy.ask import Answer, median_milliseconds
from distiller.deploy.bench_translators import TranslatorEntrant, translator_entrants
from distiller.errors import DataError, ModelError, OutputError
from distiller.models.encoder_decoder import longest_text
from distiller.translation.converted import Engine
from distiller.translation.engines import bounds_of, converted, engine, generating
from distiller.translation.students import load_translator
from distiller.translation.tokenizer import TranslationTokenizer


@dataclass(frozen=True)
class _Loaded:
    name: str
    engine: str
    tokenizer: TranslationTokenizer
    longest: int | None
    run: Engine


class LoadedTranslators:
    """The translation models of one run's output folder, loaded once and asked as often as some sentences come.

    Teacher and student are run by CTranslate2 where it is installed and can convert them, exports as they are. Raises
    `DistillerError`.
    """

    def __init__(self, output: str | Path) -> None:
        self.notes: list[str] = []
        """What was left out, in words."""
        found = translator_entrants(str(output), notes=self.notes, teacher=True, rows=1)
        self._open = ExitStack()  # engines end when this object goes
        self._models: list[_Loaded] = []
        for one in found:
            if one.converted is not None or one.fastest:
                self._models.append(self._loaded(one))
        if not self._models:
            raise OutputError(f"`{output}` has no translation model", hint="name the output folder of a run")

    def _loaded(self, one: TranslatorEntrant) -> _Loaded:
        model, tokenizer = load_translator(one.folder, one.languages)
        name, longest = one.name.rpartition(": ")[2], longest_text(model)
        decoding = one.source.decoding.model_copy(update={"engine": one.engine, "compute": one.compute})
        if one.converted is not None:
            opened = converted(one.converted, bounds_of(model, tokenizer, decoding), decoding)
            return _Loaded(name, one.engine, tokenizer, longest, self._open.enter_context(opened))
        try:
            run = self._open.enter_context(engine(model, tokenizer, decoding))
            return _Loaded(name, one.engine, tokenizer, longest, run)
        except ModelError:  # CTranslate2 cannot convert it
            return _Loaded(name, "transformers", tokenizer, longest, generating(model, tokenizer, decoding))

    def ask(self, text: str, pair: str | None = None) -> list[Answer]:
        """What every model makes of `text`. Raises `DataError` where there is none."""
        if not text.strip():
            raise DataError("there is no text", hint="type one")
        return [_answer(model, text) for model in self._models]


def _answer(model: _Loaded, text: str) -> Answer:
    sentence = " ".join(text.split())
    ids = model.tokenizer.encode([sentence])
    if model.longest is not None and len(ids[0]) > model.longest:
        reason = f"the text has {len(ids[0])} tokens, and the model takes {model.longest}"
        return Answer(model.name, model.engine, "", error=reason)
    said = model.tokenizer.decode([model.run(ids, 0)[0][0].tokens])[0]
    return Answer(model.name, model.engine, said, milliseconds=median_milliseconds(partial(model.run, ids, 0)))
