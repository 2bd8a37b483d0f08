"""Number of workers per machine, and threads per worker."""

from __future__ import annotations

import math
import os
import resource
from dataclasses import replace
from pathlib import Path

from asr_batch.models.recognizer import LoadOptions
from asr_batch.workers.pool import WorkerSpec

BASE_BYTES = 300 << 20
"""Memory of a worker process without its model: Python, libraries, audio and windows."""

LEAST_SHARE = 512 << 20
"""Bytes that a worker may always allocate beside its models; less would fail ordinary files."""

THREADS = 4
"""Cores that one worker uses well; beyond that, a second worker is faster."""


RAY_SECONDS = 5.0
"""Seconds that Ray takes to start and to stop (`python -m bench.ray_overhead`)."""

RATE = 12e9
"""Seconds of audio that one process transcribes per second, times bytes of its model. With AVX-512 VNNI a
processor second transcribed 240 s with tiny.en (43 MB), 98 s with base (80 MB): 1.0e10 and 0.8e10 (processor
seconds of `python -m bench.speed` less start-up). A process uses four cores; AVX2 takes three times as long
(`bench.kernels`)."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def model_bytes(folder: str) -> int:
    """Total size of a model's files in bytes."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def worker_count(cpus: int, memory: int, model: int) -> int:
    """Workers for `cpus` cores and `memory` free bytes, with a model of `model` bytes on disk.

    Weights count three times: as read, as packed by the engine, and as working memory.
    """
    fitting = int(0.7 * memory / (BASE_BYTES + 3 * model))
    return max(1, min(round(cpus / THREADS), fitting))


def ray_threshold(workers: int, model: int) -> float:
    """Seconds of audio from which `workers` under Ray finish a job sooner than one process.

    The gain of Ray is the share of the work that the other workers take over; its cost is its start.
    """
    return math.inf if workers < 2 else RAY_SECONDS * RATE / max(model, 1) / (1 - 1 / workers)


def memory_share(free: int, workers: int) -> int:
    """Bytes by which each of `workers` may grow on a machine with `free` bytes."""
    return max(LEAST_SHARE, int(0.8 * free / workers))


class MemoryBound:
    """Limits the memory of this process: allocations beyond `share` bytes more than now fail.

    A file that needs more then raises MemoryError in this process, which `worker.Worker` handles, or at
    worst ends the process instead of its neighbours. Without /proc there is no limit.
    """

    def __init__(self, share: int) -> None:
        self._limit = _data_bytes() + share
        self._before, self._hard = resource.getrlimit(resource.RLIMIT_DATA)

    def hold(self) -> None:
        """Set the limit, leaving some room whatever the models have allocated."""
        now = _data_bytes()
        limit = max(self._limit, now + LEAST_SHARE)
        if now and self._before < 0 and self._hard < 0:  # a limit is already set
            resource.setrlimit(resource.RLIMIT_DATA, (limit, self._hard))

    def lift(self) -> None:
        """Restore the previous limit."""
        resource.setrlimit(resource.RLIMIT_DATA, (self._before, self._hard))


def _data_bytes() -> int:
    """Bytes that count against RLIMIT_DATA: private writable memory, used or not; 0 if unknown."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    except (OSError, StopIteration):
        return 0


def with_threads(spec: WorkerSpec, cpus: int, workers: int) -> WorkerSpec:
    """`spec` with intra-op threads such that threads x workers = cores, unless the user set them."""
    if spec.load.threads:
        return spec
    load: LoadOptions = replace(spec.load, threads=max(1, cpus // workers))
    return replace(spec, load=load)
