"""Gathers the figures of a report in one pass over each table, in bounded memory."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from asr_batch.jobs.dataset.job_file import Job, load_job
from asr_batch.jobs.dataset.lock import held
from asr_batch.jobs.dataset.reading import stream
from asr_batch.jobs.dataset.summary import Summary, find_status, find_summary
from asr_batch.jobs.dataset.tables import open_transcripts, open_windows
from asr_batch.jobs.quality import COUNTS, Errors, Slices
from asr_batch.jobs.views.report.listening import WEIGHTS, Worst, confidence

Row = Mapping[str, Any]

ROWS_LISTED = 200
MISTAKEN = 10
"""How many rows are shown with their word errors."""

COVERAGE = (
    ("under 50 %", 0.5),
    ("50-80 %", 0.8),
    ("80-95 %", 0.95),
    ("95-99 %", 0.99),
    ("99-100 %", 0.99999),
)
DURATIONS = (
    ("under 2 s", 2.0),
    ("2-5 s", 5.0),
    ("5-10 s", 10.0),
    ("10-30 s", 30.0),
    ("30-60 s", 60.0),
    ("1-5 min", 300.0),
    ("5-30 min", 1800.0),
    ("30-60 min", 3600.0),
)
CONFIDENCE_BINS = 20
TRANSCRIPT_COLUMNS = (
    *("id", "audio", "status", "error_code", "error_message", "language", "duration", "speech", "coverage"),
    *("encoder_backend", "node", "decode_seconds", "finished_at", "glossary", "notes"),
)
WINDOW_COLUMNS = ("id", "index", "text", "avg_logprob", "speech", "flags", "uncovered")


class Bins:
    """A histogram over named bins, each up to (but excluding) a limit; the last has none."""

    def __init__(self, classes: Sequence[tuple[str, float]], last: str) -> None:
        self._limits = [limit for _, limit in classes]
        self.names = [name for name, _ in classes] + [last]
        self.counts = [0] * len(self.names)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_right(self._limits, value)] += 1


@dataclass(slots=True)
class NodeSums:
    """Rows, audio seconds and decoding seconds of one node."""

    rows: int = 0
    audio: float = 0.0
    decode: float = 0.0


@dataclass(slots=True)
class Heard:
    """Count of a glossary term, and of the rows that contain it."""

    count: int = 0
    rows: int = 0


@dataclass(slots=True)
class Gathered:
    """All figures of a report."""

    job: Job
    summary: Summary
    running: bool = False
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    audio: float = 0.0
    speech: float = 0.0
    covered: float = 0.0
    nodes: dict[str, NodeSums] = field(default_factory=dict)
    finished: Counter[int] = field(default_factory=Counter)
    coverage: Bins = field(default_factory=lambda: Bins(COVERAGE, "100 %"))
    durations: Bins = field(default_factory=lambda: Bins(DURATIONS, "over 1 h"))
    confidence: list[int] = field(default_factory=lambda: [0] * CONFIDENCE_BINS)
    flags: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    troubled: list[Row] = field(default_factory=list)
    noted: list[Row] = field(default_factory=list)
    noted_rows: int = 0
    slices: Slices = field(default_factory=Slices)
    terms: dict[str, Heard] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)
    mistaken: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Number of rows, whatever their status."""
        return self.statuses.total()

    @property
    def coverage_share(self) -> float:
        """Covered speech over all speech; 1.0 without speech."""
        return self.covered / self.speech if self.speech else 1.0


def gather(folder: Path, worst: int = 12) -> Gathered:
    """Read the data set. Raises ConfigError when `folder` is not one."""
    running = held(folder)
    summary = None if running else find_summary(folder)
    found = Gathered(load_job(folder), summary or find_status(folder) or Summary(), running)
    found.terms = {term: Heard() for term in found.job.settings.get("glossary") or ()}
    transcripts, windows = open_transcripts(folder), open_windows(folder)
    _rows(found, transcripts)
    kept = Worst(worst)
    _windows(found, windows, kept)
    found.worst = kept.read(windows, transcripts)
    return found


def _rows(found: Gathered, transcripts: ds.Dataset) -> None:
    references = 0
    if "reference" in transcripts.schema.names:
        references = transcripts.count_rows(filter=pc.field("reference").is_valid())
    mistaken: list[tuple[int, str, float]] = []
    columns = TRANSCRIPT_COLUMNS + (("text", "reference", *COUNTS) if references else ())
    for row in stream(transcripts, columns):
        _row(found, row)
        errors = found.slices.add(row)
        if row["status"] != "failed":
            _keep_mistaken(mistaken, row["id"], errors)
    found.mistaken = _mistaken(sorted(mistaken, reverse=True), transcripts)
    found.troubled.sort(key=lambda row: (row["status"] != "failed", row["id"]))


def _keep_mistaken(heap: list[tuple[int, str, float]], row_id: str, errors: Errors | None) -> None:
    if errors is not None and errors.word_errors:
        heapq.heappush(heap, (errors.word_errors, row_id, errors.wer))
        if len(heap) > MISTAKEN:
            heapq.heappop(heap)


def _mistaken(order: Sequence[tuple[int, str, float]], transcripts: ds.Dataset) -> list[dict[str, Any]]:
    """The rows with the most word errors, with both texts."""
    where = pc.field("id").isin([row_id for _, row_id, _ in order])
    columns = ("id", "text", "reference")
    texts = {row["id"]: row for row in stream(transcripts, columns, where)} if order else {}
    return [{**texts[row_id], "errors": count, "wer": wer} for count, row_id, wer in order if row_id in texts]


def _row(found: Gathered, row: Row) -> None:
    status, duration, speech = row["status"], row.get("duration") or 0.0, row.get("speech") or 0.0
    found.statuses[status] += 1
    found.audio += duration
    found.speech += speech
    covered = 1.0 if row.get("coverage") is None else row["coverage"]
    found.covered += speech * covered
    if status in ("failed", "partial"):
        found.codes[row.get("error_code") or "unknown"] += 1
        if len(found.troubled) < ROWS_LISTED:
            found.troubled.append(row)
    if row.get("notes"):
        found.noted_rows += 1
        if len(found.noted) < ROWS_LISTED:
            found.noted.append(row)
    for term in row.get("glossary") or ():
        heard = found.terms.setdefault(term["term"], Heard())
        heard.count, heard.rows = heard.count + term["count"], heard.rows + 1
    if status != "failed":
        found.durations.add(duration)
        _node(found, row, duration)
    if status != "failed" and speech > 0:
        found.coverage.add(covered)


def _node(found: Gathered, row: Row, duration: float) -> None:
    sums = found.nodes.setdefault(row.get("node") or "unknown", NodeSums())
    sums.rows += 1
    sums.audio += duration
    sums.decode += row.get("decode_seconds") or 0.0
    if row.get("finished_at") is not None:
        found.finished[int(row["finished_at"].timestamp())] += round(duration * 1000)


def _windows(found: Gathered, windows: ds.Dataset, worst: Worst) -> None:
    for window in stream(windows, WINDOW_COLUMNS, batch=1024):
        _window(found, window)
        worst.add(window)


def _window(found: Gathered, window: Row) -> None:
    found.windows += 1
    found.flags.update(flag for flag in window.get("flags") or () if WEIGHTS.get(flag, 1.0))
    if window.get("text") and window.get("avg_logprob") is not None:
        share = confidence(window["avg_logprob"])
        found.confidence[min(CONFIDENCE_BINS - 1, int(share * CONFIDENCE_BINS))] += 1
