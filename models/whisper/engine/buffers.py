"""Decoder state in plain buffers: caches of all slots, bound to the graph in place.

The first axis of every array is the slot, so the first n slots are contiguous: a step over n running
windows binds the front of every buffer, and a prefill of one window binds one slot's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_batch.models.kernels.arrays import Array, Shape, zeros_in_one
from asr_batch.models.onnx.sessions import runtime_errors
from asr_batch.models.whisper.alignment import GROUP
from asr_batch.models.whisper.engine.cross import BIAS, CLOSED, Cross
from asr_batch.models.whisper.silence import BLOCK

if TYPE_CHECKING:
    import onnxruntime as ort

_STEP = 16  # tokens by which caches grow
_BLOCKS = 2  # by which cross-attention arrays grow
_PATIENCE = 64  # consecutive windows that need less, after which they shrink
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
}


def bind(binding: Any, name: str, array: Array, *, output: bool = False) -> None:
    """Bind the C-contiguous `array` in place as input or output `name`."""
    assert array.flags.c_contiguous
    method = binding.bind_output if output else binding.bind_input
    method(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)


class Buffers:
    """Caches of `slots` windows for one decoder graph, with self-attention for `capacity` tokens each.

    `cross` maps the graph's cross-attention inputs to arrays [slots, ...] over `stored` positions, as many
    as the longest running window needs (:meth:`fit`), because a step reads all of them. `past` maps its
    self-attention inputs to arrays [slots, heads, capacity, width], which :meth:`grow` extends.
    """

    def __init__(self, session: ort.InferenceSession, slots: int, capacity: int) -> None:
        self.slots, self.capacity, self.stored = slots, capacity, 0
        nodes = session.get_inputs()
        self._cross = {
            node.name: (_DTYPES[node.type], list(node.shape[1:]))
            for node in nodes
            if node.name == BIAS or node.name.startswith(("key_", "value_"))
        }
        past = {
            node.name: (np.float32, (slots, node.shape[1], capacity, node.shape[3]))
            for node in nodes
            if node.name.startswith("past_")
        }
        self._unused = 0
        self.cross: dict[str, Array] = {}
        self.past = zeros_in_one(past)

    def put(self, slot: int, cross: Cross) -> None:
        """Set the cross-attention inputs of `slot`, enlarging the arrays if necessary."""
        if cross.stored > self.stored:
            self.fit(cross.stored)
        for name, array in cross.arrays.items():
            self.cross[name][slot][tuple(slice(size) for size in array.shape[1:])] = array[0]
        self.cross[BIAS][slot, ..., cross.stored :] = CLOSED

    def cross_of(self, slot: int) -> Cross:
        """The cross-attention inputs of `slot`, valid until the next `put`."""
        return Cross({name: array[slot : slot + 1] for name, array in self.cross.items()}, self.stored)

    def drop(self, slot: int) -> None:
        """No-op: the arrays are for all slots."""

    def fit(self, stored: int) -> None:
        """Store as many positions as the longest window needs.

        Grows at once, and shrinks after a number of consecutive windows that need less.
        """
        needed = -(-stored // (_BLOCKS * BLOCK)) * _BLOCKS * BLOCK
        self._unused = self._unused + 1 if needed < self.stored else 0
        if needed > self.stored or self._unused > _PATIENCE:
            self._resize(needed)

    def _resize(self, stored: int) -> None:
        sizes = {"stored": stored, "chunks": stored // BLOCK}
        shapes: dict[str, Shape] = {
            name: (kind, (self.slots, *(sizes[size] if isinstance(size, str) else size for size in shape)))
            for name, (kind, shape) in self._cross.items()
        }
        old, self.cross, self.stored, self._unused = self.cross, zeros_in_one(shapes), stored, 0
        self.cross[BIAS][:] = CLOSED
        for name, array in old.items():
            kept = tuple(slice(min(pair)) for pair in zip(array.shape, self.cross[name].shape, strict=True))
            self.cross[name][kept] = array[kept]

    def grow(self, capacity: int) -> None:
        """Enlarge the caches to `capacity` tokens per slot, keeping their content."""
        old = self.past
        shapes = {name: (*array.shape[:2], capacity, array.shape[3]) for name, array in old.items()}
        self.past = zeros_in_one({name: (np.float32, shape) for name, shape in shapes.items()})
        for name, array in self.past.items():
            array[:, :, : self.capacity] = old[name]
        self.capacity = capacity

    def move(self, source: int, target: int, length: int) -> None:
        """Copy slot `source` with `length` tokens over slot `target`."""
        for array in self.cross.values():
            array[target] = array[source]
        for array in self.past.values():
            array[target, :, :length] = array[source, :, :length]

    def reorder(self, rows: Sequence[int], length: int) -> None:
        """Slot i gets the self-attention cache of slot rows[i] (beams of one window)."""
        moved = [slot for slot, row in enumerate(rows) if slot != row]
        for array in self.past.values():
            array[moved, :, :length] = array[[rows[slot] for slot in moved], :, :length]


class Stepper:
    """Runs a decoder graph over slots of :class:`Buffers`, with cached bindings for each range of slots.

    A step writes the slots' states [slots, d_model] to `states`; a prefill does not. `attended` [slots, 1,
    groups]: attention of each slot's last step over its window; overwritten by the next step.
    """

    def __init__(self, session: ort.InferenceSession, buffers: Buffers, states: Array | None = None) -> None:
        self._session, self.buffers, self._states = session, buffers, states
        outputs = {node.name: node for node in session.get_outputs()}
        self._told = [node for name, node in outputs.items() if not name.startswith("present_")]
        self._lengths = np.zeros(buffers.slots, np.int32)
        self._longest = np.zeros(1, np.int32)
        self._ids = np.zeros((buffers.slots, 1), np.int64)
        self._positions = np.zeros((buffers.slots, 1), np.int64)
        self.attended = np.zeros((buffers.slots, 1, 0), np.float32)
        self._bindings: dict[tuple[int, int], Any] = {}
        self._bound: tuple[int, int] | None = None

    def step(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        pool: Executor | None = None,
        pieces: int = 1,
        places: Sequence[int] | None = None,
    ) -> None:
        """Feed one token to each of the first slots; `places` are None.

        Runs in `pieces` in parallel, all but the first on the threads of `pool`: rows are independent of
        each other.
        """
        n, longest = len(ids), max(positions) + 1
        self._make_room(longest)
        self._ids[:n, 0], self._positions[:n, 0], self._lengths[:n] = ids, positions, positions
        self._longest[0] = longest
        borders = [n * i // pieces for i in range(pieces + 1)]
        bindings = [self._binding(start, end) for start, end in pairwise(borders)]
        with runtime_errors("decoder"):
            others = [pool.submit(self._session.run_with_iobinding, b) for b in bindings[1:]] if pool else []
            self._session.run_with_iobinding(bindings[0])
            for other in others:
                other.result()

    def prefill(self, slot: int, ids: Sequence[int]) -> dict[str, Array]:
        """Feed the tokens `ids` to an empty slot at once; returns all outputs except the caches by name."""
        self._make_room(len(ids))
        binding = self._session.io_binding()
        count = len(ids)
        inputs: dict[str, Array] = {
            "ids": np.array([ids], np.int64),
            "positions": np.arange(count, dtype=np.int64)[None],
            "lengths": np.array([count - 1], np.int32),
            "longest": np.array([count], np.int32),
        }
        for name, array in inputs.items():
            bind(binding, name, array)
        self._bind_caches(binding, slot, slot + 1)
        names = [node.name for node in self._told]
        for name in names:
            binding.bind_output(name, "cpu")
        with runtime_errors("decoder"):
            self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        by_name = {node.name: value for node, value in zip(self._output_order(names), outputs, strict=False)}
        return {name: by_name[name].numpy() for name in names}

    def _output_order(self, names: Sequence[str]) -> list[Any]:
        """Bound outputs come back in the order of binding: caches first, then `names`."""
        nodes = {node.name: node for node in self._session.get_outputs()}
        caches = [nodes[name.replace("past", "present")] for name in self.buffers.past]
        return caches + [nodes[name] for name in names]

    def _make_room(self, tokens: int) -> None:
        if tokens > self.buffers.capacity:
            self.buffers.grow(-(-tokens // _STEP) * _STEP)
        size = (self.buffers.capacity, self.buffers.stored)
        if self._bound != size:
            self._bindings.clear()
            self._bound = size
            self.attended = np.zeros((self.buffers.slots, 1, self.buffers.stored // GROUP), np.float32)

    def _binding(self, start: int, end: int) -> Any:
        if (start, end) not in self._bindings:
            binding = self._session.io_binding()
            for name, array in (
                ("ids", self._ids),
                ("positions", self._positions),
                ("lengths", self._lengths),
            ):
                bind(binding, name, array[start:end])
            bind(binding, "longest", self._longest)
            self._bind_caches(binding, start, end)
            assert self._states is not None
            bind(binding, "states", self._states[start:end], output=True)
            bind(binding, "attended", self.attended[start:end], output=True)
            self._bindings[start, end] = binding
        return self._bindings[start, end]

    def _bind_caches(self, binding: Any, start: int, end: int) -> None:
        for name, array in self.buffers.cross.items():
            bind(binding, name, array[start:end])
        for name, array in self.buffers.past.items():
            bind(binding, name, array[start:end])
            bind(binding, name.replace("past", "present"), array[start:end], output=True)
