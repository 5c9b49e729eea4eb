"""The forms a finished model can take: each function writes one to a folder, each row knows what runs it."""

import inspect
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distiller.deploy.finished import Finished
from distiller.deploy.graph import Outputs, quantise, quantise_static, quiet, write_graph
from distiller.deploy.runtimes import Arrays, Runtime, onnx_runtime, openvino_runtime, side_by_side
from distiller.errors import ConfigError, importing
from distiller.files import SUMS, write_json
from distiller.models.load import load_model
from distiller.registry import Count, Entry, Family
from distiller.tasks.data import sample
from distiller.tasks.encode import EncodedSplit

Writer = Callable[..., dict[str, Any]]
"""(finished model, folder) → facts about the form; the folder then holds it."""

TRANSLATION = ("translation",)
ENCODERS = ("classification", "multilabel", "regression", "tagging", "qa")
CALIBRATION_BATCH = 8
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")
"""How the files of a model folder end that hold its weights."""


def folder(source: Finished, target: Path) -> dict[str, Any]:
    """A `transformers` folder with the weights as safetensors."""
    for file in sorted(source.folder.iterdir()):
        if file.is_file() and file.name != SUMS:  # `export.json` has its own checksums
            shutil.copy2(file, target / file.name)
    config = target / "config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    if fields.get("pad_token_id") != source.model.config.pad_token_id:  # a causal model, whose config allows no padding
        write_json(config, fields | {"pad_token_id": source.model.config.pad_token_id})
    return {}


def folder_fp16(source: Finished, target: Path) -> dict[str, Any]:
    """A `transformers` folder with the weights in half precision, half the size. It still computes in float32."""
    for file in sorted(source.folder.iterdir()):
        if file.is_file() and file.name != SUMS and not file.name.endswith(WEIGHTS):
            shutil.copy2(file, target / file.name)
    half = {}
    for name, value in source.model.state_dict().items():
        half[name] = value.half() if value.is_floating_point() else value
    source.model.save_pretrained(target, state_dict=half)
    return {}


def onnx(source: Finished, target: Path, *, opset: Count | None = None) -> dict[str, Any]:
    """An ONNX graph in float32, for ONNX Runtime and any other program that reads ONNX."""
    return {"opset": write_graph(source.model, example(source), target / "model.onnx", opset=opset)}


def onnx_int8(
    source: Finished, target: Path, *, opset: Count | None = None, calibration: Count | None = None
) -> dict[str, Any]:
    """An ONNX graph with 8-bit weights, a quarter of the size.

    Activations are scaled at run time or, with `calibration`, by their ranges on that many training texts.
    """
    ranges = None if calibration is None else list(calibration_batches(source, calibration))
    plain = target / "float32.onnx"
    written = write_graph(source.model, example(source), plain, opset=opset)
    if ranges is None:
        quantise(plain, target / "model.onnx")
    else:
        quantise_static(plain, target / "model.onnx", ranges)
    for file in target.glob("float32.onnx*"):
        file.unlink()
    return {"opset": written, "calibration": calibration}


def openvino_int8(source: Finished, target: Path, *, calibration: Count = 300) -> dict[str, Any]:
    """OpenVINO's own format with 8-bit weights and activations.

    The ranges of activations are those on `calibration` training texts (NNCF's scheme for transformers).
    """
    with importing("this form needs", extra="openvino"):
        import nncf
        import openvino
    ranges = list(calibration_batches(source, calibration))
    plain = target / "float32.onnx"
    written = write_graph(source.model, example(source), plain)
    nncf.set_log_level(40)  # no warnings about its own choices: their cost is measured afterwards
    with quiet():
        smaller = nncf.quantize(
            openvino.Core().read_model(plain),
            nncf.Dataset(ranges),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(ranges),
        )
    openvino.save_model(smaller, target / "model.xml", compress_to_fp16=False)
    for file in target.glob("float32.onnx*"):
        file.unlink()
    return {"opset": written, "calibration": calibration}


def ctranslate2_int8(source: Finished, target: Path, *, shortlist: Count | None = None) -> dict[str, Any]:
    """CTranslate2's own format with 8-bit weights, for translation models: three to six times as fast as `generate`.

    With `shortlist`, a translation may use only that many pieces for each piece of its sentence, besides the most
    frequent.
    """
    from distiller.deploy.translators import FinishedTranslator, write_translator

    with importing("this form needs", extra="translation"):
        import ctranslate2  # noqa: F401
    assert isinstance(source, FinishedTranslator)
    return write_translator(source, target, shortlist=shortlist)


def torch_runtime(model: Any, names: Iterable[str]) -> Runtime:
    """A loaded model as a function of arrays."""
    outputs = Outputs(model, names)

    def run(arrays: Arrays) -> np.ndarray:
        with torch.inference_mode():
            found = outputs(*(torch.from_numpy(arrays[name]) for name in outputs.names))
        return side_by_side([one.numpy() for one in ((found,) if isinstance(found, Tensor) else found)])

    return run


FORMS: Family[Writer] = Family(
    "export form",
    {
        "folder": Entry(
            folder, "transformers", {"kinds": ENCODERS + TRANSLATION, "lossy": False, "engine": "transformers"}
        ),
        "folder-fp16": Entry(folder_fp16, "transformers", {"kinds": ENCODERS, "lossy": True, "engine": "transformers"}),
        "onnx": Entry(onnx, "torch.onnx", {"kinds": ENCODERS, "lossy": False, "engine": "onnxruntime"}),
        "onnx-int8": Entry(onnx_int8, "onnxruntime", {"kinds": ENCODERS, "lossy": True, "engine": "onnxruntime"}),
        "openvino-int8": Entry(openvino_int8, "NNCF", {"kinds": ENCODERS, "lossy": True, "engine": "openvino"}),
        "ctranslate2-int8": Entry(
            ctranslate2_int8, "CTranslate2", {"kinds": TRANSLATION, "lossy": True, "engine": "ctranslate2"}
        ),
    },
)
"""`kinds` of task that have the form; `lossy` where it is not meant to be equal; `engine` is what runs it."""


def engine_runtime(engine: str, place: Path, *, source: Finished) -> Runtime:
    """The model in the folder `place` as `engine` runs it. Raises `OutputError` where it cannot be loaded."""
    match engine:
        case "onnxruntime":
            return onnx_runtime(place)
        case "openvino":
            return openvino_runtime(place)
        case _:
            return torch_runtime(load_model(place, kind=source.kind, labels=source.labels).eval(), input_names(source))


def input_names(source: Finished) -> list[str]:
    """The names of the inputs that the model reads from a batch."""
    return list(example(source))


def input_arrays(source: Finished, encoded: EncodedSplit, rows: Iterable[int]) -> dict[str, np.ndarray]:
    """Rows of `encoded` as a batch of the inputs that the model reads."""
    batch = source.collate([encoded[row] for row in rows])
    return {name: batch[name].numpy() for name in input_names(source)}


def example(source: Finished) -> dict[str, Tensor]:
    """Two made-up inputs of different lengths as a batch for the model: the second one is padded."""
    words = ["one two three four five six", "one"]
    found = source.tokenizer(words, words if source.pairs else None, padding=True, return_tensors="pt")
    accepted = inspect.signature(source.model.forward).parameters
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: found[name] for name in names if name in found and name in accepted}


def calibration_batches(source: Finished, texts: int) -> Iterator[dict[str, np.ndarray]]:
    """The given number of training texts in small batches of similar length. Raises `ConfigError` without any."""
    train = source.tokens("train")
    if train is None:
        raise ConfigError(
            "static 8-bit ranges come from the run's training texts, which are not there",
            hint="name a run whose data are here with --run, or use --to onnx-int8 without --calibration",
        )
    chosen = sample(len(train[1]), texts, seed=0)
    names = input_names(source)
    for _, arrays in batches(source, train[1], chosen, sizes=(CALIBRATION_BATCH,)):
        yield {name: arrays[name] for name in names}


def batches(
    source: Finished, encoded: EncodedSplit, rows: Iterable[int], *, sizes: tuple[int, ...]
) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """`rows` of a split, shortest first, in batches of `sizes` in turn: (rows, int64 arrays by name)."""
    ordered = sorted(rows, key=lambda row: encoded.lengths[row])
    start = turn = 0
    while start < len(ordered):
        size = sizes[turn % len(sizes)]
        chosen = ordered[start : start + size]
        batch = source.collate([encoded[row] for row in chosen])
        yield chosen, {name: value.numpy() for name, value in batch.items() if isinstance(value, Tensor)}
        start, turn = start + size, turn + 1


def in_order(rows: int, chosen: Sequence[Sequence[int]], logits: Sequence[np.ndarray]) -> np.ndarray:
    """The outputs for batches of the `chosen` rows in the split's order, zero past the end of a shorter row."""
    width = max(one.shape[1] for one in logits)
    whole = np.zeros((rows, width, *logits[0].shape[2:]), dtype=np.float32)
    for some, values in zip(chosen, logits, strict=True):
        whole[some, : values.shape[1]] = values
    return whole
