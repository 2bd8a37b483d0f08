"""One channel of one span on its way: planned windows out, results in, ledger rows at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import Cut, Failure
from asr_batch.models.recognizer import SAMPLE_RATE, DecodeOptions, ModelInfo, WindowResult
from asr_batch.pipeline.audio import AudioStream
from asr_batch.pipeline.audit import HINT, LevelHistogram, audible_speech
from asr_batch.pipeline.frames import FRAMES_PER_SECOND, Float32, Mask, Measured, Meter, levels
from asr_batch.pipeline.guards import Ask, Decoding, Outcome, decode, prepared
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.plan import SPEECH, PlannerName, Window, plan
from asr_batch.pipeline.repair import Suspect, Workshop, budget_of, chosen, repair, severity, usual_rate
from asr_batch.pipeline.reread import Rereader
from asr_batch.pipeline.silence import is_silence
from asr_batch.pipeline.source import Source

_REPAIR = -1  # the place of repairs among the windows' numbers

SHORTEST = 0.02
"""Seconds of audio below which there is nothing to recognise."""


@dataclass(frozen=True, slots=True)
class Place:
    """The stretch of a file that a track covers, and whose it is (for seeds)."""

    source: Source
    start: float
    end: float | None
    channel: str
    row: str
    soft_end: bool = False


@dataclass(slots=True)
class Take:
    """A window after planning: what the ledger needs of it, without its samples.

    `start`, `end` in samples from the start of the track. `outcome` None: skipped as silence.
    """

    index: int
    start: int
    end: int
    cut: Cut
    level: Float32
    heard: Mask
    hinted: Mask
    outcome: Outcome | None = None
    skipped: bool = False

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end - self.start) / SAMPLE_RATE

    @property
    def heard_seconds(self) -> float:
        """Seconds that Silero holds to be speech."""
        return float(np.count_nonzero(self.heard)) / FRAMES_PER_SECOND


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
        self._repairs: Generator[Ask, WindowResult, None] | None = None
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
    def read_to(self) -> bool:
        """Whether all windows are planned."""
        return self._windows is None

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
        if not self._ready and self._windows is None and not self._open and not self._settled:
            self._advance_repairs(None)
        if not self._ready:
            return None
        index, ask = self._ready.popleft()
        self.asked_seconds += len(ask.samples) / SAMPLE_RATE
        return index, ask

    def give(self, index: int, result: WindowResult) -> None:
        """Hand a result to the window that asked."""
        if index == _REPAIR:
            self._advance_repairs(result)
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

    def _advance_repairs(self, result: WindowResult | None) -> None:
        try:
            if self._repairs is None:
                self._repairs = repairs(self)
                self._ready.append((_REPAIR, next(self._repairs)))
            elif result is not None:
                self._ready.append((_REPAIR, self._repairs.send(result)))
        except StopIteration:
            self._settled = True

    def _take(self, window: Window) -> None:
        heard = window.speech >= SPEECH
        take = Take(
            window.index,
            window.start,
            window.end,
            window.cut,
            window.level.astype(np.float16),
            heard,
            window.speech >= HINT,
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
        """One greedy pass over the window, padded to the model's length."""
        samples = np.zeros(round(self.length * SAMPLE_RATE), np.float32)
        samples[: len(window.samples)] = window.samples
        asked = replace(self.base, plain=True, max_new_tokens=self.options.max_new_tokens)
        result = yield Ask(samples, asked)
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


def repairs(track: Track) -> Generator[Ask, WindowResult, None]:
    """Try the track's bare and doubtful windows again, worst first as far as the budget goes."""
    threshold = track.histogram.threshold()
    options, span = track.options, track.end - track.place.start
    budget = budget_of(options, span, track.length)
    suspects = chosen(_suspects(track, threshold), budget)
    if not suspects:
        return
    second = track.second and budget > 0
    shop = Workshop(track.base, options, second, round(track.length * SAMPLE_RATE))
    reader = Rereader(track.place.source, track.place.start, track.end, track.place.channel)
    try:
        for place, suspect in enumerate(suspects):
            take = track.takes[suspect.index]
            whole = reader.read(take.start, take.end + SAMPLE_RATE // 5)
            whole = prepared(whole, take.level.astype(np.float32), take.heard)
            samples, more = whole[: take.end - take.start], whole[take.end - take.start :]
            # What is left is shared among the windows still to come, so that none takes all of it.
            share = max(budget / (len(suspects) - place), suspect.seconds)
            before = track.asked_seconds
            take.outcome = yield from repair(suspect, samples, more, shop, min(share * 2, budget))
            budget -= track.asked_seconds - before
    finally:
        reader.close()


def _suspects(track: Track, threshold: float) -> list[Suspect]:
    masks = [
        audible_speech(take.level.astype(np.float32), take.heard, take.hinted, threshold)
        for take in track.takes
    ]
    speech = [float(np.count_nonzero(mask)) / FRAMES_PER_SECOND for mask in masks]
    usual = usual_rate(
        [(take.outcome, s) for take, s in zip(track.takes, speech, strict=True) if take.outcome]
    )
    found = []
    for take, mask, seconds in zip(track.takes, masks, speech, strict=True):
        outcome = take.outcome
        grade = severity(outcome, seconds, usual) if outcome is not None else 0.0
        if outcome is not None and grade > 0:
            found.append(Suspect(take.index, outcome, take.level.astype(np.float32), mask, grade))
    return found
