"""What a worker answers; the driver reads it without loading what a worker needs."""

from __future__ import annotations

from dataclasses import dataclass

from asr_batch.manifests.records import SpanResult
from asr_batch.workers.pool import LostReason

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Returned:
    """Units that the worker returns unfinished; `culpable` as in `pool.UnitsLost`."""

    keys: tuple[Key, ...]
    reason: LostReason
    culpable: bool
    message: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Result of one call of :meth:`asr_batch.workers.worker.Worker.advance`.

    `progress` is the audio seconds decoded of each open unit; `room` is the number of units the worker
    accepts next; `slots` are the slot-steps used and available since loading, `npu` the counters and
    readings of its NPU. With `fatal` the worker cannot continue.
    """

    results: tuple[SpanResult, ...] = ()
    progress: tuple[tuple[Key, float], ...] = ()
    returned: tuple[Returned, ...] = ()
    room: int = 0
    slots: tuple[int, int] = (0, 0)
    backend: str = "cpu"
    fatal: str | None = None
    npu: tuple[tuple[str, float], ...] = ()
