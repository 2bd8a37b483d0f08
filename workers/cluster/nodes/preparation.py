"""Prepares a node for a job: gathers facts, judges them, and sends missing models."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.errors import AsrBatchError
from asr_batch.models.hailo.api import wants_npu
from asr_batch.workers import facts, model_folders, sizing
from asr_batch.workers.cluster.faults import passes, why_not_prepared
from asr_batch.workers.cluster.nodes.agent import NodeAgent
from asr_batch.workers.cluster.nodes.node import Machine, Setup
from asr_batch.workers.pool import WorkerSpec

ANSWER = 60.0
"""Seconds that a node's agent may take to start and to answer."""

TRANSFER = 300.0
"""Seconds for one piece of a model, or for searching the model."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a node answered; with `misfit` it cannot be used, or not now if the cause `passes`.

    `models` maps the driver's model folders to those on the node. `remarks` are oddities that do not
    prevent its use.
    """

    agent: Any = None
    facts: facts.NodeFacts | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    remarks: str = ""
    misfit: str | None = None
    passes: bool = False


class Preparation:
    """Prepares nodes for the models of `spec`; has no state per node, so threads may share it."""

    def __init__(self, ray: Any, spec: WorkerSpec) -> None:
        self._ray, self._spec = ray, spec
        self._driver = facts.gather()
        paths = [path for path in (spec.model, spec.second_model) if path is not None]
        self._models = {path: model_folders.tree_hash(Path(path)) for path in paths}
        self._bytes = sum(sizing.model_bytes(path) for path in self._models)

    def prepare(self, machine: Machine, tell: Callable[[str], None]) -> Prepared:
        """Probe and judge the machine, and send the models; reports slow steps to `tell`. Never raises."""
        agent, found = None, None
        try:
            agent = self._agent(machine)
            found, skew = self._ask(agent)
            misfit = facts.misfit(found, self._driver, self._bytes, self._spec.load.encoder)
            if misfit is not None:
                return Prepared(agent, found, misfit=misfit)
            models = {path: self._send(agent, path, tree, tell) for path, tree in self._models.items()}
            return Prepared(agent, found, models, facts.remarks(found, self._driver, skew))
        except (self._ray.exceptions.RayError, AsrBatchError, OSError) as error:
            why = why_not_prepared(error, ANSWER)
            return Prepared(agent, found, misfit=why, passes=passes(error, self._ray.exceptions))

    def setup(self, machine: Machine, prepared: Prepared, workers: int | None) -> Setup:
        """What a usable node runs; `workers` None: by cores and memory."""
        assert prepared.facts is not None
        npus = machine.npus or len(prepared.facts.npu)
        npus = npus if wants_npu(self._spec.model, self._spec.load.encoder) else 0
        free = prepared.facts.memory_free
        count = npus or workers or sizing.worker_count(machine.cpus, free, self._bytes)
        model, second = prepared.models[self._spec.model], self._spec.second_model
        second = None if second is None else prepared.models[second]
        return Setup(model, second, count, sizing.memory_share(free, count), npus)

    def _agent(self, machine: Machine) -> Any:
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine.id, soft=False)
        options = {"num_cpus": 0, "max_restarts": 0, "scheduling_strategy": pinned}
        return self._ray.remote(NodeAgent).options(**options).remote()

    def _ask(self, agent: Any) -> tuple[facts.NodeFacts, float]:
        """The node's facts, and by how many seconds its clock is ahead of this machine's."""
        self._ray.get(agent.pulse.remote(), timeout=ANSWER)  # starting a process must not count as clock skew
        asked = time.time()
        found = self._ray.get(agent.facts.remote(), timeout=ANSWER)
        return found, found.clock - (asked + time.time()) / 2

    def _send(self, agent: Any, path: str, tree: str, tell: Callable[[str], None]) -> str:
        """The node's folder of the model in `path`, which is sent if necessary."""
        get = self._ray.get
        found: str | None = get(agent.find_model.remote(path, tree), timeout=TRANSFER)
        if found is not None:
            return found
        tell("receives the model")
        get(agent.begin_model.remote(tree, sizing.model_bytes(path)), timeout=ANSWER)
        for name, chunk in model_folders.chunks(Path(path)):
            # An array, not bytes: Ray passes it on without a copy in the node's memory.
            get(agent.take_model.remote(name, np.frombuffer(chunk, np.uint8)), timeout=TRANSFER)
        folder: str = get(agent.end_model.remote(), timeout=TRANSFER)
        return folder
