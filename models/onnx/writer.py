"""Reads and writes ONNX graphs at the level of protobuf's wire format, without the package `onnx`.

It handles nodes, tensors (whose bytes are passed on unchanged), and new graphs. In the wire format, a
field is a varint key (number, type) followed by a varint, 8 or 4 bytes, or length-prefixed bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_batch.models.onnx import fields
from asr_batch.models.onnx.wire import BYTES, FIXED32, VARINT, Message

FLOAT_TYPE, INT32_TYPE, INT64_TYPE = 1, 6, 7


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
    value &= (1 << 64) - 1  # negative numbers take ten bytes of two's complement
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
    name: str = ""

    @classmethod
    def parse(cls, message: Message) -> Node:
        """Read a NodeProto."""
        wanted = (fields.NODE_INPUT, fields.NODE_OUTPUT, fields.NODE_OP, fields.NODE_DOMAIN)
        found: dict[int, list[str]] = {number: [] for number in wanted}
        attributes = []
        for one in message.fields():
            if one.number == fields.NODE_ATTRIBUTE:
                attributes.append(one.message().raw())
            elif one.number in found:
                found[one.number].append(one.message().text())
        inputs, outputs, operators, domains = (found[number] for number in wanted)
        operator, domain = ("", *operators)[-1], ("", *domains)[-1]
        return cls(operator, tuple(inputs), tuple(outputs), domain, tuple(attributes))

    def raw(self) -> bytes:
        """The NodeProto message."""
        parts = [text(fields.NODE_INPUT, name) for name in self.inputs]
        parts += [text(fields.NODE_OUTPUT, name) for name in self.outputs]
        parts += [text(fields.NODE_NAME, self.name or self.outputs[0]), text(fields.NODE_OP, self.op)]
        parts += [text(fields.NODE_ATTRIBUTE, attribute) for attribute in self.attributes]
        return b"".join(parts) + (text(fields.NODE_DOMAIN, self.domain) if self.domain else b"")


@dataclass(slots=True)
class GraphParts:
    """The parts of a graph: nodes in order; tensors and everything else as raw messages.

    `values` are types and shapes of inner values; they are dropped when a graph is read.
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, bytes] = field(default_factory=dict)
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    opsets: list[bytes] = field(default_factory=list)
    ir_version: int = 8
    name: str = "asr_batch"
    producer: str = "asr-batch"
    values: list[bytes] = field(default_factory=list)

    def raw(self) -> bytes:
        """The ModelProto message."""
        parts = [text(fields.GRAPH_NODE, node.raw()) for node in self.nodes]
        parts += [
            text(fields.GRAPH_NAME, self.name),
            *(text(fields.GRAPH_INITIALIZER, raw) for raw in self.tensors.values()),
        ]
        parts += [text(fields.GRAPH_INPUT, raw) for raw in self.inputs]
        parts += [text(fields.GRAPH_OUTPUT, raw) for raw in self.outputs]
        parts += [text(fields.GRAPH_VALUE, raw) for raw in self.values]
        opsets = b"".join(text(fields.MODEL_OPSET, raw) for raw in self.opsets)
        head = number(fields.MODEL_IR, self.ir_version) + text(fields.MODEL_PRODUCER, self.producer)
        return head + text(fields.MODEL_GRAPH, b"".join(parts)) + opsets


def read_graph(path: Path) -> GraphParts:
    """The graph of an ONNX file whose large tensors are external. Raises ModelError for invalid bytes."""
    data = path.read_bytes()
    graph = GraphParts()
    for one in Message(data, 0, len(data)).fields():
        if one.number == fields.MODEL_IR:
            graph.ir_version = one.value
        elif one.number == fields.MODEL_OPSET:
            graph.opsets.append(one.message().raw())
        elif one.number == fields.MODEL_GRAPH:
            _read_parts(graph, one.message())
    return graph


def _read_parts(graph: GraphParts, message: Message) -> None:
    for one in message.fields():
        if one.number == fields.GRAPH_NODE:
            graph.nodes.append(Node.parse(one.message()))
        elif one.number == fields.GRAPH_INITIALIZER:
            raw = one.message().raw()
            graph.tensors[first_text(raw, fields.TENSOR_NAME)] = raw
        elif one.number == fields.GRAPH_INPUT:
            graph.inputs.append(one.message().raw())
        elif one.number == fields.GRAPH_OUTPUT:
            graph.outputs.append(one.message().raw())


def first_text(raw: bytes, wanted: int) -> str:
    """The first string field with number `wanted`; empty without one."""
    for one in Message(raw, 0, len(raw)).fields():
        if one.number == wanted:
            return one.message().text()
    return ""


def raw_data(tensor: bytes) -> bytes:
    """The raw little-endian data of a TensorProto; empty if it is stored otherwise."""
    for one in Message(tensor, 0, len(tensor)).fields():
        if one.number == fields.TENSOR_RAW:
            return one.message().raw()
    return b""


def make_tensor(name: str, kind: int, dims: Sequence[int], data: bytes) -> bytes:
    """A TensorProto with inline little-endian data."""
    return _tensor_head(name, kind, dims) + text(fields.TENSOR_RAW, data)


def _tensor_head(name: str, kind: int, dims: Sequence[int]) -> bytes:
    sizes = b"".join(number(fields.TENSOR_DIMS, size) for size in dims)
    return sizes + number(fields.TENSOR_TYPE, kind) + text(fields.TENSOR_NAME, name)


def make_external(name: str, kind: int, dims: Sequence[int], file: str, offset: int, length: int) -> bytes:
    """A TensorProto whose data are `length` bytes from `offset` on in `file`, beside the graph."""
    where = (("location", file), ("offset", str(offset)), ("length", str(length)))
    entries = (text(fields.ENTRY_KEY, key) + text(fields.ENTRY_VALUE, value) for key, value in where)
    data = b"".join(text(fields.TENSOR_EXTERNAL, entry) for entry in entries)
    return _tensor_head(name, kind, dims) + data + number(fields.TENSOR_LOCATION, fields.EXTERNAL)


def make_value(name: str, kind: int, dims: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of a tensor; an int is a fixed dimension, a string a symbolic one."""
    sizes = (
        number(fields.DIMENSION_SIZE, one) if isinstance(one, int) else text(fields.DIMENSION_NAME, one)
        for one in dims
    )
    shape = b"".join(text(fields.SHAPE_DIMENSION, size) for size in sizes)
    tensor = number(fields.TENSOR_TYPE_ELEMENT, kind) + text(fields.TENSOR_TYPE_SHAPE, shape)
    return text(fields.VALUE_NAME, name) + text(fields.VALUE_TYPE, text(fields.TYPE_TENSOR, tensor))


def make_opset(domain: str, version: int) -> bytes:
    """An OperatorSetIdProto."""
    return text(fields.OPSET_DOMAIN, domain) + number(fields.OPSET_VERSION, version)


def make_attribute(name: str, value: int | float | str | Sequence[int]) -> bytes:
    """An AttributeProto with a number, a text, or a list of integers."""
    if isinstance(value, int):
        kind, content = fields.INT, number(fields.ATTRIBUTE_I, value)
    elif isinstance(value, float):
        kind, content = fields.FLOAT, _key(fields.ATTRIBUTE_F, FIXED32) + struct.pack("<f", value)
    elif isinstance(value, str):
        kind, content = fields.STRING, text(fields.ATTRIBUTE_S, value)
    else:
        kind, content = fields.INTS, b"".join(number(fields.ATTRIBUTE_INTS, one) for one in value)
    return text(fields.ATTRIBUTE_NAME, name) + content + number(fields.ATTRIBUTE_TYPE, kind)
