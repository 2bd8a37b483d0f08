"""How many workers a machine carries and how many threads each of them gets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from asr_batch.models.load import LoadOptions
from asr_batch.workers.pool import WorkerSpec

BASE_BYTES = 300 << 20
"""What a worker's process needs beside its model: Python, the libraries, audio and windows."""

THREADS = 4
"""Cores that one worker makes good use of: beyond that, a second worker brings more."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of memory that are available now (a very large number where the system does not tell)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 1 << 60


def model_bytes(folder: str) -> int:
    """Bytes of the files of a model."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def worker_count(cpus: int, memory: int, model: int) -> int:
    """Workers for `cpus` cores and `memory` free bytes, with a model of `model` bytes on disk.

    Weights count three times: as read, as packed by the engine, and as working memory beside them.
    """
    fitting = int(0.7 * memory / (BASE_BYTES + 3 * model))
    return max(1, min(round(cpus / THREADS), fitting))


def with_threads(spec: WorkerSpec, cpus: int, workers: int) -> WorkerSpec:
    """`spec` with intra-op threads such that threads x workers = cores, unless the user set them."""
    if spec.load.threads:
        return spec
    load: LoadOptions = replace(spec.load, threads=max(1, cpus // workers))
    return replace(spec, load=load)
