"""Opens the graphs of a folder: as published, or rewritten in memory over the same weight files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import onnxruntime as ort

from asr_batch.manifests.errors import ModelError
from asr_batch.models.inspect_onnx import Graph as Inspected
from asr_batch.models.qwen3 import wire
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.safety import check_graph
from asr_batch.models.session import Tensor, check_tensors, open_session, session_options

SMALL_GRAPH = 256 << 20
"""Graphs above this many bytes hold their weights inside and are run as published."""

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


def open_published(path: Path, threads: int, prepack: bool = True) -> ort.InferenceSession:
    """The graph as it stands on disk, on the CPU. Raises ModelError."""
    return open_session(path, provider="cpu", options=_options(threads, prepack)).session


def open_rewritten(
    path: Path, threads: int, rewrite: Callable[[wire.Graph], bytes], prepack: bool = True
) -> ort.InferenceSession:
    """What `rewrite` makes of the graph at `path`, with the weights of its data file.

    Raises whatever `rewrite` raises, and ModelError when ONNX Runtime does not take the result.
    """
    source, folder = _source(path)
    options = _options(threads, prepack)
    options.add_session_config_entry(_EXTERNAL_FOLDER, str(folder))
    try:
        return ort.InferenceSession(rewrite(source), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise ModelError(f"{path}: ONNX Runtime {ort.__version__} refuses its rewritten form") from error
        raise


def can_rewrite(path: Path) -> bool:
    """Whether the graph keeps its large weights outside, so that it can be copied in memory."""
    return path.stat().st_size <= SMALL_GRAPH


def _options(threads: int, prepack: bool) -> ort.SessionOptions:
    options = session_options(threads)
    if not prepack:  # weights are used where they are mapped, shared by all processes
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _source(path: Path) -> tuple[wire.Graph, Path]:
    """The graph and the folder of its data; links of a hub cache are followed to where the data lies."""
    graph = wire.read_graph(path)
    places = {path.parent / name: name for name in data_files(check_graph(path))}
    real = {place.resolve() for place in places if place.is_symlink()}
    if not real:
        return graph, path.parent.resolve()
    folder = next(iter(real)).parent
    names = {name: place.resolve().name for place, name in places.items()}
    graph.tensors = {name: wire.relocated(raw, names) for name, raw in graph.tensors.items()}
    return graph, folder


def data_files(graph: Inspected) -> set[str]:
    """Names of the external data files that a graph points into."""
    return {one.location for one in (*graph.weights, *graph.constants) if one.location is not None}


def check_layout(path: Path, config: QwenConfig) -> set[Path]:
    """Compare a graph on disk with the layout and with config.json; returns its data files.

    Nothing is loaded for it. Raises ModelError: broken file, data missing or cut short, data linked from
    outside of the folder, a tensor of another name, type or size.
    """
    graph, kind = check_graph(path), path.name.split(".")[0]
    stored = {one.name for one in graph.weights}  # old graphs list their weights as inputs too
    given = [one for one in graph.inputs if one.name not in stored]
    if kind == "decoder_init" and "input_embeds" in {one.name for one in given}:
        raise ModelError(
            f"{path}: this is the older first version of the layout (decoder_init takes input_embeds); "
            "export or download the model again in the present one (input_ids with audio_features)"
        )
    inputs, outputs = _tensors(config)[kind]
    check_tensors(path, "input", given, inputs, frozenset())
    check_tensors(path, "output", graph.outputs, outputs, frozenset())
    return {path.parent / name for name in data_files(graph)}


def _tensors(c: QwenConfig) -> dict[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """Inputs and outputs of each graph (contract of the layout, section 2)."""
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
