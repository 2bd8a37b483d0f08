"""One machine of the cluster as the driver sees it: facts, state, and history of its workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from asr_batch.workers.cluster.nodes.pulse import Pulse
from asr_batch.workers.desk import Desk
from asr_batch.workers.pool import MAX_FAILURES, NodeStatus
from asr_batch.workers.status import node_status

REST = 60.0
"""Seconds after which a node that was left out because its workers died is tried again."""

DISTRUST = 15.0
"""Seconds before a lost node that Ray lists as alive is contacted again."""

NodeState = Literal["preparing", "ready", "silent", "left out", "lost"]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as listed by Ray; `local`: it is the driver's machine.

    `npus` are those declared to Ray as resource `hailo`.
    """

    id: str
    name: str
    address: str
    cpus: int
    npus: int = 0
    local: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What a node runs: `workers`, each of which may grow by `memory_share` bytes.

    The first `npus` of them get an NPU each. `model` and `second_model` are folders on the node.
    """

    model: str
    second_model: str | None
    workers: int
    memory_share: int
    npus: int = 0


class Node:
    """The state of one machine.

    `failures` counts consecutive workers that died without finishing a unit. `unshared` are folders whose
    files differ from the driver's. `pulse` is None for a machine without a heartbeat: the driver's own,
    without a cluster.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.state: NodeState = "preparing"
        self.note = ""
        self.setup: Setup | None = None
        self.pulse: Pulse | None = None
        self.failures = 0
        self.retry_at = 0.0
        self.unshared: set[str] = set()
        self._audio_seconds = self._decode_seconds = 0.0

    @property
    def name(self) -> str:
        """The machine's host name."""
        return self.machine.name

    def __str__(self) -> str:
        return f"{self.machine.name} ({self.machine.address})"

    # -- state ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """The node is being probed and receives the models."""
        self.state = "preparing"

    def tell(self, note: str) -> None:
        """Set the note about what is being done."""
        self.note = note

    def begin(self, setup: Setup, pulse: Pulse | None = None, note: str = "") -> None:
        """The node may run workers."""
        self.state, self.setup, self.pulse, self.note = "ready", setup, pulse, note

    def leave_out(self, why: str) -> None:
        """The node runs no workers."""
        self.state, self.note = "left out", why

    def lose(self, why: str) -> None:
        """The node is lost, and may return."""
        self.state, self.note = "lost", why
        self.retry_at = time.monotonic() + DISTRUST

    def fall_silent(self, why: str) -> None:
        """The node gives no sign of life."""
        self.state, self.note = "silent", why

    def come_back(self) -> None:
        """The node has answered again."""
        self.state, self.note = "ready", "came back"

    def distrust(self) -> None:
        """Start nothing there for a while, unless it is the driver's own machine."""
        if self.pulse is not None:
            self.retry_at = time.monotonic() + DISTRUST

    @property
    def may_come_back(self) -> bool:
        """Whether the cause may pass: the node was lost, or its workers died."""
        return self.state == "lost" or (self.state == "left out" and self.failures >= MAX_FAILURES)

    @property
    def answers(self) -> bool:
        """Whether the node answered recently; otherwise a worker's state there is unknown."""
        return self.pulse is None or self.pulse.fresh()

    # -- its workers ----------------------------------------------------------------------------------

    def missing(self, running: int) -> int:
        """Number of workers to start now beside the `running` ones."""
        if self.state != "ready" or self.setup is None or time.monotonic() < self.retry_at:
            return 0
        return self.setup.workers - running

    def worker_finished(self) -> None:
        """A worker finished a unit."""
        self.failures = 0

    def worker_gone(self, desk: Desk, blamed: bool, why: str) -> None:
        """A worker ended. If the node may be to blame (`blamed`), it pauses, and is eventually left out."""
        self._audio_seconds += desk.audio_seconds
        self._decode_seconds += desk.decode_seconds
        self.failures += blamed
        pause = min(30.0, 0.25 * 2 ** (self.failures - 1)) if self.failures > 1 else 0.0
        self.retry_at = time.monotonic() + pause
        if self.failures >= MAX_FAILURES and self.state == "ready":
            self.leave_out(f"{self.failures} workers in a row died: {why}")
            self.retry_at = time.monotonic() + REST

    def status(self, desks: Sequence[Desk]) -> NodeStatus:
        """The node table's line, with the `desks` of the running workers."""
        now = node_status(self.name, self.machine.address, desks)
        temperature = now.temperature
        if temperature is None and self.pulse is not None:
            temperature = self.pulse.temperature
        return replace(
            now,
            alive=self.state == "ready",
            audio_seconds=self._audio_seconds + now.audio_seconds,
            decode_seconds=self._decode_seconds + now.decode_seconds,
            note=self.note if self.state == "ready" else f"{self.state}: {self.note}".rstrip(": "),
            temperature=temperature,
        )
