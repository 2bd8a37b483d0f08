"""The report of `asr-batch models inspect` about a model folder, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_batch.manifests.errors import ModelError
from asr_batch.models.inspect.about import about_model
from asr_batch.models.inspect.run import Verdict, judge, loading_providers
from asr_batch.models.onnx.facts import GraphFacts
from asr_batch.models.onnx.safety import check_graph
from asr_batch.models.onnx.tensors import Value
from asr_batch.models.safetensors import read_header
from asr_batch.models.store.layout import kind_of
from asr_batch.models.store.record import model_files
from asr_batch.models.whisper.compile.sources.model_bin import read_model_bin


@dataclass(frozen=True, slots=True)
class GraphReport:
    """One ONNX file. `operators` are (name, count) by frequency through all subgraphs, `top` outside them.

    `types` are the elements of each weight type, `problem` why the file cannot be used (then the rest is
    empty), `providers` the names of those that load it.
    """

    file: str
    bytes: int
    problem: str | None = None
    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    operators: tuple[tuple[str, int], ...] = ()
    top: tuple[tuple[str, int], ...] = ()
    depth: int = 0
    tensors: int = 0
    parameters: int = 0
    weight_bytes: int = 0
    types: dict[str, int] = field(default_factory=dict)
    precision: str = "?"
    external: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """One safetensors file: number of tensors and of parameters, elements of each type."""

    file: str
    tensors: int
    parameters: int
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model folder. `about` has window, languages, sizes and special ids as the family has them."""

    path: str
    name: str
    kind: str
    files: tuple[tuple[str, int], ...]
    graphs: tuple[GraphReport, ...]
    weights: tuple[WeightsReport, ...]
    about: dict[str, Any]
    verdict: Verdict


def inspect_model(folder: Path, *, run: bool = True) -> ModelReport:
    """Inspect the model in `folder`; `run` also loads it and decodes one clip.

    Raises ModelError if there is no model; problems of a model are in the report.
    """
    names = model_files(folder)
    kind = kind_of(names)
    if kind is None:
        raise ModelError(
            f"{folder}: no model of a known layout (found {', '.join(names[:12]) or 'nothing'}); expected "
            "bundle.json, ONNX files as on the hub, or .safetensors weights"
        )
    about, problem = about_model(folder, kind)
    return ModelReport(
        path=str(folder),
        name=folder.resolve().name,
        kind=kind,
        files=tuple((name, (folder / name).stat().st_size) for name in names),
        graphs=tuple(_graph(folder, name, run) for name in names if name.endswith(".onnx")),
        weights=tuple(
            weights_report(folder / name)
            for name in names
            if name.endswith(".safetensors") or (name == "model.bin" and kind == "ctranslate2")
        ),
        about=about,
        verdict=judge(folder, kind, problem, run=run),
    )


def inspect_file(path: Path, *, run: bool = True) -> ModelReport:
    """Inspect one `.onnx` or `.safetensors` file. Raises ModelError for any other file."""
    if path.suffix not in (".onnx", ".safetensors"):
        raise ModelError(f"{path}: expected a model folder, an .onnx or a .safetensors file")
    graphs = (_graph(path.parent, path.name, run),) if path.suffix == ".onnx" else ()
    broken = next((graph.problem for graph in graphs if graph.problem), None)
    return ModelReport(
        path=str(path),
        name=path.name,
        kind=path.suffix[1:],
        files=((path.name, path.stat().st_size),),
        graphs=graphs,
        weights=() if graphs else (weights_report(path),),
        about={},
        verdict=Verdict(False if broken else None, None, broken or "one file of a model; inspect its folder"),
    )


def _graph(folder: Path, name: str, run: bool) -> GraphReport:
    path = folder / name
    size = path.stat().st_size
    try:
        graph = check_graph(path)
    except ModelError as error:
        return GraphReport(name, size, problem=str(error))
    types: dict[str, int] = {}
    for weight in graph.weights:
        types[weight.type] = types.get(weight.type, 0) + weight.elements
    return GraphReport(
        file=name,
        bytes=size,
        ir_version=graph.ir_version,
        producer=graph.producer,
        opsets=graph.opsets,
        inputs=tuple(graph.inputs),
        outputs=tuple(graph.outputs),
        operators=tuple(graph.operators.most_common()),
        top=tuple(graph.top.most_common()),
        depth=graph.depth,
        tensors=len(graph.weights),
        parameters=graph.parameters,
        weight_bytes=sum(weight.bytes for weight in graph.weights),
        types=types,
        precision=precision_of(graph, types),
        external=tuple(sorted({weight.location for weight in graph.weights if weight.location})),
        providers=loading_providers(path) if run else (),
    )


def precision_of(graph: GraphFacts, types: dict[str, int]) -> str:
    """The precision of the multiplications, from the operators: `fp32`, `fp16`, `int8 dynamic`, …"""
    operators = set(graph.operators)
    if "MatMulNBits" in operators:
        return f"int{'/'.join(map(str, sorted(graph.bits))) or '4'} weights (MatMulNBits)"
    if operators & {"MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}:
        return "int8 dynamic (activations quantised at run time)"
    if operators & {"QLinearMatMul", "QLinearConv", "QuantizeLinear", "DequantizeLinear"}:
        return "int8 static (Q/DQ)"
    return "fp16" if types.get("float16", 0) > types.get("float32", 0) else "fp32"


def weights_report(path: Path) -> WeightsReport:
    """Contents of a safetensors file or a CTranslate2 model. Raises ModelError for an invalid one."""
    types: dict[str, int] = {}
    if path.name == "model.bin":
        arrays = [(one.type, one.bits.size) for one in read_model_bin(path).variables.values()]
    else:
        arrays = [(entry.dtype, entry.elements) for entry in read_header(path).values()]
    for kind, elements in arrays:
        types[kind] = types.get(kind, 0) + elements
    return WeightsReport(path.name, len(arrays), sum(types.values()), types)
