"""Crashes whose cause is not known yet: a process that dies may be the first sign of a dying node."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from asr_batch.manifests.records import Unit
from asr_batch.workers.cluster.nodes.node import Node
from asr_batch.workers.cluster.nodes.pulse import SILENCE
from asr_batch.workers.pool import PoolEvent, UnitsLost


@dataclass(frozen=True, slots=True)
class _Suspicion:
    node: Node
    crashed: float
    event: UnitsLost


class Suspicions:
    """Lost units whose node has not yet proved that it survived the crash."""

    def __init__(self) -> None:
        self._open: list[_Suspicion] = []

    def add(self, node: Node, events: Iterable[PoolEvent]) -> None:
        """Hold back the lost units among `events`, and request a heartbeat of the node."""
        assert node.pulse is not None
        now = time.monotonic()
        self._open += [_Suspicion(node, now, event) for event in events if isinstance(event, UnitsLost)]
        node.pulse.ask()

    def resolve(self) -> list[PoolEvent]:
        """Events that are resolved: unchanged if the node lives, as a lost node if not."""
        told: list[PoolEvent] = []
        waiting, self._open = self._open, []
        for one in waiting:
            if one.node.pulse is not None and one.node.pulse.proof > one.crashed:
                told.append(one.event)
            elif one.node.state != "ready" or time.monotonic() - one.crashed > SILENCE:
                told.append(replace(one.event, reason="node_lost", culpable=False))
            else:
                self._open.append(one)
        return told

    def units(self) -> list[Unit]:
        """The lost units in them."""
        return [unit for one in self._open for unit in one.event.units]
