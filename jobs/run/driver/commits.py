"""Decides when to commit finished rows: often enough to lose little, rarely enough to cost little."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.schema import Row

log = logging.getLogger("asr_batch")


class Book(Protocol):
    """Destination of finished rows: the ledger, except in tests and samples."""

    index: Index

    def add(self, row: Row, windows: Sequence[Row]) -> None:
        """Accept a finished row with its windows."""

    def commit(self) -> int:
        """Make all accepted rows durable; returns their number."""

    def waiting(self) -> int:
        """Accepted rows that are not committed yet."""

    def find_row(self, row_id: str) -> tuple[Row, list[Row]] | None:
        """A finished row with its windows."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals of the driver in seconds, and the maximum number of rows per commit."""

    wait: float = 0.25
    commit_every: float = 1.0
    commit_share: float = 0.05
    commit_latest: float = 10.0
    commit_rows: int = 4000
    grace: float = 30.0
    hang_timeout: float = 600.0


class Commits:
    """Commits a ledger as often as `pace.commit_share` of the time allows."""

    def __init__(self, ledger: Book, pace: Pace) -> None:
        self._ledger, self._pace = ledger, pace
        self._last = time.monotonic()
        self._cost = 0.0

    def if_due(self) -> None:
        """Commit if it is due, or if many rows wait."""
        pace = self._pace
        pause = min(max(pace.commit_every, self._cost / pace.commit_share), pace.commit_latest)
        if time.monotonic() - self._last >= pause or self._ledger.waiting() >= pace.commit_rows:
            self.now()

    def now(self) -> None:
        """Commit."""
        begun = time.monotonic()
        rows = self._ledger.commit()
        self._last = time.monotonic()
        self._cost = self._last - begun
        if rows:
            log.debug("committed", extra={"data": {"rows": rows, "seconds": round(self._cost, 3)}})

    def rescue(self) -> None:
        """Commit finished rows, if possible, before an error propagates."""
        try:
            self._ledger.commit()
        except Exception:  # report the first error
            log.exception("the finished rows could not be committed")
