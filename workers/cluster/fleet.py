"""The driver's picture of nodes and of the actors on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from asr_batch.workers.desk import Desk, late_units
from asr_batch.workers.facts import NodeFacts
from asr_batch.workers.pool import NodeStatus

MAX_FAILURES = 6
"""Actors in a row that may die on a node without finishing a unit before the node is left out."""

NodeState = Literal["preparing", "ready", "silent", "left out", "lost"]


@dataclass(eq=False, slots=True)
class Node:
    """One machine of the cluster.

    `share` is by how many bytes each of the `wanted` workers may grow.
    `npus` are its NPUs, with `npu_resource` declared to Ray as resource `hailo`. `model` and `second_model`
    are the folders on that machine. `failures` counts actors in a row that died without finishing a unit;
    `retry_at` is when the next one may be started. `ping` is an outstanding question for a sign of life,
    asked at `pinged`; at `proof` the node is known to have lived.
    """

    id: str
    name: str
    address: str
    cpus: int
    npus: int = 0
    npu_resource: bool = False
    local: bool = False
    state: NodeState = "preparing"
    note: str = ""
    model: str = ""
    second_model: str | None = None
    facts: NodeFacts | None = None
    sentinel: Any = None
    ping: Any = None
    pinged: float = 0.0
    heard: float = field(default_factory=time.monotonic)
    proof: float = 0.0
    temperature: float | None = None
    wanted: int = 0
    share: int = 0
    failures: int = 0
    retry_at: float = 0.0
    audio_seconds: float = 0.0
    decode_seconds: float = 0.0
    strangers: set[str] = field(default_factory=set)
    """Folders whose files this node does not have as the driver has them."""

    @property
    def may_come_back(self) -> bool:
        """Whether it went for a cause that passes: it was lost, or its workers died."""
        return self.state == "lost" or (self.state == "left out" and self.failures >= MAX_FAILURES)


@dataclass(eq=False, slots=True)
class Hand:
    """One actor: its desk, its outstanding call, and since when nothing was heard of its work."""

    name: str
    node: Node
    actor: Any
    desk: Desk
    npu: bool = False
    ready: bool = False
    pid: int = 0
    call: Any = None
    called: float = 0.0
    moved: dict[tuple[str, int], float] = field(default_factory=dict)
    """When each unit that it holds last moved on."""

    def deadline_passed(self, now: float) -> list[tuple[str, int]]:
        """Keys of units that count as hung."""
        return late_units(self.desk, self.moved, None if self.call is None else self.called, now)


def status(node: Node, hands: list[Hand]) -> NodeStatus:
    """The node table's line."""
    used = sum(hand.desk.slots[0] for hand in hands)
    available = sum(hand.desk.slots[1] for hand in hands)
    npu = npu_of([hand.desk.npu for hand in hands])
    backends = sorted({hand.desk.backend for hand in hands}, reverse=True)
    return NodeStatus(
        node.name,
        node.address,
        node.state == "ready",
        len(hands),
        "+".join(backends),
        node.audio_seconds + sum(hand.desk.audio_seconds for hand in hands),
        node.decode_seconds + sum(hand.desk.decode_seconds for hand in hands),
        used / available if available else 0.0,
        node.note if node.state == "ready" else f"{node.state}: {node.note}".rstrip(": "),
        npu.get("temperature", node.temperature),
        npu,
    )


READINGS = ("temperature", "probe_cosine", "clock_mhz", "encode_ms")
"""What is no count: of several NPUs the hottest, the worst probe, the slowest clock, the longest encoding."""


def npu_of(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Counters of a node's NPUs added up, readings of the one that is worst off."""
    found: dict[str, float] = {}
    for name in {name for part in parts for name in part}:
        values = [part[name] for part in parts if name in part]
        if name in READINGS:
            found[name] = min(values) if name in ("probe_cosine", "clock_mhz") else max(values)
        else:
            found[name] = sum(values)
    return found
