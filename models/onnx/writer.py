"""ONNX graphs taken apart and written again at the level of protobuf's wire format.

The core has no `onnx` package. What is needed here is little: the nodes of a graph, its tensors as they
stand (their bytes are passed on untouched), and writing a graph of our own.
Field numbers are those of onnx.proto3; the wire format is protobuf's: a varint key (number, type), then a
varint, 8, 4 or length-prefixed bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_batch.models.onnx.wire import BYTES, FIXED32, VARINT, Message

MODEL_GRAPH, MODEL_IR, MODEL_OPSET = 7, 1, 8
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 3, 4, 5, 7
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 8, 9, 13
FLOAT_TYPE, INT32_TYPE, INT64_TYPE, FLOAT16_TYPE = 1, 6, 7, 10
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT = 1, 2


def number(field_number: int, value: int) -> bytes:
    """A varint field."""
    return _key(field_number, VARINT) + _encode(value)


def text(field_number: int, value: str | bytes) -> bytes:
    """A length-prefixed field: a string, bytes or a nested message."""
    raw = value.encode() if isinstance(value, str) else value
    return _key(field_number, BYTES) + _encode(len(raw)) + raw


def _key(field_number: int, kind: int) -> bytes:
    return _encode(field_number << 3 | kind)


def _encode(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are ten bytes of two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator; `attributes` are the raw AttributeProto messages."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    attributes: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, message: Message) -> Node:
        """Read a NodeProto."""
        found: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OP: [""], NODE_DOMAIN: [""]}
        attributes = []
        for one in message.fields():
            if one.number == NODE_ATTRIBUTE:
                attributes.append(one.message().raw())
            elif one.number in found:
                found[one.number].append(one.message().text())
        inputs, outputs = tuple(found[NODE_INPUT]), tuple(found[NODE_OUTPUT])
        return cls(found[NODE_OP][-1], inputs, outputs, found[NODE_DOMAIN][-1], tuple(attributes))

    def raw(self) -> bytes:
        """The NodeProto message."""
        parts = [text(NODE_INPUT, name) for name in self.inputs]
        parts += [text(NODE_OUTPUT, name) for name in self.outputs]
        parts += [text(NODE_NAME, self.outputs[0]), text(NODE_OP, self.op)]
        parts += [text(NODE_ATTRIBUTE, attribute) for attribute in self.attributes]
        return b"".join(parts) + (text(NODE_DOMAIN, self.domain) if self.domain else b"")


@dataclass(slots=True)
class Graph:
    """A graph in pieces: nodes in order, tensors and everything else as raw messages."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, bytes] = field(default_factory=dict)
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    opsets: list[bytes] = field(default_factory=list)
    ir_version: int = 8

    def raw(self) -> bytes:
        """The ModelProto message."""
        parts = [text(GRAPH_NODE, node.raw()) for node in self.nodes]
        parts += [
            text(GRAPH_NAME, "asr_batch"),
            *(text(GRAPH_INITIALIZER, raw) for raw in self.tensors.values()),
        ]
        parts += [text(GRAPH_INPUT, raw) for raw in self.inputs]
        parts += [text(GRAPH_OUTPUT, raw) for raw in self.outputs]
        opsets = b"".join(text(MODEL_OPSET, raw) for raw in self.opsets)
        return number(MODEL_IR, self.ir_version) + text(MODEL_GRAPH, b"".join(parts)) + opsets


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file whose large tensors lie outside of it. Raises ModelError for broken bytes."""
    data = path.read_bytes()
    graph = Graph()
    for one in Message(data, 0, len(data)).fields():
        if one.number == MODEL_IR:
            graph.ir_version = one.value
        elif one.number == MODEL_OPSET:
            graph.opsets.append(one.message().raw())
        elif one.number == MODEL_GRAPH:
            _read_parts(graph, one.message())
    return graph


def _read_parts(graph: Graph, message: Message) -> None:
    for one in message.fields():
        if one.number == GRAPH_NODE:
            graph.nodes.append(Node.parse(one.message()))
        elif one.number == GRAPH_INITIALIZER:
            raw = one.message().raw()
            graph.tensors[first_text(raw, TENSOR_NAME)] = raw
        elif one.number == GRAPH_INPUT:
            graph.inputs.append(one.message().raw())
        elif one.number == GRAPH_OUTPUT:
            graph.outputs.append(one.message().raw())


def first_text(raw: bytes, wanted: int) -> str:
    """The first string field with the number `wanted`; empty if there is none."""
    for one in Message(raw, 0, len(raw)).fields():
        if one.number == wanted:
            return one.message().text()
    return ""


def raw_data(tensor: bytes) -> bytes:
    """The little-endian data that a TensorProto holds itself as such; empty if it holds it otherwise."""
    for one in Message(tensor, 0, len(tensor)).fields():
        if one.number == TENSOR_RAW:
            return one.message().raw()
    return b""


def make_tensor(name: str, kind: int, dims: Sequence[int], data: bytes) -> bytes:
    """A TensorProto with its little-endian data inside."""
    head = b"".join(number(TENSOR_DIMS, size) for size in dims)
    return head + number(TENSOR_TYPE, kind) + text(TENSOR_NAME, name) + text(TENSOR_RAW, data)


def make_value(name: str, kind: int, dims: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of a tensor: an int is a fixed size, a string a symbol."""
    shape = b"".join(text(1, number(1, one) if isinstance(one, int) else text(2, one)) for one in dims)
    return text(1, name) + text(2, text(1, number(1, kind) + text(2, shape)))


def make_opset(domain: str, version: int) -> bytes:
    """An OperatorSetIdProto."""
    return text(1, domain) + number(2, version)


def make_attribute(name: str, value: int | float) -> bytes:
    """An AttributeProto holding one number."""
    if isinstance(value, int):
        return text(1, name) + number(3, value) + number(20, _ATTRIBUTE_INT)
    packed = _key(2, FIXED32) + struct.pack("<f", value)
    return text(1, name) + packed + number(20, _ATTRIBUTE_FLOAT)
