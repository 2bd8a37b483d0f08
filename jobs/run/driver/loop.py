"""The driver: schedules all units, decides about retries, and commits finished rows.

One loop keeps the pool full, handles its events, finishes rows and commits. It knows pools, feeds and
ledgers only by their protocols, and never reads the text of a transcript.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal, Protocol

from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.dataset.schema import Row
from asr_batch.jobs.run.driver.attempts import Attempts
from asr_batch.jobs.run.driver.commits import Book, Commits, Pace
from asr_batch.jobs.run.driver.feed import Feed, Task
from asr_batch.jobs.run.driver.rows import OpenRow, RowMaker, Split, failed_span, units_of
from asr_batch.manifests.records import Failure, Unit
from asr_batch.workers.pool import Pool, PoolEvent, UnitDone, UnitProgress, UnitsLost

log = logging.getLogger("asr_batch")

Ending = Literal["finished", "stopped", "out of time"]


class Observer(Protocol):
    """Receives the events of a run, for progress and summary."""

    def row_done(self, row: Row, before: int | None) -> None:
        """A row is finished; `before` is its index position if it replaces a row."""

    def span_done(self, decoded_seconds: float) -> None:
        """A unit is finished, with this many decoded seconds of audio."""

    def tick(self, driver: Driver) -> None:
        """Called several times a second."""


class Driver:
    """Runs the rows of a feed through a pool into a ledger."""

    recent = 1024

    def __init__(
        self,
        feed: Feed,
        pool: Pool,
        ledger: Book,
        maker: RowMaker,
        split: Split,
        observer: Observer,
        *,
        stop: StopRequest | None = None,
        out_of_time: Callable[[], bool] = lambda: False,
        pace: Pace | None = None,
    ) -> None:
        self.feed, self.pool, self.ledger = feed, pool, ledger
        self._maker, self._split, self._observer = maker, split, observer
        self._stop, self._out_of_time = stop or StopRequest(), out_of_time
        self._pace = pace or Pace()
        self.stop_by: float | None = None
        """After a request to stop: the monotonic time at which units in progress are given up."""
        self.attempts = Attempts()
        self.open: dict[str, OpenRow] = {}
        self.partial: dict[tuple[str, int], float] = {}
        self._units: deque[Unit] = deque()
        self._finished: OrderedDict[str, tuple[Row, list[Row]]] = OrderedDict()
        self._commits = Commits(ledger, self._pace)

    def run(self) -> Ending:
        """Work until all rows are done or the job is asked to stop; commits finished rows.

        Raises OutputError, WorkerFatalError.
        """
        try:
            ending = self._loop()
        except BaseException:
            self._commits.rescue()
            raise
        self._commits.now()
        return ending

    def _loop(self) -> Ending:
        while True:
            stopping = self._stopping()
            if stopping is None:
                self._fill()
                if not self.open and self.feed.exhausted:
                    return "finished"
            else:
                self.stop_by = self.stop_by or time.monotonic() + self._pace.grace
                if not self.pool.open_units() or self._stop.count > 1 or time.monotonic() >= self.stop_by:
                    return stopping
            self._wait()
            self._commits.if_due()
            self._observer.tick(self)

    def _wait(self) -> None:
        """Wait for the pool, also while it starts."""
        if self.pool.open_units() or self._units or self.attempts.again:
            events = self.pool.wait(self._pace.wait)
            for event in events:
                self._take(event)
            if not events and not self.pool.open_units():
                time.sleep(self._pace.wait / 10)
        else:
            self.feed.wait(self._pace.wait)

    def _stopping(self) -> Ending | None:
        if self._stop.count:
            return "stopped"
        return "out of time" if self._out_of_time() else None

    def _fill(self) -> None:
        """Submit units while the pool has room; suspects and returned units first."""
        for _ in range(self.pool.room()):
            unit = self._next_unit()
            if unit is None:
                return
            self.pool.submit(unit)

    def _next_unit(self) -> Unit | None:
        if self.attempts.again:
            return self.attempts.again.popleft()
        while not self._units:
            task = self.feed.poll()
            if task is None:
                return None
            self._begin(task)
        return self._units.popleft()

    def _begin(self, task: Task) -> None:
        """Open a row, or attach it to an open row with the same audio and settings."""
        key = task.work_key
        if key is not None:
            leader = self.feed.leaders.setdefault(key, task.item.id)
            if leader != task.item.id and self._follow(task, leader):
                return
        try:
            units = units_of(task, self._split, self._pace.hang_timeout)
        except Exception as error:  # an error in one row must not end the others
            log.exception("row %s could not be planned", task.item.id)
            self._give_up(task, Failure("internal_error", f"{type(error).__name__}: {error}"))
            return
        self.open[task.item.id] = OpenRow(task, len(units))
        self._units.extend(units)

    def _give_up(self, task: Task, failure: Failure) -> None:
        """Fail a row before any worker has received it."""
        self.open[task.item.id] = OpenRow(task, 1)
        self._take_done(UnitDone(failed_span(Unit(task.item), failure), ""))

    def _follow(self, task: Task, leader: str) -> bool:
        waiting = self.open.get(leader)
        if waiting is not None:
            waiting.followers.append(task)
            return True
        found = self._finished.get(leader) or self.ledger.find_row(leader)
        if found is None:
            return False
        self._store(*self._maker.copy(*found, task))
        return True

    def _take(self, event: PoolEvent) -> None:
        if isinstance(event, UnitProgress):
            self.partial[event.key] = event.seconds
        elif isinstance(event, UnitsLost):
            self._take_lost(event)
        else:
            self._take_done(event)

    def _take_done(self, event: UnitDone) -> None:
        row_id, index = event.result.key
        self.partial.pop(event.result.key, None)
        row = self.open.get(row_id)
        if row is None or index in row.results:
            return  # a late duplicate of a unit that has run elsewhere
        self.attempts.forget(event.result.key)
        row.results[index] = event.result
        self._observer.span_done(event.result.decoded_seconds)
        if row.complete:
            self._finish(row)

    def _take_lost(self, event: UnitsLost) -> None:
        keys = [unit.key for unit in event.units]
        log.warning("units lost: %s", event.message, extra={"data": {"reason": event.reason, "units": keys}})
        for unit in event.units:
            self.partial.pop(unit.key, None)
            row = self.open.get(unit.item.id)
            if row is not None:
                row.attempts = max(row.attempts, unit.attempt + 1)
        for unit, failure in self.attempts.lost(event):
            row = self.open.get(unit.item.id)
            if row is not None:
                row.attempts = unit.attempt
            self._take_done(UnitDone(failed_span(unit, failure), event.worker))

    def _finish(self, row: OpenRow) -> None:
        del self.open[row.task.item.id]
        made = self._maker.make(row)
        self._store(*made)
        if made[0]["status"] == "failed" and row.attempts == 1:
            self._begin_anew(row)
            return
        for follower in row.followers:
            self._store(*self._maker.copy(*made, follower))
        self._remember(row.task.item.id, made)

    def _begin_anew(self, failed: OpenRow) -> None:
        """Try the audio under its other names: the codec may depend on the name, and the reason has it."""
        if failed.task.work_key is not None:
            self.feed.leaders.pop(failed.task.work_key, None)
        for follower in failed.followers:
            self._begin(follower)

    def _remember(self, row_id: str, made: tuple[Row, list[Row]]) -> None:
        self._finished[row_id] = made
        if len(self._finished) > self.recent:
            self._finished.popitem(last=False)

    def _store(self, row: Row, windows: list[Row]) -> None:
        self._observer.row_done(row, self.ledger.index.find(row["id"]))
        self.ledger.add(row, windows)
