"""Opens the graphs of a folder: as published, or rewritten in memory over the same weight files."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx import writer as wire
from asr_batch.models.onnx.facts import GraphFacts
from asr_batch.models.onnx.safety import check_graph
from asr_batch.models.onnx.sessions import Tensor, check_tensors, open_session, session_options
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.trace import NotTracedError

_NUMPY = frozenset({"float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"})

SMALL_GRAPH = 256 << 20
"""Larger graph files have their weights inside and are run as published."""


def open_published(path: Path, threads: int, prepack: bool = True) -> ort.InferenceSession:
    """Open the graph as it is on disk, on the CPU. Raises ModelError."""
    return open_session(path, provider="cpu", options=_options(threads, prepack)).session


def open_rewritten(
    path: Path, threads: int, rewrite: Callable[[wire.GraphParts], wire.GraphParts], prepack: bool = True
) -> ort.InferenceSession:
    """Open the graph at `path`, transformed by `rewrite`, over the memory-mapped weights of its data file.

    Raises whatever `rewrite` raises, and ModelError when ONNX Runtime rejects the result.
    """
    graph = rewrite(wire.read_graph(path))
    weights = _mapped(path, graph.tensors)
    options = _options(threads, prepack)
    # passed as values: ONNX Runtime 1.20 does not find data files for a graph from memory
    options.add_external_initializers(list(weights), list(weights.values()))
    try:
        session = ort.InferenceSession(graph.raw(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise ModelError(f"{path}: ONNX Runtime {ort.__version__} rejects its rewritten form") from error
        raise
    session.weights = weights  # the session reads this memory for as long as it lives
    return session


def _mapped(path: Path, wanted: Container[str]) -> dict[str, ort.OrtValue]:
    """The `wanted` external weights of the graph at `path`, as values over mapped memory."""
    values: dict[str, ort.OrtValue] = {}
    files: dict[str, NDArray[np.uint8]] = {}
    for weight in check_graph(path).weights:
        if weight.location is None or weight.name not in wanted:
            continue
        if weight.location not in files:
            files[weight.location] = np.memmap(path.parent / weight.location, np.uint8, "r")
        raw = files[weight.location][weight.offset : weight.offset + weight.bytes]
        if weight.type not in _NUMPY:
            raise NotTracedError(f"weight {weight.name} is {weight.type}, which numpy does not have")
        kind = np.dtype(weight.type).newbyteorder("<")
        if weight.offset % kind.itemsize:
            raw = raw.copy()  # misaligned
        values[weight.name] = ort.OrtValue.ortvalue_from_numpy(raw.view(kind).reshape(weight.shape))
    return values


def can_rewrite(path: Path) -> bool:
    """Whether the graph's large weights are external, so that the graph can be rewritten in memory."""
    return path.stat().st_size <= SMALL_GRAPH


def _options(threads: int, prepack: bool) -> ort.SessionOptions:
    options = session_options(threads)
    if not prepack:  # weights are used in place, shared by all processes
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def data_files(graph: GraphFacts) -> set[str]:
    """Names of a graph's external data files."""
    return {one.location for one in (*graph.weights, *graph.constants) if one.location is not None}


def check_layout(path: Path, config: QwenConfig) -> set[Path]:
    """Compare a graph on disk with the layout and config.json, without loading it; returns its data files.

    Raises ModelError for a broken file, missing or truncated data, data outside the folder, or a tensor with
    the wrong name, type or size.
    """
    graph, kind = check_graph(path), path.name.split(".")[0]
    stored = {one.name for one in graph.weights}  # old graphs list their weights as inputs too
    given = [one for one in graph.inputs if one.name not in stored]
    if kind == "decoder_init" and "input_embeds" in {one.name for one in given}:
        raise ModelError(
            f"{path}: this is the first version of the layout (decoder_init takes input_embeds); "
            "export or download the model again in the current one (input_ids with audio_features)"
        )
    inputs, outputs = _tensors(config)[kind]
    check_tensors(path, "input", given, inputs, frozenset())
    check_tensors(path, "output", graph.outputs, outputs, frozenset())
    return {path.parent / name for name in data_files(graph)}


def _tensors(c: QwenConfig) -> dict[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """The inputs and outputs of each graph in this layout."""
    ids, place = Tensor("int64", (None, None)), Tensor("int64", (None,))
    state = Tensor("float32", (None, None, c.hidden))
    cache = Tensor("float32", (c.layers, None, c.kv_heads, None, c.head_dim))
    logits = Tensor("float32", (None, None, c.vocab))
    present = {"logits": logits, "present_keys": cache, "present_values": cache}
    past = {"past_keys": cache, "past_values": cache}
    prompt = {"input_ids": ids, "position_ids": ids, "audio_features": state, "audio_offset": place}
    return {
        "encoder": ({"mel": Tensor("float32", (1, c.n_mels, None))}, {"audio_features": state}),
        "decoder_init": (prompt, present),
        "decoder_step": ({"input_embeds": state, "position_ids": ids, **past}, present),
    }
