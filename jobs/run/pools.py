"""Starting the pool that a job asks for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from asr_batch.jobs.config import RunConfig
from asr_batch.jobs.model_choice import choose_model
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
