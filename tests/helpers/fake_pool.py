"""A pool without models: canned transcripts that depend on a unit's audio alone, and faults on demand."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from asr_batch.manifests.records import (
    AudioItem,
    Failure,
    Segment,
    SpanResult,
    Transcript,
    Unit,
    WindowRecord,
)
from asr_batch.models.recognizer import ModelInfo
from asr_batch.workers.pool import NodeStatus, PoolEvent, UnitDone, UnitsLost

INFO = ModelInfo("fake", "fake", "/fake", "f" * 64, "fp32", 10.0)


def transcribe(unit: Unit, seconds: float = 20.0) -> SpanResult:
    """Two windows whose text is made of the audio's bytes."""
    path = Path(unit.item.location)
    if not path.is_file():
        return SpanResult(unit.key, failure=Failure("not_found", f"{path.name} does not exist"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    start = unit.start
    end = unit.end if unit.end is not None else seconds
    middle = (start + end) / 2
    windows = tuple(
        WindowRecord(
            i,
            a,
            b,
            a,
            b,
            "silence" if i == 0 else "end",
            f"{digest[:6]} {i}",
            (i, int(digest[:4], 16)),
            speech=b - a,
        )
        for i, (a, b) in enumerate([(start, middle), (middle, end)])
    )
    return SpanResult(
        unit.key, start, end, windows, "en", None, digest, INFO.sha256, "here", 0.1, end - start
    )


def assemble(item: AudioItem, spans: Sequence[SpanResult]) -> Transcript:
    """A simple stitcher with the shape of the real one."""
    failure = next((span.failure for span in spans if span.failure), None)
    if failure is not None:
        return Transcript(item.id, item.audio, "failed", failure.code, failure.message, coverage=0.0)
    windows = [
        replace(window, index=index)
        for index, window in enumerate(window for span in spans for window in span.windows)
    ]
    segments = tuple(Segment(w.keep_start, w.keep_end, w.text, -1, -0.1, 0.0, 1.0) for w in windows)
    seconds = spans[-1].end - spans[0].start
    return Transcript(
        item.id, item.audio, "ok", text=" ".join(w.text for w in windows), segments=segments, language="en",
        duration=seconds, speech=seconds, node="here", audio_sha256=spans[0].audio_sha256,
        model_sha256=INFO.sha256, windows=tuple(windows),
    )  # fmt: skip


def split(item: AudioItem, info: object) -> list[Unit]:
    """One unit, or three for ids that say so."""
    if "long" in item.id:
        borders = [0.0, 10.0, 20.0, 30.0]
        return [Unit(item, i, 3, borders[i], borders[i + 1], seconds=10.0) for i in range(3)]
    return [Unit(item, start=item.start or 0.0, end=item.end, seconds=20.0)]


class FakePool:
    """Meets `workers.pool.Pool`. `slots` workers; each holds `depth` units; units end in reverse order.

    `poison(unit)` says what becomes of the worker that holds the unit: a reason of UnitsLost, or None.
    """

    def __init__(
        self,
        slots: int = 2,
        depth: int = 2,
        poison: Callable[[Unit], str | None] = lambda unit: None,
        on_wait: Callable[[FakePool], None] = lambda pool: None,
    ) -> None:
        self.slots, self.depth, self.poison, self.on_wait = slots, depth, poison, on_wait
        self.workers: list[list[Unit]] = [[] for _ in range(slots)]
        self.queued: deque[Unit] = deque()
        self.submitted: list[Unit] = []
        self.closed = False

    @property
    def info(self) -> ModelInfo:
        return INFO

    def room(self) -> int:
        return max(0, self.slots * self.depth - len(self.open_units()))

    def submit(self, unit: Unit) -> None:
        self.submitted.append(unit)
        self.queued.append(unit)

    def open_units(self) -> tuple[Unit, ...]:
        return (*self.queued, *(unit for worker in self.workers for unit in worker))

    def wait(self, timeout: float) -> list[PoolEvent]:
        self.on_wait(self)
        self._hand_out()
        events: list[PoolEvent] = []
        for number, worker in enumerate(self.workers):
            reasons = [reason for reason in map(self.poison, worker) if reason]
            if reasons:
                reason = reasons[0]
                blame = reason in ("crashed", "hung", "out_of_memory")
                events.append(UnitsLost(tuple(worker), reason, blame, f"{reason}!", f"w{number}", "here"))
            else:
                events += [UnitDone(transcribe(unit), f"w{number}") for unit in reversed(worker)]
            worker.clear()
        return events

    def _hand_out(self) -> None:
        for unit in list(self.queued):
            for worker in self.workers:
                lonely = any(held.alone for held in worker)
                if (unit.alone and not worker) or (
                    not unit.alone and not lonely and len(worker) < self.depth
                ):
                    worker.append(unit)
                    self.queued.remove(unit)
                    break

    def nodes(self) -> list[NodeStatus]:
        return [NodeStatus("here", "127.0.0.1", True, self.slots, "cpu")]

    def close(self) -> None:
        self.closed = True
