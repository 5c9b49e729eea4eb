"""What it costs to use a translation model: size, speed and latency in every engine, with BLEU and chrF."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn
from transformers import PreTrainedModel

from distiller.config.translation import Decoding
from distiller.errors import ModelError
from distiller.models.cost import megabytes, parameter_count
from distiller.record import EfficiencyRow
from distiller.translation.converted import Engine
from distiller.translation.engines import bounds_of, choose_engine, convert, converted, generating
from distiller.translation.pairs import Pairs
from distiller.translation.scores import METRIC, RISING, score
from distiller.translation.shortlist import Shortlist
from distiller.translation.timing import timed
from distiller.translation.tokenizer import TranslationTokenizer

SINGLE = 100
"""Sentences that are timed one by one."""
Translator = tuple[PreTrainedModel, TranslationTokenizer]


def efficiency(
    models: Mapping[str, Translator],
    pairs: Pairs,
    decoding: Decoding,
    shortlists: Mapping[str, Shortlist] | None = None,
) -> list[EfficiencyRow]:
    """Measure each of `models` in every engine, translating `pairs` on this machine's processor.

    The engines are `transformers` in float32 and, if `decoding` asks for it or it is installed, and it knows the
    architecture, CTranslate2 in float32, in int8, and in int8 with the model's shortlist if it has one. `transformers`,
    the slowest, translates only the first hundred `pairs`, and has no scores if there are more. The others are compared
    with the first model, the teacher.
    """
    first = parameter_count(next(iter(models.values()))[0])
    rows = []
    for name, (model, tokenizer) in models.items():
        count = parameter_count(model)
        for wish, shortlist in _forms(decoding, (shortlists or {}).get(name)):
            try:
                measured = _measure(model, tokenizer, pairs, wish, shortlist)
            except ModelError:  # an architecture that CTranslate2 does not know
                continue
            rows.append(
                EfficiencyRow(
                    model=name,
                    engine=wish.engine,
                    compute=wish.compute,
                    shortlist=shortlist is not None,
                    parameters=count,
                    compression=first / count,
                    **measured,
                )
            )
    return rows


def _forms(decoding: Decoding, shortlist: Shortlist | None) -> Iterator[tuple[Decoding, Shortlist | None]]:
    """The ways in which a model is run: decoding settings, and a shortlist or none."""
    if choose_engine(decoding.engine) == "ctranslate2":
        for compute in ("float32", "int8"):
            yield decoding.model_copy(update={"engine": "ctranslate2", "compute": compute}), None
        if shortlist is not None:
            yield decoding.model_copy(update={"engine": "ctranslate2", "compute": "int8"}), shortlist
    yield decoding.model_copy(update={"engine": "transformers", "compute": "float32"}), None


def _measure(
    model: PreTrainedModel,
    tokenizer: TranslationTokenizer,
    pairs: Pairs,
    decoding: Decoding,
    shortlist: Shortlist | None,
) -> dict[str, float]:
    """The fields of a row that are measured: scores, size and times."""
    if decoding.engine == "transformers":
        few = pairs.take(range(min(len(pairs), SINGLE)))
        nn.Module.to(model, "cpu")  # a training may have left it on a GPU
        found = _timed(generating(model, tokenizer, decoding), tokenizer, few, megabytes(model))
        if len(few) < len(pairs):
            del found[METRIC], found[RISING]
        return found
    with TemporaryDirectory(prefix="distiller-efficiency-") as temporary:
        folder = convert(model, tokenizer, Path(temporary) / "model", compute=decoding.compute, shortlist=shortlist)
        bounds = bounds_of(model, tokenizer, decoding)
        size = (folder / "model.bin").stat().st_size / 1e6
        with converted(folder, bounds, decoding) as run:
            return _timed(run, tokenizer, pairs, size)


def _timed(run: Engine, tokenizer: TranslationTokenizer, pairs: Pairs, size: float) -> dict[str, float]:
    """Scores and times of an engine on `pairs`; `size` is the size of its model in 10^6 bytes."""
    found = timed(run, tokenizer.encode(pairs.source), range(min(len(pairs), SINGLE)))
    return {
        **score(tokenizer.decode(found.said), pairs.translations).values,
        "megabytes": size,
        "sentences_per_second": found.sentences_per_second,
        "latency_p50": found.latency_p50,
        "latency_p95": found.latency_p95,
    }
