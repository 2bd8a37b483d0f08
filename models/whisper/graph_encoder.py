"""The encoder graph for windows of one length, and the graph that makes cross-attention keys and values."""

from __future__ import annotations

import numpy as np

from asr_batch.models.whisper.compile_weights import Source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.graph import Graph
from asr_batch.models.whisper.graph_layers import (
    AttentionWeights,
    Style,
    add_and_norm,
    layer_norm,
    linear,
    padded_head,
)


def build_encoder(source: Source, config: WhisperConfig, positions: int, style: Style) -> Graph:
    """Log-mel [batch, n_mels, 2 * positions] to hidden states [batch, positions, d_model]."""
    graph = Graph("encoder")
    d = config.d_model
    x = graph.input("log_mel", "FLOAT", ["batch", config.n_mels, 2 * positions])
    x = _stem(graph, x, source, config, positions)
    skip: str | None = None
    for i in range(config.encoder_layers):
        name = f"encoder.layers.{i}"
        if skip is None:
            skip, y = x, layer_norm(graph, x, source, f"{name}.self_attn_layer_norm", d)
        else:
            skip, y = add_and_norm(graph, skip, x, source, f"{name}.self_attn_layer_norm", d)
        y = _self_attention(graph, y, source, name, config, style)
        skip, y = add_and_norm(graph, skip, y, source, f"{name}.final_layer_norm", d)
        x = feed_forward(graph, y, source, name, d, config.encoder_ffn, style)
    assert skip is not None
    _, y = add_and_norm(graph, skip, x, source, "encoder.layer_norm", d)
    graph.output("hidden", "FLOAT", ["batch", positions, d], y)
    return graph


def _stem(graph: Graph, x: str, source: Source, config: WhisperConfig, positions: int) -> str:
    """Two convolutions with GELU, then the position table: [batch, positions, d_model]."""
    d = config.d_model
    for i, (width, stride) in enumerate([(config.n_mels, 1), (d, 2)], 1):
        weight = graph.weight(source.get(f"encoder.conv{i}.weight", d, width, 3))
        bias = graph.weight(source.get(f"encoder.conv{i}.bias", d))
        x = graph.op("Conv", x, weight, bias, kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = graph.op("Gelu", x)
    table = source.get("encoder.embed_positions.weight", config.max_source_positions, d)[:positions]
    return graph.op("Add", graph.op("Transpose", x, perm=[0, 2, 1]), graph.weight(table))


def _self_attention(
    graph: Graph, x: str, source: Source, name: str, config: WhisperConfig, style: Style
) -> str:
    heads = config.encoder_heads
    w = AttentionWeights(source, f"{name}.self_attn", config.d_model, heads)
    weight, bias = w.qkv()
    inner = w.q.shape[1]
    qkv = linear(graph, x, weight, bias, style)
    parts = [f"{name}.{kind}" for kind in "qkv"]
    sizes = graph.weight([inner] * 3, np.int64)
    graph.ops("Split", qkv, sizes, outs=parts, axis=-1)
    y = graph.op("MultiHeadAttention", *parts, num_heads=heads, scale=w.scale)
    return linear(graph, y, w.out, w.out_bias, style)


def feed_forward(graph: Graph, x: str, source: Source, name: str, d: int, inner: int, style: Style) -> str:
    """Linear, GELU, linear."""
    up, up_bias = source.get(f"{name}.fc1.weight", inner, d).T, source.get(f"{name}.fc1.bias", inner)
    down, down_bias = source.get(f"{name}.fc2.weight", d, inner).T, source.get(f"{name}.fc2.bias", d)
    y = graph.op("Gelu", linear(graph, x, up, up_bias, style))
    return linear(graph, y, down, down_bias, style)


def cross_width(positions: int, folded: int) -> int:
    """Cross-attention positions that are stored: a multiple of 16, one more than real when padding folds."""
    return -(-(positions + (1 if folded else 0)) // 16) * 16


def build_cross(
    source: Source, config: WhisperConfig, positions: int, folded: int, style: Style, *, int8: bool
) -> Graph:
    """Hidden states [batch, positions, d_model] to each decoder layer's cross-attention keys and values.

    `key_I` is [batch, heads, width, stored] (transposed, so that a query is one product away), `value_I`
    [batch, heads, stored, width], without bias. Stored positions beyond the real ones are zero. With
    `int8` both are integers with a scale per channel, `key_scale_I` [batch, heads, 1, width] and
    `value_scale_I` alike, and `key_sum_I` [batch, heads, 1, stored] holds -128 times the keys' column sums:
    queries go in as unsigned bytes around 128, and this takes the 128 out again.
    """
    graph = Graph("cross")
    heads, width = config.decoder_heads, padded_head(config.head_dim)
    stored = cross_width(positions, folded)
    hidden = graph.input("hidden", "FLOAT", ["batch", positions, config.d_model])
    shape = graph.weight([0, positions, heads, width], np.int64)
    rest = stored - positions
    for i in range(config.decoder_layers):
        w = AttentionWeights(source, f"decoder.layers.{i}.encoder_attn", config.d_model, heads)
        both = linear(graph, hidden, np.concatenate([w.k, w.v], axis=1), None, style)
        parts = [f"k{i}", f"v{i}"]
        graph.ops("Split", both, graph.weight([heads * width] * 2, np.int64), outs=parts, axis=-1)
        key, value = (graph.op("Reshape", part, shape) for part in parts)
        key = graph.op("Transpose", key, perm=[0, 2, 3, 1])
        value = graph.op("Transpose", value, perm=[0, 2, 1, 3])
        if int8:
            key, key_scale = _int8_along(graph, key, 3)
            value, value_scale = _int8_along(graph, value, 2)
            key_scale = graph.op("Transpose", key_scale, perm=[0, 1, 3, 2])
        key = graph.op("Pad", key, graph.weight([0, 0, 0, 0, 0, 0, 0, rest], np.int64))
        value = graph.op("Pad", value, graph.weight([0, 0, 0, 0, 0, 0, rest, 0], np.int64))
        kind = "INT8" if int8 else "FLOAT"
        graph.output(f"key_{i}", kind, ["batch", heads, width, stored], key)
        graph.output(f"value_{i}", kind, ["batch", heads, stored, width], value)
        if int8:
            total = graph.op(
                "ReduceSum",
                graph.op("Cast", key, to=6),
                graph.weight(np.array([2], np.int64)),
                keepdims=1,
            )
            offset = graph.op("Mul", total, graph.weight(-128, np.int32))
            graph.output(f"key_sum_{i}", "INT32", ["batch", heads, 1, stored], offset)
            graph.output(f"key_scale_{i}", "FLOAT", ["batch", heads, 1, width], key_scale)
            graph.output(f"value_scale_{i}", "FLOAT", ["batch", heads, 1, width], value_scale)
    return graph


def _int8_along(graph: Graph, x: str, axis: int) -> tuple[str, str]:
    """`x` as int8 with one scale per line along `axis`; (integers, scales)."""
    top = graph.op("ReduceMax", graph.op("Abs", x), axes=[axis], keepdims=1)
    top = graph.op("Max", top, graph.weight(1e-9, np.float32))
    scale = graph.op("Mul", top, graph.weight(1 / 127, np.float32))
    one, zero = graph.weight(1, np.float32), graph.weight(0, np.int8)
    return graph.op("QuantizeLinear", graph.op("Div", x, scale), one, zero), scale
