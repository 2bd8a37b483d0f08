"""The driver's side of the actors: started, called, listened to, and fenced when they fail.

Ray restarts and retries nothing here. Each actor has one outstanding call; new units travel with the next
call. What the driver does not hear from any more it fences: the actor is killed, its units are reported
lost, and whatever it still returns finds no desk.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from asr_batch.manifests.errors import AsrBatchError, WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models.hailo.api import wants_npu
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import sizing
from asr_batch.workers.cluster.faults import judge
from asr_batch.workers.cluster.file_transfer import Cargo, folder_of, must_carry
from asr_batch.workers.cluster.fleet import MAX_FAILURES, Hand, Node
from asr_batch.workers.cluster.host import WorkerActor, witness
from asr_batch.workers.cluster.nodes import DISTRUST, PULSE, SILENCE, Crew
from asr_batch.workers.desk import Desk, LostReason
from asr_batch.workers.pool import PoolEvent, UnitDone, UnitsLost, WorkerSpec

log = logging.getLogger(__name__)

SLICE = 1.0
"""Longest time in seconds of a call that finishes nothing: how often an actor tells its progress."""

LOAD_SECONDS = 600.0
REJOIN_SECONDS = 120.0
"""How long a cluster without any node is waited for."""

REST = 60.0
"""Seconds after which a node that was left out because its workers died is tried again."""


class Hands:
    """The actors on all nodes, and what became of their units since the last look.

    A pool sets `_ray`, `_nodes`, `_crew` (None on a single machine) and `_cargo` before it starts any.
    """

    _ray: Any
    _nodes: dict[str, Node]
    _crew: Crew | None
    _cargo: Cargo

    def __init__(self, spec: WorkerSpec, maker: str) -> None:
        self._spec, self._maker = spec, maker
        self._hands: list[Hand] = []
        self._events: list[PoolEvent] = []
        self._alone: deque[Unit] = deque()
        self._overflow: deque[Unit] = deque()
        self._suspended: list[tuple[Node, float, UnitsLost]] = []
        self._info: ModelInfo | None = None
        self._trouble: Exception | None = None
        self._spawned = 0
        self._alone_since = time.monotonic()

    def _spawn(self, node: Node) -> None:
        self._spawned += 1
        name = f"{node.name}/{self._spawned}"
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        npu = self._takes_npu(node)
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": pinned}
        if npu and node.npu_resource:
            options["resources"] = {"hailo": 1}  # so that no other job of the cluster opens the device
        actor = self._ray.remote(WorkerActor).options(**options).remote(node.name)
        spec = replace(self._spec, model=node.model, second_model=node.second_model)
        if node.npus and not npu:
            spec = replace(spec, load=replace(spec.load, encoder="cpu"))
        hand = Hand(name, node, actor, Desk(name, node.name, 0, 1.0), npu)
        load = actor.load.remote(sizing.with_threads(spec, node.cpus, node.wanted), self._maker, node.share)
        hand.call, hand.called = load, time.monotonic()
        self._hands.append(hand)

    def _takes_npu(self, node: Node) -> bool:
        """Whether the next worker of the node gets one of its NPUs."""
        taken = sum(hand.npu for hand in self._hands if hand.node is node)
        return wants_npu(self._spec.model, self._spec.load.encoder) and taken < node.npus

    def _tend(self) -> None:
        """Give every node the workers it should have, a failing one after growing pauses."""
        now = time.monotonic()
        if self._crew is not None:
            self._crew.tend()
            self._follow_nodes(now)
        for node in list(self._nodes.values()):
            if node.state != "ready" or now < node.retry_at:
                continue
            for _ in range(node.wanted - sum(hand.node is node for hand in self._hands)):
                self._spawn(node)

    def _follow_nodes(self, now: float) -> None:
        """Fence the workers of nodes that went away, and settle who was to blame for crashes."""
        for hand in [hand for hand in self._hands if hand.node.state in ("silent", "lost")]:
            self._lose(hand, "node_lost", False, f"{hand.node.name}: {hand.node.note}")
        waiting, self._suspended = self._suspended, []
        for node, died, event in waiting:
            if node.proof > died:
                self._events.append(event)
            elif node.state != "ready" or now - died > SILENCE:
                self._events.append(replace(event, reason="node_lost", culpable=False))
            else:
                self._suspended.append((node, died, event))

    # -- calls ----------------------------------------------------------------------------------------

    def _send(self) -> None:
        for hand in self._hands:
            if hand.ready and hand.call is None and not hand.desk.empty:
                self._advance(hand)

    def _advance(self, hand: Hand) -> None:
        now = time.monotonic()
        units = hand.desk.take()
        if hand.node.local:
            hand.call = hand.actor.advance.remote(units, SLICE)
        else:
            units = self._call_with_audio(hand, units)
        hand.called = now
        hand.moved.update((unit.key, now) for unit in units)

    def _call_with_audio(self, hand: Hand, units: list[Unit]) -> list[Unit]:
        """Hand units to another machine: what its files must be like, or the files themselves.

        Units whose file does not fit into the byte budget stay in the queue; returns those that went.
        """
        witnesses, carried, refs, gone = {}, [], [], []
        for unit in units:
            if must_carry(unit, hand.node):
                ref = self._cargo.load(unit)
                if ref is None:
                    hand.desk.put_back(unit)
                    continue
                carried.append(unit.key)
                refs.append(ref)
            elif (seen := witness(unit.item.location)) is not None:
                witnesses[unit.key] = seen
            gone.append(unit)
        if gone or hand.desk.held:
            hand.call = hand.actor.advance.remote(gone, SLICE, witnesses, carried, *refs)
        return gone

    def _refused(self, hand: Hand, keys: Sequence[tuple[str, int]]) -> None:
        """The node does not have these files as the driver has them: send them from now on."""
        for key in keys:
            unit = hand.desk.held[key]
            hand.node.strangers.add(folder_of(unit))
            hand.desk.put_back(unit)

    def _collect(self, timeout: float) -> None:
        """Take in the calls that have returned, waiting at most `timeout` seconds for one."""
        calls = {hand.call: hand for hand in self._hands if hand.call is not None}
        if not calls:
            time.sleep(min(timeout, 0.05))
            return
        done, rest = self._ray.wait(list(calls), timeout=timeout)
        if done and rest:
            done += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for call in done:
            self._take(calls[call], call)

    def _take(self, hand: Hand, call: Any) -> None:
        try:
            brought = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._buried(hand, error)
            return
        hand.call = None
        if hand.ready:
            self._took_advance(hand, *brought)
        else:
            self._took_load(hand, brought)

    def _took_load(self, hand: Hand, brought: tuple[ModelInfo, int, int] | AsrBatchError) -> None:
        if isinstance(brought, AsrBatchError):
            self._trouble = brought
            hand.node.state, hand.node.note = "left out", str(brought)
            self._lose(hand, "worker_fatal", False, str(brought))
            return
        info, room, hand.pid = brought
        self._info = self._info or info
        hand.desk = Desk(hand.name, hand.node.name, room, info.window)
        hand.desk.backend = info.encoder_backend
        hand.ready = True

    def _took_advance(self, hand: Hand, advance: Any, refused: Sequence[tuple[str, int]]) -> None:
        self._refused(hand, refused)
        events = hand.desk.settle(advance)
        self._unload(events)
        now = time.monotonic()
        moved = set(hand.desk.progress_of(events))
        hand.moved = {key: now if key in moved else hand.moved.get(key, now) for key in hand.desk.held}
        if advance.results:
            hand.node.failures = 0
        self._events += events
        if advance.fatal is not None:
            self._lose(hand, "worker_fatal", False, advance.fatal)
        elif not hand.desk.empty:
            self._advance(hand)

    def _unload(self, events: Sequence[PoolEvent]) -> None:
        for event in events:
            if isinstance(event, UnitDone):
                self._cargo.release_key(event.result.key)
            elif isinstance(event, UnitsLost):
                for unit in event.units:
                    self._cargo.release_key(unit.key)

    # -- faults ---------------------------------------------------------------------------------------

    def _buried(self, hand: Hand, error: Exception) -> None:
        verdict = judge(error, self._ray.exceptions)
        log.warning("%s is gone: %s", hand.name, verdict.message)
        self._trouble = WorkerFatalError(f"{hand.name}: {verdict.message}")
        self._lose(hand, verdict.reason, verdict.culpable, verdict.message)
        if verdict.suspect_node and self._crew is not None:
            hand.node.retry_at = time.monotonic() + DISTRUST

    def _lose(self, hand: Hand, reason: LostReason, culpable: bool, message: str) -> None:
        """Fence a worker: nothing it still says counts. Its units are lost, those it never had go on."""
        self._kill(hand)
        self._hands.remove(hand)
        node = hand.node
        node.audio_seconds += hand.desk.audio_seconds
        node.decode_seconds += hand.desk.decode_seconds
        node.failures += reason != "node_lost"
        node.retry_at = time.monotonic() + min(
            30.0, 0.25 * 2 ** (node.failures - 1) if node.failures > 1 else 0
        )
        if node.failures >= MAX_FAILURES and node.state == "ready":
            node.state, node.note = "left out", f"{node.failures} workers in a row died: {message}"
            node.retry_at = time.monotonic() + REST
        for unit in hand.desk.queued:
            (self._alone if unit.alone else self._overflow).append(unit)
        events = hand.desk.lost(reason, culpable, message)
        self._unload(events)
        if self._crew is not None and culpable and node.state == "ready":
            self._suspend(node, events)
        else:
            self._events += events

    def _suspend(self, node: Node, events: list[PoolEvent]) -> None:
        """A process that dies may be the first sign of a dying node: blame nobody before the node answers."""
        assert self._crew is not None
        now = time.monotonic()
        self._suspended += [(node, now, event) for event in events if isinstance(event, UnitsLost)]
        self._crew.feel_now(node)

    def _kill(self, hand: Hand) -> None:
        try:
            self._ray.kill(hand.actor, no_restart=True)
        except (self._ray.exceptions.RayError, ValueError) as error:
            log.debug("%s could not be killed: %s", hand.name, error)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        for hand in list(self._hands):
            if not hand.ready:
                if now - hand.called > LOAD_SECONDS:
                    self._lose(hand, "hung", False, f"{hand.name}: no model loaded in {LOAD_SECONDS:.0f} s")
                continue
            late = hand.deadline_passed(now)
            if late and self._heard_lately(hand.node, now):
                self._hung(hand, late)

    def _heard_lately(self, node: Node, now: float) -> bool:
        """Whether silence is the worker's own: on a node that does not answer, nothing can be told."""
        return self._crew is None or now - node.heard < 2 * PULSE

    def _hung(self, hand: Hand, late: list[tuple[str, int]]) -> None:
        message = f"no progress on {hand.name} within the time its files may take"
        log.warning("%s: %s", message, ", ".join(key[0] for key in late))
        self._events += hand.desk.lost("hung", True, message, late)
        self._lose(hand, "hung", False, message)

    def _check_hope(self) -> None:
        hopeful = ("ready", "preparing", "silent")
        if self._hands or any(node.state in hopeful for node in self._nodes.values()):
            self._alone_since = time.monotonic()
        elif self._crew is None or time.monotonic() - self._alone_since > REJOIN_SECONDS:
            waited = f" after {REJOIN_SECONDS:.0f} s of waiting" if self._crew is not None else ""
            raise WorkerFatalError(f"no worker is left{waited}: {self._trouble or 'all nodes are lost'}")
