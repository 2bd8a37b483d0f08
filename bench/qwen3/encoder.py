"""The encoder graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from bench.qwen3.graph import Graph, Shape, Store


def encoder_weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def normal(*size: int, rows: int) -> np.ndarray:
        return (rng.standard_normal(size) / np.sqrt(rows)).astype(np.float32)

    d, f, c = shape.enc_hidden, shape.enc_ffn, shape.conv
    out = {"conv1": normal(c, 1, 3, 3, rows=9), "proj": normal(16 * c, d, rows=16 * c)}
    out |= {name: normal(c, c, 3, 3, rows=9 * c) for name in ("conv2", "conv3")}
    for layer in range(shape.enc_layers):
        out |= {f"e{layer}.{name}": normal(d, d, rows=d) for name in "qkvo"}
        out |= {f"e{layer}.fc1": normal(d, f, rows=d), f"e{layer}.fc2": normal(f, d, rows=f)}
    out |= {"place": normal(1, 13, d, rows=1), "proj1": normal(d, d, rows=d)}
    return out | {"proj2": normal(d, shape.hidden, rows=d), "one": np.ones(d, np.float32)}


def write_encoder(path: Path, shape: Shape, rng: np.random.Generator) -> None:
    g = Graph(Store(encoder_weights(shape, rng), None))
    d = shape.enc_hidden
    frames = g.op("Shape", "mel", start=2)
    hundred = g.const([100])
    rest = g.op("Mod", frames, hundred)
    for _ in range(3):
        rest = g.op("Div", g.op("Add", rest, g.const([1])), g.const([2]))
    tokens = g.op("Add", g.op("Mul", g.op("Div", frames, hundred), g.const([13])), rest)
    x = pad_to(g, "mel", frames, 100, 3, 2)
    x = g.op("Transpose", g.op("Reshape", x, g.const([128, 1, -1, 100])), perm=[2, 1, 0, 3])
    for name in ("conv1", "conv2", "conv3"):
        x = gelu(g, g.op("Conv", x, g.weight(name), strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
    x = g.op("Reshape", g.op("Transpose", x, perm=[0, 3, 1, 2]), g.const([0, 0, -1]))
    x = g.op("Add", g.op("MatMul", x, g.weight("proj")), g.weight("place"))
    x = g.op("Slice", g.op("Reshape", x, g.const([1, -1, d])), g.const([0]), tokens, g.const([1]))
    x = g.op("Reshape", pad_to(g, x, tokens, 104, 3, 1), g.const([-1, 104, d]))
    mask = block_mask(g, x, tokens)
    for layer in range(shape.enc_layers):
        x = encoder_layer(g, x, f"e{layer}.", mask, shape)
    x = g.op("Slice", g.op("Reshape", x, g.const([1, -1, d])), g.const([0]), tokens, g.const([1]))
    x = gelu(g, g.op("MatMul", g.op("LayerNormalization", x, g.weight("one")), g.weight("proj1")))
    g.op("MatMul", x, g.weight("proj2"), name="audio_features")
    g.save(
        path,
        {"mel": (TensorProto.FLOAT, [1, 128, "time"])},
        {"audio_features": (TensorProto.FLOAT, [1, "positions", shape.hidden])},
    )


def pad_to(g: Graph, x: str, size: str, unit: int, rank: int, axis: int) -> str:
    """Pad `x` with zeros along `axis` to a multiple of `unit`."""
    missing = g.op("Mod", g.op("Sub", g.const([unit]), g.op("Mod", size, g.const([unit]))), g.const([unit]))
    before = g.const([0] * (rank + axis))
    return g.op("Pad", x, g.op("Concat", before, missing, g.const([0] * (rank - axis - 1)), axis=0))


def block_mask(g: Graph, x: str, tokens: str) -> str:
    """Mask [blocks, 1, 1, 104] that hides everything after the last token."""
    blocks = g.op("Squeeze", g.op("Shape", x, start=0, end=1))
    total = g.op("Mul", blocks, g.const(104))
    place = g.op("Reshape", g.op("Range", g.const(0), total, g.const(1)), g.const([-1, 1, 1, 104]))
    behind = g.op("GreaterOrEqual", place, tokens)
    return g.op("Where", behind, g.const(-3e38, np.float32), g.const(0.0, np.float32))


def gelu(g: Graph, x: str) -> str:
    return g.op("Gelu", x, domain="com.microsoft")


def encoder_layer(g: Graph, x: str, p: str, mask: str, shape: Shape) -> str:
    def heads(name: str) -> str:
        flat = g.op("MatMul", h, g.weight(p + name))
        return g.op(
            "Transpose", g.op("Reshape", flat, g.const([0, 0, shape.enc_heads, -1])), perm=[0, 2, 1, 3]
        )

    h = g.op("LayerNormalization", x, g.weight("one"))
    q, k, v = heads("q"), heads("k"), heads("v")
    scale = g.const((shape.enc_hidden // shape.enc_heads) ** -0.5, np.float32)
    score = g.op("Mul", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), scale)
    mixed = g.op("MatMul", g.op("Softmax", g.op("Add", score, mask), axis=-1), v)
    flat = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.const([0, 0, -1]))
    x = g.op("Add", x, g.op("MatMul", flat, g.weight(p + "o")))
    h = g.op("MatMul", g.op("LayerNormalization", x, g.weight("one")), g.weight(p + "fc1"))
    return g.op("Add", x, g.op("MatMul", gelu(g, h), g.weight(p + "fc2")))
