"""What an ONNX file holds: inputs, outputs, operators through all subgraphs, weights and where they lie.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.inspect_wire import Message

MAX_DEPTH = 16
"""Subgraphs within subgraphs; published Whisper graphs have one level."""

TYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16),
    11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64), 14: ("complex64", 64),
    15: ("complex128", 128), 16: ("bfloat16", 16), 17: ("float8e4m3fn", 8), 18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8), 20: ("float8e5m2fnuz", 8), 21: ("uint4", 4), 22: ("int4", 4),
    23: ("float4e2m1", 4), 24: ("float8e8m0", 8), 25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip
"""ONNX data type to name and bits of an element."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: name, element type, shape (numbers, or the names of free dimensions)."""

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor stored in or beside the file.

    `raw` are its bytes in the file when they stand there as they are (None: as a list of numbers of `stored`
    bytes, or outside); `location` names the external file, `offset` and `length` its bytes there.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    stored: int
    raw: int | None = None
    location: str | None = None
    offset: int = 0
    length: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size of the tensor in memory, by type and shape."""
        bits = next((bits for name, bits in TYPES.values() if name == self.type), 0)
        return (self.elements * bits + 7) // 8


@dataclass(slots=True)
class Graph:
    """All that a file holds; `operators` counts over all subgraphs, `top` in the outer graph alone.

    `weights` are the initializers of all graphs, `constants` the tensors of Constant nodes. `bits` are the
    values of the attribute `bits` of MatMulNBits.
    """

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    top: Counter[str] = field(default_factory=Counter)
    weights: list[Weight] = field(default_factory=list)
    constants: list[Weight] = field(default_factory=list)
    bits: set[int] = field(default_factory=set)
    depth: int = 0

    @property
    def parameters(self) -> int:
        """Elements of all initializers."""
        return sum(weight.elements for weight in self.weights)


def read_graph(path: Path) -> Graph:
    """Walk the ONNX file at `path`. Raises ModelError when it is none."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            graph = _model(Message(buffer, 0, len(buffer)))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if not graph.inputs or not graph.outputs:
        raise ModelError(f"{path}: no ONNX graph in it (no inputs or outputs)")
    return graph


def _model(message: Message) -> Graph:
    found = Graph()
    producer = ["", ""]
    for item in message.fields():
        if item.number == 1:
            found.ir_version = item.value
        elif item.number in (2, 3):
            producer[item.number - 2] = item.message().text()
        elif item.number == 8:
            domain, version = _opset(item.message())
            found.opsets[domain or "ai.onnx"] = version
        elif item.number == 7:
            _graph(item.message(), found, 0)
    found.producer = " ".join(part for part in producer if part)
    return found


def _opset(message: Message) -> tuple[str, int]:
    domain, version = "", 0
    for item in message.fields():
        if item.number == 1:
            domain = item.message().text()
        elif item.number == 2:
            version = item.value
    return domain, version


def _graph(message: Message, found: Graph, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelError(f"subgraphs nested deeper than {MAX_DEPTH}; no speech model needs that")
    found.depth = max(found.depth, depth)
    inputs: list[Value] = []
    names: set[str] = set()
    for item in message.fields():
        if item.number == 1:
            _node(item.message(), found, depth)
        elif item.number == 5:
            found.weights.append(weight := _tensor(item.message()))
            names.add(weight.name)
        elif item.number == 11 and depth == 0:
            inputs.append(_value(item.message()))
        elif item.number == 12 and depth == 0:
            found.outputs.append(_value(item.message()))
    found.inputs += [value for value in inputs if value.name not in names]  # old files list weights too


def _node(message: Message, found: Graph, depth: int) -> None:
    operator = ""
    attributes = []
    for item in message.fields():
        if item.number == 4:
            operator = item.message().text()
        elif item.number == 5:
            attributes.append(item.message())
    found.operators[operator] += 1
    if depth == 0:
        found.top[operator] += 1
    for attribute in attributes:
        _attribute(attribute, operator, found, depth)


def _attribute(message: Message, operator: str, found: Graph, depth: int) -> None:
    name, number = "", 0
    for item in message.fields():
        if item.number == 1:
            name = item.message().text()
        elif item.number == 3:
            number = item.signed()
        elif item.number in (5, 10):
            found.constants.append(_tensor(item.message()))
        elif item.number in (6, 11):
            _graph(item.message(), found, depth + 1)
    if name == "bits" and operator == "MatMulNBits":
        found.bits.add(number)


def _tensor(message: Message) -> Weight:
    name, kind, stored = "", 0, 0
    raw: int | None = None
    shape: list[int] = []
    external: dict[str, str] = {}
    for item in message.fields():
        if item.number == 1:
            shape += _numbers(item.body) if item.body else [item.signed()]
        elif item.number == 2:
            kind = item.value
        elif item.number == 8:
            name = item.message().text()
        elif item.number == 13:
            key, value = _entry(item.message())
            external[key] = value
        elif item.number == 9:
            raw = len(item.message())
        elif item.number in (4, 5, 6, 7, 10, 11):
            stored += len(item.body) if item.body else 1
    if any(size < 0 for size in shape):
        raise ModelError(f"tensor {name!r} has the impossible shape {shape}")
    return Weight(name, _type(kind), tuple(shape), stored, raw, *_place(name, external))


def _place(name: str, external: dict[str, str]) -> tuple[str | None, int, int | None]:
    """Location, offset and length of external data."""
    try:
        length = int(external["length"]) if "length" in external else None
        return external.get("location"), int(external.get("offset", "0")), length
    except ValueError as error:
        raise ModelError(f"tensor {name!r} has external data at no number: {external}") from error


def _entry(message: Message) -> tuple[str, str]:
    key = value = ""
    for item in message.fields():
        if item.number == 1:
            key = item.message().text()
        elif item.number == 2:
            value = item.message().text()
    return key, value


def _numbers(message: Message) -> list[int]:
    """Packed integers."""
    found = []
    at = message.start
    while at < message.end:
        value = shift = 0
        while True:
            if at >= message.end or shift > 63:
                raise ModelError("a shape that is cut short: no ONNX file")
            byte = message.buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(value - (1 << 64) if value >> 63 else value)
    return found


def _value(message: Message) -> Value:
    name, kind = "", 0
    shape: tuple[int | str, ...] = ()
    for item in message.fields():
        if item.number == 1:
            name = item.message().text()
        elif item.number == 2:
            kind, shape = _tensor_type(item.message())
    return Value(name, _type(kind), shape)


def _tensor_type(message: Message) -> tuple[int, tuple[int | str, ...]]:
    kind = 0
    shape: tuple[int | str, ...] = ()
    for item in message.fields():
        if item.number == 1:  # tensor_type; sequences and maps have other numbers
            for part in item.message().fields():
                if part.number == 1:
                    kind = part.value
                elif part.number == 2:
                    shape = tuple(_dimension(d.message()) for d in part.message().fields() if d.number == 1)
    return kind, shape


def _dimension(message: Message) -> int | str:
    found: int | str = "?"
    for item in message.fields():
        if item.number == 1:
            found = item.signed()
        elif item.number == 2:
            found = item.message().text()
    return found


def _type(kind: int) -> str:
    return TYPES[kind][0] if kind in TYPES else f"type {kind}"
