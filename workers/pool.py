"""The interface between jobs and workers: units in, events out.

Only the driver schedules, retries and commits. A pool runs units and reports what happened to them; it
never retries one by itself. There are three implementations: in-process (`--no-ray`), child process, and
Ray actors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from asr_batch.manifests.records import SpanResult, Unit
from asr_batch.models.recognizer import LoadOptions, ModelInfo
from asr_batch.pipeline.options import PipelineOptions

WORKER = "asr_batch.workers.worker:Worker"
"""The class of workers in other processes, which import it there."""

SLICE = 1.0
"""Longest time in seconds that a worker works before it reports progress."""

MAX_FAILURES = 6
"""Consecutive workers that may die in one place without finishing a unit before the place is given up."""

LostReason = Literal["crashed", "hung", "out_of_memory", "node_lost", "retryable", "worker_fatal"]
"""Why a worker did not return a unit: its process died, made no progress or ran out of memory; its node
was lost; something that the unit needs is unavailable for now; the worker cannot load a model.
"""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that a worker needs to load its models; small and picklable.

    `model` and `second_model` are folders as the driver sees them; a remote node fetches what it lacks.
    """

    model: str
    load: LoadOptions = field(default_factory=LoadOptions)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    second_model: str | None = None


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit came back: with windows, or with the `failure` that becomes a row."""

    result: SpanResult
    worker: str


@dataclass(frozen=True, slots=True)
class UnitsLost:
    """Units whose worker ended before they came back.

    `culpable`: the worker's process died (or hung) while its node lived, so one of `units` may be the
    cause; a single unit is. If the node was cut off or killed, `culpable` is False.
    """

    units: tuple[Unit, ...]
    reason: LostReason
    culpable: bool
    message: str
    worker: str
    node: str


@dataclass(frozen=True, slots=True)
class UnitProgress:
    """Audio seconds of a unit decoded so far, for the progress bar; reported every few seconds."""

    key: tuple[str, int]
    seconds: float
    worker: str


PoolEvent = UnitDone | UnitsLost | UnitProgress


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One line of the node table.

    `npu` has counters and readings of its NPUs (empty without); `temperature` is then the NPU's.
    """

    node: str
    address: str
    alive: bool
    workers: int
    encoder_backend: str
    audio_seconds: float = 0.0
    decode_seconds: float = 0.0
    occupancy: float = 0.0
    note: str = ""
    temperature: float | None = None
    npu: Mapping[str, float] = field(default_factory=dict)


class Pool(Protocol):
    """A pool of workers that run units."""

    @property
    def info(self) -> ModelInfo:
        """The model that the workers loaded (the same on all of them)."""

    def room(self) -> int:
        """Number of further units that it needs now to keep every worker busy."""

    def submit(self, unit: Unit) -> None:
        """Accept a unit. A unit with `alone` runs on a worker that holds no other unit."""

    def open_units(self) -> tuple[Unit, ...]:
        """Units submitted and not returned yet."""

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Events, waiting at most `timeout` seconds for the first.

        Raises WorkerFatalError if no worker is left and none can be started.
        """

    def nodes(self) -> list[NodeStatus]:
        """The current node table."""

    def close(self) -> None:
        """End all workers; open units are dropped without an event."""
