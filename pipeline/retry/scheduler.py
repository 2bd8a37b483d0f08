"""Schedules retries after the last window of a track: which windows, in what order, within which budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from asr_batch.models.recognizer import SAMPLE_RATE, Samples
from asr_batch.pipeline.audio.reread import Rereader
from asr_batch.pipeline.audio.syllables import nuclei
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.records import DecodedWindow
from asr_batch.pipeline.requests import DecodeRequest, prepared
from asr_batch.pipeline.retry.attempts import Attempts, DecodedTrack
from asr_batch.pipeline.retry.context import Turns
from asr_batch.pipeline.retry.doubtful import Attempt, Doubtful
from asr_batch.pipeline.retry.hearing import Listener
from asr_batch.pipeline.retry.rates import thin_windows
from asr_batch.pipeline.retry.strategies import STRATEGIES, Strategy, beyond_budget
from asr_batch.pipeline.thresholds import LEAST_WINDOWS, SECONDS_TURN


def budget_of(options: PipelineOptions, seconds: float, window: float) -> float:
    """Seconds of audio that a span of this length may decode again."""
    if options.repair_budget <= 0:
        return 0.0
    return max(options.repair_budget * seconds, LEAST_WINDOWS * window)


class Retries(Attempts[Doubtful]):
    """Decodes the doubtful windows of a track again: one strategy after the other, each on all windows.

    The participants of a round are fixed when the previous round has ended, by its remaining budget. So
    results may come back in any order.
    """

    def __init__(self, track: DecodedTrack, listener: Listener) -> None:
        super().__init__(track)
        self._listener = listener
        self._windows = {window.index: window for window in _all_doubtful(track)}
        self._left = track.budget and track.budget + sum(map(beyond_budget, self._windows.values()))
        self._rounds = iter(STRATEGIES)
        self._strategy = STRATEGIES[0]
        self._tried: set[int] = set()
        self._go_on()

    def _go_on(self) -> None:
        """Start the next rounds until one has something to wait for."""
        while not (self.finished or self._running):
            self._next_round()

    def _next_round(self) -> None:
        """Start the strategy again for windows that its estimate left out, or else the next one."""
        chosen = self._chosen() if self._tried else []
        if not chosen:
            strategy = next(self._rounds, None)
            if strategy is None:
                self._finish()
                return
            self._strategy, self._tried = strategy, set()
            chosen = self._chosen()
        self._tried.update(chosen)
        self._begin(chosen)

    def _chosen(self) -> list[int]:
        """The windows that the strategy has not tried and the budget allows."""
        kept = SECONDS_TURN if self._listener.second and self._strategy is not STRATEGIES[-1] else 0.0
        allowed = self._left - kept * self._track.budget
        wanting = [
            window
            for window in self._windows.values()
            if window.index not in self._tried and self._strategy.wanted(window, self._listener)
        ]
        if self._strategy.in_turn:
            wanting = list(self._in_turn(wanting))
        return _affordable(wanting, self._strategy, allowed)

    def _in_turn(self, windows: Iterable[Doubtful]) -> Iterator[Doubtful]:
        """Those with likely text before them that none of the others may still change."""
        turns = Turns(self._track.windows)
        outcomes = {index: heard.outcome for index, heard in self._windows.items()}
        for window in windows:
            before = turns.text_before(window, outcomes)
            if before:
                self._windows[window.index] = replace(window, before=before)
                yield self._windows[window.index]

    def _finish(self) -> None:
        self.close()
        for index, heard in self._windows.items():
            window = self._track.windows[index]
            window.outcome, window.confirmed = heard.outcome, heard.confirmed
        self.finished = True

    def _attempt(self, index: int, reader: Rereader) -> Attempt:
        window = self._windows[index]
        samples = samples_of(self._track.windows[index], reader)
        return self._strategy.attempt(window, samples, listener_for(window, self._listener))

    def _take(self, index: int, found: Doubtful) -> None:
        self._windows[index] = found

    def _ask(self, index: int, request: DecodeRequest) -> None:
        self._left -= len(request.samples) / SAMPLE_RATE
        super()._ask(index, request)


def listener_for(window: Doubtful, listener: Listener) -> Listener:
    """The context of this window: its language, and the prompt if that has a say in its text."""
    base, choice = listener.base, listener.choice
    language = window.outcome.result.language if base.language or choice else None
    base = replace(base, language=language or base.language)
    if not window.outcome.prompted:
        base = replace(base, prompt=None)
    if window.seconds > listener.longest:  # it is several windows, and too long for an NPU
        base = replace(base, cpu_encoder=True)
    if choice is not None and choice.language is None:  # it is settled now
        choice = None
    return replace(listener, base=base, choice=choice)


def samples_of(window: DecodedWindow, reader: Rereader) -> Samples:
    """What the window was decoded from. Raises ItemError if it cannot be read again."""
    return prepared(reader.read(window.start, window.end), window.level.astype(np.float32), window.heard)


def _all_doubtful(track: DecodedTrack) -> list[Doubtful]:
    thin = thin_windows(track.windows, track.threshold)
    return [
        doubtful(track, index, thin=index in thin)
        for index, window in enumerate(track.windows)
        if window.outcome is not None and not window.hopeless
    ]


def doubtful(track: DecodedTrack, index: int, *, thin: bool = False) -> Doubtful:
    """A decoded window as the strategies see it."""
    window = track.windows[index]
    assert window.outcome is not None
    level, speech = window.level.astype(np.float32), window.audible(track.threshold, settled=False)
    return Doubtful(index, window.outcome, level, speech, nuclei(level, speech), thin)


def _affordable(windows: Iterable[Doubtful], strategy: Strategy, budget: float) -> list[int]:
    """The windows that fit into the budget (seconds of audio), in order of time.

    Those with the most speech to gain per second decoded come first; of equals the earliest.
    """
    picked: list[int] = []
    for window in sorted(windows, key=lambda one: (-_gain(one) / strategy.cost(one), one.index)):
        cost = strategy.cost(window)
        if cost <= budget:
            picked.append(window.index)
            budget -= cost
    return sorted(picked)


def _gain(window: Doubtful) -> float:
    """Seconds of speech to gain."""
    return window.spoken if window.faulty or window.outcome.flags else sum(gap.missing for gap in window.gaps)
