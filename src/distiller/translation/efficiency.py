"""What a translation model costs to use: size and speed in fp32 and int8, beside its BLEU."""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from distiller.models.cost import megabytes
from distiller.translation.config import Decoding
from distiller.translation.corpus import Pairs
from distiller.translation.engines import Engine, choose_engine, convert, generate, loaded
from distiller.translation.model import TranslationModel, parameter_count
from distiller.translation.record import EfficiencyRow
from distiller.translation.scores import score
from distiller.translation.vocabulary import SharedVocabulary

WARM_UP = 16
"""Sentences translated before the clock starts."""


def efficiency(
    models: Mapping[str, TranslationModel], vocabulary: SharedVocabulary, pairs: Pairs, decoding: Decoding
) -> list[EfficiencyRow]:
    """Each of `models` in fp32 and, with CTranslate2, in int8: translating `pairs` on this machine's processor.

    The first model is the one that the others are compared with: the teacher.
    """
    kinds = ("float32", "int8") if choose_engine(decoding.engine) == "ctranslate2" else ("float32",)
    teacher = parameter_count(next(iter(models.values())))
    rows = []
    for name, model in models.items():
        for compute in kinds:
            bleu, size, speed = _measure(model, vocabulary, pairs, decoding.model_copy(update={"compute": compute}))
            rows.append(
                EfficiencyRow(
                    model=name,
                    engine=choose_engine(decoding.engine),
                    compute=compute,
                    bleu=bleu,
                    parameters=parameter_count(model),
                    compression=teacher / parameter_count(model),
                    megabytes=size,
                    sentences_per_second=speed,
                )
            )
    return rows


def _measure(
    model: TranslationModel, vocabulary: SharedVocabulary, pairs: Pairs, decoding: Decoding
) -> tuple[float, float, float]:
    """BLEU, megabytes and sentences per second."""
    if choose_engine(decoding.engine) == "transformers":
        return _timed(lambda sentences, seed: generate(model, sentences, decoding), vocabulary, pairs, megabytes(model))
    with TemporaryDirectory(prefix="distiller-efficiency-") as temporary:
        folder = convert(model, vocabulary, Path(temporary) / "model", compute=decoding.compute)
        size = sum(file.stat().st_size for file in folder.glob("model.bin")) / 1e6
        with loaded(folder, vocabulary, decoding) as run:
            return _timed(run, vocabulary, pairs, size)


def _timed(run: Engine, vocabulary: SharedVocabulary, pairs: Pairs, size: float) -> tuple[float, float, float]:
    sentences = vocabulary.encode(pairs.source)
    run(sentences[:WARM_UP], 0)
    started = time.perf_counter()
    found = run(sentences, 0)
    seconds = time.perf_counter() - started
    said = vocabulary.decode([hypotheses[0].tokens for hypotheses in found])
    return score(said, pairs.translations).values["bleu"], size, len(pairs) / seconds
