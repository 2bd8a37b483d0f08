"""Starting the pool that a job asks for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from asr_batch.jobs.config import RunConfig
from asr_batch.jobs.model_choice import choose_model
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.pool import Pool, WorkerSpec


def start_pool(config: RunConfig, model: Path) -> Pool:
    """Load the model where the job wants it. Raises ModelError, ConfigError, WorkerFatalError."""
    second = str(choose_model(config.second_model).path) if config.second_model else None
    spec = WorkerSpec(str(model), config.load(), config.pipeline(), second)
    if config.no_ray:
        from asr_batch.workers.local import LocalPool

        return LocalPool(spec)
    start = import_module("asr_batch.workers.cluster.pool").RayPool  # Ray is imported only when it is used
    return cast(
        Pool,
        start(
            spec,
            address=config.address,
            workers=config.workers,
            strict=config.strict,
            insecure_cluster=config.insecure_cluster,
        ),
    )


class KeptPool:
    """Starts a pool once and hands it out again and again; only `end` ends it."""

    def __init__(self, starter: Callable[[RunConfig, Path], Pool]) -> None:
        self._starter = starter
        self._pool: Pool | None = None

    def start(self, config: RunConfig, model: Path) -> Pool:
        """The pool; whoever closes it does not."""
        if self._pool is None:
            self._pool = self._starter(config, model)
        return _Unclosed(self._pool)

    def end(self) -> None:
        """Close the pool if there is one."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class _Unclosed:
    """A pool whose `close` does nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.room, self.submit, self.open_units = pool.room, pool.submit, pool.open_units
        self.wait, self.nodes = pool.wait, pool.nodes

    @property
    def info(self) -> ModelInfo:
        """The model that the workers loaded."""
        return self._pool.info

    def close(self) -> None:
        """Nothing."""
