"""The pool of a job with a single worker: the worker runs in a child process, without Ray.

A file that hangs or crashes its decoder costs only this process, as under Ray. Start-up is free, because
the process loads the model while the driver reads the manifest.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque

from asr_batch.manifests.errors import AsrBatchError, WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models import memory
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import sizing
from asr_batch.workers.child import process
from asr_batch.workers.desk import Desk
from asr_batch.workers.pool import MAX_FAILURES, SLICE, WORKER, LostReason, NodeStatus, PoolEvent, WorkerSpec
from asr_batch.workers.status import node_status

log = logging.getLogger(__name__)

LOADS = 2
"""Workers that may die before any has loaded the model: one can be killed by chance, two hardly."""


def load_ahead(spec: WorkerSpec) -> None:
    """Have a prepared process load the model of a :class:`ChildPool` that is likely to come."""
    process.load_ahead(spec, WORKER, _share())


def _share() -> int:
    """Bytes by which the process may grow."""
    return sizing.memory_share(memory.free_memory(), 1)


class ChildPool:
    """One worker in a child process. `wait` raises ModelError for a model that cannot be used.

    `maker` is the worker's class as module:Class.
    """

    def __init__(self, spec: WorkerSpec, maker: str = WORKER) -> None:
        self._spec, self._maker = spec, maker
        self._node = socket.gethostname()
        self._queued: deque[Unit] = deque()
        self._alone: deque[Unit] = deque()
        self._info: ModelInfo | None = None
        self._ready = False
        self._failures = 0
        self._desk = Desk("child", self._node, 0, 1.0)
        self._start()

    def _start(self) -> None:
        self._ready = False
        self._child = process.take(self._spec, self._maker, _share())

    @property
    def info(self) -> ModelInfo:
        """The loaded model; waits for it."""
        while self._info is None:
            self._take_load(1.0)
        return self._info

    def room(self) -> int:
        """Number of further units that the pool accepts now."""
        return 0 if self._alone or not self._ready else max(0, self._desk.wants() - len(self._queued))

    def submit(self, unit: Unit) -> None:
        """Queue a unit; one with `alone` waits until the worker holds no other."""
        (self._alone if unit.alone else self._queued).append(unit)

    def open_units(self) -> tuple[Unit, ...]:
        """Units submitted and not returned yet."""
        return (*self._desk.units(), *self._queued, *self._alone)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Events, waiting at most `timeout` seconds for the first."""
        if not self._ready:
            self._take_load(timeout)
            return []
        self._fill()
        if self._child.called is None:
            if self._desk.empty:
                return []
            self._advance()
        if self._child.answered(timeout):
            return self._take_advance()
        return self._hung()

    def _take_load(self, timeout: float) -> None:
        if not self._child.answered(timeout):
            return
        try:
            brought = self._child.answer()
        except EOFError:
            self._died()
            return
        if isinstance(brought, AsrBatchError):
            raise brought
        self._child.hand_stderr()
        self._info, room = brought
        self._desk = Desk("child", self._node, room, self._info.window)
        self._desk.backend = self._info.encoder_backend
        self._ready = True

    def _fill(self) -> None:
        """Give queued units to the desk; a unit with `alone` only if the desk is empty."""
        if self._alone and self._desk.empty:
            self._desk.queued.append(self._alone.popleft())
        elif not self._alone:
            self._desk.queued.extend(self._queued)
            self._queued.clear()

    def _advance(self) -> None:
        self._child.call("advance", self._desk.dispatch(), SLICE)

    def _take_advance(self) -> list[PoolEvent]:
        try:
            advance, _ = self._child.answer()
        except EOFError:
            return self._died()
        events = self._desk.receive(advance)
        if advance.results:
            self._failures = 0
        if advance.fatal is not None:
            return events + self._replaced("worker_fatal", False, advance.fatal)
        return events

    def _died(self) -> list[PoolEvent]:
        return self._replaced("crashed", True, f"the worker process died: {self._child.fate()}")

    def _hung(self) -> list[PoolEvent]:
        late = self._desk.late(self._child.called)
        if not late:
            return []
        message = "no progress within the time limit of its files"
        log.warning("%s: %s", message, ", ".join(key[0] for key in late))
        return self._desk.lost("hung", True, message, late) + self._replaced("hung", False, message)

    def _replaced(self, reason: LostReason, culpable: bool, message: str) -> list[PoolEvent]:
        """Start a new process: held units are lost, queued units wait for it."""
        self._child.end()
        self._failures += 1
        if self._failures >= (LOADS if self._info is None else MAX_FAILURES):
            raise WorkerFatalError(f"{self._failures} workers died in a row; last reason: {message}")
        events = self._desk.lost(reason, culpable, message)
        for unit in reversed(self._desk.queued):
            (self._alone if unit.alone else self._queued).appendleft(unit)
        past = self._desk
        self._desk = Desk("child", self._node, 0, 1.0)
        self._desk.audio_seconds, self._desk.decode_seconds = past.audio_seconds, past.decode_seconds
        self._start()
        return events

    def nodes(self) -> list[NodeStatus]:
        """One line: this machine."""
        return [node_status(self._node, f"pid {self._child.pid} of {os.getpid()}", [self._desk])]

    def close(self) -> None:
        """End the process."""
        self._child.end()
