"""One translation model measured in a process of its own: its time, its memory and what it says, as tokens.

Imports torch only to run torch. `distiller.deploy.measure` starts it.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from distiller.config.translation import Decoding, Languages
from distiller.deploy.measure import WARM_UP, peak_megabytes
from distiller.translation.converted import Bounds, Engine, loaded


def measure_translation(job: dict[str, Any]) -> dict[str, Any]:
    """Times and memory of the model that `job` names on sentences of token ids, and its translations.

    `job`: `engine`, `folder`, `decoding`, `bounds`, `languages`, `threads`, `sentences`, `singles` (rows), `repeats`.
    """
    sentences, singles = job["sentences"], job["singles"]
    started = time.perf_counter()
    with _opened(job) as run:
        loading = time.perf_counter() - started
        run([sentences[row] for row in singles[:WARM_UP]], 0)
        milliseconds = []
        for row in singles * job["repeats"]:
            seconds, _ = _timed(lambda row=row: run([sentences[row]], 0))
            milliseconds.append(1000 * seconds)
        seconds, said = _timed(lambda: run(sentences, 0))
    tokens = sum(map(len, sentences)) / len(sentences)
    return {
        "milliseconds_p50": float(np.percentile(milliseconds, 50)),
        "milliseconds_p95": float(np.percentile(milliseconds, 95)),
        "singles": len(milliseconds),
        "throughput": [
            {"batch": len(sentences), "length": round(tokens), "texts_per_second": len(sentences) / seconds}
        ],
        "seconds_to_load": loading,
        "peak_megabytes": peak_megabytes(),
        "said": [hypotheses[0].tokens for hypotheses in said],
    }


def _opened(job: dict[str, Any]) -> AbstractContextManager[Engine]:
    decoding = Decoding.model_validate(job["decoding"])
    if job["engine"] == "ctranslate2":
        return loaded(Path(job["folder"]), Bounds(**job["bounds"]), decoding, threads=job["threads"])
    import torch

    from distiller.translation.engines import generate
    from distiller.translation.students import load_translator

    torch.set_num_threads(job["threads"])
    model, tokenizer = load_translator(job["folder"], otherwise=Languages.model_validate(job["languages"]))
    return nullcontext(lambda sentences, seed: generate(model, tokenizer, sentences, decoding, seed=seed))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found
