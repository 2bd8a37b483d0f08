"""All actors of a job: starts, calls and kills them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from asr_batch.workers import sizing
from asr_batch.workers.cluster.actor import Actor
from asr_batch.workers.cluster.file_transfer import FileTransfer
from asr_batch.workers.cluster.nodes.node import Node, Setup
from asr_batch.workers.host import WorkerHost
from asr_batch.workers.pool import WorkerSpec

log = logging.getLogger(__name__)


class Actors:
    """The running actors; `maker` is their worker's class as module:Class."""

    def __init__(self, ray: Any, spec: WorkerSpec, maker: str) -> None:
        self._ray, self._spec, self._maker = ray, spec, maker
        self._transfer = FileTransfer(ray)
        self._running: list[Actor] = []
        self._started = 0

    def __iter__(self) -> Iterator[Actor]:
        """The current actors, safe against removal during iteration."""
        return iter(list(self._running))

    def __len__(self) -> int:
        return len(self._running)

    def of(self, node: Node) -> list[Actor]:
        """The actors of a node."""
        return [actor for actor in self._running if actor.node is node]

    def ready(self) -> list[Actor]:
        """Actors that have loaded their models."""
        return [actor for actor in self._running if actor.ready]

    def staff(self, nodes: Iterable[Node]) -> None:
        """Start the missing actors of all nodes."""
        for node in nodes:
            for _ in range(node.missing(len(self.of(node)))):
                assert node.setup is not None
                self._start(node, node.setup)

    def _start(self, node: Node, setup: Setup) -> None:
        self._started += 1
        npu = sum(actor.npu for actor in self.of(node)) < setup.npus
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node.machine.id, soft=False
        )
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": pinned}
        if npu and node.machine.npus:
            options["resources"] = {"hailo": 1}  # so that no other job of the cluster opens the device
        handle = self._ray.remote(WorkerHost).options(**options).remote(node.name)
        actor = Actor(f"{node.name}/{self._started}", node, handle, self._transfer, npu)
        actor.load(self._spec_for(node, setup, npu), self._maker, setup.memory_share)
        self._running.append(actor)

    def _spec_for(self, node: Node, setup: Setup, npu: bool) -> WorkerSpec:
        spec = replace(self._spec, model=setup.model, second_model=setup.second_model)
        if setup.npus and not npu:
            spec = replace(spec, load=replace(spec.load, encoder="cpu"))
        return sizing.with_threads(spec, node.machine.cpus, setup.workers)

    def advance(self) -> None:
        """Call actors that have units and no outstanding call."""
        for actor in self.ready():
            if actor.call is None and not actor.desk.empty:
                actor.advance()

    def answers(self, timeout: float) -> Iterator[tuple[Actor, Any]]:
        """Calls that have returned, with their result or the RayError that ended them.

        Waits at most `timeout` seconds for the first.
        """
        calls = {actor.call: actor for actor in self._running if actor.call is not None}
        if not calls:
            time.sleep(min(timeout, 0.05))
            return
        done, rest = self._ray.wait(list(calls), timeout=timeout)
        if done and rest:
            done += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for call in done:
            try:
                yield calls[call], self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                yield calls[call], error

    def remove(self, actor: Actor) -> None:
        """Fence an actor: kill it, and ignore what it still returns."""
        self._running.remove(actor)
        try:
            self._ray.kill(actor.handle, no_restart=True)
        except (self._ray.exceptions.RayError, ValueError) as error:
            log.debug("%s could not be killed: %s", actor.name, error)
