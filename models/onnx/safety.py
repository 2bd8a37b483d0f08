"""A model folder comes from elsewhere: what is checked before anything in it is believed.

- ONNX files: every tensor's size by type and shape must be backed by as many bytes in the file or in its
  external data file, and that file must lie inside the model folder. ONNX Runtime allocates by type and
  shape, so this bounds what a file can make it allocate for weights.
- Names in JSON files (`inside`): relative, without a way out of the folder, also not through a link.

What is not promised: a graph is a program, and a hostile one can still compute forever or ask for large
intermediate results. Pull models from where you trust the publisher.
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
    """Map what a value of the wrong kind in a model's JSON files makes Python raise to ModelError.

    The tokenizers package, written in Rust, can also panic on a broken file, which is no `Exception`.
    """
    try:
        yield
    except ModelError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"{folder}: a value in its files is not what it has to be ({type(error).__name__}: {error})"
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{folder}: tokenizer.json is broken ({error})") from error


def safe_name(name: str) -> PurePosixPath:
    """A relative file name that stays inside its folder; raises ModelError for any other."""
    path = PurePosixPath(name)
    if not name or "\\" in name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise ModelError(f"{name!r}: a file name that leads outside the model folder is refused")
    return path


def inside(folder: Path, name: str) -> Path:
    """The file `name` of a model folder. Raises ModelError when the name leads outside of it.

    A link is followed only to where the folder's other files live: a hub cache keeps all files of a model
    as links into one `blobs` folder, and that is allowed.
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
    """Walk the ONNX file at `path` and check its tensors; returns what it holds.

    Raises ModelError: no ONNX file, external data outside the folder or cut short, a size without bytes.
    """
    graph = read_graph(path)
    files: dict[str, int | None] = {}
    for weight in (*graph.weights, *graph.constants):
        problem = _internal(weight) if weight.location is None else _external(path, weight, files)
        if problem:
            raise ModelError(f"{path}: tensor {weight.name!r} {problem}")
    return graph


def _external(path: Path, weight: Weight, sizes: dict[str, int | None]) -> str | None:
    """What is wrong with a weight in a file of its own; `sizes` of such files are kept for the next one."""
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
