"""Session options of compiled graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition
from typing import TYPE_CHECKING

from asr_batch.models.onnx.sessions import session_options

if TYPE_CHECKING:
    import onnxruntime as ort


class Cores:
    """A semaphore with one permit per thread of the engine; every computation holds a permit.

    With more computing threads than cores, threads take turns and evict each other's data from the caches.
    The thread that drives the engine holds a permit from the start and lends it while it waits for others.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free, self._wanted = count - 1, 0
        self._change = Condition()

    @property
    def wanted(self) -> bool:
        """Whether a thread waits for a permit."""
        return self._wanted > 0

    def _take(self) -> None:
        with self._change:
            self._wanted += 1
            self._change.wait_for(lambda: self._free > 0)
            self._wanted -= 1
            self._free -= 1

    def _give(self, count: int = 1) -> None:
        with self._change:
            self._free += count
            self._change.notify(count)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a permit and hold it, for the work of a pool thread."""
        self._take()
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the driving thread's permit while it waits for others."""
        self._give()
        try:
            yield
        finally:
            self._take()

    @contextmanager
    def spare(self, most: int) -> Iterator[int]:
        """Take up to `most` permits that nobody uses or waits for; yields their number."""
        with self._change:
            taken = max(0, min(most, self._free - self._wanted))
            self._free -= taken
        try:
            yield taken
        finally:
            self._give(taken)


def graph_options(threads: int) -> ort.SessionOptions:
    """Options for a compiled graph on `threads` threads.

    Fusions beyond the basic level are off: the graphs already contain the fused operators that pay, and
    the remaining fusion (Add and LayerNormalization) is slower than its parts. The arena is on: shapes are
    fixed, so it reaches its size with the first window, stays there, and saves a tenth of the time.
    """
    import onnxruntime as ort  # 20 MB, which a process with kernels alone does not need

    options = session_options(threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = True
    if _shared_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


_ARENA = {
    "arena_extend_strategy": 1,
    "initial_chunk_size_bytes": 20 << 20,
    "max_dead_bytes_per_chunk": 64 << 10,
}


@cache
def _shared_arena() -> bool:
    """One arena for all sessions of this process.

    Its first block fits two windows in the encoder and a step of the decoder at Whisper-tiny's size; it
    then grows as requested. Separate blocks per tensor cannot be merged again: they took 40 MB, of which
    14 were in use.
    """
    import onnxruntime as ort  # only here, as above

    info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(info, ort.OrtArenaCfg(_ARENA))
    except Exception:  # noqa: BLE001 - somebody else in this process has registered one: each session its own
        return False
    return True
