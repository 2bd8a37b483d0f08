"""One channel of one span on its way: planned windows out, results in, ledger rows at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import Failure
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, ModelInfo, WindowResult
from asr_batch.pipeline.audio.frames import Measured, Meter, levels
from asr_batch.pipeline.audio.reader import AudioStream
from asr_batch.pipeline.audit import LevelHistogram
from asr_batch.pipeline.guards import Ask, Decoding, Outcome, decode, prepared
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import Place, Take
from asr_batch.pipeline.retry.repair import Workshop, budget_of
from asr_batch.pipeline.retry.scheduler import Remains, Repairs
from asr_batch.pipeline.windows.planning import SPEECH, PlannerName, Window, plan
from asr_batch.pipeline.windows.silence import is_silence

SHORTEST = 0.02
"""Seconds of audio below which there is nothing to recognise."""


class Track:
    """Reads, plans and decodes one channel. The caller moves asks to a recognizer and results back."""

    def __init__(
        self,
        place: Place,
        info: ModelInfo,
        options: PipelineOptions,
        base: DecodeOptions,
        meter: Meter,
        second: bool = False,
    ) -> None:
        self.place = place
        self.second = second
        self.options = options
        self.base = base
        self.info = info
        self.takes: list[Take] = []
        self.histogram = LevelHistogram()
        self.asked_seconds = 0.0
        self.done_seconds = 0.0
        self.problem: Failure | None = None
        self._stream = AudioStream(place.source, place.start, place.end, place.channel)
        self.end = place.start
        length = self.length = min(options.window or info.window, info.window)
        planner: PlannerName = "plain" if options.plain else options.planner
        self._windows: Iterator[Window] | None = plan(self._measured(meter), length, planner)
        self._ready: deque[tuple[int, Ask]] = deque()
        self._open: dict[int, Decoding] = {}
        self._repairs: Repairs | None = None
        self._settled = options.plain

    def _measured(self, meter: Meter) -> Iterator[Measured]:
        """The stream, measured; in plain mode without voice activity."""
        if not self.options.plain:
            yield from meter.measure(self._stream.blocks())
            return
        for block in self._stream.blocks():
            level = levels(block)
            yield Measured(block, level, np.zeros_like(level))

    @property
    def finished(self) -> bool:
        """Whether every window has its outcome."""
        return self._windows is None and not self._open and self._settled

    def pull(self) -> tuple[int, Ask] | None:
        """The next decoding that can start, or None while there is none.

        Raises ItemError when the audio cannot be read.
        """
        while not self._ready and self._windows is not None:
            window = next(self._windows, None)
            if window is None:
                self._close_stream()
                break
            self._take(window)
        if self._windows is None and not self._open and not self._settled and self._repairs is None:
            self._repairs = self._start_repairs()
            self._go_on(self._repairs)
        if not self._ready:
            return None
        index, ask = self._ready.popleft()
        self.asked_seconds += len(ask.samples) / SAMPLE_RATE
        return index, ask

    def give(self, index: int, result: WindowResult) -> None:
        """Hand a result to the window that asked."""
        if index < 0:
            assert self._repairs is not None
            self._repairs.give(~index, result)
            self._go_on(self._repairs)
            return
        coroutine = self._open[index]
        try:
            self._ready.append((index, coroutine.send(result)))
        except StopIteration as stop:
            del self._open[index]
            self.takes[index].outcome = stop.value
            self.done_seconds += self.takes[index].seconds

    def close(self) -> None:
        """Release the file."""
        self._stream.close()
        if self._repairs is not None:
            self._repairs.close()

    def _go_on(self, repairs: Repairs) -> None:
        """What repairs ask now, under places below zero: a window's own is taken."""
        self._ready += ((~index, ask) for index, ask in repairs.asks())
        self._settled = repairs.finished

    def _start_repairs(self) -> Repairs:
        budget = budget_of(self.options, self.end - self.place.start, self.length)
        remains = Remains(self.place, self.end, self.takes, self.histogram.threshold(), budget)
        words = "word_timestamps" in self.info.capabilities
        longest = round(self.length * SAMPLE_RATE)
        return Repairs(remains, Workshop(self.base, self.options, self.second, longest, words))

    def _take(self, window: Window) -> None:
        heard = window.speech >= SPEECH
        take = Take(
            window.index,
            window.start,
            window.end,
            window.cut,
            window.level.astype(np.float16),
            window.speech.astype(np.float16),
        )
        self.takes.append(take)
        if self.options.plain:
            self._start(take, self._plain(window))
            return
        self.histogram.add(window.level)
        if is_silence(window.level, window.speech):
            take.skipped = True
            self.done_seconds += take.seconds
            return
        identity = (self.place.row, self.place.channel, round(self.place.start * SAMPLE_RATE) + window.start)
        samples = prepared(window.samples, window.level, heard)
        self._start(take, decode(samples, self.base, self.options, take.heard_seconds, identity))

    def _start(self, take: Take, coroutine: Decoding) -> None:
        self._open[take.index] = coroutine
        self._ready.append((take.index, next(coroutine)))

    def _plain(self, window: Window) -> Decoding:
        """One greedy pass over the window; a model that wants its full length pads it with zeros itself."""
        asked = replace(self.base, plain=True, max_new_tokens=self.options.max_new_tokens)
        result = yield Ask(window.samples, asked)
        flags = {"truncated"} if result.truncated else set()
        return Outcome(result, frozenset(flags | ({"failed"} if result.error else set())))

    def _close_stream(self) -> None:
        """The audio has ended: is it what was promised?"""
        stream, self._windows = self._stream, None
        stream.close()
        self.end = stream.end
        length = stream.end - self.place.start
        if length < SHORTEST:
            raise ItemError(
                "too_short", f"there are {max(length, 0):.4f} s of audio; expected at least {SHORTEST} s"
            )
        samples = self.takes[-1].end if self.takes else 0
        if stream.replaced and stream.replaced >= 0.99 * length * stream.info.sample_rate:
            raise ItemError("unreadable", "its samples are not numbers (NaN or infinite); expected sound")
        if samples and stream.replaced:
            self.problem = Failure(
                "unreadable",
                f"{stream.replaced} samples are not numbers (NaN or infinite) and were taken as silence",
            )
        if stream.short:
            self.problem = self._shortfall(stream)

    def _shortfall(self, stream: AudioStream) -> Failure | None:
        wanted = self.place.end
        if wanted is not None and wanted - stream.end > 0.05:
            return Failure("bad_span", f"the row ends at {wanted:g} s; the audio ends at {stream.end:.3f} s")
        if wanted is None:
            return Failure(
                "unreadable",
                f"the file is cut short: its header promises {stream.info.promised:.3f} s, "
                f"it holds {stream.end:.3f} s",
            )
        return None
