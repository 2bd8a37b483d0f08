"""One channel of one span: plans windows, receives results, and makes ledger rows at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from asr_batch.manifests.records import Failure
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, ModelInfo, WindowResult
from asr_batch.pipeline.audio.ahead import ReadAhead
from asr_batch.pipeline.audio.frames import Measured, Meter, levels
from asr_batch.pipeline.audio.reader import AudioStream
from asr_batch.pipeline.audio.shortfall import MISSING, shortfall
from asr_batch.pipeline.audit import LevelHistogram
from asr_batch.pipeline.choice import Choice
from asr_batch.pipeline.decoding import decode, decode_plain
from asr_batch.pipeline.language.turns import Parting, Spoken
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import DecodedWindow, Stretch
from asr_batch.pipeline.requests import DecodeRequest, prepared
from asr_batch.pipeline.retry.attempts import DecodedTrack
from asr_batch.pipeline.retry.early import Early
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.scheduler import Retries, budget_of
from asr_batch.pipeline.retry.widening import Widening
from asr_batch.pipeline.running import EARLY, RETRY, Key, Running
from asr_batch.pipeline.windows.planning import SPEECH, PlannerName, Window, plan
from asr_batch.pipeline.windows.silence import is_silence

READ_AHEAD = 8
"""Stretches of 4 s of a long file that are read and measured while windows before them are decoded."""


class Track:
    """Reads, plans and decodes one channel. The caller moves requests to a recognizer and results back."""

    def __init__(
        self,
        stretch: Stretch,
        info: ModelInfo,
        options: PipelineOptions,
        base: DecodeOptions,
        meter: Meter,
        second: bool = False,
        choice: Choice | None = None,
        turns: Parting | None = None,
    ) -> None:
        self.stretch = stretch
        self.second = second
        self._choice = choice
        self.options = options
        self.base = base
        self.info = info
        self.windows: list[DecodedWindow] = []
        self.histogram = LevelHistogram()
        self.asked_seconds = 0.0
        self.done_seconds = 0.0
        self.problem: Failure | None = None
        self.notes: tuple[str, ...] = ()
        self.holes: list[tuple[float, float]] = []
        self._stream = AudioStream(
            stretch.source,
            stretch.start,
            stretch.end,
            stretch.channel,
            track=stretch.track,
            plain=options.plain,
        )
        self.end = stretch.start
        length = self.length = min(options.window or info.window, info.window)
        planner: PlannerName = "plain" if options.plain else options.planner
        measured: Iterable[Measured] = self._measured(meter)
        self._reader = ReadAhead(measured, READ_AHEAD) if self._is_long() else None
        planned = plan(self._reader or measured, length, planner)
        self._planned: Iterator[Spoken] | None = ((window, base.language) for window in planned)
        if turns is not None and not options.plain:
            self._planned = turns.parted(planned)
        self._running = Running()
        self._retries: Widening | Retries | None = None
        self._early: Early | None = None
        self._settled = options.plain

    def _is_long(self) -> bool:
        """Whether reading on beside the decoder is worth a thread."""
        stretch, told = self.stretch, self._stream.info.duration
        return (told if stretch.end is None else stretch.end) - stretch.start > 2 * self.length

    def _measured(self, meter: Meter) -> Iterator[Measured]:
        """The measured stream; in plain mode without voice activity."""
        if not self.options.plain:
            yield from meter.measure(self._stream.blocks())
            return
        for block in self._stream.blocks():
            level = levels(block)
            yield Measured(block, level, np.zeros_like(level))

    @property
    def finished(self) -> bool:
        """Whether every window has its outcome."""
        return self._planned is None and not self._running and self._settled

    @property
    def detected(self) -> tuple[str, float] | None:
        """The language that the decoder detected in the first window with speech, and its probability."""
        results = (window.outcome.result for window in self.windows if window.outcome is not None)
        first = next((result for result in results if result.languages), None)
        if self.base.language is not None or self._choice is None or first is None:
            return None
        return first.languages[0]

    def pull(self) -> tuple[Key, DecodeRequest] | None:
        """The next decoding that can start, or None.

        Raises ItemError if the audio cannot be read.
        """
        while self._running.waits and self._planned is not None:
            spoken = next(self._planned, None)
            if spoken is None:
                self._close_stream()
                break
            self._take(*spoken)
        if self._planned is None and not self._settled and self._retries is None:
            self._begin_retries()
        if self._running.waits:
            return None
        key, request = self._running.pull()
        if key[1] != EARLY:
            self.asked_seconds += len(request.samples) / SAMPLE_RATE
        return key, request

    def give(self, key: Key, result: WindowResult) -> None:
        """Pass a result to the window that requested it."""
        index, place = key
        if place in (EARLY, RETRY):
            self._give_again(place, index, result)
            return
        outcome = self._running.give(key, result)
        if outcome is not None:
            self.windows[index].outcome = outcome
            self.done_seconds += self.windows[index].seconds

    def close(self) -> None:
        """Release the file."""
        if self._reader is not None:
            self._reader.close()
        self._stream.close()
        if self._retries is not None:
            self._retries.close()

    def _begin_retries(self) -> None:
        """Begin with the retries, or, while windows are being decoded, with what they will ask."""
        if self._early is None:
            budget = budget_of(self.options, self.end - self.stretch.start, self.length)
            track = DecodedTrack(self.stretch, self.end, self.windows, self.histogram.threshold(), budget)
            listener = Listener(self.base, self.options, self.second, self.length, self._choice)
            self._early = Early(track, listener)
        if self._running:
            self._running.retry(self._early.requests(), EARLY)
            return
        self._retries = self._widening(self._early) or Retries(self._early.track, self._early.listener)
        self._go_on(self._retries)

    def _widening(self, early: Early) -> Widening | None:
        """Windows shorter than the model's own are decoded together where their texts are unlikely."""
        if self.options.repair_budget <= 0 or self.length >= self.info.longest:
            return None
        return Widening(early.track, early.listener, self.info.longest)

    def _give_again(self, place: int, index: int, result: WindowResult) -> None:
        if place == EARLY and self._early is not None:
            self._early.give(index, result)
        if self._retries is not None:
            if place == RETRY:
                self._retries.give(index, result)
            self._go_on(self._retries)

    def _go_on(self, retries: Widening | Retries) -> None:
        """Queue the requests of the retries, and pass on what was asked early."""
        assert self._early is not None
        if isinstance(retries, Widening):
            self._running.retry(retries.requests())
            if not retries.finished:
                return
            retries = self._retries = self._after(retries, self._early)
        for index, request in retries.requests():
            if self._early.expects(index, request):
                self.asked_seconds += len(request.samples) / SAMPLE_RATE
            else:
                self._running.retry([(index, request)])
        for index, result in self._early.answers():
            retries.give(index, result)
            self._go_on(retries)
        self._settled = retries.finished and not self._early.waits

    def _after(self, widening: Widening, early: Early) -> Retries:
        """The retries of the windows that are there then."""
        if widening.changes:
            self.windows = widening.windows
            early.forget()
            early.track = replace(early.track, windows=self.windows)
        return Retries(early.track, early.listener)

    def _take(self, window: Window, language: str | None) -> None:
        decoded = DecodedWindow.of(window)
        self.windows.append(decoded)
        if self.options.plain:
            plain = decode_plain(window.samples, self.base, self.options, self._choice)
            self._running.start(decoded.index, plain)
            return
        self.histogram.add(window.level)
        if is_silence(window.level, window.speech):
            decoded.skipped = True
            self.done_seconds += decoded.seconds
            return
        samples = prepared(window.samples, window.level, window.speech >= SPEECH)
        base = replace(self.base, language=language)
        decoding = decode(samples, base, self.options, decoded.heard_seconds, self._choice)
        self._running.start(decoded.index, decoding)

    def _close_stream(self) -> None:
        """Check the audio at its end against what was expected."""
        stream, self._planned = self._stream, None
        stream.close()
        self.end, self.notes = stream.end, stream.notes
        self.holes = stream.damage.holes if stream.damage.seconds > MISSING else []
        self.problem = shortfall(stream, self.stretch.end)
