"""A model as an ONNX graph with free batch size and length, and the same graph with 8-bit weights."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distiller.errors import RunError, importing
from distiller.models.heads import names_head

LARGEST_FILE = 1_900_000_000
"""Bytes of weights above which they lie in a file beside the graph: protobuf ends at 2 GiB."""
NEEDS = "an ONNX graph needs"


class Outputs(nn.Module):
    """A model as a plain function from tensors, in the order of `names`, to its logits (or start and end logits)."""

    def __init__(self, model: PreTrainedModel, names: Iterable[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; for question answering start and end logits."""
        given = dict(zip(self.names, inputs, strict=True))
        if self.model.config.model_type == "xlnet":  # computes 1.0 minus its mask, which no graph can do with integers
            given["attention_mask"] = given["attention_mask"].float()
        found: Any = self.model(**given)
        return (found.start_logits, found.end_logits) if "start_logits" in found else found.logits


def write_graph(model: PreTrainedModel, example: Mapping[str, Tensor], path: Path, *, opset: int | None = None) -> int:
    """Write `model` to `path` as an ONNX graph whose inputs are those of `example`; returns its opset.

    `example` is a batch of at least two texts of at least two tokens, one of them padded; the graph fixes neither
    number. Raises `MissingPackageError`, and `RunError` where torch's exporter cannot trace the model.
    """
    with importing(NEEDS, extra="onnx"), quiet():
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    names = list(example)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    outputs = ["start_logits", "end_logits"] if names_head(type(model).__name__, "qa") else ["logits"]
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                Outputs(model, names).eval(),
                tuple(example.values()),
                dynamo=True,
                dynamic_shapes=(tuple(free for _ in names),),
                input_names=names,
                output_names=outputs,
                opset_version=opset,
                verbose=False,
            )
    except Exception as error:  # torch raises whatever the model's own code raises under tracing
        raise RunError(
            f"torch cannot write a `{model.config.model_type}` model as an ONNX graph: {_reason(error)}",
            hint="--to folder keeps it a transformers model",
        ) from error
    assert program is not None
    program.save(path, external_data=4 * sum(one.numel() for one in model.parameters()) > LARGEST_FILE)
    return program.model.opset_imports[""]


def quantise(source: Path, target: Path) -> None:
    """Quantise weights to 8 bits, with a scale for each output channel and for each row of an embedding table.

    Activations are scaled at run time. Weights use 7 of the 8 bits: processors without VNNI add two products in 16
    bits, which would overflow with more.
    """
    with importing(NEEDS, extra="onnx"):
        from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = _to_quantise(source)
    with quiet():
        quantize_dynamic(
            graph,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            use_external_data_format=graph.ByteSize() > LARGEST_FILE,
        )


def quantise_static(source: Path, target: Path, batches: Iterable[Mapping[str, np.ndarray]]) -> None:
    """8-bit weights as `quantise` writes them, and 8-bit activations whose ranges are those on `batches`."""
    with importing(NEEDS, extra="onnx"):
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> Any:
            return next(self.left, None)

    with quiet():
        quantize_static(
            _to_quantise(source),
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            # a product's output stays float32 until the next one reads it: half the error, at the same speed
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            per_channel=True,
            reduce_range=True,
        )


def _to_quantise(source: Path) -> Any:
    """The graph in `source` with its embeddings in 8 bits, ready for the rest."""
    import onnx

    graph = onnx.load(source)
    # the exporter's notes on shapes contradict those that quantisation infers for the split operations
    del graph.graph.value_info[:]
    quantise_embeddings(graph)
    return graph


def quantise_embeddings(graph: Any) -> None:
    """Store the tables of an `onnx.ModelProto` from which ids select rows in 8 bits, with a scale for each row.

    A table with a single scale, as ONNX Runtime's quantiser makes it, is as coarse as its largest number; a scale for
    each row costs 4 bytes and makes the error of a MiniLM's embeddings five times smaller.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, tables = graph.graph.node, {one.name: one for one in graph.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for name, table in tables.items():
        found = readers.get(name, [])
        if len(table.dims) != 2 or table.data_type != TensorProto.FLOAT:
            continue
        if not found or not all(_chooses_rows(node) for node in found):
            continue
        weights = numpy_helper.to_array(table)
        largest = np.abs(weights).max(1, keepdims=True)
        scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        bits, scale = f"{name}_int8", f"{name}_scale"
        graph.graph.initializer.remove(table)
        graph.graph.initializer.append(numpy_helper.from_array(np.round(weights / scales).astype(np.int8), bits))
        graph.graph.initializer.append(numpy_helper.from_array(scales, scale))
        for node in found:
            ids, rows = node.input[1], node.output[0]
            place = list(nodes).index(node)
            nodes.remove(node)
            for step in (
                helper.make_node("Mul", [f"{rows}_float", f"{rows}_scale"], [rows]),
                helper.make_node("Gather", [scale, ids], [f"{rows}_scale"]),
                helper.make_node("Cast", [f"{rows}_int8"], [f"{rows}_float"], to=TensorProto.FLOAT),
                helper.make_node("Gather", [bits, ids], [f"{rows}_int8"]),
            ):
                nodes.insert(place, step)


def _chooses_rows(node: Any) -> bool:
    return node.op_type == "Gather" and all(one.i == 0 for one in node.attribute if one.name == "axis")


def _reason(error: BaseException) -> str:
    """The first lines of the innermost cause that say what happened, up to one that does not end in a colon."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ends = next((number for number, line in enumerate(lines, start=1) if not line.endswith(":")), len(lines))
    return (" ".join(lines[:ends]) or type(error).__name__)[:300]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences exporter and quantiser, which write to stdout, stderr and the root logger; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
