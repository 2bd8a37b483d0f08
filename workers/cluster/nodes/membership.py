"""The nodes of a job: this machine alone, or those of a cluster, which are found, watched and fenced.

Nodes of a cluster are prepared in parallel threads, at the start and whenever one joins; the driver's loop
never waits for them. A node that is silent for `pulse.SILENCE` seconds is fenced, whatever its state in
Ray: Ray's own limit is over a minute unless the head was started with the settings of deploy/.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Any, Protocol, TypeVar

from asr_batch.manifests.errors import WorkerFatalError
from asr_batch.workers.cluster.faults import why_not_prepared
from asr_batch.workers.cluster.nodes.node import Machine, Node, Setup
from asr_batch.workers.cluster.nodes.preparation import ANSWER, Preparation, Prepared
from asr_batch.workers.cluster.nodes.pulse import PULSE, SILENCE, Pulse

log = logging.getLogger(__name__)
Result = TypeVar("Result")

HEAD_SILENCE = 20.0
"""Seconds without an answer of the head after which the job ends."""

REJOIN = 120.0
"""Seconds to wait for a node if a cluster has none."""


class Nodes(Protocol):
    """The nodes of a job; `patience` is the number of seconds to wait if there are none.

    `headless`: the head of the cluster no longer answers.
    """

    patience: float
    headless: bool

    def __iter__(self) -> Iterator[Node]:
        """All nodes seen so far."""

    def prepare_all(self) -> None:
        """Prepare the nodes that exist at the start."""

    def tend(self) -> None:
        """Process changes without waiting. Raises WorkerFatalError if the head is gone."""


class ThisMachine:
    """The only node of a job without a cluster; `fallen` names a daemon of its Ray that has ended."""

    patience = 0.0

    def __init__(self, machine: Machine, setup: Setup, fallen: Callable[[], str | None]) -> None:
        self.headless = False
        self._node, self._fallen = Node(machine), fallen
        self._node.begin(setup)

    def __iter__(self) -> Iterator[Node]:
        """This node."""
        yield self._node

    def prepare_all(self) -> None:
        """No-op: the node is ready."""

    def tend(self) -> None:
        """Look whether this machine's Ray still runs, which starts no workers any more once it does not.

        Raises WorkerFatalError.
        """
        name = self._fallen()
        if name is not None:
            self.headless = True
            raise WorkerFatalError(
                f"Ray's process {name} on this machine was killed, perhaps for want of memory; finished rows "
                "are kept: the same command resumes"
            )


class ClusterNodes:
    """All nodes of a cluster seen so far; `workers` is the total number of workers.

    Each can be probed through its agent, even if it is left out.
    """

    patience = REJOIN

    def __init__(self, ray: Any, preparation: Preparation, workers: int | None = None) -> None:
        self.headless = False
        self._ray, self._preparation, self._workers = ray, preparation, workers
        self._nodes: dict[str, Node] = {}
        self._prepared: dict[str, Prepared] = {}
        self._work: dict[str, Future[Prepared]] = {}
        self._listing: Future[list[dict[str, Any]]] | None = None
        self._listed = 0.0
        self._driver_node = ray.get_runtime_context().get_node_id()

    def __iter__(self) -> Iterator[Node]:
        """All nodes seen so far."""
        return iter(list(self._nodes.values()))

    def answer(self, node: Node) -> Prepared:
        """The node's answer from its preparation."""
        return self._prepared.get(node.machine.id, Prepared())

    # -- finding and preparing ------------------------------------------------------------------------

    def prepare_all(self, patience: float = ANSWER) -> None:
        """Prepare all current nodes, waiting up to `patience` seconds for the slowest."""
        self._meet(self._ray.nodes())
        until = time.monotonic() + patience
        while self._work and time.monotonic() < until:
            time.sleep(0.02)
            self._admit()

    def _meet(self, listed: list[dict[str, Any]]) -> None:
        now = time.monotonic()
        for raw in listed:
            known = self._nodes.get(raw["NodeID"])
            if known is None and raw["Alive"]:
                self._prepare(self._new(raw))
            elif known is not None and known.may_come_back and raw["Alive"] and now >= known.retry_at:
                self._prepare(known)
        alive = {raw["NodeID"] for raw in listed if raw["Alive"]}
        for node_id, node in self._nodes.items():
            if node_id not in alive and node.state in ("ready", "silent", "preparing"):
                self._lose(node, "Ray lost it")

    def _new(self, raw: dict[str, Any]) -> Node:
        machine = machine_of(raw, raw["NodeID"] == self._driver_node)
        self._nodes[machine.id] = node = Node(machine)
        return node

    def _prepare(self, node: Node) -> None:
        if node.machine.cpus == 0:
            node.leave_out("it offers no CPUs (started with --num-cpus=0)")
            return
        node.prepare()
        self._work[node.machine.id] = _in_background(self._preparation.prepare, node.machine, node.tell)

    def _admit(self) -> None:
        """Accept the nodes whose preparation has ended."""
        for node_id in [node_id for node_id, work in self._work.items() if work.done()]:
            node, prepared = self._nodes[node_id], self._work.pop(node_id).result()
            self._prepared[node_id] = prepared
            if node.state != "preparing":  # lost meanwhile
                continue
            if prepared.misfit is not None and prepared.passes:
                self._lose(node, prepared.misfit)
            elif prepared.misfit is not None:
                node.leave_out(prepared.misfit)
            else:
                setup = self._preparation.setup(node.machine, prepared, self._share_of_workers())
                node.begin(setup, Pulse(self._ray, prepared.agent), prepared.remarks)
            log.info("%s: %s %s", node, node.state, node.note)

    def _share_of_workers(self) -> int | None:
        """The share of the requested number of workers for one node."""
        if not self._workers:
            return None
        return max(1, round(self._workers / max(1, sum(node.machine.cpus > 0 for node in self))))

    # -- watching -------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look for nodes that joined or left, and for heartbeats; never waits.

        Raises WorkerFatalError if the head is gone.
        """
        self._list(time.monotonic())
        self._admit()
        for node in self._nodes.values():
            if node.state in ("ready", "silent") and node.pulse is not None:
                self._look(node, node.pulse)

    def _list(self, now: float) -> None:
        """Ask the head for its nodes, and process the answer."""
        if self._listing is None and now - self._listed >= PULSE:
            self._listing, self._listed = _in_background(self._ray.nodes), now
        if self._listing is not None and now - self._listed > HEAD_SILENCE:
            self.headless = True
            raise WorkerFatalError(
                f"the head of the cluster has not answered for {HEAD_SILENCE:.0f} s; finished rows are "
                "kept: start the head, then run the same command"
            )
        if self._listing is not None and self._listing.done():
            listing, self._listing = self._listing, None
            if listing.exception() is None:
                self._meet(listing.result())

    def _look(self, node: Node, pulse: Pulse) -> None:
        try:
            sign = pulse.look()
        except self._ray.exceptions.RayError as error:
            self._lose(node, why_not_prepared(error, ANSWER))
            return
        if sign == "heard" and node.state == "silent":
            node.come_back()
        elif sign == "silent" and node.state == "ready":
            node.fall_silent(f"no sign of life for {SILENCE:.0f} s")
            log.warning("%s: %s", node, node.note)

    def _lose(self, node: Node, why: str) -> None:
        log.warning("%s is lost: %s", node, why)
        node.lose(why)


def machine_of(raw: dict[str, Any], local: bool) -> Machine:
    """A machine from an entry of `ray.nodes()`."""
    resources, name, address = raw["Resources"], raw["NodeManagerHostname"], raw["NodeManagerAddress"]
    cpus, npus = int(resources.get("CPU", 0)), int(resources.get("hailo", 0))
    return Machine(raw["NodeID"], name, address, cpus, npus, local)


def _in_background(work: Callable[..., Result], *given: Any) -> Future[Result]:
    """Run `work` in a thread that never delays the end of the program, as an executor's would."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work(*given))
        except BaseException as error:  # noqa: BLE001 - it is the future's to tell
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
