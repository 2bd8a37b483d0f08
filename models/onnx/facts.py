"""Contents of an ONNX file: inputs, outputs, operators in all subgraphs, weights and their location."""

from __future__ import annotations

import mmap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx import fields
from asr_batch.models.onnx.tensors import Value, Weight, read_tensor, read_value
from asr_batch.models.onnx.wire import Message

MAX_DEPTH = 16
"""Maximum nesting of subgraphs; published Whisper graphs have one level."""


@dataclass(slots=True)
class GraphFacts:
    """Contents of a file; `operators` counts in all subgraphs, `top` only in the outer graph.

    `weights` are the initializers of all graphs, `constants` the tensors of Constant nodes. `bits` are the
    values of the attribute `bits` of MatMulNBits.
    """

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    top: Counter[str] = field(default_factory=Counter)
    weights: list[Weight] = field(default_factory=list)
    constants: list[Weight] = field(default_factory=list)
    bits: set[int] = field(default_factory=set)
    depth: int = 0

    @property
    def parameters(self) -> int:
        """Elements of all initializers."""
        return sum(weight.elements for weight in self.weights)


def read_graph(path: Path) -> GraphFacts:
    """Read the ONNX file at `path`. Raises ModelError if it is not one."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            graph = _model(Message(buffer, 0, len(buffer)))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if not graph.inputs or not graph.outputs:
        raise ModelError(f"{path}: no ONNX graph in it (no inputs or outputs)")
    return graph


def _model(message: Message) -> GraphFacts:
    found = GraphFacts()
    producer = {fields.MODEL_PRODUCER: "", fields.MODEL_PRODUCER_VERSION: ""}
    for item in message.fields():
        if item.number == fields.MODEL_IR:
            found.ir_version = item.value
        elif item.number in producer:
            producer[item.number] = item.message().text()
        elif item.number == fields.MODEL_OPSET:
            domain, version = _opset(item.message())
            found.opsets[domain or "ai.onnx"] = version
        elif item.number == fields.MODEL_GRAPH:
            _graph(item.message(), found, 0)
    found.producer = " ".join(part for part in producer.values() if part)
    return found


def _opset(message: Message) -> tuple[str, int]:
    domain, version = "", 0
    for item in message.fields():
        if item.number == fields.OPSET_DOMAIN:
            domain = item.message().text()
        elif item.number == fields.OPSET_VERSION:
            version = item.value
    return domain, version


def _graph(message: Message, found: GraphFacts, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelError(f"subgraphs nested deeper than {MAX_DEPTH}; no speech model needs that")
    found.depth = max(found.depth, depth)
    inputs: list[Value] = []
    names: set[str] = set()
    for item in message.fields():
        if item.number == fields.GRAPH_NODE:
            _node(item.message(), found, depth)
        elif item.number == fields.GRAPH_INITIALIZER:
            found.weights.append(weight := read_tensor(item.message()))
            names.add(weight.name)
        elif item.number == fields.GRAPH_INPUT and depth == 0:
            inputs.append(read_value(item.message()))
        elif item.number == fields.GRAPH_OUTPUT and depth == 0:
            found.outputs.append(read_value(item.message()))
    found.inputs += [value for value in inputs if value.name not in names]  # old files also list weights


def _node(message: Message, found: GraphFacts, depth: int) -> None:
    operator = ""
    attributes = []
    for item in message.fields():
        if item.number == fields.NODE_OP:
            operator = item.message().text()
        elif item.number == fields.NODE_ATTRIBUTE:
            attributes.append(item.message())
    found.operators[operator] += 1
    if depth == 0:
        found.top[operator] += 1
    for attribute in attributes:
        _attribute(attribute, operator, found, depth)


def _attribute(message: Message, operator: str, found: GraphFacts, depth: int) -> None:
    name, number = "", 0
    for item in message.fields():
        if item.number == fields.ATTRIBUTE_NAME:
            name = item.message().text()
        elif item.number == fields.ATTRIBUTE_I:
            number = item.signed()
        elif item.number in fields.ATTRIBUTE_TENSORS:
            found.constants.append(read_tensor(item.message()))
        elif item.number in fields.ATTRIBUTE_GRAPHS:
            _graph(item.message(), found, depth + 1)
    if name == "bits" and operator == "MatMulNBits":
        found.bits.add(number)
