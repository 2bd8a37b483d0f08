"""Follows units: processes what actors return, and fences failed actors.

To fence an actor is to kill it, report its units as lost, and ignore what it still returns.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from asr_batch.manifests.errors import AsrBatchError, WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.advance import Advance, Key
from asr_batch.workers.cluster.actor import Actor
from asr_batch.workers.cluster.actors import Actors
from asr_batch.workers.cluster.faults import fault_of
from asr_batch.workers.cluster.suspicions import Suspicions
from asr_batch.workers.cluster.unit_queue import UnitQueue
from asr_batch.workers.pool import LostReason, PoolEvent

log = logging.getLogger(__name__)

LOAD_SECONDS = 600.0
"""Seconds that an actor may take to load its models."""


class Supervisor:
    """Watches `actors`; units that a failed one never received go back to `queue`.

    `exceptions` is the module ray.exceptions. `info` is the model that the first actor loaded, `trouble`
    the error of the last one that failed.
    """

    def __init__(self, actors: Actors, queue: UnitQueue, exceptions: Any) -> None:
        self.info: ModelInfo | None = None
        self.trouble: Exception | None = None
        self._actors, self._queue, self._exceptions = actors, queue, exceptions
        self._suspicions = Suspicions()
        self._events: list[PoolEvent] = []

    def events(self) -> list[PoolEvent]:
        """Events since the last call."""
        events, self._events = self._events, []
        return events

    def units(self) -> list[Unit]:
        """Units of ended actors that were not reported yet."""
        return self._suspicions.units()

    def follow_nodes(self) -> None:
        """Fence the actors of lost nodes, and resolve who is to blame for crashes."""
        for actor in self._actors:
            if actor.node.state in ("silent", "lost"):
                self._lose(actor, "node_lost", False, f"{actor.node.name}: {actor.node.note}")
        self._events += self._suspicions.resolve()

    def receive(self, actor: Actor, answer: Any) -> None:
        """Process the result of a call, or the RayError that ended it."""
        if isinstance(answer, self._exceptions.RayError):
            self._died(actor, answer)
        elif isinstance(answer, AsrBatchError):
            self._loads_nothing(actor, answer)
        elif actor.ready:
            self._advanced(actor, *answer)
        else:
            info, room = answer
            self.info = self.info or info
            actor.loaded(info, room)

    def _advanced(self, actor: Actor, advance: Advance, refused: tuple[Key, ...]) -> None:
        self._events += actor.receive(advance, refused)
        if advance.results:
            actor.node.worker_finished()
        if advance.fatal is not None:
            self._lose(actor, "worker_fatal", False, advance.fatal)
        elif not actor.desk.empty:
            actor.advance()

    def check_deadlines(self) -> None:
        """Fence actors that load or work for too long."""
        for actor in self._actors:
            if actor.ready:
                late = actor.late()
                if late and actor.node.answers:
                    self._hung(actor, late)
            elif time.monotonic() - actor.called > LOAD_SECONDS:
                self._lose(actor, "hung", False, f"{actor.name}: no model loaded in {LOAD_SECONDS:.0f} s")

    # -- faults ---------------------------------------------------------------------------------------

    def _loads_nothing(self, actor: Actor, error: AsrBatchError) -> None:
        self.trouble = error
        actor.node.leave_out(str(error))
        self._lose(actor, "worker_fatal", False, str(error))

    def _died(self, actor: Actor, error: Exception) -> None:
        fault = fault_of(error, self._exceptions)
        log.warning("%s is gone: %s", actor.name, fault.message)
        self.trouble = WorkerFatalError(f"{actor.name}: {fault.message}")
        self._lose(actor, fault.reason, fault.culpable, fault.message)
        if fault.suspect_node:
            actor.node.distrust()

    def _hung(self, actor: Actor, late: list[Key]) -> None:
        message = f"no progress on {actor.name} within the time limit of its files"
        log.warning("%s: %s", message, ", ".join(key[0] for key in late))
        self._events += actor.lost("hung", True, message, late)
        self._lose(actor, "hung", False, message)

    def _lose(self, actor: Actor, reason: LostReason, culpable: bool, message: str) -> None:
        """Fence an actor: its held units are lost, its queued ones wait for another."""
        self._actors.remove(actor)
        node = actor.node
        node.worker_gone(actor.desk, reason != "node_lost", message)
        self._queue.put_back(actor.desk.queued)
        events = actor.lost(reason, culpable, message)
        if culpable and node.state == "ready" and node.pulse is not None:
            self._suspicions.add(node, events)
        else:
            self._events += events
