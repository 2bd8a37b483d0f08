"""The node table's line of a node, summed over its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asr_batch.workers.desk import Desk
from asr_batch.workers.pool import NodeStatus

LOWEST = ("probe_cosine", "clock_mhz")
HIGHEST = ("temperature", "encode_ms")
"""Readings of NPUs for which a node shows the maximum; all others are counts."""


def node_status(name: str, address: str, desks: Sequence[Desk]) -> NodeStatus:
    """The line of a running node, with one desk per worker."""
    used, available = (sum(desk.slots[part] for desk in desks) for part in (0, 1))
    npu = npu_of([desk.npu for desk in desks])
    return NodeStatus(
        name,
        address,
        True,
        len(desks),
        "+".join(sorted({desk.backend for desk in desks}, reverse=True)),
        sum(desk.audio_seconds for desk in desks),
        sum(desk.decode_seconds for desk in desks),
        used / available if available else 0.0,
        temperature=npu.get("temperature"),
        npu=npu,
    )


def npu_of(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The counters of a node's NPUs, summed, and the maxima of their readings."""
    found: dict[str, float] = {}
    for name in {name for part in parts for name in part}:
        values = [part[name] for part in parts if name in part]
        worst = min if name in LOWEST else max if name in HIGHEST else sum
        found[name] = worst(values)
    return found
