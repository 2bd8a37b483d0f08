"""Graphs of our own writer, judged by the package onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from whisper_reference import SPECS

from asr_batch.models.onnx import writer
from asr_batch.models.onnx.shapes import static_shapes
from asr_batch.models.whisper.compile.bundle import compile_bundle
from asr_batch.models.whisper.compile.graph import DataFile, Graph

onnx = pytest.importorskip("onnx")


def small(folder: Path) -> Path:
    graph, data = Graph("small"), DataFile(folder / "small.weights")
    x = graph.input("x", "FLOAT", ["rows", 3])
    large = np.arange(3 * 200, dtype=np.float32).reshape(3, 200)
    y = graph.op("MatMul", x, graph.weight(large))
    y = graph.op("LayerNormalization", y, graph.weight(np.ones(200, np.float32)), axis=-1, epsilon=1e-5)
    y = graph.op("Gelu", graph.op("Transpose", y, perm=[1, 0]))
    graph.output("y", "FLOAT", [200, "rows"], graph.op("Cast", y, to=1))
    graph.save(folder / "small.onnx", data)
    data.close()
    return folder / "small.onnx"


def test_the_package_reads_what_was_written(tmp_path: Path) -> None:
    model = onnx.load(small(tmp_path))
    nodes = {node.op_type: node for node in model.graph.node}
    assert {a.name: onnx.helper.get_attribute_value(a) for a in nodes["LayerNormalization"].attribute} == {
        "axis": -1,
        "epsilon": pytest.approx(1e-5),
    }
    assert onnx.helper.get_attribute_value(nodes["Transpose"].attribute[0]) == [1, 0]
    assert nodes["Gelu"].domain == "com.microsoft"
    weights = {w.name: onnx.numpy_helper.to_array(w, str(tmp_path)) for w in model.graph.initializer}
    assert [w.shape for w in weights.values()] == [(3, 200), (200,)]
    assert weights["w0"].ravel()[-1] == 599
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("rows", 3)
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 17), ("com.microsoft", 1)}
    onnx.checker.check_model(str(tmp_path / "small.onnx"))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_every_graph_of_a_bundle_passes_the_checker(tmp_path: Path, precision: str) -> None:
    import tiny_ct2

    tiny_ct2.write(tmp_path / "ct2", SPECS[3])
    compile_bundle(tmp_path / "ct2", tmp_path / "out", window=10.0, precision=precision)
    graphs = sorted((tmp_path / "out").glob("*.onnx"))
    assert len(graphs) >= 5
    for path in graphs:
        onnx.checker.check_model(str(path))


def test_attributes_of_every_kind() -> None:
    for value in (3, -1, 0.5, "linear", [1, -2]):
        found = onnx.AttributeProto.FromString(writer.make_attribute("a", value))
        got = onnx.helper.get_attribute_value(found)
        assert (got.decode() if isinstance(got, bytes) else got) == value


def test_shapes_of_inner_values() -> None:
    graph = writer.GraphParts(
        nodes=[writer.Node("Relu", ("x",), ("y",)), writer.Node("Transpose", ("y",), ("z",))],
        inputs=[writer.make_value("x", writer.FLOAT_TYPE, [2, 3])],
        outputs=[writer.make_value("z", writer.FLOAT_TYPE, [3, 2])],
        opsets=[writer.make_opset("", 17)],
    )
    found = [onnx.ValueInfoProto.FromString(raw) for raw in static_shapes(graph)]
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in found}
    assert sizes == {"y": [2, 3], "z": [3, 2]}
