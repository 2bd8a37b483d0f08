"""Products of two matrices in ONNX Runtime, whose threads sleep when they have nothing to do.

numpy's library has its own threads, which spin while they wait for each other: on a machine with other work,
a product took seven times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.models.onnx import writer
from asr_batch.models.onnx.sessions import session_options

_DOUBLE = 11  # ONNX's number of the type


@cache
def _double(threads: int) -> ort.InferenceSession:
    parts = writer.GraphParts(name="product", opsets=[writer.make_opset("", 17)])
    parts.nodes.append(writer.Node("MatMul", ("x", "y"), ("z",)))
    parts.inputs += [writer.make_value(name, _DOUBLE, ["a", "b"]) for name in ("x", "y")]
    parts.outputs.append(writer.make_value("z", _DOUBLE, ["a", "c"]))
    return ort.InferenceSession(parts.raw(), session_options(threads), providers=["CPUExecutionProvider"])


def product(x: NDArray[np.float64], y: NDArray[np.float64], threads: int = 0) -> NDArray[np.float64]:
    """`x` [a, b] times `y` [b, c], on `threads` threads (0: all cores)."""
    given = {"x": np.ascontiguousarray(x), "y": np.ascontiguousarray(y)}
    found: Any = _double(threads).run(None, given)[0]
    return np.asarray(found, np.float64)
