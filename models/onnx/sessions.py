"""ONNX Runtime sessions: opening, checking tensors, and mapping errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_batch.manifests.errors import ModelError, WorkerFatalError
from asr_batch.models.onnx.safety import check_graph

if TYPE_CHECKING:
    import onnxruntime as ort

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Short names of `--provider`; other names are passed to ONNX Runtime as `<Name>ExecutionProvider`."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """The expected input or output of a graph: ONNX Runtime's type name and the shape.

    A dimension that is None may have any size; a number must match if the graph has a number.
    """

    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, its provider (`cpu`, `cuda`, …) and whether another provider was requested."""

    session: ort.InferenceSession
    provider: str
    fallback: bool


@contextmanager
def runtime_errors(doing: str) -> Iterator[None]:
    """Map ONNX Runtime's exceptions while running a graph to WorkerFatalError."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise WorkerFatalError(f"{doing}: ONNX Runtime says {_first_line(error)}") from error
        raise


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def session_options(threads: int) -> ort.SessionOptions:
    """Options for a session with `threads` intra-op threads (0: ONNX Runtime's choice).

    Threads sleep when idle (no spinning), and the arena is off: key-value caches grow and shrink with
    every window, and an arena that never returns memory made other programs grow to gigabytes
    (k2-fsa/sherpa-onnx#1571).
    """
    import onnxruntime as ort  # 20 MB, which a process with kernels alone does not need

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return options


def open_session(
    path: Path, *, threads: int = 0, provider: str = "auto", options: ort.SessionOptions | None = None
) -> Opened:
    """Load the graph at `path`.

    If the machine lacks a provider, or it cannot load the graph, the CPU is used and `fallback` is set.
    Raises ModelError if tensors are not backed by data, or even the CPU cannot load the graph.
    """
    import onnxruntime as ort  # only here, as above

    if not path.is_file():
        raise ModelError(f"{path}: missing")
    check_graph(path)
    options = options or session_options(threads)
    wanted = _provider_name(provider)
    if wanted is not None and wanted in ort.get_available_providers():
        try:
            session = ort.InferenceSession(str(path), options, providers=[wanted, PROVIDERS["cpu"]])
            if session.get_providers()[0] == wanted:
                return Opened(session, provider, fallback=False)
        except Exception:  # noqa: BLE001,S110 - whatever the provider died of, the CPU takes over
            pass
    try:
        session = ort.InferenceSession(str(path), options, providers=[PROVIDERS["cpu"]])
    except Exception as error:  # the binding raises a different class for each status
        raise ModelError(f"{path}: ONNX Runtime {ort.__version__} cannot load it: {_hint(error)}") from error
    return Opened(session, "cpu", fallback=wanted is not None)


@cache
def has_gpu() -> bool:
    """Whether ONNX Runtime has a GPU provider, which `auto` then uses: whether its library is installed."""
    spec = find_spec("onnxruntime")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return any(any(Path(folder, "capi").glob("*onnxruntime_providers_cuda*")) for folder in folders)


def _provider_name(provider: str) -> str | None:
    """ONNX Runtime's name; None for the CPU (and for `auto` without a GPU)."""
    if provider == "auto":
        return PROVIDERS["cuda"] if has_gpu() else None
    if provider == "cpu":
        return None
    return PROVIDERS.get(
        provider.lower(), provider if provider.endswith("Provider") else f"{provider}ExecutionProvider"
    )


def _hint(error: Exception) -> str:
    line = _first_line(error)
    if "escapes model directory" in line or "External data path" in line:
        return (
            f"{line}. The data file of the graph is a link out of the folder, which ONNX Runtime >= 1.31 "
            "refuses: copy or hard-link the files (cp -L) into one folder"
        )
    return line


def check_tensors(
    path: Path, kind: str, found: Sequence[Any], expected: Mapping[str, Tensor], optional: frozenset[str]
) -> None:
    """Compare the `found` inputs or outputs (`kind`) of a graph with the `expected` ones.

    Raises ModelError that lists every tensor that is missing, unexpected or of another type or shape.
    Additional outputs are allowed, additional inputs are not.
    """
    by_name = {node.name: node for node in found}
    wrong = [
        f"{name}: expected {_describe(want.type, want.shape)}, found {_found(by_name.get(name))}"
        for name, want in expected.items()
        if not _fits(by_name.get(name), want, name in optional)
    ]
    if kind == "input":
        wrong += [
            f"{name}: unexpected input, found {_found(node)}"
            for name, node in by_name.items()
            if name not in expected
        ]
    if wrong:
        raise ModelError(f"{path}: {kind}s do not match the model's config: " + "; ".join(wrong))


def _fits(node: Any, want: Tensor, optional: bool) -> bool:
    if node is None:
        return optional
    if node.type != want.type or len(node.shape) != len(want.shape):
        return False
    pairs = zip(node.shape, want.shape, strict=True)
    return all(b is None or not isinstance(a, int) or a == b for a, b in pairs)


def _found(node: Any) -> str:
    return "nothing" if node is None else _describe(node.type, node.shape)


def _describe(type_name: str, shape: Sequence[Any]) -> str:
    return f"{type_name} [{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
