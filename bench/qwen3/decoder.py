"""The two decoder graphs, for a prompt and for a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from bench.qwen3.graph import Graph, Shape, Store


def decoder_weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) * gain / np.sqrt(rows)).astype(np.float32)

    def scale(size: int) -> np.ndarray:
        return (1 + 0.1 * rng.standard_normal(size)).astype(np.float32)

    s, out = shape, {}
    for layer in range(s.layers):
        p = f"layers.{layer}."
        out[p + "in_norm"], out[p + "post_norm"] = scale(s.hidden), scale(s.hidden)
        out[p + "q_norm"], out[p + "k_norm"] = scale(s.head_dim), scale(s.head_dim)
        out[p + "q"] = matrix(s.hidden, s.heads * s.head_dim)
        out[p + "k"] = matrix(s.hidden, s.kv_heads * s.head_dim)
        out[p + "v"] = matrix(s.hidden, s.kv_heads * s.head_dim)
        out[p + "o"] = matrix(s.heads * s.head_dim, s.hidden, s.mix)
        out[p + "gate"], out[p + "up"] = matrix(s.hidden, s.ffn), matrix(s.hidden, s.ffn)
        out[p + "down"] = matrix(s.ffn, s.hidden, s.mix)
    out["norm"] = scale(s.hidden)
    kind = np.float16 if s.embed == "float16" else np.float32
    out["embed"] = matrix(s.vocab, s.hidden, np.sqrt(s.vocab)).astype(kind).astype(np.float32)
    out["head"] = matrix(s.hidden, s.vocab, 4)  # not tied: random tied weights repeat their input forever
    return out


def rotate(g: Graph, x: str, cos: str, sin: str, half: int) -> str:
    axis = g.const([3])
    left = g.op("Slice", x, g.const([0]), g.const([half]), axis)
    right = g.op("Slice", x, g.const([half]), g.const([2 * half]), axis)
    turned = g.op("Concat", g.op("Neg", right), left, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def angles(g: Graph, shape: Shape) -> tuple[str, str]:
    half = shape.head_dim // 2
    inverse = (shape.rope_theta ** (-np.arange(half) / half)).astype(np.float32)
    place = g.op("Unsqueeze", g.op("Cast", "position_ids", to=TensorProto.FLOAT), g.const([-1]))
    angle = g.op("Mul", place, g.const(inverse, np.float32))
    both = g.op("Concat", angle, angle, axis=-1)
    return tuple(g.op("Unsqueeze", g.op(kind, both), g.const([1])) for kind in ("Cos", "Sin"))  # type: ignore


def norm(g: Graph, x: str, weight: str, shape: Shape) -> str:
    name = g.weight(weight)
    return g.op("SimplifiedLayerNormalization", x, name, axis=-1, epsilon=shape.norm_eps, stash_type=1)


def heads_of(g: Graph, x: str, count: int, shape: Shape, weight: str | None) -> str:
    split = g.op("Reshape", x, g.const([0, -1, count, shape.head_dim]))
    if weight:
        split = norm(g, split, weight, shape)
    return g.op("Transpose", split, perm=[0, 2, 1, 3])


def spread(g: Graph, x: str, shape: Shape) -> str:
    """Repeat each key-value head for its group of query heads."""
    group = shape.heads // shape.kv_heads
    wide = g.op("Concat", *[g.op("Unsqueeze", x, g.const([2]))] * group, axis=2)
    kept = g.op("Shape", x, start=2)
    return g.op("Reshape", wide, g.op("Concat", g.const([0, shape.heads]), kept, axis=0))


def decoder(g: Graph, x: str, shape: Shape, mask: str | None, past: bool) -> None:
    cos, sin = angles(g, shape)
    kept: dict[str, list[str]] = {"keys": [], "values": []}
    for layer in range(shape.layers):
        p = f"layers.{layer}."
        h = norm(g, x, p + "in_norm", shape)
        v = heads_of(g, g.linear(h, p + "v"), shape.kv_heads, shape, None)
        k = heads_of(g, g.linear(h, p + "k"), shape.kv_heads, shape, p + "k_norm")
        q = heads_of(g, g.linear(h, p + "q"), shape.heads, shape, p + "q_norm")
        q, k = (rotate(g, one, cos, sin, shape.head_dim // 2) for one in (q, k))
        if past:
            index = g.const(layer)
            k = g.op("Concat", g.op("Gather", "past_keys", index, axis=0), k, axis=2)
            v = g.op("Concat", g.op("Gather", "past_values", index, axis=0), v, axis=2)
        kept["keys"].append(g.op("Unsqueeze", k, g.const([0])))
        kept["values"].append(g.op("Unsqueeze", v, g.const([0])))
        score = g.op("MatMul", q, g.op("Transpose", spread(g, k, shape), perm=[0, 1, 3, 2]))
        score = g.op("Mul", score, g.const(shape.head_dim**-0.5, np.float32))
        if mask:
            score = g.op("Add", score, mask)
        mixed = g.op("MatMul", g.op("Softmax", score, axis=-1), spread(g, v, shape))
        flat = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.const([0, 0, -1]))
        x = g.op("Add", x, g.linear(flat, p + "o"))
        h = norm(g, x, p + "post_norm", shape)
        gate = g.linear(h, p + "gate")
        gate = g.op("Mul", gate, g.op("Sigmoid", gate))
        x = g.op("Add", x, g.linear(g.op("Mul", gate, g.linear(h, p + "up")), p + "down"))
    for name, parts in kept.items():
        g.op("Concat", *parts, name=f"present_{name}", axis=0)
    g.linear(norm(g, x, "norm", shape), "head", out="logits")


def cache(shape: Shape, length: str) -> tuple[int, list[Any]]:
    return TensorProto.FLOAT, [shape.layers, "batch", shape.kv_heads, length, shape.head_dim]


def write_decoders(folder: Path, shape: Shape, values: dict[str, np.ndarray], block: int = 0) -> None:
    mark = ".int4" if block else ""
    store = Store(values, folder / f"decoder_weights{mark}.data", block)
    floats, ints = TensorProto.FLOAT, TensorProto.INT64
    g = Graph(store)
    decoder(g, "input_embeds", shape, None, past=True)
    g.save(
        folder / f"decoder_step{mark}.onnx",
        {
            "input_embeds": (floats, ["batch", 1, shape.hidden]),
            "position_ids": (ints, ["batch", 1]),
            "past_keys": cache(shape, "past_seq_len"),
            "past_values": cache(shape, "past_seq_len"),
        },
        {
            "logits": (floats, ["batch", 1, shape.vocab]),
            "present_keys": cache(shape, "past_seq_len + 1"),
            "present_values": cache(shape, "past_seq_len + 1"),
        },
    )
    g = Graph(store)
    x, mask = init_head(g)
    decoder(g, x, shape, mask, past=False)
    g.save(
        folder / f"decoder_init{mark}.onnx",
        {
            "input_ids": (ints, ["batch", "seq_len"]),
            "position_ids": (ints, ["batch", "seq_len"]),
            "audio_features": (floats, ["batch", "audio_len", shape.hidden]),
            "audio_offset": (ints, [1]),
        },
        {
            "logits": (floats, ["batch", "seq_len", shape.vocab]),
            "present_keys": cache(shape, "seq_len"),
            "present_values": cache(shape, "seq_len"),
        },
    )


def init_head(g: Graph) -> tuple[str, str]:
    """Embedded prompt with the audio inserted, and the causal mask."""
    words = g.op("Gather", g.weight("embed"), "input_ids", axis=0)
    end = g.op("Add", "audio_offset", g.op("Shape", "audio_features", start=1, end=2))
    axis = g.const([1])
    head = g.op("Slice", words, g.const([0]), "audio_offset", axis)
    tail = g.op("Slice", words, end, g.const([2**31]), axis)
    x = g.op("Concat", head, "audio_features", tail, axis=1)
    length = g.op("Squeeze", g.op("Shape", "input_ids", start=1, end=2))
    place = g.op("Range", g.const(0), length, g.const(1))
    later = g.op("Greater", g.op("Unsqueeze", place, g.const([0])), g.op("Unsqueeze", place, g.const([1])))
    mask = g.op("Where", later, g.const(-3e38, np.float32), g.const(0.0, np.float32))
    return x, mask
