"""Session options of our own graphs."""

from __future__ import annotations

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
    return options
