"""The reader of ONNX files against the onnx package, and against files that lie."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.kernels.library import named_weights
from asr_batch.models.onnx.facts import read_graph
from asr_batch.models.onnx.safety import check_graph, inside

QWEN = Path(__file__).resolve().parents[1] / "data" / "qwen3_asr_tiny"


def count(graph, onnx, operators: Counter[str]) -> int:
    """Parameters of the initializers, operators counted, through subgraphs: by the onnx package."""
    total = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    for node in graph.node:
        operators[node.op_type] += 1
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                total += count(attribute.g, onnx, operators)
    return total


def shape_of(value) -> tuple:
    return tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)


def if_model(onnx, **tensor: object):
    """A graph with an If whose branches hold two and one operators and weights of their own."""
    from onnx import TensorProto, helper

    def branch(name: str, operators: list[str]):
        weight = helper.make_tensor(f"{name}_w", TensorProto.FLOAT, [2, 3], [0.5] * 6)
        nodes, last = [], f"{name}_w"
        for i, operator in enumerate(operators):
            nodes.append(helper.make_node(operator, [last], [f"{name}_{i}"]))
            last = f"{name}_{i}"
        out = helper.make_tensor_value_info(last, TensorProto.FLOAT, [2, 3])
        return helper.make_graph(nodes, name, [], [out], [weight])

    node = helper.make_node(
        "If", ["flag"], ["out"], then_branch=branch("a", ["Abs", "Neg"]), else_branch=branch("b", ["Abs"])
    )
    graph = helper.make_graph(
        [node],
        "whole",
        [helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("unused", TensorProto.INT64, [4], [1, 2, 3, 4])],
    )
    return helper.make_model(graph, producer_name="test", opset_imports=[helper.make_opsetid("", 17)])


def test_operators_are_counted_through_subgraphs(tmp_path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.save(if_model(onnx), tmp_path / "m.onnx")
    graph = read_graph(tmp_path / "m.onnx")
    assert graph.operators == {"If": 1, "Abs": 2, "Neg": 1}
    assert graph.top == {"If": 1}
    assert (graph.parameters, graph.depth, len(graph.weights)) == (16, 1, 3)
    assert [(v.name, v.type, v.shape) for v in graph.inputs] == [("flag", "bool", ())]
    assert graph.outputs[0].shape == ("n", 3)
    assert (graph.producer, graph.opsets) == ("test", {"ai.onnx": 17})


@pytest.mark.parametrize("path", sorted(QWEN.glob("*.onnx")), ids=lambda path: path.name)
def test_equal_to_the_onnx_package(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(path), load_external_data=False)
    operators: Counter[str] = Counter()
    parameters = count(model.graph, onnx, operators)
    graph = check_graph(path)
    assert graph.operators == operators
    assert graph.parameters == parameters
    assert [(v.name, v.shape) for v in graph.inputs] == [(v.name, shape_of(v)) for v in model.graph.input]
    assert [(v.name, v.shape) for v in graph.outputs] == [(v.name, shape_of(v)) for v in model.graph.output]
    assert graph.ir_version == model.ir_version


def lying(tmp_path: Path, change) -> Path:
    onnx = pytest.importorskip("onnx")
    model = if_model(onnx)
    change(model.graph.initializer[0])
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def external(**entries: str):
    def change(tensor) -> None:
        tensor.ClearField("int64_data")
        tensor.data_location = 1
        for key, value in entries.items():
            added = tensor.external_data.add()
            added.key, added.value = key, value

    return change


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin", "C:\\x", "nothing.bin"]
)
def test_external_data_outside_the_folder_is_refused(tmp_path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(32))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    path = lying(folder, external(location=location))
    with pytest.raises(ModelError):
        check_graph(path)
    with pytest.raises(ModelError):
        named_weights(path, "")


def test_external_data_inside_the_folder_is_fine_and_measured(tmp_path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(40))
    assert check_graph(lying(tmp_path, external(location="data.bin", offset="8", length="32")))
    with pytest.raises(ModelError, match="which has 40"):
        check_graph(lying(tmp_path, external(location="data.bin", offset="9")))
    with pytest.raises(ModelError, match="need 32"):
        check_graph(lying(tmp_path, external(location="data.bin", length="16")))
    with pytest.raises(ModelError, match="no valid location"):
        check_graph(lying(tmp_path, external(location="data.bin", offset="many")))


def test_links_of_a_hub_cache_are_followed(tmp_path) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--x" / "blobs"
    blobs.mkdir()
    (blobs / "1").write_bytes(bytes(32))
    (snapshot / "data.bin").symlink_to("../../blobs/1")
    assert inside(snapshot, "data.bin").is_file()
    assert check_graph(lying(snapshot, external(location="data.bin")))


def test_a_shape_without_bytes_is_refused_before_anything_is_allocated(tmp_path) -> None:
    def huge(tensor) -> None:
        del tensor.dims[:]
        tensor.dims.extend([1 << 40, 1 << 20])

    def huge_raw(tensor) -> None:
        huge(tensor)
        tensor.ClearField("int64_data")
        tensor.raw_data = bytes(32)

    def negative(tensor) -> None:
        tensor.dims[0] = -5

    with pytest.raises(ModelError, match="claims the shape"):
        check_graph(lying(tmp_path, huge))
    with pytest.raises(ModelError, match="need"):
        check_graph(lying(tmp_path, huge_raw))
    with pytest.raises(ModelError, match="impossible shape"):
        check_graph(lying(tmp_path, negative))


def test_no_file_that_is_no_graph_gets_through(tmp_path) -> None:
    path = tmp_path / "x.onnx"
    whole = (QWEN / "encoder.onnx").read_bytes()
    cuts = [whole[:n] for n in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    for data in (*cuts, b"\xff" * 100, b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"<html>", bytes(1000)):
        path.write_bytes(data)
        with pytest.raises(ModelError):
            read_graph(path)


def test_deep_nesting_is_refused(tmp_path) -> None:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "g", [], [out])
    for _ in range(20):
        node = helper.make_node(
            "If", ["c"], ["o"], then_branch=graph, else_branch=helper.make_graph([], "e", [], [out])
        )
        graph = helper.make_graph(
            [node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [out]
        )
    (tmp_path / "deep.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelError, match="nested deeper"):
        read_graph(tmp_path / "deep.onnx")
