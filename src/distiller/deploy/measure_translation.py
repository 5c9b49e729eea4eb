"""One translation model measured in its own process: its time, its memory and its translations, as tokens.

Imports torch only to run torch. Started by `distiller.deploy.measure`.
"""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from distiller import memory
from distiller.config.translation import Decoding, Languages
from distiller.translation.converted import Bounds, Engine, loaded
from distiller.translation.timing import timed


def measure_translation(job: dict[str, Any]) -> dict[str, Any]:
    """Times and memory of the model that `job` names on sentences of token ids, and its translations, `said`.

    `job`: `engine`, `folder`, `decoding`, `bounds`, `languages`, `threads`, `sentences`, `singles` (rows), `repeats`.
    """
    sentences = job["sentences"]
    started = time.perf_counter()
    with _opened(job) as run:
        loading = time.perf_counter() - started
        found = timed(run, sentences, job["singles"], repeats=job["repeats"])
    length = round(sum(map(len, sentences)) / len(sentences))
    rate = {"batch": len(sentences), "length": length, "texts_per_second": found.sentences_per_second}
    return {
        "milliseconds_p50": found.latency_p50,
        "milliseconds_p95": found.latency_p95,
        "timed": found.singles,
        "throughput": [rate],
        "seconds_to_load": loading,
        "peak_megabytes": memory.peak() / 1e6,
        "said": found.said,
    }


def _opened(job: dict[str, Any]) -> AbstractContextManager[Engine]:
    decoding = Decoding.model_validate(job["decoding"])
    if job["engine"] == "ctranslate2":
        return loaded(Path(job["folder"]), Bounds(**job["bounds"]), decoding, threads=job["threads"])
    import torch

    from distiller.translation.engines import generating
    from distiller.translation.students import load_translator

    torch.set_num_threads(job["threads"])
    model, tokenizer = load_translator(job["folder"], Languages.model_validate(job["languages"]))
    return nullcontext(generating(model, tokenizer, decoding))
