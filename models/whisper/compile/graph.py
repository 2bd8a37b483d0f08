"""A small builder of ONNX graphs: nodes, weights, outputs; saves weights beside the graph.

Weights are numpy arrays. On saving, every array above a kilobyte goes to one data file (ONNX external
data, with offsets aligned for memory mapping by ONNX Runtime), which several graphs may share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx import writer
from asr_batch.models.onnx.tensors import type_number

Array = NDArray[Any]
MICROSOFT = "com.microsoft"
_OPSET, _IR = 17, 8
_INLINE = 1024  # bytes: smaller arrays stay inside the graph, where shape inference can see them
PAGE = 4096
"""Alignment of arrays in a data file, in bytes."""

_CONTRIB = frozenset(
    {
        "DynamicQuantizeMatMul",
        "Gelu",
        "GroupQueryAttention",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
    }
)


class DataFile:
    """A file of weights that graphs refer to by offset. The same array object is written once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("wb")
        self._ranges: dict[int, tuple[int, int]] = {}
        self._kept: list[Array] = []  # ids are unique while the arrays exist

    def write(self, array: Array) -> tuple[int, int]:
        """Offset and length of `array` in the file; appended on first use."""
        if id(array) not in self._ranges:
            data = np.ascontiguousarray(array)
            self._stream.write(b"\0" * (-self._stream.tell() % PAGE))
            self._ranges[id(array)] = (self._stream.tell(), data.nbytes)
            self._kept.append(array)
            self._stream.write(data.tobytes())
        return self._ranges[id(array)]

    def share(self, part: Array, whole: Array, start: int) -> None:
        """Register `part` as the bytes `start` after the beginning of `whole`."""
        self._ranges[id(part)] = (self.write(whole)[0] + start, part.nbytes)
        self._kept.append(part)

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()


class Graph:
    """An ONNX graph under construction; values are referred to by name."""

    def __init__(self, name: str) -> None:
        self._parts = writer.GraphParts(name=name)
        self._weights: dict[str, Array] = {}
        self._names: dict[int, str] = {}

    def weight(self, array: Array | Sequence[int] | float, dtype: Any = None, name: str | None = None) -> str:
        """Name of a constant (`name`, or a generated one); the same array object is stored once."""
        if id(array) in self._names and isinstance(array, np.ndarray) and dtype is None:
            return self._names[id(array)]
        value = np.asarray(array, dtype)
        name = name or f"w{len(self._weights)}"
        self._weights[name] = value
        if isinstance(array, np.ndarray) and value is array:
            self._names[id(array)] = name
        return name

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        out = out or f"{kind.lower()}{len(self._parts.nodes)}"
        return self.ops(kind, *inputs, outs=[out], **attributes)[0]

    def ops(self, kind: str, *inputs: str, outs: Sequence[str], **attributes: Any) -> list[str]:
        """Append a node with the outputs `outs` ('' for unused ones)."""
        domain = MICROSOFT if kind in _CONTRIB else ""
        made = tuple(writer.make_attribute(name, value) for name, value in attributes.items())
        name = f"{kind}_{len(self._parts.nodes)}"
        self._parts.nodes.append(writer.Node(kind, inputs, tuple(outs), domain, made, name))
        return list(outs)

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input; `dtype` is ONNX's name (`FLOAT`, `INT64`)."""
        self._parts.inputs.append(writer.make_value(name, type_number(dtype), shape))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str], value: str | None = None) -> None:
        """Declare the output `name`, a copy of `value` if that is another name."""
        if value is not None and value != name:
            self.op("Identity", value, out=name)
        self._parts.outputs.append(writer.make_value(name, type_number(dtype), shape))

    def save(self, path: Path, data: DataFile, others: Sequence[tuple[Array, DataFile]] = ()) -> None:
        """Write the graph to `path`, its weights to `data`; `others` are arrays in another file."""
        elsewhere = {id(array): file for array, file in others}
        parts = replace(
            self._parts,
            tensors={
                name: _tensor(name, array, elsewhere.get(id(array), data))
                for name, array in self._weights.items()
            },
            opsets=[writer.make_opset("", _OPSET), writer.make_opset(MICROSOFT, 1)],
            ir_version=_IR,
        )
        path.write_bytes(parts.raw())


def _tensor(name: str, array: Array, file: DataFile) -> bytes:
    kind = type_number(array.dtype.name)
    if array.nbytes <= _INLINE:
        return writer.make_tensor(name, kind, array.shape, np.ascontiguousarray(array).tobytes())
    offset, length = file.write(array)
    return writer.make_external(name, kind, array.shape, file.path.name, offset, length)
