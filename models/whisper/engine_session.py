"""Session options of our own graphs."""

from __future__ import annotations

from functools import cache

import onnxruntime as ort

from asr_batch.models.session import session_options


def graph_options(threads: int) -> ort.SessionOptions:
    """Options for a compiled graph on `threads` threads.

    Fusions beyond the basic level are off: the graphs are written with the fused operators that pay, and
    the one fusion left (Add and LayerNormalization) is slower than its parts. The arena is on: shapes are
    fixed, so it reaches its size with the first window and stays there, and saves a tenth of the time.
    """
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
    """One arena for all our sessions of this process: one piece that two windows in the encoder and a step
    of the decoder fit into at Whisper-tiny's size, then grown by what is asked for. Pieces of their own for
    every tensor cannot be joined again: they took 40 MB where 14 are in use.
    """
    info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(info, ort.OrtArenaCfg(_ARENA))
    except Exception:  # noqa: BLE001 - somebody else in this process has registered one: each session its own
        return False
    return True
