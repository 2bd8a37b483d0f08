"""Infers the shapes of all values in a compiled graph with ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import onnxruntime as ort

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx import fields
from asr_batch.models.onnx.sessions import session_options
from asr_batch.models.onnx.tensors import type_number
from asr_batch.models.onnx.writer import GraphParts, make_value, text


def static_shapes(graph: GraphParts) -> list[bytes]:
    """A ValueInfoProto for every output of every node. Raises ModelError for an unknown dimension."""
    made = [name for node in graph.nodes for name in node.outputs]
    asked = replace(graph, outputs=[text(fields.VALUE_NAME, name) for name in made])
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(asked.raw(), options, providers=["CPUExecutionProvider"])
    values = []
    for value in session.get_outputs():
        if not all(isinstance(size, int) for size in value.shape):
            raise ModelError(f"{graph.name}: {value.name} has the open shape {value.shape}")
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        values.append(make_value(value.name, type_number(kind), value.shape))
    return values
