"""The sizes of a model, and a graph under construction with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; encoder widths with the prefix `enc`."""

    hidden: int = 96
    layers: int = 3
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 16
    ffn: int = 160
    vocab: int = 700
    enc_hidden: int = 48
    enc_layers: int = 2
    enc_heads: int = 3
    enc_ffn: int = 64
    conv: int = 6
    embed: str = "float32"
    rope_theta: float = 500000.0
    norm_eps: float = 1e-5
    mix: float = 4.0
    """Weight of attention and MLP relative to the residual: higher values vary the answers with the audio."""


class Graph:
    """Collects nodes and weights of one ONNX graph."""

    def __init__(self, store: Store) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.store = store
        self.count = 0

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attrs: Any) -> str:
        self.count += 1
        first = name or f"v_{self.count}"
        names = [first, *(f"{first}_{extra}" for extra in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=first, **attrs))
        return first

    def const(self, value: Any, kind: Any = np.int64) -> str:
        name = f"c_{len(self.initializers)}"
        self.initializers[name] = numpy_helper.from_array(np.array(value, kind), name)
        return name

    def weight(self, name: str) -> str:
        self.initializers.setdefault(name, self.store.tensor(name))
        return name

    def linear(self, x: str, name: str, out: str = "") -> str:
        if not self.store.block:
            return self.op("MatMul", x, self.weight(name), name=out)
        k, n = self.store.values[name].shape
        parts = [self.weight(f"{name}{part}") for part in ("_q4", "_scale", "_zp")]
        return self.op(
            "MatMulNBits", x, *parts, name=out, domain="com.microsoft",
            K=k, N=n, bits=4, block_size=self.store.block, accuracy_level=4,
        )  # fmt: skip

    def save(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        def info(table: dict[str, Any]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in table.items()]

        graph = helper.make_graph(
            self.nodes, path.stem, info(inputs), info(outputs), list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        path.write_bytes(model.SerializeToString())


class Store:
    """Weights by name, written once to one external data file (or kept inside the graph)."""

    def __init__(self, values: dict[str, np.ndarray], data: Path | None, block: int = 0) -> None:
        self.values, self.data, self.block = values, data, block
        self.where: dict[str, tuple[int, int]] = {}
        self.cached: dict[str, np.ndarray] = {}
        if data is not None:
            data.write_bytes(b"")

    def array(self, name: str) -> np.ndarray:
        if name in self.values:
            return self.values[name]
        if name not in self.cached:
            base, _ = name.rsplit("_", 1)
            packed = quantise(self.values[base], self.block)
            self.cached |= {f"{base}_{key}": value for key, value in packed.items()}
        return self.cached[name]

    def tensor(self, name: str) -> onnx.TensorProto:
        array = np.ascontiguousarray(self.array(name))
        if self.data is None or array.nbytes < 1024:
            return numpy_helper.from_array(array, name)
        if name not in self.where:
            offset = -(-self.data.stat().st_size // 4096) * 4096
            with self.data.open("r+b") as handle:
                handle.seek(offset)
                handle.write(array.tobytes())
            self.where[name] = (offset, array.nbytes)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, dims=array.shape, data_type=kind, data_location=TensorProto.EXTERNAL)
        offset, length = self.where[name]
        for key, value in (("location", self.data.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def quantise(weight: np.ndarray, block: int) -> dict[str, np.ndarray]:
    """Round-to-nearest asymmetric int4 in MatMulNBits' packing; `weight` is [K, N] in whole blocks."""
    columns = weight.T.reshape(weight.shape[1], -1, block)
    low, high = np.minimum(columns.min(-1), 0), np.maximum(columns.max(-1), 0)
    scale = np.maximum((high - low) / 15, 1e-9).astype(np.float32)
    zero = np.clip(np.round(-low / scale), 0, 15).astype(np.uint8)
    values = np.clip(np.round(columns / scale[..., None]) + zero[..., None], 0, 15).astype(np.uint8)
    zero = np.pad(zero, ((0, 0), (0, zero.shape[1] % 2)))  # two per byte
    return {
        "q4": values[..., ::2] | (values[..., 1::2] << 4),
        "scale": scale,
        "zp": zero[:, ::2] | (zero[:, 1::2] << 4),
    }
