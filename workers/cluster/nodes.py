"""The nodes of a cluster: found, asked, given the model, watched, and let go.

Nodes are prepared side by side in threads, at the start and whenever one joins; the driver's loop never
waits for them. A node that is silent for `SILENCE` seconds is fenced whatever Ray thinks of it: Ray's own
limit is over a minute unless the head was started with the settings of deploy/.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np

from asr_batch.manifests.errors import AsrBatchError, RetryableError, WorkerFatalError
from asr_batch.models.hailo.api import wants_npu
from asr_batch.workers import facts, sizing
from asr_batch.workers import model_folders as models_here
from asr_batch.workers.cluster.fleet import Node
from asr_batch.workers.cluster.sentinel import Sentinel
from asr_batch.workers.pool import WorkerSpec

log = logging.getLogger(__name__)
Result = TypeVar("Result")

SILENCE = 10.0
PULSE = 2.0
HEAD_SILENCE = 20.0
DISTRUST = 15.0
"""Seconds before a node that was lost, but that Ray lists as alive, is asked again."""

ANSWER = 60.0
TRANSFER = 300.0


class Crew:
    """All nodes that were ever seen, by Ray's node id."""

    def __init__(self, ray: Any, spec: WorkerSpec, workers: int | None = None) -> None:
        self.nodes: dict[str, Node] = {}
        self.headless = False
        self._ray, self._spec, self._workers = ray, spec, workers
        self._mine = facts.gather()
        self._models = {path: models_here.tree_hash(Path(path)) for path in _models(spec)}
        self._bytes = sum(sizing.model_bytes(path) for path in self._models)
        self._work: dict[str, Future[None]] = {}
        self._listing: Future[list[dict[str, Any]]] | None = None
        self._listed = 0.0
        self._driver_node = ray.get_runtime_context().get_node_id()

    # -- finding and preparing ------------------------------------------------------------------------

    def muster(self, patience: float = ANSWER) -> None:
        """Prepare all nodes that are there now, waiting up to `patience` seconds for the slowest."""
        self._meet(self._ray.nodes())
        until = time.monotonic() + patience
        while any(not work.done() for work in self._work.values()) and time.monotonic() < until:
            time.sleep(0.02)

    def _meet(self, listed: list[dict[str, Any]]) -> None:
        now = time.monotonic()
        for raw in listed:
            known = self.nodes.get(raw["NodeID"])
            if known is None and raw["Alive"]:
                self._prepare(self._node(raw))
            elif known is not None and known.may_come_back and raw["Alive"] and now >= known.retry_at:
                known.state = "preparing"
                self._prepare(known)
        alive = {raw["NodeID"] for raw in listed if raw["Alive"]}
        for node in self.nodes.values():
            if node.id not in alive and node.state in ("ready", "silent", "preparing"):
                self._let_go(node, "Ray lost it")

    def _node(self, raw: dict[str, Any]) -> Node:
        resources = raw["Resources"]
        node = Node(
            raw["NodeID"],
            raw["NodeManagerHostname"],
            raw["NodeManagerAddress"],
            int(resources.get("CPU", 0)),
            int(resources.get("hailo", 0)),
            "hailo" in resources,
            raw["NodeID"] == self._driver_node,
        )
        self.nodes[node.id] = node
        return node

    def _prepare(self, node: Node) -> None:
        if node.cpus == 0:
            node.state, node.note = "left out", "it offers no CPUs (started with --num-cpus=0)"
            return
        self._work[node.id] = _in_background(self._make_ready, node)

    def _make_ready(self, node: Node) -> None:
        try:
            note = self._recruit(node)
        except (self._ray.exceptions.RayError, AsrBatchError, OSError) as error:
            node.state, node.note = "left out", _reason(error)
            return
        if note is not None:
            node.state, node.note = "left out", note
        else:
            node.heard = node.proof = time.monotonic()
            node.state = "ready"
        log.info("%s (%s): %s %s", node.name, node.address, node.state, node.note)

    def _recruit(self, node: Node) -> str | None:
        """Ask a node, judge it, bring it the models; returns why it is left out, or None."""
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        options = {"num_cpus": 0, "max_restarts": 0, "scheduling_strategy": pinned}
        node.sentinel = self._ray.remote(Sentinel).options(**options).remote()
        self._ray.get(node.sentinel.pulse.remote(), timeout=ANSWER)  # the start of a process is no clock skew
        asked = time.time()
        found = self._ray.get(node.sentinel.facts.remote(), timeout=ANSWER)
        skew = found.clock - (asked + time.time()) / 2
        node.facts, node.temperature = found, found.temperature
        why = facts.misfit(found, self._mine, self._bytes, self._spec.load.encoder)
        if why is None:
            node.model = self._bring(node, self._spec.model)
            second = self._spec.second_model
            node.second_model = self._bring(node, second) if second is not None else None
            node.note = facts.remarks(found, self._mine, skew)
            node.wanted = self._wanted(node)
            node.share = sizing.memory_share(found.memory_free, node.wanted)
        return why

    def _wanted(self, node: Node) -> int:
        assert node.facts is not None
        node.npus = node.npus or len(node.facts.npu)
        if wants_npu(self._spec.model, self._spec.load.encoder) and node.npus:
            return node.npus
        if self._workers:
            return max(1, round(self._workers / max(1, sum(one.cpus > 0 for one in self.nodes.values()))))
        return sizing.worker_count(node.cpus, node.facts.memory_free, self._bytes)

    def _bring(self, node: Node, path: str) -> str:
        """The folder on the node that holds the model in `path`, sent there if it must be."""
        tree, sentinel, get = self._models[path], node.sentinel, self._ray.get
        found: str | None = get(sentinel.find_model.remote(path, tree), timeout=TRANSFER)
        if found is not None:
            return found
        node.note = "is being sent the model"
        get(sentinel.begin_model.remote(tree, sizing.model_bytes(path)), timeout=ANSWER)
        for name, chunk in models_here.chunks(Path(path)):
            # An array, not bytes: Ray hands it over without a copy in the node's memory.
            get(sentinel.take_model.remote(name, np.frombuffer(chunk, np.uint8)), timeout=TRANSFER)
        folder: str = get(sentinel.end_model.remote(), timeout=TRANSFER)
        return folder

    # -- watching -------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look for nodes that joined or went, and for signs of life; never waits.

        Raises WorkerFatalError when the head is gone.
        """
        now = time.monotonic()
        if self._listing is None and now - self._listed >= PULSE:
            self._listing, self._listed = _in_background(self._ray.nodes), now
        if self._listing is not None and now - self._listed > HEAD_SILENCE:
            self.headless = True
            raise WorkerFatalError(
                f"the head of the cluster has not answered for {HEAD_SILENCE:.0f} s; what is finished is "
                "kept: start the head, then the same command"
            )
        if self._listing is not None and self._listing.done():
            listing, self._listing = self._listing, None
            if listing.exception() is None:
                self._meet(listing.result())
        for node in self.nodes.values():
            if node.state in ("ready", "silent"):
                self._feel(node, now)

    def feel_now(self, node: Node) -> None:
        """Ask for a sign of life at once."""
        node.ping, node.pinged = node.sentinel.pulse.remote(), time.monotonic()

    def _feel(self, node: Node, now: float) -> None:
        if node.ping is None:
            if now - node.pinged >= PULSE:
                self.feel_now(node)
            return
        if self._ray.wait([node.ping], timeout=0)[0]:
            self._felt(node, now)
        elif now - node.pinged > SILENCE and node.state == "ready":
            node.state, node.note = "silent", f"no sign of life for {SILENCE:.0f} s"
            log.warning("%s (%s): %s", node.name, node.address, node.note)

    def _felt(self, node: Node, now: float) -> None:
        ping, node.ping = node.ping, None
        try:
            node.temperature = self._ray.get(ping)
        except self._ray.exceptions.RayError as error:
            self._let_go(node, _reason(error))
            return
        node.heard, node.proof = now, node.pinged
        if node.state == "silent":
            node.state, node.note = "ready", "came back"

    def _let_go(self, node: Node, why: str) -> None:
        log.warning("%s (%s) is lost: %s", node.name, node.address, why)
        node.state, node.note, node.ping = "lost", why, None
        node.retry_at = time.monotonic() + DISTRUST


def _in_background(work: Callable[..., Result], *given: Any) -> Future[Result]:
    """Run `work` in a thread that never keeps the program from ending, as one of an executor would."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work(*given))
        except BaseException as error:  # noqa: BLE001 - it is the future's to tell
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _models(spec: WorkerSpec) -> list[str]:
    return [path for path in (spec.model, spec.second_model) if path is not None]


def _reason(error: BaseException) -> str:
    """One sentence for why a node could not be prepared."""
    if isinstance(error, RetryableError):
        cause = getattr(error, "cause", error)
        return str(cause)
    text = str(error)
    if "ModuleNotFoundError" in text and "asr_batch" in text:
        return "asr-batch is not installed in the Python that runs Ray there"
    if type(error).__name__ == "OutOfMemoryError":
        return "its memory ran out, and Ray ended our watchman there"
    if type(error).__name__ == "GetTimeoutError":
        return f"did not answer within {ANSWER:.0f} s"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
