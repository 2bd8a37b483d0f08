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


@cache
def _shared_arena() -> bool:
    """One arena for all our sessions of this process, grown by what is asked for and not by powers of two."""
    info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    try:
        ort.create_and_register_allocator(info, ort.OrtArenaCfg({"arena_extend_strategy": 1}))
    except Exception:  # noqa: BLE001 - somebody else in this process has registered one: each session its own
        return False
    return True
