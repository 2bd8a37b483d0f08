"""The vocabulary: the embedding table in the requested precision, and its graphs from states to logits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.whisper.compile.graph import PAGE, Graph
from asr_batch.models.whisper.compile.layers import row_product
from asr_batch.models.whisper.compile.quantize import int8_columns
from asr_batch.models.whisper.compile.weights import Source
from asr_batch.models.whisper.config import WhisperConfig

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The embedding table [vocab, d_model], stored once for lookup and projection.

    `table` is float32 with `scale` None, or int8 with one scale per token.
    """

    table: NDArray[np.float32] | NDArray[np.int8]
    scale: Float32 | None


def halves(vocabulary: Vocabulary) -> list[tuple[int, Vocabulary]]:
    """The vocabulary in two parts for two cores, each with its first token; one part if it is small.

    The parts begin on a page of the table.
    """
    tokens, row = len(vocabulary.table), vocabulary.table[0].nbytes
    step = PAGE // math.gcd(PAGE, row)
    middle = tokens // 2 // step * step
    borders = [0, middle, tokens] if middle else [0, tokens]
    scale = vocabulary.scale
    return [
        (start, Vocabulary(vocabulary.table[start:end], None if scale is None else scale[start:end]))
        for start, end in pairwise(borders)
    ]


def make_vocabulary(source: Source, config: WhisperConfig, *, int8: bool) -> Vocabulary:
    """The (tied) embedding in the requested precision."""
    table = source.get("decoder.embed_tokens.weight", config.vocab_size, config.d_model)
    if not int8:
        return Vocabulary(table, None)
    columns, scale = int8_columns(np.ascontiguousarray(table.T))
    return Vocabulary(np.ascontiguousarray(columns.T), scale)


def project(graph: Graph, x: str, table: Vocabulary, out: str) -> None:
    """The logits `out` [..., tokens] of the states `x` [..., d_model]."""
    # The transposed table is folded and packed when the session opens, so it is stored once on disk. The
    # kernel finds table and scales by their names.
    if table.scale is None:
        graph.op("MatMul", x, graph.op("Transpose", graph.weight(table.table), perm=[1, 0]), out=out)
    else:
        turned = graph.op("Transpose", graph.weight(table.table, name="vocabulary.int8"), perm=[1, 0])
        row_product(graph, x, turned, graph.weight(table.scale, name="vocabulary.scale"), out=out)


def build_vocabulary(part: Vocabulary) -> Graph:
    """States [batch, d_model] to the logits [batch, tokens] of a part of the vocabulary, and their `norm`.

    `norm` [batch, 1] is the log of the summed exponentials.
    """
    graph = Graph("vocabulary")
    tokens, d = part.table.shape
    project(graph, graph.input("states", "FLOAT", ["batch", d]), part, "logits")
    graph.output("logits", "FLOAT", ["batch", tokens])
    # `LogSoftmax` treats all rows alike. Sums of `Exp` differ in the last bit with the row's position in
    # the batch, and `ReduceLogSumExp` takes ten times as long.
    top = graph.op("ReduceMax", "logits", axes=[-1], keepdims=1)
    best = graph.op("ReduceMax", graph.op("LogSoftmax", "logits", axis=-1), axes=[-1], keepdims=1)
    graph.op("Sub", top, best, out="norm")
    graph.output("norm", "FLOAT", ["batch", 1])
    return graph
