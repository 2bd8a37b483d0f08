"""Tensors and values of an ONNX file: names, types, shapes, and the location of their data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx import fields
from asr_batch.models.onnx.wire import Message

TYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16),
    11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64), 14: ("complex64", 64),
    15: ("complex128", 128), 16: ("bfloat16", 16), 17: ("float8e4m3fn", 8), 18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8), 20: ("float8e5m2fnuz", 8), 21: ("uint4", 4), 22: ("int4", 4),
    23: ("float4e2m1", 4), 24: ("float8e8m0", 8), 25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip
"""ONNX data type to name and bits of an element."""
_NUMBERS = {name: number for number, (name, _) in TYPES.items()} | {"float": 1, "double": 11}


def type_number(name: str) -> int:
    """ONNX's number of a type, from numpy's name (`float32`) or ONNX's own (`FLOAT`)."""
    return _NUMBERS[name.lower()]


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: name, element type, shape (numbers, or the names of free dimensions)."""

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor stored in or beside the file.

    `raw` is the number of its raw bytes in the file (None: stored as a list of numbers of `stored` bytes,
    or externally); `location` names the external file, `offset` and `length` its bytes there.
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


def read_tensor(message: Message) -> Weight:
    """A TensorProto without its data. Raises ModelError for impossible sizes."""
    name, kind, stored = "", 0, 0
    raw: int | None = None
    shape: list[int] = []
    external: dict[str, str] = {}
    for item in message.fields():
        if item.number == fields.TENSOR_DIMS:
            shape += _numbers(item.body) if item.body else [item.signed()]
        elif item.number == fields.TENSOR_TYPE:
            kind = item.value
        elif item.number == fields.TENSOR_NAME:
            name = item.message().text()
        elif item.number == fields.TENSOR_EXTERNAL:
            key, value = _entry(item.message())
            external[key] = value
        elif item.number == fields.TENSOR_RAW:
            raw = len(item.message())
        elif item.number in fields.TENSOR_LISTS:
            stored += len(item.body) if item.body else 1
    if any(size < 0 for size in shape):
        raise ModelError(f"tensor {name!r} has the impossible shape {shape}")
    return Weight(name, _type(kind), tuple(shape), stored, raw, *_external_range(name, external))


def _external_range(name: str, external: dict[str, str]) -> tuple[str | None, int, int | None]:
    """Location, offset and length of external data."""
    try:
        length = int(external["length"]) if "length" in external else None
        return external.get("location"), int(external.get("offset", "0")), length
    except ValueError as error:
        raise ModelError(f"tensor {name!r} has no valid location of its external data: {external}") from error


def _entry(message: Message) -> tuple[str, str]:
    key = value = ""
    for item in message.fields():
        if item.number == fields.ENTRY_KEY:
            key = item.message().text()
        elif item.number == fields.ENTRY_VALUE:
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
                raise ModelError("truncated shape: not an ONNX file")
            byte = message.buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(value - (1 << 64) if value >> 63 else value)
    return found


def read_value(message: Message) -> Value:
    """A ValueInfoProto."""
    name, kind = "", 0
    shape: tuple[int | str, ...] = ()
    for item in message.fields():
        if item.number == fields.VALUE_NAME:
            name = item.message().text()
        elif item.number == fields.VALUE_TYPE:
            kind, shape = _tensor_type(item.message())
    return Value(name, _type(kind), shape)


def _tensor_type(message: Message) -> tuple[int, tuple[int | str, ...]]:
    kind = 0
    shape: tuple[int | str, ...] = ()
    for item in message.fields():
        if item.number == fields.TYPE_TENSOR:
            for part in item.message().fields():
                if part.number == fields.TENSOR_TYPE_ELEMENT:
                    kind = part.value
                elif part.number == fields.TENSOR_TYPE_SHAPE:
                    sizes = (one for one in part.message().fields() if one.number == fields.SHAPE_DIMENSION)
                    shape = tuple(_dimension(one.message()) for one in sizes)
    return kind, shape


def _dimension(message: Message) -> int | str:
    found: int | str = "?"
    for item in message.fields():
        if item.number == fields.DIMENSION_SIZE:
            found = item.signed()
        elif item.number == fields.DIMENSION_NAME:
            found = item.message().text()
    return found


def _type(kind: int) -> str:
    return TYPES[kind][0] if kind in TYPES else f"type {kind}"
