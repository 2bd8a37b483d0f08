"""The pool of Ray actors: on this machine alone (embedded), or on the nodes of a cluster."""

from __future__ import annotations

import time
from dataclasses import replace

from asr_batch.manifests.errors import ConfigError, WorkerFatalError
from asr_batch.manifests.records import Unit
from asr_batch.models import memory
from asr_batch.models.hailo.api import devices, wants_npu
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers import sizing
from asr_batch.workers.cluster import connection, preflight
from asr_batch.workers.cluster.actors import Actors
from asr_batch.workers.cluster.connection import Connection
from asr_batch.workers.cluster.nodes.membership import ClusterNodes, Nodes, ThisMachine, machine_of
from asr_batch.workers.cluster.nodes.node import Setup
from asr_batch.workers.cluster.nodes.preparation import Preparation
from asr_batch.workers.cluster.supervisor import Supervisor
from asr_batch.workers.cluster.unit_queue import UnitQueue
from asr_batch.workers.pool import SLICE, WORKER, NodeStatus, PoolEvent, WorkerSpec


def start(
    spec: WorkerSpec,
    *,
    address: str = "local",
    workers: int | None = None,
    strict: bool = False,
    insecure_cluster: bool = False,
    maker: str = WORKER,
) -> RayPool:
    """Start a pool and wait for its first worker.

    `address`: "local" starts a separate Ray on this machine, "auto" joins the cluster of this machine,
    HOST:PORT the one with that head. `workers` None: by cores and memory of each node. `strict`: all nodes
    must be usable. `maker` is the worker's class as module:Class. Raises ModelError, ConfigError, or
    WorkerFatalError if no worker can start.
    """
    joined, nodes = (
        _embedded(spec, workers)
        if address == "local"
        else _cluster(spec, preflight.check(address, insecure_cluster), workers)
    )
    actors, queue = Actors(joined.ray, spec, maker), UnitQueue()
    pool = RayPool(joined, nodes, actors, queue, Supervisor(actors, queue, joined.ray.exceptions))
    try:
        nodes.prepare_all()
        _expect_fit(nodes, strict)
        pool.await_first()
    except BaseException:
        pool.close()
        raise
    return pool


def _embedded(spec: WorkerSpec, workers: int | None) -> tuple[Connection, Nodes]:
    cpus, free = sizing.cores(), memory.free_memory()
    npus = len(devices()[0]) if wants_npu(spec.model, spec.load.encoder) else 0
    count = workers or npus or sizing.worker_count(cpus, free, sizing.model_bytes(spec.model))
    joined = connection.embedded(max(cpus, count))
    (raw,) = (node for node in joined.ray.nodes() if node["Alive"])
    machine = replace(machine_of(raw, local=True), cpus=cpus)
    setup = Setup(spec.model, spec.second_model, count, sizing.memory_share(free, count), npus)
    return joined, ThisMachine(machine, setup, joined.fallen)


def _cluster(spec: WorkerSpec, head: str, workers: int | None) -> tuple[Connection, Nodes]:
    joined = connection.join(head)
    return joined, ClusterNodes(joined.ray, Preparation(joined.ray, spec), workers)


def _expect_fit(nodes: Nodes, strict: bool) -> None:
    """Raise ConfigError if no node is usable, or not all with `strict`."""
    missing = ("left out", "lost") if strict else ("left out",)
    out = [node for node in nodes if node.state in missing and node.machine.cpus]
    if out and (strict or not any(node.state in ("ready", "lost") for node in nodes)):
        told = "; ".join(f"{node}: {node.note}" for node in out)
        raise ConfigError(f"nodes that cannot take part: {told}")


class RayPool:
    """Workers as Ray actors; implements the protocol `workers.pool.Pool`.

    `nodes` says where actors should run, `actors` runs them, `queue` has the waiting units, and
    `supervisor` reports what happened to the units of an actor.
    """

    def __init__(
        self, joined: Connection, nodes: Nodes, actors: Actors, queue: UnitQueue, supervisor: Supervisor
    ) -> None:
        self._connection: Connection | None = joined
        self._nodes, self._actors, self._queue, self._supervisor = nodes, actors, queue, supervisor
        self._hopeful_at = time.monotonic()

    def await_first(self) -> None:
        """Wait until a worker is ready; in a cluster also for nodes that were lost or have not joined yet.

        Raises the error that stopped the last one from starting.
        """
        while self._supervisor.info is None:
            self._tend()
            states = {node.state for node in self._nodes if node.machine.cpus}
            if not self._actors and (not self._nodes.patience or states == {"left out"}):
                raise self._supervisor.trouble or WorkerFatalError("no worker could be started")
            self._listen(1.0)
            if self._nodes.patience:
                self._expect_hope()

    @property
    def info(self) -> ModelInfo:
        """The model that the workers loaded."""
        assert self._supervisor.info is not None
        return self._supervisor.info

    def room(self) -> int:
        """Number of further units that the workers need now."""
        return self._queue.room(self._actors.ready())

    def submit(self, unit: Unit) -> None:
        """Queue a unit at the worker that wants units most, or here until one does."""
        self._queue.put(unit)
        self._queue.hand_out(self._actors.ready())

    def open_units(self) -> tuple[Unit, ...]:
        """Units submitted and not returned yet."""
        at_actors = [unit for actor in self._actors for unit in actor.desk.units()]
        return (*at_actors, *self._queue.units(), *self._supervisor.units())

    def wait(self, timeout: float) -> list[PoolEvent]:
        """Events, waiting at most `timeout` seconds for the first."""
        until = time.monotonic() + timeout
        while True:
            self._tend()
            self._queue.assign(self._actors.ready())
            self._actors.advance()
            self._listen(min(SLICE, max(0.0, until - time.monotonic())))
            events = self._supervisor.events()
            if events or time.monotonic() >= until:
                return events
            self._expect_hope()

    def nodes(self) -> list[NodeStatus]:
        """The current node table; a head without CPUs is no node that could be missed."""
        working = [node for node in self._nodes if node.machine.cpus]
        return [node.status([actor.desk for actor in self._actors.of(node)]) for node in working]

    def close(self) -> None:
        """End all actors and Ray."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._nodes.headless:
            connection.abandon()
            return
        for actor in self._actors:
            self._actors.remove(actor)
        connection.close()

    def _tend(self) -> None:
        """Process changes of nodes, and start the missing workers."""
        self._nodes.tend()
        self._supervisor.follow_nodes()
        self._actors.staff(self._nodes)

    def _listen(self, timeout: float) -> None:
        """Process returned calls, waiting at most `timeout` seconds, and look for hung units."""
        for actor, answer in self._actors.answers(timeout):
            self._supervisor.receive(actor, answer)
        self._supervisor.check_deadlines()

    def _expect_hope(self) -> None:
        """Raise WorkerFatalError if there has been no worker, and no node for one, for too long."""
        now, patience = time.monotonic(), self._nodes.patience
        if self._actors or any(node.state in ("ready", "preparing", "silent") for node in self._nodes):
            self._hopeful_at = now
        elif now - self._hopeful_at >= patience:
            waited = f" after waiting for {patience:.0f} s" if patience else ""
            trouble = self._supervisor.trouble or "all nodes are lost"
            raise WorkerFatalError(f"no worker is left{waited}: {trouble}")
