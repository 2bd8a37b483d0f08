"""Builds the encoder graph, for windows of any length, and the graph of cross-attention keys and values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.compile.graph import Graph
from asr_batch.models.whisper.compile.layers import (
    GELU_LEAST,
    AttentionWeights,
    Style,
    add_and_norm,
    int8_channels,
    int8_columns_of,
    int8_product,
    layer_norm,
    linear,
    names_of,
    padded_head,
    quantise_window,
)
from asr_batch.models.whisper.compile.weights import Source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import BLOCK

Float32 = NDArray[np.float32]


def build_encoder(
    source: Source,
    config: WhisperConfig,
    style: Style,
    spiky: frozenset[int] = frozenset(),
) -> Graph:
    """Log-mel [batch, n_mels, 2 * positions] to hidden states [batch, positions, d_model].

    In the layers `spiky`, the last product has a scale per row instead of one per window.
    """
    graph = Graph("encoder")
    d = config.d_model
    x = graph.input("log_mel", "FLOAT", ["batch", config.n_mels, "frames"])
    stem = _stem_int8 if style == "tensor" else _stem
    x = stem(graph, x, source, config)
    skip: str | None = None
    for i in range(config.encoder_layers):
        name = f"encoder.layers.{i}"
        if skip is None:
            skip, y = x, layer_norm(graph, x, source, f"{name}.self_attn_layer_norm", d)
        else:
            skip, y = add_and_norm(graph, skip, x, source, f"{name}.self_attn_layer_norm", d)
        y = _self_attention(graph, y, source, name, config, style)
        skip, y = add_and_norm(graph, skip, y, source, f"{name}.final_layer_norm", d)
        wide = _widened(graph, y, source, name, d, config.encoder_ffn, style)
        narrow: Style = "row" if style == "tensor" and i in spiky else style
        x = _narrowed(graph, wide, source, name, d, config.encoder_ffn, narrow)
    assert skip is not None
    _, y = add_and_norm(graph, skip, x, source, "encoder.layer_norm", d)
    graph.output("hidden", "FLOAT", ["batch", "positions", d], y)
    return graph


def _stem(graph: Graph, x: str, source: Source, config: WhisperConfig) -> str:
    """Two convolutions with GELU, then the position table: [batch, positions, d_model]."""
    d = config.d_model
    for i, (width, stride) in enumerate([(config.n_mels, 1), (d, 2)], 1):
        weight = graph.weight(source.get(f"encoder.conv{i}.weight", d, width, 3))
        bias = graph.weight(source.get(f"encoder.conv{i}.bias", d))
        x = graph.op("Conv", x, weight, bias, kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = graph.op("Gelu", x)
    return _placed(graph, graph.op("Transpose", x, perm=[0, 2, 1]), source, config)


def _placed(graph: Graph, x: str, source: Source, config: WhisperConfig) -> str:
    """`x` [batch, positions, d_model] plus the first rows of the position table."""
    name = "encoder.embed_positions.weight"
    table = graph.weight(source.get(name, config.max_source_positions, config.d_model), name=name)
    count = graph.op("Slice", graph.op("Shape", x), *(graph.weight([n], np.int64) for n in (1, 2)))
    rows = graph.op("Slice", table, graph.weight([0], np.int64), count, graph.weight([0], np.int64))
    return graph.op("Add", x, rows)


def _stem_int8(graph: Graph, x: str, source: Source, config: WhisperConfig) -> str:
    """:func:`_stem` with both convolutions as int8 products over three neighbouring frames."""
    d, mels = config.d_model, config.n_mels
    x, scale, zero = quantise_window(graph, graph.op("Transpose", x, perm=[0, 2, 1]))
    before, after = _shifted(graph, x, zero, mels, 1), _shifted(graph, x, zero, mels, -1)
    rows = graph.op("Concat", before, x, after, axis=2)
    y = int8_product(graph, (rows, scale, zero), *_conv_weights(source, 1, d, mels), "encoder.conv1")
    x, scale, zero = quantise_window(graph, graph.op("Gelu", y))
    pairs = graph.op("Reshape", x, graph.weight([0, -1, 2 * d], np.int64))  # frames 2t, 2t + 1
    odd = graph.op("Slice", pairs, *(graph.weight([n], np.int64) for n in (d, 2 * d, 2)))
    rows = graph.op("Concat", _shifted(graph, odd, zero, d, 1), pairs, axis=2)
    y = int8_product(graph, (rows, scale, zero), *_conv_weights(source, 2, d, d), "encoder.conv2")
    return _placed(graph, graph.op("Gelu", y), source, config)


def _conv_weights(source: Source, i: int, d: int, width: int) -> tuple[Float32, Float32]:
    """Convolution i as a product: [3 * width, d], and its bias."""
    weight = source.get(f"encoder.conv{i}.weight", d, width, 3)
    return weight.transpose(2, 1, 0).reshape(3 * width, d), source.get(f"encoder.conv{i}.bias", d)


def _shifted(graph: Graph, x: str, zero: str, width: int, by: int) -> str:
    """`x` [1, n, width] shifted by one row (1: row t is row t - 1; -1: row t + 1), padded with `zero`."""
    zeros = graph.op("Expand", zero, graph.weight([1, 1, width], np.int64))
    start, end = (0, -1) if by == 1 else (1, np.iinfo(np.int64).max)
    rest = graph.op("Slice", x, *(graph.weight([n], np.int64) for n in (start, end, 1)))
    return graph.op("Concat", *((zeros, rest) if by == 1 else (rest, zeros)), axis=1)


def _self_attention(
    graph: Graph, x: str, source: Source, name: str, config: WhisperConfig, style: Style
) -> str:
    heads = config.encoder_heads
    w = AttentionWeights(source, f"{name}.self_attn", config.d_model, heads)
    if style == "tensor":
        y = _int8_attention(graph, x, w, heads, f"{name}.self_attn")
    else:
        qkv = linear(graph, x, *w.qkv(), style)
        parts = [f"{name}.{kind}" for kind in "qkv"]
        graph.ops("Split", qkv, graph.weight([w.q.shape[1]] * 3, np.int64), outs=parts, axis=-1)
        y = graph.op("MultiHeadAttention", *parts, num_heads=heads, scale=w.scale)
    return linear(graph, y, w.out, w.out_bias, style, f"{name}.self_attn.out_proj")


def _int8_attention(graph: Graph, x: str, w: AttentionWeights, heads: int, name: str) -> str:
    """Int8 attention of one window `x` [1, positions, d_model]; returns [1, positions, heads * width].

    Keys and values have a scale per channel. The keys' scales are folded into the queries, which then have
    one scale, so the error of a score is the same in every head; the values' scales apply to the product's
    columns. Softmax weights have a scale per row: a flat row then uses 255 levels, not two or three. Heads
    are processed one by one, so that the scores of a head stay in the cache of a core.
    """
    inner = w.q.shape[1]
    rows = quantise_window(graph, x)
    factor = np.float32(w.scale)
    query = int8_product(graph, rows, w.q * factor, w.q_bias * factor, f"{name}.q_proj")
    both = int8_product(graph, rows, np.concatenate([w.k, w.v], axis=1), None, f"{name}.kv_proj")
    both = graph.op("Reshape", both, graph.weight([-1, 2 * inner], np.int64))
    both, scale = int8_columns_of(graph, both)
    scales = graph.ops("Split", scale, graph.weight([inner, inner], np.int64), outs=names_of(scale, 2))
    query = graph.op("Reshape", graph.op("Mul", query, scales[0]), graph.weight([-1, inner], np.int64))
    query, step, zero = quantise_window(graph, query)
    queries = _heads(graph, query, heads, inner // heads)
    keys_values = _heads(graph, both, 2 * heads, inner // heads)
    value_scales = [scales[1]]
    if heads > 1:
        sizes = graph.weight([inner // heads] * heads, np.int64)
        value_scales = graph.ops("Split", scales[1], sizes, outs=names_of(scales[1], heads))
    one, sums = graph.weight(1, np.float32), []
    for head, query in enumerate(queries):
        key = graph.op("Transpose", keys_values[head], perm=[1, 0])
        weights, top = _softmax_bytes(graph, graph.op("MatMulIntegerToFloat", query, key, step, one, zero))
        value = keys_values[heads + head]
        y = graph.op("MatMulIntegerToFloat", weights, value, one, value_scales[head])
        sums.append(graph.op("Mul", y, top))
    y = graph.op("Concat", *sums, axis=1) if heads > 1 else sums[0]
    return graph.op("Reshape", y, graph.weight([1, -1, inner], np.int64))


def _heads(graph: Graph, x: str, heads: int, width: int) -> list[str]:
    """`x` [positions, heads * width] as one [positions, width] per head."""
    if heads == 1:
        return [x]
    return graph.ops("Split", x, graph.weight([width] * heads, np.int64), outs=names_of(x, heads), axis=1)


def _softmax_bytes(graph: Graph, scores: str) -> tuple[str, str]:
    """Softmax over the rows of `scores` [n, m] as bytes, and the scale of each row [n, 1]."""
    weights = graph.op("Softmax", scores, axis=-1)
    top = graph.op("ReduceMax", weights, axes=[-1], keepdims=0)
    scale = graph.op("Mul", top, graph.weight(1 / 255, np.float32))
    weights = graph.op("QuantizeLinear", weights, scale, axis=0)
    return weights, graph.op("Unsqueeze", scale, graph.weight([1], np.int64))


def feed_forward(graph: Graph, x: str, source: Source, name: str, d: int, inner: int, style: Style) -> str:
    """Linear, GELU, linear."""
    y = _widened(graph, x, source, name, d, inner, style)
    return _narrowed(graph, y, source, name, d, inner, style)


def _widened(graph: Graph, x: str, source: Source, name: str, d: int, inner: int, style: Style) -> str:
    weight, bias = source.get(f"{name}.fc1.weight", inner, d).T, source.get(f"{name}.fc1.bias", inner)
    return graph.op("Gelu", linear(graph, x, weight, bias, style, f"{name}.fc1"))


def _narrowed(graph: Graph, x: str, source: Source, name: str, d: int, inner: int, style: Style) -> str:
    weight, bias = source.get(f"{name}.fc2.weight", d, inner).T, source.get(f"{name}.fc2.bias", d)
    return linear(graph, x, weight, bias, style, f"{name}.fc2", GELU_LEAST)


def build_cross(source: Source, config: WhisperConfig, *, int8: bool) -> Graph:
    """States [batch, stored, d_model] to each decoder layer's cross-attention keys and values.

    `key_I` is [batch, heads, width, stored] (transposed for the product with a query), `value_I` [batch,
    heads, stored, width], without bias. With `int8`, `stored` is a multiple of `BLOCK`, `key_I` is split
    into chunks of positions [batch, heads, chunks, width, BLOCK], and both are integers with a scale per
    channel, `key_scale_I` [batch, heads, 1, width] and `value_scale_I`. `key_sum_I` [batch, heads, 1,
    stored] is -128 times the keys' column sums: queries are unsigned bytes around 128, and this removes
    the offset.
    """
    if int8:
        return _build_cross_int8(source, config)
    graph = Graph("cross")
    heads, width = config.decoder_heads, padded_head(config.head_dim)
    hidden = graph.input("hidden", "FLOAT", ["batch", "stored", config.d_model])
    shape = graph.weight([0, 0, heads, width], np.int64)
    for i in range(config.decoder_layers):
        w = AttentionWeights(source, f"decoder.layers.{i}.encoder_attn", config.d_model, heads)
        both = linear(graph, hidden, np.concatenate([w.k, w.v], axis=1), None, "fp32")
        parts = [f"k{i}", f"v{i}"]
        graph.ops("Split", both, graph.weight([heads * width] * 2, np.int64), outs=parts, axis=-1)
        key, value = (graph.op("Reshape", part, shape) for part in parts)
        graph.op("Transpose", key, perm=[0, 2, 3, 1], out=f"key_{i}")
        graph.op("Transpose", value, perm=[0, 2, 1, 3], out=f"value_{i}")
        graph.output(f"key_{i}", "FLOAT", ["batch", heads, width, "stored"])
        graph.output(f"value_{i}", "FLOAT", ["batch", heads, "stored", width])
    return graph


def _build_cross_int8(source: Source, config: WhisperConfig) -> Graph:
    """Keys and values of each layer as integers with a scale per channel, of one window."""
    graph, layers = Graph("cross"), config.decoder_layers
    heads, width = config.decoder_heads, padded_head(config.head_dim)
    hidden = graph.input("hidden", "FLOAT", ["batch", "stored", config.d_model])
    rows = quantise_window(graph, hidden)
    for i in range(layers):
        name = f"decoder.layers.{i}.encoder_attn"
        w = AttentionWeights(source, name, config.d_model, heads)
        both = int8_product(graph, rows, np.concatenate([w.k, w.v], axis=1), None, f"{name}.kv_proj")
        turned = graph.op("Transpose", both, perm=[0, 2, 1])
        whole, scale = int8_channels(graph, turned, 2 * heads * width)
        whole = graph.op("Reshape", whole, graph.weight([2, heads, width, -1], np.int64))
        scale = graph.op("Reshape", scale, graph.weight([2, heads, 1, width], np.int64))
        graph.ops("Split", whole, graph.weight([1, 1], np.int64), outs=[f"rows_{i}", f"turned_{i}"], axis=0)
        chunks = graph.weight([1, heads, width, -1, BLOCK], np.int64)
        graph.op("Transpose", graph.op("Reshape", f"rows_{i}", chunks), perm=[0, 1, 3, 2, 4], out=f"key_{i}")
        scales = [f"key_scale_{i}", f"value_scale_{i}"]
        graph.ops("Split", scale, graph.weight([1, 1], np.int64), outs=scales, axis=0)
        total = graph.op("MatMulInteger", graph.weight(np.ones((1, width), np.uint8)), f"rows_{i}")
        graph.op("Mul", total, graph.weight(-128, np.int32), out=f"key_sum_{i}")
        graph.op("Transpose", f"turned_{i}", perm=[0, 1, 3, 2], out=f"value_{i}")
        graph.output(f"key_{i}", "INT8", ["batch", heads, "chunks", width, BLOCK])
        graph.output(f"value_{i}", "INT8", ["batch", heads, "stored", width])
        graph.output(f"key_sum_{i}", "INT32", ["batch", heads, 1, "stored"])
        for name in scales:
            graph.output(name, "FLOAT", ["batch", heads, 1, width])
    return graph
