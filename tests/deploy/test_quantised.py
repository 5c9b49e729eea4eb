"""Eight bits and half precision: what becomes of embeddings, of ranges, of sizes; every kind says what it loses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from cli.conftest import Command
from deploy.conftest import Models
from distiller.deploy.graph import quantise_embeddings

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def lookup(table: np.ndarray, *, axis: int = 0, tied: bool = False) -> Any:
    """A graph that chooses rows (or columns) of a table, and perhaps multiplies with the same table."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"], axis=axis)]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, None)]
    if tied:
        nodes.append(helper.make_node("MatMul", ["table", "table"], ["product"]))
        outputs.append(helper.make_tensor_value_info("product", TensorProto.FLOAT, None))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [None, None])]
    graph = helper.make_graph(nodes, "lookup", inputs, outputs, [numpy_helper.from_array(table, "table")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: Any, ids: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["rows"], {"ids": ids})[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_row_of_an_embedding_is_as_exact_as_its_own_largest_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = (rng.normal(size=(40, 8)) * 10.0 ** rng.integers(-3, 3, (40, 1))).astype(np.float32)
    table[7] = 0
    model = lookup(table)
    quantise_embeddings(model)
    sizes = {one.name: onnx.numpy_helper.to_array(one).dtype for one in model.graph.initializer}
    assert set(map(str, sizes.values())) == {"int8", "float32"}
    ids = rng.integers(0, 40, (3, 5))
    ids[0, 0] = 7
    largest = np.abs(table[ids]).max(-1, keepdims=True)
    assert (np.abs(run(model, ids) - table[ids]) <= largest / 254 * 1.001).all()


@pytest.mark.parametrize("other", [{"axis": 1}, {"tied": True}])
def test_a_table_that_is_read_otherwise_stays(other: dict[str, Any]) -> None:
    table = np.eye(4, dtype=np.float32)
    model = lookup(table, **other)
    before = model.SerializeToString()
    quantise_embeddings(model)
    assert model.SerializeToString() == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_ranges_fixed_on_training_texts_do_not_depend_on_the_batch(
    models: Models, kind: str, distiller: Command, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    answer = distiller(
        "export", models.model(kind), "--run", models.run(kind), "--to", "onnx-int8", "--calibration", 40,
        "--max-loss", 1, "-o", tmp_path / "it", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)[0]
    assert found["calibration"] == 40
    assert found["parity"]["largest_difference"] > 0
    assert found["parity"]["equal_predictions"] > 0.8
    assert found["parity"]["metric"]
    graph = onnx.load(tmp_path / "it" / "model.onnx").graph
    operations = {node.op_type for node in graph.node}
    assert "QuantizeLinear" in operations
    assert "DynamicQuantizeLinear" not in operations
    tables = [one for one in graph.initializer if one.name.endswith("embeddings.weight_int8")]
    assert len(tables) == 3  # words, positions, segments
    session = onnxruntime.InferenceSession(tmp_path / "it" / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([[2, 7, 8, 3], [2, 9, 6, 3]])
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    together = session.run(None, arrays)[0]
    alone = session.run(None, {name: array[:1] for name, array in arrays.items()})[0]
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "qa"])
def test_a_folder_in_half_precision_is_half_the_size_and_answers_the_same(
    models: Models, kind: str, distiller: Command, tmp_path: Path
) -> None:
    answer = distiller(
        "export", models.model(kind), "--run", models.run(kind), "--to", "folder-fp16", "-o", tmp_path / "it", "--json"
    )
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)[0]
    assert 0 < found["parity"]["largest_difference"] < 0.1
    assert found["parity"]["equal_predictions"] > 0.95
    assert found["script_agrees"] == 1
    kept = load_file(tmp_path / "it" / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {np.dtype(np.float16)}
    modes = {file.stat().st_mode for file in (tmp_path / "it").iterdir()}
    assert len(modes) == 1  # whoever may read the program may read the weights
    from transformers import AutoModel

    assert next(AutoModel.from_pretrained(tmp_path / "it").parameters()).dtype.itemsize == 4  # it computes in float32
