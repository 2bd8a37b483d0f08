"""Tracks a running job and shows it: totals, history, status file, metrics, progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from asr_batch.jobs.console.progress import Progress
from asr_batch.jobs.dataset.files import write_text
from asr_batch.jobs.dataset.json_files import write_document
from asr_batch.jobs.dataset.schema import Row
from asr_batch.jobs.dataset.summary import STATUS, InFlight, Status, Summary, View
from asr_batch.jobs.run.driver.loop import Driver
from asr_batch.jobs.run.figures import Figures
from asr_batch.jobs.run.totals import Totals

log = logging.getLogger("asr_batch")


class Tracker:
    """The observer of a run: counts what the driver finishes, and shows and writes it when due."""

    show_every = 0.5
    write_every = 2.0
    know_after = 3.0
    """Seconds after the first result from which a speed is meaningful."""

    def __init__(
        self,
        figures: Figures,
        progress: Progress,
        entry_at: Callable[[int], Any],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.figures, self._progress, self._entry_at, self._now = figures, progress, entry_at, now
        self._shown = self._written = -1e9
        self._first: tuple[float, float] | None = None
        self.latest: Summary | None = None

    @property
    def totals(self) -> Totals:
        """The sums over the data set."""
        return self.figures.totals

    def row_done(self, row: Row, before: int | None) -> None:
        """Count a finished row, in place of the one it replaces."""
        if before is not None:
            self.totals.remove(self._entry_at(before))
        self.totals.add_row(row)
        self.figures.run_rows += 1
        self.figures.run_audio_seconds += row["duration"] or 0.0
        if row["status"] in ("failed", "partial"):
            found = {name: row[name] for name in ("id", "status", "error_code", "error_message")}
            log.warning("row %s", row["status"], extra={"data": found})

    def span_done(self, decoded_seconds: float) -> None:
        """Add the seconds that a unit decoded."""
        self.figures.decoded_seconds += decoded_seconds

    def tick(self, driver: Driver) -> None:
        """Show and write what is due."""
        now = self._now()
        if now - self._shown >= self.show_every:
            self._shown = now
            self._progress.show(self._view(driver, now))
        self.figures.clock.point(now, round(self.totals.audio_seconds, 3), self.totals.rows)
        if now - self._written >= self.write_every:
            self._written = now
            self._write(driver, now)

    def last(self, driver: Driver, ending: str) -> None:
        """Show the final state."""
        self._progress.show(self._view(driver, self._now(), ending))

    def _view(self, driver: Driver, now: float, state: str = "running") -> View:
        figures, feed = self.figures, driver.feed
        partial = sum(driver.partial.values())
        decoded = figures.run_audio_seconds + partial
        mean = feed.known_seconds / feed.known_rows if feed.known_rows else 0.0
        unseen = max(0, figures.rows - feed.passed - feed.known_rows)
        left = max(0.0, feed.known_seconds - decoded) + unseen * mean
        speed = self._speed(decoded, now)
        total = self.totals.audio_seconds + partial + left
        return View(
            rows=figures.rows,
            done=max(0, feed.passed + figures.run_rows - driver.ledger.waiting()),
            failed=self.totals.status["failed"],
            partial=self.totals.status["partial"],
            audio_seconds=self.totals.audio_seconds + partial,
            share=min(1.0, (total - left) / total) if total > 0 else 0.0,
            rtfx=speed,
            eta=left / speed if speed and feed.known_rows else None,
            nodes=tuple(driver.pool.nodes()),
            state="stopping" if state == "running" and driver.stop_by else state,
            stops_in=max(0.0, driver.stop_by - time.monotonic()) if driver.stop_by else None,
        )

    def _speed(self, decoded: float, now: float) -> float | None:
        """Audio seconds per second since the first result, which a start of unknown length precedes."""
        if self._first is None:
            self._first = (now, decoded) if decoded else None
            return None
        began, before = self._first
        known = now - began >= self.know_after and decoded > before
        return (decoded - before) / (now - began) if known else None

    def _write(self, driver: Driver, now: float) -> None:
        """Replace the status file and metrics.prom; a full disk is reported by the ledger."""
        from asr_batch.jobs.console.metrics import render  # while the worker loads its model

        self.figures.nodes = tuple(driver.pool.nodes())
        summary = self.latest = self.figures.summary(now, None, "running")
        flying = tuple(InFlight(unit.item.id, unit.seconds) for unit in driver.pool.open_units()[:50])
        status = Status.of(summary, flying, self._view(driver, now))
        try:
            write_document(self.figures.root / STATUS, status, durable=False)
            write_text(self.figures.root / "metrics.prom", render(summary), durable=False)
        except OSError as error:
            log.warning("status not written: %s", error)
