"""The pool of `--no-ray`: one worker in this process and thread, and therefore deterministic."""

from __future__ import annotations

import os
import socket
from collections import deque

from asr_batch.manifests.errors import WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models import memory
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import sizing
from asr_batch.workers.desk import Desk
from asr_batch.workers.pool import SLICE, NodeStatus, PoolEvent, WorkerSpec
from asr_batch.workers.status import node_status
from asr_batch.workers.worker import Worker

RELOADS = 3
"""How often a failed worker is reloaded before the pool gives up."""


class LocalPool:
    """One worker in this process. A file that hangs or crashes its decoder takes the process down.

    Raises ModelError if the model cannot be used.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._node = socket.gethostname()
        self._bound = sizing.MemoryBound(sizing.memory_share(memory.free_memory(), 1))
        self._worker = Worker(spec, self._node)
        self._bound.hold()
        self._info = self._worker.info
        self._desk = Desk("local", self._node, self._worker.room(), self._info.window)
        self._alone: deque[Unit] = deque()
        self._reloads = 0

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._info

    def room(self) -> int:
        """Number of further units that the pool accepts now."""
        return 0 if self._alone else self._desk.wants()

    def submit(self, unit: Unit) -> None:
        """Queue a unit; one with `alone` waits until the worker holds no other."""
        (self._alone if unit.alone else self._desk.queued).append(unit)

    def open_units(self) -> tuple[Unit, ...]:
        """Units submitted and not returned yet."""
        return (*self._desk.units(), *self._alone)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Decode for up to `timeout` seconds, at least until an event occurs or a slice is over."""
        if self._alone and self._desk.empty:
            self._desk.queued.append(self._alone.popleft())
        if self._desk.empty:
            return []
        advance = self._worker.advance(self._desk.dispatch(), min(timeout, SLICE))
        events = self._desk.receive(advance)
        if advance.fatal is not None:
            self._reload(advance.fatal)
        return events

    def _reload(self, why: str) -> None:
        self._reloads += 1
        if self._reloads > RELOADS:
            raise WorkerFatalError(f"the worker failed {self._reloads} times; last reason: {why}")
        self._worker.close()
        self._worker = Worker(self._spec, self._node)
        waiting = self._desk.queued
        self._desk = Desk("local", self._node, self._worker.room(), self._info.window)
        self._desk.queued.extend(waiting)

    def nodes(self) -> list[NodeStatus]:
        """One line: this machine."""
        return [node_status(self._node, f"pid {os.getpid()}", [self._desk])]

    def close(self) -> None:
        """Release the models."""
        self._worker.close()
        self._bound.lift()
