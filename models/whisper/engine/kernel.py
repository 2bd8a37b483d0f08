"""The decoder kernel for slots; the counterpart of :mod:`buffers` and :mod:`cross`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.kernels.arrays import Array
from asr_batch.models.whisper.engine.cross import with_silence
from asr_batch.models.whisper.engine.vocabulary import Vocabulary, VocabularyGraphs
from asr_batch.models.whisper.kernels.decoder import BLOCK, TOKEN, DecoderKernel, KernelCross, tokens_of
from asr_batch.models.whisper.kernels.exact.decoder import ExactDecoder
from asr_batch.models.whisper.silence import Silence

Float32 = NDArray[np.float32]
_PIECE = 32  # tokens of a piece of the caches

AnyKernel = DecoderKernel | ExactDecoder


class KernelProjector:
    """Hidden states of one window and the silence after it to keys and values."""

    def __init__(self, kernel: AnyKernel, silence: Silence) -> None:
        self._kernel, self._silence = kernel, silence

    def project(self, hidden: Float32) -> KernelCross:
        """Keys and values of `hidden` [positions, d_model]."""
        rows, bias = with_silence(hidden, self._silence)
        return self._kernel.project(rows, bias.reshape(-1), len(hidden))


class KernelBuffers:
    """The caches of `slots` windows, with self-attention for `capacity` tokens each.

    The cross-attention of each window has its own memory.
    """

    def __init__(self, kernel: AnyKernel, slots: int, capacity: int) -> None:
        self.slots = slots
        self.past = kernel.caches(slots, min(_PIECE, capacity))
        self.past.reserve(capacity)
        self.cross: list[KernelCross | None] = [None] * slots
        self.tokens = np.zeros(slots, TOKEN)  # of the next step: what does not change stays
        self.tokens["slot"] = range(slots)

    def put(self, slot: int, cross: KernelCross) -> None:
        """Set the cross-attention inputs of `slot`."""
        self.cross[slot] = cross
        self.tokens["stored"][slot], self.tokens["cross"][slot] = cross.stored, cross.memory.ctypes.data

    def drop(self, slot: int) -> None:
        """Forget the cross-attention inputs of `slot`: other slots may hold the same ones."""
        self.cross[slot] = None

    def cross_of(self, slot: int) -> KernelCross:
        """The cross-attention inputs of `slot`."""
        found = self.cross[slot]
        assert found is not None
        return found

    def fit(self, stored: int) -> None:
        """No-op: the memory of a window does not depend on others."""

    def move(self, source: int, target: int, length: int) -> None:
        """Copy slot `source` with `length` tokens over slot `target`."""
        self.put(target, self.cross_of(source))
        self.past.copy([source], [target], length)

    def reorder(self, rows: Sequence[int], length: int) -> None:
        """Slot i gets the self-attention cache of slot rows[i] (beams of one window)."""
        moved = [slot for slot, row in enumerate(rows) if slot != row]
        if moved:
            self.past.copy([rows[slot] for slot in moved], moved, length)


class KernelStepper:
    """Runs the kernel over slots. A step writes the slots' states [slots, d_model] to `states`.

    `attended` [slots, 1, groups]: attention of each slot's last step over its window; overwritten by the
    next step.
    """

    def __init__(self, kernel: AnyKernel, slots: int, capacity: int, states: Array) -> None:
        self._kernel, self._states = kernel, states
        self.buffers = KernelBuffers(kernel, slots, capacity)
        self.attended = np.zeros((slots, 1, kernel.groups), np.float32)
        self._work: list[Array] = []  # one for each parallel part

    def step(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        pool: Executor | None = None,
        pieces: int = 1,
        places: Sequence[int] | None = None,
    ) -> None:
        """Feed one token to each of the first slots, or to each of `places`, where several may be the same,
        with tokens in the order of their positions.

        Runs in `pieces` in parallel, all but the first on the threads of `pool`: slots are independent of
        each other.
        """
        self._make_room(max(positions) + 1)
        tokens = self.buffers.tokens[: len(ids)] if places is None else self.buffers.tokens[list(places)]
        tokens["id"], tokens["position"] = ids, positions
        order = _side_by_side(tokens["cross"])
        if order is None:
            self._step(tokens, pool, pieces)
            return
        self._step(tokens[order], pool, pieces)
        n = len(ids)
        self._states[order], self.attended[order] = self._states[:n].copy(), self.attended[:n].copy()

    def _step(self, tokens: Array, pool: Executor | None, pieces: int) -> None:
        borders = list(pairwise(_borders(tokens["slot"], pieces)))
        self._work += [self._scratch() for _ in range(len(borders) - len(self._work))]
        others = [
            pool.submit(self._run, tokens, *piece, work)
            for piece, work in zip(borders[1:], self._work[1:], strict=False)
            if pool is not None
        ]
        for piece in borders[: 1 if others else len(borders)]:
            self._run(tokens, *piece, self._work[0])
        for other in others:
            other.result()

    def prefill(self, slot: int, ids: Sequence[int]) -> None:
        """Feed the tokens `ids` to an empty slot at once."""
        self._make_room(len(ids))
        states = np.empty((BLOCK, self._kernel.d_model), np.float32)
        attended = np.empty((BLOCK, self._kernel.groups), np.float32)
        for start in range(0, len(ids), BLOCK):
            some = ids[start : start + BLOCK]
            window = [self.buffers.cross_of(slot)] * len(some)
            tokens = tokens_of(some, range(start, start + len(some)), [slot] * len(some), window)
            rows = slice(len(some))
            self._kernel.run(tokens, self.buffers.past, states[rows], attended[rows], self._scratch())

    def _run(self, tokens: Array, start: int, end: int, work: Array) -> None:
        states, attended = self._states[start:end], self.attended[start:end]
        self._kernel.run(tokens[start:end], self.buffers.past, states, attended, work)

    def _scratch(self) -> Array:
        return self._kernel.scratch(self.buffers.past)

    def _make_room(self, tokens: int) -> None:
        if tokens > self.buffers.past.capacity:
            self.buffers.past.reserve(tokens)
            self._work.clear()


def _side_by_side(windows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """An order in which rows of the same window are neighbours, so that its keys and values are read once for
    all of them; None if no two rows are.
    """
    order = np.argsort(windows, kind="stable")
    found = windows[order]
    return order if (found[1:] == found[:-1]).any() else None


def _borders(slots: NDArray[np.int64], pieces: int) -> list[int]:
    """Borders of about this many pieces of a step, of at most `BLOCK` tokens each. A slot's tokens, which
    are neighbours, stay together: each needs the ones before it.
    """
    n, firsts = len(slots), [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist()]
    longest = max(end - start for start, end in pairwise([*firsts, n]))
    pieces = max(pieces, -(-n // (BLOCK + 1 - longest)))
    return sorted({max(first for first in firsts if first <= n * i // pieces) for i in range(pieces)} | {n})


def kernel_listener(
    kernel: AnyKernel, vocabulary: VocabularyGraphs
) -> Callable[[KernelCross, Sequence[int]], tuple[Float32, Float32]]:
    """Feeds tokens to one window; returns alignment heads' weights [heads, tokens, stored] and logits."""
    scores = Vocabulary(vocabulary, BLOCK)

    def listen(cross: KernelCross, fed: Sequence[int]) -> tuple[Float32, Float32]:
        caches = kernel.caches(1, len(fed))
        work = kernel.scratch(caches)
        attended = np.empty((BLOCK, kernel.groups), np.float32)
        weights, logits = [], []
        for start in range(0, len(fed), BLOCK):
            some = fed[start : start + BLOCK]
            count = len(some)
            tokens = tokens_of(some, range(start, start + count), [0] * count, [cross] * count)
            attention = np.empty((count, len(kernel.followed), cross.stored), np.float32)
            kernel.run(tokens, caches, scores.states, attended, work, attention)
            weights.append(attention)
            logits.append(scores.scores(count).rows())
        return np.concatenate(weights).transpose(1, 0, 2), np.concatenate(logits)

    return listen
