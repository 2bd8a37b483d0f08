"""Whisper in the form that Hailo's compiler needs: static shapes, plain operators, no cache, no dynamic axes.

Follows the conversions in github.com/hailocs/hailo-whisper and
github.com/ktomanek/huggingface_whisper_to_hailo_conversion. Encoder, opset 17: the two Conv1d become Conv2d
with kernel (1, 3) over [1, n_mels, 1, frames] (the compiler turns NCHW into the device's NHWC), explicit
attention, the first positions of the table. Decoder, opset 13: a fixed number of tokens, the whole sequence
at each step, the vocabulary projection in four parts, and a reshape after the embedding that the parser looks
for. Nodes at the decoder's boundaries have the names that the scripts use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx import writer
from asr_batch.models.onnx.shapes import static_shapes
from asr_batch.models.onnx.tensors import type_number
from asr_batch.models.whisper.config import WhisperConfig

Float32 = NDArray[np.float32]
PARTS = 4
MASKED = -1e4
EPSILON = 1e-5
MEMORY_NODE, POSITIONS_NODE, EMBEDDED_NODE = "encoder_hidden_states", "/Add", "/Reshape"
END_NODES = ("/MatMul", "/MatMul_1", "/MatMul_2", "/MatMul_3")


class Weights(Protocol):
    """Tensors by Hugging Face name without `model.`."""

    def get(self, name: str, *shape: int) -> Float32:
        """The tensor as float32; raises ModelError if it is missing or has another shape."""


class StaticGraph:
    """An ONNX graph under construction, weights inside, every shape known."""

    def __init__(self, weights: Weights, opset: int) -> None:
        self._weights = weights
        self.opset = opset
        self._parts = writer.GraphParts()

    def op(self, kind: str, *inputs: str, name: str = "", out: str = "", **attributes: Any) -> str:
        """Append a node with one output; returns the output's name."""
        nodes = self._parts.nodes
        out, name = out or f"v{len(nodes)}", name or f"{kind}_{len(nodes)}"
        made = tuple(writer.make_attribute(key, value) for key, value in attributes.items())
        nodes.append(writer.Node(kind, inputs, (out,), attributes=made, name=name))
        return out

    def constant(self, value: Any, name: str = "", dtype: Any = np.float32) -> str:
        """A constant by value; the same name is stored once."""
        tensors = self._parts.tensors
        name = name or f"c{len(tensors)}"
        if name not in tensors:
            array = np.asarray(value, dtype)
            kind = type_number(array.dtype.name)
            tensors[name] = writer.make_tensor(name, kind, array.shape, array.tobytes())
        return name

    def weight(self, name: str, *shape: int) -> Float32:
        """A tensor of the model."""
        return self._weights.get(name, *shape)

    def reshape(self, x: str, *shape: int, name: str = "") -> str:
        """Reshape a value."""
        return self.op("Reshape", x, self.constant(shape, dtype=np.int64), name=name)

    def linear(self, x: str, name: str, inner: int, outer: int, bias: bool = True) -> str:
        """The product x @ weight.T + bias, with the names of `torch.nn.Linear`."""
        matrix = self.constant(self.weight(f"{name}.weight", outer, inner).T, f"{name}.weight.T")
        y = self.op("MatMul", x, matrix)
        if not bias:
            return y
        return self.op("Add", y, self.constant(self.weight(f"{name}.bias", outer), f"{name}.bias"))

    def norm(self, x: str, name: str, width: int) -> str:
        """Layer normalisation over the last axis; in single operators before opset 17."""
        scale = self.constant(self.weight(f"{name}.weight", width), f"{name}.weight")
        shift = self.constant(self.weight(f"{name}.bias", width), f"{name}.bias")
        if self.opset >= 17:
            return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1], keepdims=1))
        square = self.op("Pow", centred, self.constant(2.0, "two"))
        variance = self.op("ReduceMean", square, axes=[-1], keepdims=1)
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(EPSILON, "epsilon")))
        scaled = self.op("Mul", self.op("Div", centred, deviation), scale)
        return self.op("Add", scaled, shift)

    def gelu(self, x: str) -> str:
        """Exact GELU in the operators that torch exports."""
        erf = self.op("Erf", self.op("Div", x, self.constant(np.sqrt(2.0), "sqrt2")))
        y = self.op("Mul", x, self.op("Add", erf, self.constant(1.0, "one")))
        return self.op("Mul", y, self.constant(0.5, "half"))

    def attention(
        self, x: str, memory: str, name: str, sizes: tuple[int, int, int, int], mask: str = ""
    ) -> str:
        """Explicit attention of `x` over `memory`; `sizes`: width, heads, length of x, length of memory."""
        width, heads, length, past = sizes
        head = width // heads
        query = self.linear(x, f"{name}.q_proj", width, width)
        query = self.op("Mul", query, self.constant(head**-0.5, f"scale{head}"))
        key = self.linear(memory, f"{name}.k_proj", width, width, bias=False)
        value = self.linear(memory, f"{name}.v_proj", width, width)
        query = self.op("Transpose", self.reshape(query, 1, length, heads, head), perm=[0, 2, 1, 3])
        key = self.op("Transpose", self.reshape(key, 1, past, heads, head), perm=[0, 2, 3, 1])
        value = self.op("Transpose", self.reshape(value, 1, past, heads, head), perm=[0, 2, 1, 3])
        scores = self.op("MatMul", query, key)
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), value)
        joined = self.reshape(self.op("Transpose", mixed, perm=[0, 2, 1, 3]), 1, length, width)
        return self.linear(joined, f"{name}.out_proj", width, width)

    def mlp(self, x: str, name: str, width: int, inner: int) -> str:
        """The feed-forward half of a layer with its residual."""
        y = self.norm(x, f"{name}.final_layer_norm", width)
        y = self.gelu(self.linear(y, f"{name}.fc1", width, inner))
        return self.op("Add", x, self.linear(y, f"{name}.fc2", inner, width))

    def input(self, name: str, shape: Sequence[int], dtype: str = "FLOAT") -> str:
        """Declare an input."""
        self._parts.inputs.append(writer.make_value(name, type_number(dtype), shape))
        return name

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare an output that a node makes."""
        self._parts.outputs.append(writer.make_value(name, writer.FLOAT_TYPE, shape))

    def save(self, path: Path, name: str) -> None:
        """Check the graph, add the shape of every value, write it."""
        parts = replace(self._parts, name=name, opsets=[writer.make_opset("", self.opset)], ir_version=8)
        path.write_bytes(replace(parts, values=static_shapes(parts)).raw())


def write_encoder(path: Path, weights: Weights, config: WhisperConfig, frames: int) -> None:
    """Write the encoder for windows of `frames`: log_mel [1, n_mels, 1, frames] to hidden_states."""
    g = StaticGraph(weights, 17)
    width, positions = config.d_model, frames // 2
    x = g.input("log_mel", [1, config.n_mels, 1, frames])
    for number, (inner, stride) in enumerate(((config.n_mels, 1), (width, 2)), start=1):
        name = f"encoder.conv{number}"
        kernel = g.weight(f"{name}.weight", width, inner, 3)[:, :, np.newaxis, :]
        bias = g.constant(g.weight(f"{name}.bias", width), f"{name}.bias")
        x = g.op(
            "Conv",
            x,
            g.constant(kernel, f"{name}.weight"),
            bias,
            kernel_shape=[1, 3],
            pads=[0, 1, 0, 1],
            strides=[1, stride],
        )
        x = g.gelu(x)
    x = g.op("Transpose", g.reshape(x, 1, width, positions), perm=[0, 2, 1])
    table = g.weight("encoder.embed_positions.weight", config.max_source_positions, width)
    x = g.op("Add", x, g.constant(table[:positions], "positions"))
    for layer in range(config.encoder_layers):
        name = f"encoder.layers.{layer}"
        y = g.norm(x, f"{name}.self_attn_layer_norm", width)
        sizes = (width, config.encoder_heads, positions, positions)
        x = g.op("Add", x, g.attention(y, y, f"{name}.self_attn", sizes))
        x = g.mlp(x, name, width, config.encoder_ffn)
    final = g.norm(x, "encoder.layer_norm", width)
    g.op("Identity", final, out="hidden_states")
    g.output("hidden_states", [1, positions, width])
    g.save(path, "whisper_encoder")


def write_decoder(
    path: Path,
    weights: Weights,
    config: WhisperConfig,
    *,
    tokens: int,
    positions: int,
    cut: bool,
    add_positions: bool = False,
) -> None:
    """Write the decoder over `tokens` ids at once.

    Whole: decoder_input_ids [1, tokens] and encoder_hidden_states [1, positions, width] to logits [1,
    tokens, vocab]. `cut`, the part for the NPU: embedded tokens [1, tokens, width] instead of ids, and
    four parts of the logits; the host looks up tokens, and adds the positions unless `add_positions`.
    """
    g = StaticGraph(weights, 13)
    width = config.d_model
    table = g.weight("decoder.embed_tokens.weight", config.vocab_size, width)
    memory = g.input("encoder_hidden_states", [1, positions, width])
    if cut:
        x = g.input("embedded_tokens", [1, tokens, width])
    else:
        ids = g.input("decoder_input_ids", [1, tokens], "INT64")
        x = g.op("Gather", g.constant(table, "decoder.embed_tokens.weight"), ids, axis=0)
    if not cut or add_positions:
        learned = g.weight("decoder.embed_positions.weight", config.max_target_positions, width)
        x = g.op("Add", x, g.constant(learned[:tokens], "positions"), name=POSITIONS_NODE)
    x = g.op("Unsqueeze", x, g.constant([1], "axis", np.int64))
    x = g.op("Transpose", x, perm=[0, 3, 2, 1])
    x = g.reshape(x, 1, width, tokens, name=EMBEDDED_NODE)
    x = g.op("Transpose", x, perm=[0, 2, 1])
    x = _decoder_layers(g, config, x, memory, tokens, positions)
    _projection(g, x, table, tokens, cut)
    g.save(path, "whisper_decoder")


def _decoder_layers(
    g: StaticGraph, config: WhisperConfig, x: str, memory: str, tokens: int, positions: int
) -> str:
    width, heads = config.d_model, config.decoder_heads
    mask = g.constant(np.triu(np.full((1, 1, tokens, tokens), MASKED), 1), "causal_mask")
    for layer in range(config.decoder_layers):
        name = f"decoder.layers.{layer}"
        y = g.norm(x, f"{name}.self_attn_layer_norm", width)
        x = g.op("Add", x, g.attention(y, y, f"{name}.self_attn", (width, heads, tokens, tokens), mask))
        y = g.norm(x, f"{name}.encoder_attn_layer_norm", width)
        x = g.op("Add", x, g.attention(y, memory, f"{name}.encoder_attn", (width, heads, tokens, positions)))
        x = g.mlp(x, name, width, config.decoder_ffn)
    return g.norm(x, "decoder.layer_norm", width)


def _projection(g: StaticGraph, x: str, table: Float32, tokens: int, cut: bool) -> None:
    """Logits in four parts, because the whole product is too large for the chip."""
    borders = vocabulary_borders(len(table))
    parts = []
    for number, (name, start, end) in enumerate(zip(END_NODES, borders, borders[1:], strict=False)):
        matrix = g.constant(table[start:end].T, f"projection_{number}")
        parts.append(g.op("MatMul", x, matrix, name=name, out=f"logits_{number}"))
        if cut:
            g.output(parts[-1], [1, tokens, end - start])
    if not cut:
        g.op("Concat", *parts, axis=-1, out="logits")
        g.output("logits", [1, tokens, len(table)])


def vocabulary_borders(vocabulary: int) -> list[int]:
    """Boundaries of the four parts of the projection; the last one takes the remainder."""
    size = vocabulary // PARTS
    return [*(size * part for part in range(PARTS)), vocabulary]
