"""After the last window of a track: which windows are heard again, in what order, within which budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_batch.models.recognizer import Samples, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.guards import DecodeRequest, prepared
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import DecodedWindow, Stretch
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.rates import thin_windows
from asr_batch.pipeline.retry.strategies import STRATEGIES, Doubtful, unheard
from asr_batch.pipeline.thresholds import AT_ONCE, LEAST_WINDOWS


@dataclass(frozen=True, slots=True)
class DecodedTrack:
    """A track whose windows are all decoded once. `end`: second of the file where it ended; `threshold`:
    the audit's; `budget`: seconds of audio that may be decoded again.
    """

    stretch: Stretch
    end: float
    windows: list[DecodedWindow]
    threshold: float
    budget: float


def budget_of(options: PipelineOptions, seconds: float, window: float) -> float:
    """Seconds of audio that a span of so many seconds may decode again."""
    if options.repair_budget <= 0:
        return 0.0
    return max(options.repair_budget * seconds, LEAST_WINDOWS * window)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A window to hear again, for at most `allowed` seconds of audio."""

    window: Doubtful
    allowed: float


Running = Generator[DecodeRequest, WindowResult, Doubtful]


class Retries:
    """Hears the doubtful windows of a track again, several at once.

    Who gets how much of the budget is settled before the first one starts, so results may come back in any
    order.
    """

    def __init__(self, track: DecodedTrack, listener: Listener) -> None:
        self.finished = False
        self._track = track
        self._listener = listener
        self._waiting = deque(_planned(_doubtful(track), track.budget, listener))
        self._running: dict[int, Running] = {}
        self._requests: list[tuple[int, DecodeRequest]] = []
        stretch = track.stretch
        self._reader = (
            Rereader(stretch.source, stretch.start, track.end, stretch.channel, stretch.track)
            if self._waiting
            else None
        )
        self._go_on()

    def requests(self) -> list[tuple[int, DecodeRequest]]:
        """Decodings that can start now, each with the index of its window; each is returned once."""
        requests, self._requests = self._requests, []
        return requests

    def give(self, index: int, result: WindowResult) -> None:
        """Hand a result to the window that asked. Raises ItemError when the audio cannot be read."""
        self._send(index, result)
        self._go_on()

    def close(self) -> None:
        """Release the file."""
        for running in self._running.values():
            running.close()
        if self._reader is not None:
            self._reader.close()

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            planned = self._waiting.popleft()
            self._running[planned.window.index] = self._again(planned)
            self._send(planned.window.index, None)
        if not self._waiting and not self._running and not self.finished:
            self.close()
            self.finished = True

    def _send(self, index: int, result: WindowResult | None) -> None:
        running = self._running[index]
        try:
            self._requests.append((index, next(running) if result is None else running.send(result)))
        except StopIteration as stop:
            del self._running[index]
            heard: Doubtful = stop.value
            window = self._track.windows[index]
            window.outcome, window.confirmed = heard.outcome, heard.confirmed

    def _again(self, planned: _Planned) -> Running:
        """All strategies that the window wants and its share of the budget allows."""
        window, left = planned.window, planned.allowed
        samples, listener = self._samples(window.index), self._in_its_language(window)
        for strategy in STRATEGIES:
            if strategy.wanted(window, listener) and strategy.cost(window) <= left:
                left -= strategy.cost(window)
                window = yield from strategy.attempt(window, samples, listener)
        return window

    def _in_its_language(self, window: Doubtful) -> Listener:
        base = self._listener.base
        language = window.outcome.result.language if base.language else None
        return replace(self._listener, base=replace(base, language=language or base.language))

    def _samples(self, index: int) -> Samples:
        window = self._track.windows[index]
        assert self._reader is not None
        samples = self._reader.read(window.start, window.end)
        return prepared(samples, window.level.astype(np.float32), window.heard)


def _doubtful(track: DecodedTrack) -> list[Doubtful]:
    thin = thin_windows(track.windows, track.threshold)
    return [
        Doubtful(
            window.index,
            window.outcome,
            window.level.astype(np.float32),
            window.audible(track.threshold),
            window.index in thin,
        )
        for window in track.windows
        if window.outcome is not None and not window.unspoken
    ]


def _planned(windows: Sequence[Doubtful], budget: float, listener: Listener) -> list[_Planned]:
    """The windows that the budget (seconds of audio) allows to be heard again, in order of time.

    Those with most speech to win for a second decoded come first into the budget; of equals the earliest.
    """
    wanted = [(window, *_worth(window, listener)) for window in windows]
    picked: list[_Planned] = []
    for window, _, cost in sorted(
        (one for one in wanted if one[2] > 0), key=lambda one: (-one[1] / one[2], one[0].index)
    ):
        allowed = min(cost, budget)
        if allowed <= 0:
            break
        picked.append(_Planned(window, allowed))
        budget -= allowed
    return sorted(picked, key=lambda one: one.window.index)


def _worth(window: Doubtful, listener: Listener) -> tuple[float, float]:
    """Seconds of speech to win, and seconds of audio that all strategies wanted now decode at most."""
    costs = [s.cost(window) for s in STRATEGIES if s.wanted(window, listener)]
    whole = unheard(window) or bool(window.outcome.flags)
    gain = window.spoken if whole else sum(gap.missing for gap in window.gaps)
    return max(gain, 1 / FRAMES_PER_SECOND), sum(costs)
