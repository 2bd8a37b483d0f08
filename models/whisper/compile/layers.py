"""Layers shared by encoder and decoder graphs: linear layers in every precision, norms, head padding."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.compile.graph import Graph
from asr_batch.models.whisper.compile.quantize import BLOCK, int4_blocks, int8_columns
from asr_batch.models.whisper.compile.weights import Source

Float32 = NDArray[np.float32]
Style = Literal["fp32", "row", "tensor", "int4"]
"""How a linear layer computes: float32; int8 with a scale per row (independent of the rest of the batch);
int8 with one scale per call (for calls with a single window); 4-bit blocks.
"""

ROW_SCALE = 1 / 127
"""A row's byte in units of the row's largest magnitude."""

_POOLED = 20  # rows per step of a maximum over rows

EPSILON = 1e-5  # torch.nn.LayerNorm's


GELU_LEAST = 0.17
"""Minimum of GELU is above minus this value: shifted by it, a row needs no sign and gains a bit."""


def linear(
    graph: Graph,
    x: str,
    weight: Float32,
    bias: Float32 | None,
    style: Style,
    name: str | None = None,
    least: float | None = None,
) -> str:
    """`x` [..., k] times `weight` [k, n] plus `bias` [n]; for `name` see :func:`_named_int8`.

    `least`: every value of `x` is at least minus this.
    """
    if style == "tensor":
        quantised, scale, *rest = _named_int8(graph, weight, bias, name)
        return graph.op("DynamicQuantizeMatMul", x, quantised, scale, "", *rest)
    if style == "row":
        quantised, scale, *rest = _named_int8(graph, weight, bias, name)
        if least is None:
            y = row_product(graph, x, quantised, scale)
        else:
            y = _row_product_above(graph, x, quantised, scale, least, weight)
        return graph.op("Add", y, *rest) if rest else y
    if style == "int4":
        blocks, scales = int4_blocks(weight)
        sizes = {"K": weight.shape[0], "N": weight.shape[1], "bits": 4, "block_size": BLOCK}
        names = graph.weight(blocks), graph.weight(scales)
        y = graph.op("MatMulNBits", x, *names, accuracy_level=4, **sizes)
    else:
        y = graph.op("MatMul", x, graph.weight(weight))
    return y if bias is None else graph.op("Add", y, graph.weight(bias))


def _named_int8(graph: Graph, weight: Float32, bias: Float32 | None, name: str | None) -> list[str]:
    """`weight` [k, n] as int8, its scales [n], and `bias` [n] if there is one, as constants of the graph.

    With `name` they are called `name`.int8, .scale and .bias, by which the kernel finds them in the file.
    """
    quantised, scale = int8_columns(weight)
    arrays: dict[str, NDArray[Any]] = {"int8": quantised, "scale": scale}
    if bias is not None:
        arrays["bias"] = bias
    return [graph.weight(array, name=f"{name}.{kind}" if name else None) for kind, array in arrays.items()]


def quantise_rows(graph: Graph, x: str) -> tuple[str, str]:
    """`x` [..., k] as uint8 around 128, and the largest magnitude of each row [..., 1].

    A byte represents that magnitude times `ROW_SCALE`. A row of zeros divides by zero on the way, but its
    magnitude is also zero, so its product is zero.
    """
    top = graph.op("ReduceMax", graph.op("Abs", x), axes=[-1], keepdims=1)
    step, middle = graph.weight(ROW_SCALE, np.float32), graph.weight(128, np.uint8)
    return graph.op("QuantizeLinear", graph.op("Div", x, top), step, middle), top


def row_product(graph: Graph, x: str, weight: str, column: str, out: str | None = None) -> str:
    """`x` [..., k] times the int8 `weight` [k, n] with the scales `column` [n] and a scale per row."""
    rows, top = quantise_rows(graph, x)
    step, middle = graph.weight(ROW_SCALE, np.float32), graph.weight(128, np.uint8)
    y = graph.op("MatMulIntegerToFloat", rows, weight, step, column, middle)
    return graph.op("Mul", y, top, out=out)


def _row_product_above(
    graph: Graph, x: str, quantised: str, scale: str, least: float, weight: Float32
) -> str:
    """:func:`row_product` for `x` >= -`least`: each row is shifted up, so that all 255 levels are used.

    The shift is a whole number of levels: otherwise the many values near zero would all be off in the same
    direction.
    """
    width = graph.op("Add", graph.op("ReduceMax", x, axes=[-1], keepdims=1), graph.weight(least, np.float32))
    levels = graph.op("Div", graph.weight(255, np.float32), width)
    zero = graph.op("Round", graph.op("Mul", levels, graph.weight(least, np.float32)))
    one, none = graph.weight(1, np.float32), graph.weight(0, np.uint8)
    rows = graph.op("QuantizeLinear", graph.op("Add", graph.op("Mul", x, levels), zero), one, none)
    y = graph.op("MatMulIntegerToFloat", rows, quantised, one, scale, none)
    integers, columns = int8_columns(weight)
    sums = integers.sum(axis=0, dtype=np.int32).astype(np.float32) * columns
    y = graph.op("Sub", y, graph.op("Mul", zero, graph.weight(sums)))
    return graph.op("Mul", y, graph.op("Mul", width, graph.weight(1 / 255, np.float32)))


def quantise_window(graph: Graph, x: str) -> tuple[str, str, str]:
    """`x` of one window as uint8, with one scale and zero point."""
    outs = [f"{x}.{kind}" for kind in ("bytes", "scale", "zero")]
    value, scale, zero = graph.ops("DynamicQuantizeLinear", x, outs=outs)
    return value, scale, zero


def int8_product(
    graph: Graph, x: tuple[str, str, str], weight: Float32, bias: Float32 | None, name: str | None = None
) -> str:
    """A window of :func:`quantise_window` times `weight` [k, n] plus `bias` [n]; `name` as in `linear`."""
    value, scale, zero = x
    quantised, column, *rest = _named_int8(graph, weight, bias, name)
    inputs = [value, quantised, scale, column, zero]
    return graph.op("MatMulIntegerToFloat", *inputs, *(["", *rest] if rest else []))


def layer_norm(graph: Graph, x: str, source: Source, name: str, width: int) -> str:
    """Layer normalisation with the parameters `name`.weight and `name`.bias."""
    gamma, beta = source.get(f"{name}.weight", width), source.get(f"{name}.bias", width)
    parameters = graph.weight(gamma, name=f"{name}.weight"), graph.weight(beta, name=f"{name}.bias")
    return graph.op("LayerNormalization", x, *parameters, axis=-1, epsilon=EPSILON)


def add_and_norm(graph: Graph, x: str, y: str, source: Source, name: str, width: int) -> tuple[str, str]:
    """The residual sum of `x` and `y`, and its layer normalisation: (sum, normalised).

    These are two operators: ONNX Runtime's fused one (SkipLayerNormalization) took eight times as long on
    500 rows.
    """
    total = graph.op("Add", x, y)
    return total, layer_norm(graph, total, source, name, width)


def int8_channels(graph: Graph, x: str, channels: int) -> tuple[str, str]:
    """`x` [1, channels, length] as int8 [channels, length], and the scale of each channel [channels].

    Flattened first: ONNX Runtime would move the preceding transposition after the maximum, which is then
    fifty times slower.
    """
    flat = graph.op("Reshape", x, graph.weight([channels, -1], np.int64))
    top = graph.op("ReduceMax", graph.op("Abs", flat), axes=[-1], keepdims=0)
    top = graph.op("Max", top, graph.weight(1e-9, np.float32))
    scale = graph.op("Mul", top, graph.weight(1 / 127, np.float32))
    zeros = graph.weight(np.zeros(channels, np.int8))
    return graph.op("QuantizeLinear", flat, scale, zeros, axis=0), scale


def int8_columns_of(graph: Graph, x: str) -> tuple[str, str]:
    """`x` [length, channels] as int8, and the scale of each channel [channels].

    Scaled before it is quantised: ONNX Runtime quantises along the last axis value by value. The maximum
    over rows is mostly a pooling, which takes half the time of `ReduceMax` alone.
    """
    image = graph.op("Unsqueeze", graph.op("Abs", x), graph.weight([0, 1], np.int64))
    some = graph.op("MaxPool", image, kernel_shape=[_POOLED, 1], strides=[_POOLED, 1], ceil_mode=1)
    top = graph.op("ReduceMax", some, axes=[0, 1, 2], keepdims=0)
    top = graph.op("Max", top, graph.weight(1e-9, np.float32))
    scaled = graph.op("Mul", x, graph.op("Div", graph.weight(127, np.float32), top))
    one, zero = graph.weight(1, np.float32), graph.weight(0, np.int8)
    return graph.op("QuantizeLinear", scaled, one, zero), graph.op(
        "Mul", top, graph.weight(1 / 127, np.float32)
    )


def names_of(value: str, count: int) -> list[str]:
    """Names for the parts of `value`."""
    return [f"{value}.{i}" for i in range(count)]


def padded_head(width: int) -> int:
    """The head width that the attention kernels need: the next multiple of 8."""
    return -(-width // 8) * 8


def pad_columns(weight: Float32, heads: int) -> Float32:
    """`weight` [..., heads * w] with every head's columns padded with zeros to :func:`padded_head`."""
    width = weight.shape[-1] // heads
    extra = padded_head(width) - width
    if not extra:
        return weight
    split = weight.reshape(*weight.shape[:-1], heads, width)
    padded = np.pad(split, [(0, 0)] * (split.ndim - 1) + [(0, extra)])
    return np.ascontiguousarray(padded.reshape(*weight.shape[:-1], -1))


class AttentionWeights:
    """Projections of one attention block, transposed for `x @ w`, heads padded; keys have no bias."""

    def __init__(self, source: Source, name: str, width: int, heads: int) -> None:
        def weight(kind: str) -> Float32:
            return source.get(f"{name}.{kind}_proj.weight", width, width).T

        def bias(kind: str) -> Float32:
            return source.get(f"{name}.{kind}_proj.bias", width)

        self.scale = (width // heads) ** -0.5
        self.q, self.q_bias = pad_columns(weight("q"), heads), pad_columns(bias("q"), heads)
        self.k, self.v = pad_columns(weight("k"), heads), pad_columns(weight("v"), heads)
        self.out = np.ascontiguousarray(pad_columns(weight("out").T, heads).T)
        # Softmax weights sum to one, so the bias of the values is a constant after the attention.
        # In float64, because the order of float32 sums, and so the last bit, depends on the processor.
        constant = bias("v").astype(np.float64) @ weight("out").astype(np.float64)
        self.out_bias = (bias("out") + constant).astype(np.float32)

    def qkv(self) -> tuple[Float32, Float32]:
        """The three projections as one [width, 3 * inner], and their bias without that of the values."""
        bias = np.concatenate([self.q_bias, np.zeros_like(self.q_bias), np.zeros_like(self.q_bias)])
        return np.concatenate([self.q, self.k, self.v], axis=1), bias
