"""Starts the pool that a job needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.model_choice import choose_model
from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.records import Unit
from asr_batch.models import memory
from asr_batch.models.recognizer import ModelInfo
from asr_batch.models.store.store import Store
from asr_batch.workers import sizing
from asr_batch.workers.child import process as child_process
from asr_batch.workers.pool import NodeStatus, Pool, PoolEvent, WorkerSpec

Ahead = Callable[[float], float]
"""Seconds of audio that a job has left; may stop counting at the given number."""


def load_early(config: RunConfig) -> None:
    """As `load_ahead`, before the run has read anything, if the model needs no download and no compiling."""
    if child_process.prepared() and config.second_model is None:
        with suppress(ModelError):  # the run will find it, too, and end
            model = Store().at_hand(config.model)
            if model is not None:
                load_ahead(config, model)


def load_ahead(config: RunConfig, model: Path) -> None:
    """A worker process that the command has prepared loads the model while the run looks for work.

    The first call counts.
    """
    if not child_process.prepared():
        return
    # With the pipeline, which a run with nothing to do does without.
    from asr_batch.workers.child.pool import load_ahead

    load_ahead(sizing.with_threads(_spec(config, model), sizing.cores(), 1))


def start_pool(config: RunConfig, model: Path, ahead: Ahead | None = None) -> Pool:
    """Start a pool. Raises ModelError, ConfigError, WorkerFatalError.

    Without options for workers, Ray is used if several workers finish sooner than one process.
    """
    spec = _spec(config, model)
    told = config.no_ray or config.workers is not None or config.address != "local"
    if not told and not _wants_ray(spec, ahead):
        from asr_batch.workers.child.pool import ChildPool  # as above, and so for each pool

        pool = ChildPool(sizing.with_threads(spec, sizing.cores(), 1))
        import_module("asr_batch.jobs.console.metrics")  # for the end of the run, while the worker loads
        return pool
    child_process.discard()
    if config.no_ray:
        from asr_batch.workers.local import LocalPool

        return LocalPool(spec)
    from asr_batch.workers.cluster.pool import start  # imports Ray's side only when it is used

    return start(
        spec,
        address=config.address,
        workers=config.workers,
        strict=config.strict,
        insecure_cluster=config.insecure_cluster,
    )


def _spec(config: RunConfig, model: Path) -> WorkerSpec:
    second = str(choose_model(config.second_model).path) if config.second_model else None
    return WorkerSpec(str(model), config.load(), config.pipeline(), second)


def _wants_ray(spec: WorkerSpec, ahead: Ahead | None) -> bool:
    from asr_batch.models.hailo.api import devices, wants_npu  # all of the NPU's modules

    size = sizing.model_bytes(spec.model)
    npus = len(devices()[0]) if wants_npu(spec.model, spec.load.encoder) else 0
    workers = npus or sizing.worker_count(sizing.cores(), memory.free_memory(), size)
    threshold = sizing.ray_threshold(workers, size)
    return math.isfinite(threshold) and (ahead is None or ahead(threshold) > threshold)


class LazyPool:
    """A pool that starts with its first unit, so that a job with nothing to do never loads its model.

    `info` comes from the model's files before loading. Nothing starts after a stop request.
    """

    first = 64
    """Units collected before the start, to estimate the amount of work."""

    def __init__(self, info: ModelInfo, start: Callable[[], Pool], stop: StopRequest) -> None:
        self._info, self._start, self._stop = info, start, stop
        self._waiting: list[Unit] = []
        self._pool: Pool | None = None

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info if self._pool is None else self._pool.info

    def room(self) -> int:
        """Number of further units that the pool accepts now."""
        return self.first - len(self._waiting) if self._pool is None else self._pool.room()

    def submit(self, unit: Unit) -> None:
        """Accept a unit."""
        if self._pool is None:
            self._waiting.append(unit)
        else:
            self._pool.submit(unit)

    def open_units(self) -> tuple[Unit, ...]:
        """Units submitted and not returned yet."""
        if self._pool is not None:
            return self._pool.open_units()
        return () if self._stop.count else tuple(self._waiting)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Start the pool if necessary; otherwise wait for its events."""
        if self._pool is not None:
            return self._pool.wait(timeout)
        if not self._stop.count:
            with self._stop.starting():
                self._pool = self._start()
            for unit in self._waiting if not self._stop.count else ():
                self._pool.submit(unit)
        return []

    def nodes(self) -> list[NodeStatus]:
        """The node table; empty before the start."""
        return self._pool.nodes() if self._pool is not None else []

    def close(self) -> None:
        """Close the pool if it was started."""
        if self._pool is not None:
            self._pool.close()


class KeptPool:
    """Starts a pool once and reuses it; only `end` closes it."""

    def __init__(self, starter: Callable[[RunConfig, Path], Pool]) -> None:
        self._starter = starter
        self._pool: Pool | None = None

    def start(self, config: RunConfig, model: Path) -> Pool:
        """The pool; closing it has no effect."""
        if self._pool is None:
            self._pool = self._starter(config, model)
        return _Unclosed(self._pool)

    def end(self) -> None:
        """Close the pool if there is one."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class _Unclosed:
    """A pool whose `close` has no effect."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.room, self.submit, self.open_units = pool.room, pool.submit, pool.open_units
        self.wait, self.nodes = pool.wait, pool.nodes

    @property
    def info(self) -> ModelInfo:
        """The model that the workers loaded."""
        return self._pool.info

    def close(self) -> None:
        """No-op."""
