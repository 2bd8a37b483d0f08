"""The kernel library compiled from `c/`, with functions for this machine's instruction set.

The kernels compute what the graphs of an int8 bundle do, with the same weights, which they find in the graph
files by name, but a scale for each row instead of each window. All sets give bit-identical results, as does
numpy, which replaces a missing library. ONNX Runtime runs the graphs of models of unusual sizes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests import environment
from asr_batch.models.kernels.arrays import Block, zeros_in_one
from asr_batch.models.onnx import fields
from asr_batch.models.onnx.safety import check_tensor
from asr_batch.models.onnx.sessions import has_gpu
from asr_batch.models.onnx.tensors import Weight, read_tensor
from asr_batch.models.onnx.wire import Message

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Float32 = NDArray[np.float32]
LANES = 16
"""Elements of a vector: all sizes have to be a multiple."""

WIDEST = 64
"""Maximum columns of a head."""

_VERSION = 9  # of the interface of c/
_LINE = 64  # bytes of a cache line
_SPARE = 1 << 20  # bytes for sums and tables
_TOGETHER = 4  # panels that are made together: they stay in the cache
_HERE = Path(__file__).parent
_BUILD = "`python -m pip install --no-deps -e .` in the checkout"


@dataclass(frozen=True, slots=True)
class KernelSet:
    """The functions of the library for one instruction set.

    Weights are stored in panels of `panel` columns; `depth` bytes of a column are adjacent.
    """

    name: str
    panel: int
    depth: int
    _library: ctypes.CDLL | None = field(compare=False)

    @property
    def compiled(self) -> bool:
        """Whether it has functions; :data:`NUMPY` has none."""
        return self._library is not None

    def function(self, name: str, result: Any = None) -> Callable[..., Any]:
        """The function `name` of this set, with `result` as its ctypes return type."""
        found = getattr(self._library, f"{name}_{self.name}")
        found.restype = result
        return found  # type: ignore[no-any-return]

    def parameters(self, arrays: Arrays, name: str) -> Iterator[Array]:
        """The arrays of the linear layer or norm `name`, in the order of the functions' arguments."""
        if f"{name}.int8" in arrays:
            yield from self.linear(
                arrays[f"{name}.int8"], arrays[f"{name}.scale"], arrays.get(f"{name}.bias")
            )
        else:
            yield arrays[f"{name}.weight"]
            yield arrays[f"{name}.bias"]

    def linear(self, weight: NDArray[np.int8], scale: Float32, bias: Float32 | None) -> Iterator[Array]:
        """`Linear` of c/memory.h for `weight` [k, n] with `scale` [n] and `bias` [n]."""
        yield self._panels(weight)
        yield scale
        yield weight.sum(axis=0, dtype=np.int32)
        yield np.zeros_like(scale) if bias is None else bias

    def _panels(self, weight: NDArray[np.int8]) -> NDArray[np.int8]:
        k, n = weight.shape
        made = np.empty(k * n, np.int8)
        for start in range(0, n, _TOGETHER * self.panel):
            words = _words(weight[:, start : start + _TOGETHER * self.panel], self.depth)
            for first in range(0, words.shape[1], self.panel):
                part = words[:, first : first + self.panel]
                place = slice((start + first) * k, (start + first + part.shape[1]) * k)
                made[place].view(words.dtype).reshape(part.shape)[...] = part
        return made

    def word_panels(self, weight: NDArray[np.int16]) -> NDArray[np.int16]:
        """`weight` [k, n] as `Words` of c/silero.h store it; `n` is a multiple of the widest panel."""
        pairs, columns = len(weight) // 2, weight.shape[1]
        parts = weight.reshape(pairs, 2, columns // self.panel, self.panel).transpose(2, 0, 3, 1)
        return np.ascontiguousarray(parts).reshape(-1)


def _words(weight: NDArray[np.int8], depth: int) -> Array:
    """`weight` [k, n] as words [k / depth, n] of `depth` bytes of a column: numpy copies words several times
    faster than bytes that are apart.
    """
    kind = np.dtype(f"<u{depth}")
    if weight.T.flags.c_contiguous:
        return weight.T.view(kind).T
    rows = weight.view(np.uint8).reshape(len(weight) // depth, depth, -1)
    words = rows[:, -1].astype(kind)
    for at in range(depth - 2, -1, -1):
        words <<= 8
        words |= rows[:, at]
    return words


NUMPY = KernelSet("numpy", 1, 1, None)
"""The kernels in numpy, for machines without the library."""


def kernels(provider: str) -> KernelSet | None:
    """The set in use, if `provider` allows the kernels and there is no GPU for it."""
    return in_use() if provider == "auto" and not has_gpu() else None


@cache
def in_use() -> KernelSet:
    """The best set of this machine, or the one named by the environment; numpy without a library."""
    found, wanted = all_sets(), environment.read("ASR_BATCH_KERNELS")
    if wanted is not None:
        found = [one for one in found if one.name == wanted]
    return found[0] if found else NUMPY


def why_numpy() -> str:
    """Why numpy, which takes nine times as long, does the work of the kernels, and what helps.

    Empty if it does not, or was asked for.
    """
    wanted = environment.read("ASR_BATCH_KERNELS")
    if in_use().compiled or wanted == "none":
        return ""
    if wanted is not None and (sets := all_sets()):
        return f"ASR_BATCH_KERNELS is {wanted!r}; expected {', '.join(one.name for one in sets)} or none"
    if built := _libraries():
        return f"{built[0]} is of another version, or for another machine; {_BUILD} builds it again"
    return "they were not compiled; a wheel for this platform has them, or install gcc and asr-batch again"


def all_sets() -> list[KernelSet]:
    """The sets that this machine can run, best first.

    Empty if the library was not compiled, or has another version of the interface.
    """
    library = next((one for one in map(_loaded, _libraries()) if one), None)
    if library is None:
        return []
    library.kernels_sets.restype = ctypes.POINTER(ctypes.c_char_p)
    names = []
    for name in library.kernels_sets():
        if name is None:
            break
        names.append(name.decode())
    return [KernelSet(name, *_layout(library, name), library) for name in names]


def _layout(library: ctypes.CDLL, name: str) -> tuple[int, int]:
    panel, depth = (ctypes.c_int32 * 2).in_dll(library, f"kernels_layout_{name}")
    return panel, depth


def _libraries() -> list[Path]:
    return sorted(_HERE.glob("_kernels*.so"))


def _loaded(path: Path) -> ctypes.CDLL | None:
    """The library at `path`, if this machine can load it."""
    try:
        found = ctypes.CDLL(str(path))
        return found if found.kernels_version() == _VERSION else None
    except (OSError, AttributeError):
        return None


def named_weights(path: Path, prefix: str) -> dict[str, Array]:
    """The constants of the graph at `path` whose names begin with `prefix`; large ones are memory-mapped.

    Raises ModelError if the file or one of these is invalid.
    """
    data = path.read_bytes()
    graphs = Message(data, 0, len(data)).all(fields.MODEL_GRAPH)
    found, mapped, sizes = {}, dict[str, Array](), dict[str, int | None]()
    for message in (tensor for graph in graphs for tensor in graph.all(fields.GRAPH_INITIALIZER)):
        tensor = read_tensor(message)
        if not tensor.name.startswith(prefix):
            continue
        check_tensor(path, tensor, sizes)
        found[tensor.name] = _data(message, tensor, path.parent, mapped).reshape(tensor.shape)
    return found


def _data(message: Message, tensor: Weight, folder: Path, mapped: dict[str, Array]) -> Array:
    """The numbers of `tensor`; `mapped` keeps the files that are mapped already."""
    if tensor.location is None:
        return np.frombuffer(message.all(fields.TENSOR_RAW)[0].raw(), tensor.type)
    if tensor.location not in mapped:
        mapped[tensor.location] = np.memmap(folder / tensor.location, np.uint8, "r")
    numbers: Array = mapped[tensor.location][tensor.offset : tensor.offset + tensor.bytes].view(tensor.type)
    return numbers


class Weights:
    """Places for the library: of the arrays `mapped` where they are, then of copies, each on a cache line.

    The copies, of arrays made from `source`, are next to each other on huge pages. Arrays are made one by
    one, so that no more than one takes memory twice.
    """

    def __init__(self, arrays: Iterable[Array], source: Arrays, mapped: Sequence[Array] = ()) -> None:
        block = Block(2 * sum(array.nbytes for array in source.values()) + _SPARE)
        self._kept = [*mapped, *map(block.copy, arrays)]
        self.places = (ctypes.c_void_p * len(self._kept))(*(array.ctypes.data for array in self._kept))


def scratch(shape: tuple[int, ...], kind: Any = np.uint8) -> Array:
    """An array of zeros aligned to a cache line."""
    return zeros_in_one({"": (kind, shape)})[""]


def uninitialised(size: int) -> Array:
    """`size` bytes that begin on a cache line and hold anything."""
    block = np.empty(size + _LINE, np.uint8)
    start = -block.ctypes.data % _LINE
    return block[start : start + size]


class Scratch:
    """Scratch memory of each thread, enough for the largest call that the thread has made."""

    def __init__(self) -> None:
        self._local = local()

    def __call__(self, size: int) -> Array:
        """At least `size` bytes for this thread until its next call."""
        if getattr(self._local, "size", 0) < size:
            self._local.memory, self._local.size = uninitialised(size), size
        memory: Array = self._local.memory
        return memory


def place(array: Array) -> ctypes.c_void_p:
    """Address of the C-contiguous `array`."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
