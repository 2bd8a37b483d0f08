"""The queue of units that wait for a worker, and their assignment."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from asr_batch.manifests.records import Unit
from asr_batch.workers.cluster.actor import Actor


class UnitQueue:
    """Units for any worker, and units that must run with no other beside them.

    For a unit that must run alone, a worker is reserved: it gets nothing else until it is empty. Methods
    take the actors that are ready.
    """

    def __init__(self) -> None:
        self._any: deque[Unit] = deque()
        self._alone: deque[Unit] = deque()

    def put(self, unit: Unit) -> None:
        """Queue a unit."""
        (self._alone if unit.alone else self._any).append(unit)

    def put_back(self, units: Iterable[Unit]) -> None:
        """Return units, in order, to the front of the queue."""
        for unit in reversed(list(units)):
            (self._alone if unit.alone else self._any).appendleft(unit)

    def units(self) -> tuple[Unit, ...]:
        """All waiting units."""
        return (*self._alone, *self._any)

    def room(self, ready: Sequence[Actor]) -> int:
        """Number of further units that the workers need now."""
        return max(0, sum(actor.desk.wants() for actor in self._unreserved(ready)) - len(self._any))

    def hand_out(self, ready: Sequence[Actor]) -> None:
        """Move units that wait for any worker to the workers' queues, as far as they want them."""
        candidates = self._unreserved(ready)
        while self._any and candidates:
            actor = max(candidates, key=_eagerness)
            if actor.desk.wants() <= 0:
                return
            actor.desk.queued.append(self._any.popleft())

    def assign(self, ready: Sequence[Actor]) -> None:
        """Find workers for all waiting units, and queued units for idle workers."""
        reserved = self.reserved(ready)
        if reserved is not None and reserved.desk.empty:
            reserved.desk.queued.append(self._alone.popleft())
        self.hand_out(ready)
        self._share(ready)

    def _share(self, ready: Sequence[Actor]) -> None:
        """An idle worker takes the last unit of the longest queue."""
        for actor in self._unreserved(ready):
            if actor.desk.empty and actor.call is None:
                other = max(ready, key=lambda one: len(one.desk.queued))
                if other.call is not None and other.desk.queued and not other.desk.queued[-1].alone:
                    actor.desk.queued.append(other.desk.queued.pop())

    def _unreserved(self, ready: Sequence[Actor]) -> list[Actor]:
        reserved = self.reserved(ready)
        return [actor for actor in ready if actor is not reserved]

    def reserved(self, ready: Sequence[Actor]) -> Actor | None:
        """The worker to empty for a unit that must run alone, preferably where nothing has died recently.

        A node that kills every unit would otherwise always be the first one idle.
        """
        if not self._alone:
            return None
        return min(ready, key=lambda actor: (actor.node.failures, len(actor.desk.units())), default=None)


def _eagerness(actor: Actor) -> tuple[bool, int]:
    """Order in which workers get units: those with an NPU first, then by what they want."""
    wants = actor.desk.wants()
    return actor.npu and wants > 0, wants
