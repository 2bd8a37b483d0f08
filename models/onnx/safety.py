"""Checks a model folder from an untrusted source before use.

- ONNX files: every tensor must be backed by as many bytes as its type and shape need, in the file or in
  its external data file, which must lie inside the model folder. ONNX Runtime allocates by type and shape,
  so this bounds what a file can make it allocate for weights.
- Names in JSON files (`inside`): relative, and not leading out of the folder, also not through a link.

A graph is a program: a hostile one can still compute forever or request large intermediate results. Pull
models only from publishers that you trust.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.facts import GraphFacts, read_graph
from asr_batch.models.onnx.tensors import Weight


@contextmanager
def broken_values(folder: Path) -> Iterator[None]:
    """Map Python's errors for invalid values in a model's JSON files to ModelError.

    The tokenizers package, written in Rust, can also panic on a broken file, which is not an `Exception`.
    """
    try:
        yield
    except ModelError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{folder}: invalid value in its files ({type(error).__name__}: {error})") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{folder}: tokenizer.json is broken ({error})") from error


def safe_name(name: str) -> PurePosixPath:
    """Return a relative file name that stays inside its folder; raises ModelError for any other."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise ModelError(f"{name!r}: a file name that leads outside the model folder is refused")
    return path


def inside(folder: Path, name: str) -> Path:
    """The path of file `name` in a model folder. Raises ModelError if the name leads out of it.

    A link is followed only to the folder's other files: a hub cache stores all files of a model as links
    into one `blobs` folder, which is allowed.
    """
    path = folder / safe_name(name)
    real, base = path.resolve(), folder.resolve()
    if real.is_relative_to(base) or _in_hub_cache(real, base):
        return path
    raise ModelError(f"{path}: leads to {real}, outside the model folder; copy the file into the folder")


def _in_hub_cache(real: Path, base: Path) -> bool:
    """True for `…/models--X/blobs/HASH` seen from `…/models--X/snapshots/REVISION[/onnx]`."""
    for parent in (base, *base.parents):
        if parent.name == "snapshots":
            return real.parent == parent.parent / "blobs"
    return False


def check_graph(path: Path) -> GraphFacts:
    """Read the ONNX file at `path` and check its tensors; returns its contents.

    Raises ModelError for an invalid file, external data outside the folder or truncated, or a size without
    bytes.
    """
    graph = read_graph(path)
    files: dict[str, int | None] = {}
    for weight in (*graph.weights, *graph.constants):
        check_tensor(path, weight, files)
    return graph


def check_tensor(path: Path, weight: Weight, sizes: dict[str, int | None]) -> None:
    """Check a tensor of the ONNX file at `path` as :func:`check_graph` does; caches the `sizes` of files."""
    problem = _internal(weight) if weight.location is None else _external(path, weight, sizes)
    if problem:
        raise ModelError(f"{path}: tensor {weight.name!r} {problem}")


def _external(path: Path, weight: Weight, sizes: dict[str, int | None]) -> str | None:
    """The problem of a weight in an external file, or None; caches the `sizes` of files."""
    name = weight.location or ""
    if name not in sizes:
        data = inside(path.parent, name)
        sizes[name] = data.stat().st_size if data.is_file() else None
    size = sizes[name]
    if size is None:
        return f"has its data in {name}, which is missing"
    if weight.offset < 0 or weight.offset + weight.bytes > size:
        return f"needs bytes {weight.offset} to {weight.offset + weight.bytes} of {name}, which has {size}"
    if weight.length is not None and weight.length != weight.bytes:
        return f"has {weight.length} bytes; its type and shape {list(weight.shape)} need {weight.bytes}"
    return None


def _internal(weight: Weight) -> str | None:
    if weight.raw is not None and weight.raw != weight.bytes and weight.type != "string":
        return f"has {weight.raw} bytes; its type and shape {list(weight.shape)} need {weight.bytes}"
    if weight.raw is None and weight.elements > max(weight.stored, 1) * 8:
        return f"claims the shape {list(weight.shape)} with {weight.stored} bytes of data"
    return None
