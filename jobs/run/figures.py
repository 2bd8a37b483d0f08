"""The figures of a run: clock, gates, exit code, and the summary made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.config.values import failures_allowed
from asr_batch.jobs.dataset.summary import (
    Gate,
    LastRun,
    Point,
    ReferenceSize,
    RowCounts,
    Summary,
    UsedModel,
    find_status,
    find_summary,
)
from asr_batch.jobs.run.totals import Totals
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.pool import NodeStatus, Pool

HISTORY_POINTS = 500


def judge_gates(config: RunConfig, totals: Totals, rows: int) -> tuple[Gate, ...]:
    """The requested gates, judged over the finished rows."""
    gates: list[Gate] = []
    if config.min_coverage is not None:
        held = totals.coverage >= config.min_coverage - 1e-9
        gates.append(Gate("min_coverage", config.min_coverage, totals.coverage, held))
    if config.max_failures is not None:
        limit = failures_allowed(config.max_failures, rows)
        failed = totals.status["failed"]
        gates.append(Gate("max_failures", limit, failed, failed <= limit))
    return tuple(gates)


def exit_code(totals: Totals, gates: Sequence[Gate], stopped_by: int | None) -> int:
    """The exit code: of a signal, else 4 for a gate, else 3 for rows, else 0 (docs/index.md)."""
    if stopped_by is not None:
        return stopped_by
    if not all(gate.held for gate in gates):
        return 4
    return 3 if totals.status["failed"] or totals.status["partial"] else 0


class Clock:
    """Wall seconds of the job over all its runs, and points of its history."""

    def __init__(self, before: float, history: Iterable[Point], now: float) -> None:
        self.before, self.history, self._begun = before, list(history), now
        self.started_at = datetime.now(UTC)
        self._last_point = -math.inf
        self.idle = False

    def wall(self, now: float) -> float:
        """Wall seconds of the job over all runs that had work to do."""
        return self.before if self.idle else self.before + self.this_run(now)

    def this_run(self, now: float) -> float:
        """Seconds since this run began."""
        return max(now - self._begun, 1e-9)

    def point(self, now: float, audio_seconds: float, rows: int, every: float = 10.0) -> None:
        """Record the progress about every ten seconds; thins the points out when there are many."""
        if self.idle or now - self._last_point < every:
            return
        self._last_point = now
        self.history.append(Point(t=round(self.wall(now), 2), audio_seconds=audio_seconds, rows=rows))
        if len(self.history) > HISTORY_POINTS:
            del self.history[1:-1:2]


@dataclass(slots=True)
class Figures:
    """All inputs of a summary."""

    root: Path
    config: RunConfig
    rows: int
    totals: Totals
    clock: Clock
    model: ModelInfo
    warning: str | None = None
    nodes: tuple[NodeStatus, ...] = ()
    decoded_seconds: float = 0.0
    run_rows: int = 0
    run_audio_seconds: float = 0.0

    @classmethod
    def resumed(
        cls, root: Path, config: RunConfig, rows: int, totals: Totals, begun: float, pool: Pool
    ) -> Figures:
        """The figures of a new run, which continue those of the last run of this data set."""
        before = find_status(root) or find_summary(root) or Summary()
        clock = Clock(before.wall_seconds, before.history, begun)
        found = cls(root, config, rows, totals, clock, pool.info, nodes=tuple(pool.nodes()))
        found.decoded_seconds = before.decoded_seconds
        return found

    def summary(self, now: float, code: int | None, ending: str) -> Summary:
        """The content of summary.json; `code` is None while the job runs."""
        totals, wall = self.totals, self.clock.wall(now)
        found = Summary(
            version=version("asr-batch"),
            dataset=str(self.root.absolute()),
            started_at=self.clock.started_at.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds") if code is not None else None,
            ending=ending,
            exit_code=code,
            rows=self._counts(),
            errors={name: count for name, count in sorted(totals.errors.items()) if count > 0},
            audio_seconds=round(totals.audio_seconds, 3),
            speech_seconds=round(totals.speech_seconds, 3),
            decoded_seconds=round(self.decoded_seconds, 3),
            wall_seconds=round(wall, 3),
            rtfx=round(totals.audio_seconds / wall, 3) if wall > 0 else 0.0,
            coverage=round(totals.coverage, 6),
            gates=judge_gates(self.config, totals, self.rows),
            nodes=self.nodes,
            model=self._model(),
            occupancy=self._occupancy(),
            run=self._run(now),
            history=tuple(self.clock.history),
        )
        quality = totals.quality
        if quality.rows:
            found.words, found.wer, found.cer = ReferenceSize(quality.words), quality.wer, quality.cer
        return found

    def _counts(self) -> RowCounts:
        totals = self.totals
        counts = {status: totals.status[status] for status in ("ok", "empty", "partial", "failed")}
        return RowCounts(total=self.rows, **counts, pending=max(0, self.rows - totals.rows))

    def _run(self, now: float) -> LastRun:
        wall, audio = self.clock.this_run(now), self.run_audio_seconds
        return LastRun(
            rows=self.run_rows,
            audio_seconds=round(audio, 3),
            wall_seconds=round(wall, 3),
            rtfx=round(audio / wall, 3),
        )

    def _model(self) -> UsedModel:
        kept = (
            "name",
            "family",
            "path",
            "sha256",
            "precision",
            "window",
            "encoder_backend",
            "provider",
            "batch",
        )
        facts = {name: getattr(self.model, name) for name in kept}
        return UsedModel(**facts, warning=self.warning or self.model.warning)

    def _occupancy(self) -> float:
        busy = [node.occupancy for node in self.nodes if node.workers]
        return round(sum(busy) / len(busy), 4) if busy else 0.0
