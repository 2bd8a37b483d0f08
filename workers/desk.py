"""The units of one worker as seen by the driver: the bookkeeping that all pools share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from asr_batch.manifests.records import Unit
from asr_batch.workers.advance import Advance, Key
from asr_batch.workers.pool import LostReason, PoolEvent, UnitDone, UnitProgress, UnitsLost


class Desk:
    """Units queued for and held by one worker whose model has windows of `window` seconds.

    A worker reports its `room` in windows; a unit takes as many as its length, at least one. Units without
    room stay queued here, where other workers can take them. Only results of held units are accepted: late
    results of units that have moved to another worker are dropped.
    """

    def __init__(self, worker: str, node: str, room: float, window: float) -> None:
        self.worker, self.node = worker, node
        self.queued: deque[Unit] = deque()
        self.held: dict[Key, Unit] = {}
        self.audio_seconds = 0.0
        self.decode_seconds = 0.0
        self.slots = (0, 0)
        self.backend = "cpu"
        self.npu: dict[str, float] = {}
        self._room, self._window = room, window
        self._spare = 1
        self._progress: dict[Key, float] = {}
        self._moved: dict[Key, float] = {}

    @property
    def empty(self) -> bool:
        """Whether it has no units."""
        return not self.held and not self.queued

    def wants(self) -> int:
        """Number of further units it should get now; 0 while it runs a unit with `alone`."""
        if any(unit.alone for unit in (*self.queued, *self.held.values())):
            return 0
        return max(0, int(max(0.0, self._room) + self._spare - sum(map(self._windows, self.queued))))

    def _windows(self, unit: Unit) -> float:
        return max(1.0, unit.seconds / self._window)

    def dispatch(self) -> list[Unit]:
        """Move queued units that there is room for to the held ones; they go out with the next call."""
        units: list[Unit] = []
        while self.queued and (self._room > 0 or not self.held):
            unit = self.queued.popleft()
            self._room -= self._windows(unit)
            self.held[unit.key] = unit
            self._moved[unit.key] = time.monotonic()
            units.append(unit)
        return units

    def put_back(self, unit: Unit) -> None:
        """Return a held unit that was not sent to the front of the queue."""
        self._forget(unit.key)
        self._room += self._windows(unit)
        self.queued.appendleft(unit)

    def receive(self, advance: Advance) -> list[PoolEvent]:
        """Turn the result of a call into events."""
        events: list[PoolEvent] = []
        for result in advance.results:
            if result.key in self.held:
                self._forget(result.key)
                self.audio_seconds += max(0.0, result.end - result.start)
                self.decode_seconds += result.decode_seconds
                events.append(UnitDone(result, self.worker))
        for back in advance.returned:
            events += self.lost(back.reason, back.culpable, back.message, back.keys)
        for key, seconds in advance.progress:
            if key in self.held and seconds != self._progress.get(key):
                self._progress[key], self._moved[key] = seconds, time.monotonic()
                events.append(UnitProgress(key, seconds, self.worker))
        # Queue enough for the next call to start without waiting for the driver.
        self._spare = max(1, len(advance.results))
        self._room, self.slots, self.backend = advance.room, advance.slots, advance.backend
        self.npu = dict(advance.npu)
        return events

    def lost(
        self, reason: LostReason, culpable: bool, message: str, keys: Iterable[Key] | None = None
    ) -> list[PoolEvent]:
        """Remove the held units with `keys` (None: all); queued units were never sent and stay."""
        held = [self._forget(key) for key in list(self.held if keys is None else keys) if key in self.held]
        return [UnitsLost(tuple(held), reason, culpable, message, self.worker, self.node)] if held else []

    def _forget(self, key: Key) -> Unit:
        self._progress.pop(key, None)
        self._moved.pop(key, None)
        return self.held.pop(key)

    def late(self, called: float | None) -> list[Key]:
        """Keys of units that count as hung: those without progress for as long as they may take.

        Units share the worker, so each may have to wait for all others. `called` is the time of the
        current call (monotonic seconds), or None.
        """
        now, deadlines = time.monotonic(), [unit.deadline for unit in self.held.values()]
        late = [key for key, since in self._moved.items() if now - since > sum(deadlines)]
        if late or called is None or not deadlines:
            return late
        return list(self.held) if now - called > max(deadlines) else []

    def units(self) -> tuple[Unit, ...]:
        """All its units."""
        return (*self.held.values(), *self.queued)
