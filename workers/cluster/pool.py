"""The pool of Ray actors: on this machine alone (embedded), or on the nodes of a cluster."""

from __future__ import annotations

import time

from asr_batch.manifests.errors import ConfigError, WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models.hailo.api import devices, wants_npu
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import sizing
from asr_batch.workers.cluster import connection as session
from asr_batch.workers.cluster import preflight as cluster
from asr_batch.workers.cluster.actors import SLICE, Hands
from asr_batch.workers.cluster.file_transfer import Cargo
from asr_batch.workers.cluster.fleet import Hand, Node, status
from asr_batch.workers.cluster.nodes import Crew
from asr_batch.workers.pool import NodeStatus, PoolEvent, WorkerSpec


class RayPool(Hands):
    """Workers as Ray actors; `address` "local" starts a Ray of its own on this machine.

    "auto" joins the cluster of this machine, HOST:PORT the one whose head is there. `workers` None: what
    cores and memory carry, on each node. `strict`: all nodes must fit. `maker` is the worker's class as
    module:Class.
    Raises ModelError or ConfigError when no worker can start.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        address: str = "local",
        workers: int | None = None,
        strict: bool = False,
        insecure_cluster: bool = False,
        maker: str = "asr_batch.workers.worker:Worker",
    ) -> None:
        super().__init__(spec, maker)
        self._closed = False
        self._crew = None
        if address == "local":
            self._start_own(workers)
        else:
            self._join(address, workers, insecure_cluster)
        self._cargo = Cargo(self._ray)
        try:
            self._muster(strict)
            self._await_first()
        except BaseException:
            self.close()
            raise

    # -- start ----------------------------------------------------------------------------------------

    def _start_own(self, workers: int | None) -> None:
        cpus = sizing.cores()
        model = sizing.model_bytes(self._spec.model)
        npus = len(devices()[0]) if wants_npu(self._spec.model, self._spec.load.encoder) else 0
        free = sizing.free_memory()
        count = workers or npus or sizing.worker_count(cpus, free, model)
        self._session = session.embedded(max(cpus, count))
        self._ray = self._session.ray
        (raw,) = (node for node in self._ray.nodes() if node["Alive"])
        name, address = raw["NodeManagerHostname"], raw["NodeManagerAddress"]
        node = Node(raw["NodeID"], name, address, cpus, npus, local=True)
        node.state, node.wanted, node.share = "ready", count, sizing.memory_share(free, count)
        node.model, node.second_model = self._spec.model, self._spec.second_model
        self._nodes = {node.id: node}

    def _join(self, address: str, workers: int | None, insecure: bool) -> None:
        self._session = session.join(cluster.check(address, insecure))
        self._ray = self._session.ray
        self._crew = Crew(self._ray, self._spec, workers)
        self._nodes = self._crew.nodes

    def _muster(self, strict: bool) -> None:
        """Prepare the nodes of a cluster. Raises ConfigError when none fits, or not all with `strict`."""
        if self._crew is None:
            return
        self._crew.muster()
        out = [node for node in self._nodes.values() if node.state == "left out" and node.cpus]
        told = "; ".join(f"{node.name} ({node.address}): {node.note}" for node in out)
        if out and (strict or not any(node.state == "ready" for node in self._nodes.values())):
            raise ConfigError(f"nodes that cannot take part: {told}")

    def _await_first(self) -> None:
        """Wait until a worker is ready, in a cluster also for nodes that were lost or are still to join.

        Raises what kept the last one from starting.
        """
        while self._info is None:
            self._tend()
            states = {node.state for node in self._nodes.values() if node.cpus}
            if not self._hands and (self._crew is None or states == {"left out"}):
                raise self._trouble or WorkerFatalError("no worker could be started")
            self._collect(1.0)
            self._check_deadlines()
            if self._crew is not None:
                self._check_hope()

    # -- Pool -----------------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        """The model that the workers loaded."""
        assert self._info is not None
        return self._info

    def room(self) -> int:
        """How many more units the workers want now."""
        return max(0, sum(hand.desk.wants() for hand in self._ready()) - len(self._overflow))

    def _ready(self) -> list[Hand]:
        reserved = self._reserved()
        return [hand for hand in self._hands if hand.ready and hand is not reserved]

    def _reserved(self) -> Hand | None:
        """The worker that runs empty for a unit that must be alone: where nothing died lately, if possible.

        A node that kills whatever it is given would otherwise be the first with nothing to do.
        """
        if not self._alone:
            return None
        ready = [hand for hand in self._hands if hand.ready]
        return min(ready, key=lambda hand: (hand.node.failures, len(hand.desk.units())), default=None)

    def submit(self, unit: Unit) -> None:
        """Queue a unit at the worker that wants units most, or here until one wants it."""
        if unit.alone:
            self._alone.append(unit)
            return
        self._overflow.append(unit)
        self._hand_out()

    def _hand_out(self) -> None:
        """Queue units that wait for no worker in particular, as far as workers want any."""
        ready = self._ready()
        while self._overflow and ready:
            hand = max(ready, key=_eagerness)
            if hand.desk.wants() <= 0:
                return
            hand.desk.queued.append(self._overflow.popleft())

    def open_units(self) -> tuple[Unit, ...]:
        """Units handed over that have not come back."""
        at_desks = [unit for hand in self._hands for unit in hand.desk.units()]
        suspended = [unit for _, _, event in self._suspended for unit in event.units]
        return (*at_desks, *self._alone, *self._overflow, *suspended)

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Events that happened, waiting at most `timeout` seconds for the first."""
        until = time.monotonic() + timeout
        while True:
            self._tend()
            self._place()
            self._send()
            self._collect(min(SLICE, max(0.0, until - time.monotonic())))
            self._check_deadlines()
            if self._events or time.monotonic() >= until:
                events, self._events = self._events, []
                return events
            self._check_hope()

    def nodes(self) -> list[NodeStatus]:
        """The node table as it stands."""
        return [
            status(node, [hand for hand in self._hands if hand.node is node]) for node in self._nodes.values()
        ]

    def close(self) -> None:
        """End all actors and Ray with them."""
        if not self._closed:
            self._closed = True
            if self._crew is not None and self._crew.headless:
                self._session.abandon()
                return
            for hand in self._hands:
                self._kill(hand)
            self._hands.clear()
            self._session.close()

    def _place(self) -> None:
        """Find workers for units that wait: those that must be alone, and those of workers that went."""
        reserved = self._reserved()
        if reserved is not None and reserved.desk.empty:
            reserved.desk.queued.append(self._alone.popleft())
        self._hand_out()
        self._share()

    def _share(self) -> None:
        """A worker without units takes queued ones from the longest queue."""
        for hand in self._ready():
            if hand.desk.empty and hand.call is None:
                other = max(self._hands, key=lambda one: len(one.desk.queued))
                if other.call is not None and other.desk.queued and not other.desk.queued[-1].alone:
                    hand.desk.queued.append(other.desk.queued.pop())


def _eagerness(hand: Hand) -> tuple[bool, int]:
    """Order in which workers get units: those with an NPU first, then who wants most."""
    wants = hand.desk.wants()
    return hand.npu and wants > 0, wants
