"""Builds the decoder graph: any number of new tokens per sequence on top of shared static caches.

Self-attention is ONNX Runtime's `GroupQueryAttention`: past and present are one buffer (bound by the
caller), and `lengths` is the valid length per sequence, so sequences of different ages share a batch.

Cross-attention reads the keys and values of :func:`build_cross`, for a window's positions and the states
of silence after it. `cross_bias` weights them per sequence: 0 at a position, ln(n) at a state that
represents n positions, a very low value elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.compile.encoder import feed_forward
from asr_batch.models.whisper.compile.graph import Graph
from asr_batch.models.whisper.compile.layers import (
    ROW_SCALE,
    AttentionWeights,
    Style,
    add_and_norm,
    layer_norm,
    linear,
    padded_head,
    quantise_rows,
)
from asr_batch.models.whisper.compile.vocabulary import Vocabulary, project
from asr_batch.models.whisper.compile.weights import Source
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.silence import BLOCK

Float32 = NDArray[np.float32]


class DecoderBuilder:
    """Builds one decoder graph.

    It outputs the normalised states [batch, d_model] of the last position, the input of the vocabulary
    graphs. With `heads` (pairs of layer and head) it outputs their cross-attention weights and the logits
    of every position instead, for word times. Every step also outputs the mean weights of the heads
    `followed`, in groups of :data:`GROUP` positions, which give each token's position in the window.
    """

    def __init__(
        self,
        source: Source,
        config: WhisperConfig,
        vocabulary: Vocabulary,
        style: Style,
        heads: Sequence[tuple[int, int]] = (),
        followed: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._source, self._config, self._vocabulary = source, config, vocabulary
        self._style = style
        self._heads, self._followed = tuple(heads), tuple(followed)
        self._width = padded_head(config.head_dim)
        self._int8 = style != "fp32"
        self._graph = Graph("decoder")
        self._attention: list[str] = []
        self._following: list[str] = []

    def build(self) -> Graph:
        """The finished graph."""
        graph, config, d = self._graph, self._config, self._config.d_model
        graph.input("lengths", "INT32", ["batch"])  # tokens in the cache after this call, minus one
        graph.input("longest", "INT32", [1])  # their maximum, not minus one
        bias = graph.input("cross_bias", "FLOAT", ["batch", 1, 1, "stored"])
        skip, x = self._embed(), ""
        for i in range(config.decoder_layers):
            name = f"decoder.layers.{i}"
            if not i:
                y = layer_norm(graph, skip, self._source, f"{name}.self_attn_layer_norm", d)
            else:
                skip, y = add_and_norm(graph, skip, x, self._source, f"{name}.self_attn_layer_norm", d)
            y = self._self_attention(y, name, i)
            skip, y = add_and_norm(graph, skip, y, self._source, f"{name}.encoder_attn_layer_norm", d)
            y = self._cross_attention(y, name, i, bias)
            skip, y = add_and_norm(graph, skip, y, self._source, f"{name}.final_layer_norm", d)
            x = feed_forward(graph, y, self._source, name, d, config.decoder_ffn, self._style)
        _, y = add_and_norm(graph, skip, x, self._source, "decoder.layer_norm", d)
        self._outcome(y)
        if self._attention:
            graph.op("Concat", *self._attention, out="attention", axis=1)
            graph.output("attention", "FLOAT", ["batch", len(self._heads), "new", "stored"])
        if self._following:
            self._attended()
        return graph

    def _embed(self) -> str:
        """Token and position embeddings [batch, new, d_model]."""
        graph, config = self._graph, self._config
        ids = graph.input("ids", "INT64", ["batch", "new"])
        at = graph.input("positions", "INT64", ["batch", "new"])
        name, scales = "decoder.embed_tokens", self._vocabulary.scale
        kind = "weight" if scales is None else "int8"
        x = graph.op("Gather", graph.weight(self._vocabulary.table, name=f"{name}.{kind}"), ids)
        if scales is not None:
            scale = graph.op("Gather", graph.weight(scales, name=f"{name}.scale"), ids)
            scale = graph.op("Unsqueeze", scale, graph.weight([-1], np.int64))
            x = graph.op("Mul", graph.op("Cast", x, to=1), scale)
        if config.scale_embedding:
            x = graph.op("Mul", x, graph.weight(math.sqrt(config.d_model), np.float32))
        name = "decoder.embed_positions.weight"
        table = self._source.get(name, config.max_target_positions, config.d_model)
        return graph.op("Add", x, graph.op("Gather", graph.weight(table, name=name), at))

    def _self_attention(self, x: str, name: str, i: int) -> str:
        graph, heads = self._graph, self._config.decoder_heads
        w = AttentionWeights(self._source, f"{name}.self_attn", self._config.d_model, heads)
        weight, bias = w.qkv()
        qkv = linear(graph, x, weight, bias, self._style, f"{name}.self_attn.qkv_proj")
        shape: list[int | str] = ["batch", heads, "capacity", self._width]
        past = [graph.input(f"past_{kind}_{i}", "FLOAT", shape) for kind in ("key", "value")]
        present = [f"present_{kind}_{i}" for kind in ("key", "value")]
        outs = [f"{name}.self", *present]
        inputs = [qkv, "", "", *past, "lengths", "longest"]
        sizes = {"num_heads": heads, "kv_num_heads": heads, "scale": w.scale}
        graph.ops("GroupQueryAttention", *inputs, outs=outs, **sizes)
        for kind in present:
            graph.output(kind, "FLOAT", shape)
        return linear(graph, outs[0], w.out, w.out_bias, self._style, f"{name}.self_attn.out_proj")

    def _cross_attention(self, x: str, name: str, i: int, bias: str) -> str:
        graph, heads, width = self._graph, self._config.decoder_heads, self._width
        w = AttentionWeights(self._source, f"{name}.encoder_attn", self._config.d_model, heads)
        kind = "INT8" if self._int8 else "FLOAT"
        chunked: list[int | str] = ["batch", heads, "chunks", width, BLOCK]
        whole: list[int | str] = ["batch", heads, width, "stored"]
        key = graph.input(f"key_{i}", kind, chunked if self._int8 else whole)
        value = graph.input(f"value_{i}", kind, ["batch", heads, "stored", width])
        scale = np.float32(w.scale)
        name = f"{name}.encoder_attn"
        query = linear(graph, x, w.q * scale, w.q_bias * scale, self._style, f"{name}.q_proj")
        query = graph.op("Reshape", query, graph.weight([0, 0, heads, width], np.int64))
        query = graph.op("Transpose", query, perm=[0, 2, 1, 3])
        scores = self._int8_scores(query, key, i) if self._int8 else graph.op("MatMul", query, key)
        weights = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
        self._keep_attention(weights, i)
        y = self._int8_sum(weights, value, i) if self._int8 else graph.op("MatMul", weights, value)
        y = graph.op("Transpose", y, perm=[0, 2, 1, 3])
        y = graph.op("Reshape", y, graph.weight([0, 0, heads * width], np.int64))
        return linear(graph, y, w.out, w.out_bias, self._style, f"{name}.out_proj")

    def _int8_scores(self, query: str, key: str, i: int) -> str:
        graph, heads = self._graph, self._config.decoder_heads
        channel = graph.input(f"key_scale_{i}", "FLOAT", ["batch", heads, 1, self._width])
        offset = graph.input(f"key_sum_{i}", "INT32", ["batch", heads, 1, "stored"])
        rows, top = quantise_rows(graph, graph.op("Mul", query, channel))
        rows = graph.op("Unsqueeze", rows, graph.weight([2], np.int64))
        # Without a zero point, ONNX Runtime has a matrix-vector kernel: 0.06 ms instead of 0.17.
        product = graph.op("Transpose", graph.op("MatMulInteger", rows, key), perm=[0, 1, 3, 2, 4])
        product = graph.op("Reshape", product, graph.weight([0, 0, 0, -1], np.int64))
        product = graph.op("Cast", graph.op("Add", product, offset), to=1)
        return graph.op("Mul", product, graph.op("Mul", top, graph.weight(ROW_SCALE, np.float32)))

    def _int8_sum(self, weights: str, value: str, i: int) -> str:
        graph, heads = self._graph, self._config.decoder_heads
        channel = graph.input(f"value_scale_{i}", "FLOAT", ["batch", heads, 1, self._width])
        top = graph.op("ReduceMax", weights, axes=[-1], keepdims=1)
        step, zero = graph.weight(1 / 255, np.float32), graph.weight(0, np.uint8)
        rows = graph.op("QuantizeLinear", graph.op("Div", weights, top), step, zero)
        product = graph.op("Cast", graph.op("MatMulInteger", rows, value), to=1)
        return graph.op("Mul", product, graph.op("Mul", graph.op("Mul", top, step), channel))

    def _keep_attention(self, weights: str, layer: int) -> None:
        for head in (h for at, h in self._heads if at == layer):
            index = self._graph.weight([head], np.int64)
            self._attention.append(self._graph.op("Gather", weights, index, axis=1))
        followed = [h for at, h in self._followed if at == layer]
        if followed:
            index = self._graph.weight(followed, np.int64)
            self._following.append(self._graph.op("Gather", weights, index, axis=1))

    def _attended(self) -> None:
        """Output `attended` [batch, new, stored / GROUP]: the followed heads' mean weights by group."""
        graph, several = self._graph, len(self._following) > 1
        kept = graph.op("Concat", *self._following, axis=1) if several else self._following[0]
        mean = graph.op("ReduceMean", kept, axes=[1], keepdims=0)
        grouped = graph.op("Reshape", mean, graph.weight([0, 0, -1, GROUP], np.int64))
        graph.op("ReduceSum", grouped, graph.weight([-1], np.int64), out="attended", keepdims=0)
        graph.output("attended", "FLOAT", ["batch", "new", "groups"])

    def _outcome(self, x: str) -> None:
        graph, config = self._graph, self._config
        if self._heads:
            project(graph, x, self._vocabulary, "logits")
            graph.output("logits", "FLOAT", ["batch", "new", config.vocab_size])
        else:
            graph.op("Gather", x, graph.weight(-1, np.int64), axis=1, out="states")
            graph.output("states", "FLOAT", ["batch", config.d_model])


def order_of(heads: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The order of the heads in the graph's output `attention`."""
    return sorted(heads, key=lambda pair: pair[0])
