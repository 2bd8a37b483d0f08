"""Units that wait for a worker, and who gets the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from asr_batch.manifests.records import Unit
from asr_batch.workers.cluster.actor import Actor


class UnitQueue:
    """Units for any worker, and units that must run with no other beside them.

    For one of the latter, a worker is reserved: it gets nothing else until it has run empty. Methods are
    given the actors that are ready.
    """

    def __init__(self) -> None:
        self._any: deque[Unit] = deque()
        self._alone: deque[Unit] = deque()

    def put(self, unit: Unit) -> None:
        """Queue a unit."""
        (self._alone if unit.alone else self._any).append(unit)

    def put_back(self, units: Iterable[Unit]) -> None:
        """Units that were at a worker already, in their order, are the next to go."""
        for unit in reversed(list(units)):
            (self._alone if unit.alone else self._any).appendleft(unit)

    def units(self) -> tuple[Unit, ...]:
        """All that wait."""
        return (*self._alone, *self._any)

    def room(self, ready: Sequence[Actor]) -> int:
        """How many more units the workers want now."""
        return max(0, sum(actor.desk.wants() for actor in self._unreserved(ready)) - len(self._any))

    def hand_out(self, ready: Sequence[Actor]) -> None:
        """Queue units that wait for no worker in particular at workers, as far as these want any."""
        candidates = self._unreserved(ready)
        while self._any and candidates:
            actor = max(candidates, key=_eagerness)
            if actor.desk.wants() <= 0:
                return
            actor.desk.queued.append(self._any.popleft())

    def assign(self, ready: Sequence[Actor]) -> None:
        """Find workers for all that wait, and queued units for workers that have none."""
        reserved = self.reserved(ready)
        if reserved is not None and reserved.desk.empty:
            reserved.desk.queued.append(self._alone.popleft())
        self.hand_out(ready)
        self._share(ready)

    def _share(self, ready: Sequence[Actor]) -> None:
        """A worker without units takes the last from the longest queue."""
        for actor in self._unreserved(ready):
            if actor.desk.empty and actor.call is None:
                other = max(ready, key=lambda one: len(one.desk.queued))
                if other.call is not None and other.desk.queued and not other.desk.queued[-1].alone:
                    actor.desk.queued.append(other.desk.queued.pop())

    def _unreserved(self, ready: Sequence[Actor]) -> list[Actor]:
        reserved = self.reserved(ready)
        return [actor for actor in ready if actor is not reserved]

    def reserved(self, ready: Sequence[Actor]) -> Actor | None:
        """The worker that runs empty for a unit that must be alone: where nothing died lately, if possible.

        A node that kills whatever it is given would otherwise be the first with nothing to do.
        """
        if not self._alone:
            return None
        return min(ready, key=lambda actor: (actor.node.failures, len(actor.desk.units())), default=None)


def _eagerness(actor: Actor) -> tuple[bool, int]:
    """Order in which workers get units: those with an NPU first, then who wants most."""
    wants = actor.desk.wants()
    return actor.npu and wants > 0, wants
