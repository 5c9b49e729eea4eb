"""Runs exported forms: each turns padded token arrays into logits. No torch here, so that only the form is measured."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distiller.errors import OutputError, importing

Arrays = Mapping[str, np.ndarray]
Runtime = Callable[[Arrays], np.ndarray]
"""int64 arrays `[b, l]` by name (`input_ids`, `attention_mask`, …) → float32 logits `[b, c]`, `[b, l, c]` for tagging,
`[b, l, 2]` for question answering."""


def onnx_runtime(folder: Path, *, threads: int | None = None) -> Runtime:
    """ONNX Runtime on the processor, with `threads` threads (`None`: all)."""
    with importing("this form needs", extra="onnx"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            os.fspath(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no common base class but Exception
        raise _damaged(folder, error) from None
    names = [one.name for one in session.get_inputs()]

    def run(arrays: Arrays) -> np.ndarray:
        return side_by_side(session.run(None, {name: arrays[name] for name in names}))

    return run


def openvino_runtime(folder: Path, *, threads: int | None = None) -> Runtime:
    """OpenVINO on the processor, with `threads` threads (`None`: all), computing in float32 what is not int8."""
    with importing("this form needs", extra="openvino"):
        import openvino
    settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(os.fspath(folder / "model.xml"), "CPU", settings)
    except RuntimeError as error:
        raise _damaged(folder, error) from None
    names = [one.any_name for one in compiled.inputs]

    def run(arrays: Arrays) -> np.ndarray:
        found = compiled({name: arrays[name] for name in names})
        return side_by_side([found[output] for output in compiled.outputs])

    return run


def side_by_side(outputs: Sequence[Any]) -> np.ndarray:
    """The single output of a model, or start and end scores of question answering as `[b, l, 2]`."""
    return np.array(outputs[0]) if len(outputs) == 1 else np.stack(outputs, axis=-1)


def _damaged(folder: Path, error: Exception) -> OutputError:
    first = (str(error).strip() or type(error).__name__).partition("\n")[0]
    return OutputError(f"the model in `{folder}` cannot be loaded: {first:.200}", hint="export it again: --overwrite")
