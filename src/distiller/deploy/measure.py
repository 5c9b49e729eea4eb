"""One model measured in its own process: its time, its memory and its logits. Imports torch only to run torch.

`bench` starts it as `python -m distiller.deploy.measure JOB RESULT`; both are files.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distiller import memory
from distiller.deploy.runtimes import Arrays, Runtime, onnx_runtime, openvino_runtime
from distiller.files import write_json

SINGLES = 50
"""Development texts whose single latency is taken."""
WARM_UP = 3
WEIGHTS = (".safetensors", ".onnx", ".data", ".bin", ".xml")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Times and memory of the model that `job` names on its arrays of tokens, under the names of `Measured`.

    `job`: `engine`, `folder`, `kind`, `labels`, `threads`, `inputs`, `repeats`, the files of arrays `singles`,
    `throughput` and `scored`, and the file `logits` to write. Times are those of a forward pass over token ids: every
    form reads the same ones.
    """
    started = time.perf_counter()
    run = _load(job)
    loading = time.perf_counter() - started
    singles, throughput, scored = (read_arrays(Path(job[name])) for name in ("singles", "throughput", "scored"))
    for arrays in singles[:WARM_UP]:
        run(arrays)
    milliseconds = [1000 * _timed(run, arrays) for _ in range(job["repeats"]) for arrays in singles]
    rates = []
    for arrays in throughput:
        batch, length = arrays["input_ids"].shape
        run(arrays)
        seconds = statistics.median(_timed(run, arrays) for _ in range(3))
        rates.append({"batch": batch, "length": length, "texts_per_second": batch / seconds})
    write_arrays(Path(job["logits"]), [{"logits": run(arrays)} for arrays in scored])
    return {
        "milliseconds_p50": float(np.percentile(milliseconds, 50)),
        "milliseconds_p95": float(np.percentile(milliseconds, 95)),
        "timed": len(milliseconds),
        "throughput": rates,
        "seconds_to_load": loading,
        "peak_megabytes": memory.peak() / 1e6,
    }


def weights_megabytes(folder: Path) -> float:
    """10^6 bytes of weights in the folder of a model or an export; only safetensors, if there are other formats too."""
    files = [file for file in folder.iterdir() if file.suffix in WEIGHTS]
    loaded = [file for file in files if file.suffix == ".safetensors"] or files
    return sum(file.stat().st_size for file in loaded) / 1e6


def write_arrays(path: Path, batches: Sequence[Arrays]) -> Path:
    """Write batches of arrays to one file."""
    stored: dict[str, Any] = {}
    for number, arrays in enumerate(batches):
        stored |= {f"{number}/{name}": array for name, array in arrays.items()}
    np.savez(path, **stored)
    return path


def read_arrays(path: Path) -> list[dict[str, np.ndarray]]:
    """What `write_arrays` wrote."""
    found: dict[int, dict[str, np.ndarray]] = {}
    with np.load(path) as stored:
        for key in stored.files:
            number, _, name = key.partition("/")
            found.setdefault(int(number), {})[name] = stored[key]
    return [found[number] for number in sorted(found)]


def _timed(run: Runtime, arrays: Arrays) -> float:
    start = time.perf_counter()
    run(arrays)
    return time.perf_counter() - start


def _load(job: dict[str, Any]) -> Runtime:
    folder, threads = Path(job["folder"]), job["threads"]
    match job["engine"]:
        case "onnxruntime":
            return onnx_runtime(folder, threads=threads)
        case "openvino":
            return openvino_runtime(folder, threads=threads)
        case _:
            import torch

            from distiller.deploy.forms import torch_runtime
            from distiller.models.load import load_model

            torch.set_num_threads(threads)
            model = load_model(folder, kind=job["kind"], labels=job["labels"])
            return torch_runtime(model.eval(), job["inputs"])


def main() -> None:
    """Read a job, write its result."""
    job, result = map(Path, sys.argv[1:3])
    wanted = json.loads(job.read_text(encoding="utf-8"))
    if wanted["kind"] == "translation":
        from distiller.deploy.measure_translation import measure_translation

        found = measure_translation(wanted)
    else:
        found = measure(wanted)
    write_json(result, found)


if __name__ == "__main__":
    main()
