"""What a translation model costs to use: size, speed and latency in every engine, beside its BLEU."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import PreTrainedModel

from distiller.config.translation import Decoding
from distiller.errors import ModelError
from distiller.record import EfficiencyRow
from distiller.translation.corpus import Pairs
from distiller.translation.engines import Engine, choose_engine, convert, generate, loaded, longest_translation
from distiller.translation.model import parameter_count, stored_megabytes
from distiller.translation.scores import score
from distiller.translation.students import start_of
from distiller.translation.tokenizer import TranslationTokenizer

WARM_UP = 16
"""Sentences translated before the clock starts."""
SINGLE = 100
"""Sentences whose latency is taken one by one."""
Translator = tuple[PreTrainedModel, TranslationTokenizer]


def efficiency(models: Mapping[str, Translator], pairs: Pairs, decoding: Decoding) -> list[EfficiencyRow]:
    """Each of `models` in every engine: translating `pairs` on this machine's processor.

    Those are `transformers` in float32 and, where it is wished for or found and knows the architecture, CTranslate2 in
    float32 and int8. The first model is the one that the others are compared with: the teacher.
    """
    first = parameter_count(next(iter(models.values()))[0])
    rows = []
    for name, (model, tokenizer) in models.items():
        forms = [("transformers", "float32")]
        if choose_engine(decoding.engine) == "ctranslate2":
            forms = [("ctranslate2", "float32"), ("ctranslate2", "int8"), *forms]
        for engine, compute in forms:
            wish = decoding.model_copy(update={"engine": engine, "compute": compute})
            try:
                measured = _measure(model, tokenizer, pairs, wish)
            except ModelError:  # an architecture that CTranslate2 does not know
                continue
            count = parameter_count(model)
            rows.append(
                EfficiencyRow(
                    model=name, engine=engine, compute=compute, parameters=count, compression=first / count, **measured
                )
            )
    return rows


def _measure(
    model: PreTrainedModel, tokenizer: TranslationTokenizer, pairs: Pairs, decoding: Decoding
) -> dict[str, float]:
    """The fields of a row that the clock and the scores fill."""
    if decoding.engine == "transformers":
        few = pairs.take(range(min(len(pairs), SINGLE)))  # the slowest engine is not asked for all
        return _timed(
            lambda sentences, seed: generate(model, tokenizer, sentences, decoding),
            tokenizer,
            few,
            stored_megabytes(model),
        )
    with TemporaryDirectory(prefix="distiller-efficiency-") as temporary:
        folder = convert(model, tokenizer, Path(temporary) / "model", compute=decoding.compute)
        size = sum(file.stat().st_size for file in folder.glob("model.bin")) / 1e6
        start, longest = start_of(model, tokenizer), longest_translation(model, decoding)
        with loaded(folder, tokenizer, decoding, start=start, longest=longest) as run:
            return _timed(run, tokenizer, pairs, size)


def _timed(run: Engine, tokenizer: TranslationTokenizer, pairs: Pairs, size: float) -> dict[str, float]:
    sentences = tokenizer.encode(pairs.source)
    run(sentences[:WARM_UP], 0)
    started = time.perf_counter()
    found = run(sentences, 0)
    seconds = time.perf_counter() - started
    said = tokenizer.decode([hypotheses[0].tokens for hypotheses in found])
    single = []
    for sentence in sentences[:SINGLE]:
        began = time.perf_counter()
        run([sentence], 0)
        single.append(1000 * (time.perf_counter() - began))
    return {
        "bleu": score(said, pairs.translations).values["bleu"],
        "megabytes": size,
        "sentences_per_second": len(pairs) / seconds,
        "latency_p50": statistics.median(single),
        "latency_p95": sorted(single)[min(len(single) - 1, round(0.95 * len(single)))],
    }
