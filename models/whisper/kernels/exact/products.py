"""Linear layers: exact products of bytes, by ONNX Runtime, and the kernels' roundings after them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arithmetic import Float32, Rows, fma
from asr_batch.models.onnx import writer
from asr_batch.models.onnx.options import graph_options
from asr_batch.models.onnx.tensors import type_number

if TYPE_CHECKING:
    import onnxruntime as ort

_OFFSET = 128
_ROWS, _COLUMNS = 16, 1024  # computed at once, so that they stay in the cache


def _session(weight: NDArray[Any]) -> ort.InferenceSession:
    """The product of `x` [n, k] and `weight` [k, m], whose bytes are unsigned around 128 or signed."""
    import onnxruntime as ort  # not in a process that has the library

    parts = writer.GraphParts(name="product", opsets=[writer.make_opset("", 17)])
    zeros = {"none": 0, "offset": _OFFSET} if weight.dtype == np.uint8 else {"none": 0}
    given = {"weight": weight, **{name: np.array(value, np.uint8) for name, value in zeros.items()}}
    for name, array in given.items():
        kind = type_number(array.dtype.name)
        parts.tensors[name] = writer.make_tensor(name, kind, array.shape, array.tobytes())
    parts.nodes.append(writer.Node("MatMulInteger", ("x", *given), ("y",)))
    parts.inputs.append(writer.make_value("x", type_number("uint8"), ["n", weight.shape[0]]))
    parts.outputs.append(writer.make_value("y", type_number("int32"), ["n", weight.shape[1]]))
    return ort.InferenceSession(parts.raw(), graph_options(1), providers=["CPUExecutionProvider"])


@cache
def _signed_is_exact() -> bool:
    """Whether products of unsigned and signed bytes are exact here.

    Without VNNI, x86 adds two of them in 16 bits, which saturates; then weights are unsigned, too.
    """
    found = _session(np.full((64, 32), 127, np.int8)).run(None, {"x": np.full((6, 64), 255, np.uint8)})[0]
    return bool((found == 64 * 127 * 255).all())


class Linear:
    """`weight` [k, n] int8 with `scale` [n] and `bias` [n] (None: zeros). Thread-safe."""

    def __init__(self, weight: NDArray[np.int8], scale: Float32, bias: Float32 | None = None) -> None:
        sums = weight.sum(axis=0, dtype=np.int32).astype(np.float32) * scale
        biases = np.zeros_like(scale) if bias is None else bias
        self._sums, self._scale, self._bias = (x.astype(np.float64) for x in (sums, scale, biases))
        whole = np.ascontiguousarray(weight)
        signed = _signed_is_exact()
        self._session = _session(whole if signed else whole.view(np.uint8) ^ np.uint8(_OFFSET))

    def with_bias(self, bias: Float32) -> Linear:
        """The same weights with another bias."""
        made = copy(self)
        made._bias = bias.astype(np.float64)
        return made

    def __call__(self, rows: Rows) -> Float32:
        """The layer's values [n, columns] of the rows."""
        whole = self._session.run(None, {"x": rows.bytes})[0]
        made = np.empty(whole.shape, np.float32)
        for row in range(0, whole.shape[0], _ROWS):
            some = slice(row, row + _ROWS)
            step, zero = rows.step[some, None], rows.zero[some, None].astype(np.float64)
            for column in range(0, whole.shape[1], _COLUMNS):
                part = slice(column, column + _COLUMNS)
                rest = fma(zero, self._sums[part], self._bias[part])
                scaled = whole[some, part].astype(np.float32)
                scaled *= step
                made[some, part] = fma(scaled, self._scale[part], rest)
        return made


@cache
def _matrices(kind: str, turned: bool) -> ort.InferenceSession:
    """The product of `x` [heads, n, k] and `y`, whose type is `kind`."""
    import onnxruntime as ort  # only here, as above

    parts = writer.GraphParts(
        name="product", opsets=[writer.make_opset("", 17), writer.make_opset("com.microsoft", 1)]
    )
    single = "x", "single"
    parts.nodes.append(writer.Node("Cast", ("y",), ("single",), "", (writer.make_attribute("to", 1),)))
    transposed = writer.make_attribute("transB", int(turned))
    parts.nodes.append(writer.Node("FusedMatMul", single, ("z",), "com.microsoft", (transposed,)))
    parts.inputs.append(writer.make_value("x", type_number("float32"), ["heads", "n", "k"]))
    parts.inputs.append(writer.make_value("y", type_number(kind), ["heads", "a", "b"]))
    parts.outputs.append(writer.make_value("z", type_number("float32"), ["heads", "n", "m"]))
    return ort.InferenceSession(parts.raw(), graph_options(1), providers=["CPUExecutionProvider"])


def product(x: Float32, y: NDArray[Any], *, turned: bool = False) -> Float32:
    """The product of whole numbers `x` [heads, n, k] and `y` [heads, k, m], or [heads, m, k] if `turned`.

    Exact while sums stay below 2^24. In ONNX Runtime, because numpy's library would start its own threads.
    """
    session = _matrices(y.dtype.name, turned)
    given = {"x": np.ascontiguousarray(x), "y": np.ascontiguousarray(y)}
    found: Float32 = session.run(None, given)[0]
    return found


def linears(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Linear]:
    """The linear layers among the named constants of a graph: NAME.int8, NAME.scale, NAME.bias."""
    names = [name[: -len(".int8")] for name in arrays if name.endswith(".int8")]
    return {
        name: Linear(arrays[f"{name}.int8"], np.asarray(arrays[f"{name}.scale"]), arrays.get(f"{name}.bias"))
        for name in names
    }
